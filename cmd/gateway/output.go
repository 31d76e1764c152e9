package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"ais-gateway/internal/audit"
	"ais-gateway/internal/config"
	"ais-gateway/internal/output"
)

const (
	// outputRoom is how many bytes of log lines and records may wait to be written, and besides a record for each request in
	// progress.
	outputRoom = 4 << 20
	// outputTimeout is how long what waits may hold up the end of the process, for each of its outputs.
	outputTimeout = time.Second
)

// newQueue opens a queue of lines or records. What waits in it is lost where the process is killed.
func newQueue(c *config.Config, to io.Writer) *output.Queue {
	return output.New(output.Config{
		To: to, Room: outputRoom + c.Server.Limits.InFlight*audit.MaxLine, Keep: c.Audit.WhenFull == config.AuditRefuse,
	})
}

// flushed ends a queue, as far as its output takes what waits.
func flushed(q *output.Queue) error {
	ctx, cancel := context.WithTimeout(context.Background(), outputTimeout)
	defer cancel()
	return q.Close(ctx)
}

// openLog opens the queue of log lines.
func (p *program) openLog(c *config.Config, to io.Writer) {
	p.lines = newQueue(c, to)
	p.logLines = p.lines.Writer(nil, func(lost int64) { p.log.Warn("log lines lost", "lost", lost) })
	p.warnings.add(func() []string {
		if p.logLines.State().Failing {
			return []string{"log lines cannot be written and are lost"}
		}
		return nil
	})
}

// errLogged is an error that the log has already.
var errLogged = errors.New("logged")

// logFailure logs why the gateway did not start, or ended, as one JSON line.
func logFailure(to io.Writer, err error) error {
	q := output.New(output.Config{To: to, Room: outputRoom})
	log := slog.New(slog.NewJSONHandler(q.Writer(nil, nil), nil))
	var faults config.Faults
	if errors.As(err, &faults) {
		log.Error("start failed", "faults", faults.Texts())
	} else {
		log.Error("start failed", "cause", err.Error())
	}
	_ = flushed(q)
	return errLogged
}
