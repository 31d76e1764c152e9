package main

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"time"

	"ais-gateway/internal/audit"
	"ais-gateway/internal/config"
	"ais-gateway/internal/output"
)

const (
	// outputRoom is the number of bytes of log lines and records that may wait to be written, in addition to a record for each
	// request in progress.
	outputRoom = 4 << 20
	// outputTimeout limits the writing of what waits when the process ends, for each output.
	outputTimeout = time.Second
)

// errLogged is returned in place of an error that was logged.
var errLogged = errors.New("logged")

// silenceStdlog discards what the standard library logs: net/http quotes there unexpected data of providers, including accounts
// and names.
func silenceStdlog() { log.SetOutput(io.Discard) }

// newQueue opens a queue of log lines or records. What waits in it is lost if the process is killed.
func newQueue(c *config.Config, to io.Writer) *output.Queue {
	return output.New(output.Config{
		To: to, Room: outputRoom + c.Server.Limits.InFlight*audit.MaxLine, Keep: c.Audit.WhenFull == config.AuditRefuse,
	})
}

// closeQueue writes what waits in a queue within outputTimeout, and closes it.
func closeQueue(q *output.Queue) error {
	ctx, cancel := context.WithTimeout(context.Background(), outputTimeout)
	defer cancel()
	return q.Close(ctx)
}

// openLog opens the queue of log lines.
func (a *app) openLog(c *config.Config, to io.Writer) {
	a.logQueue = newQueue(c, to)
	a.logWriter = a.logQueue.Writer(nil, func(lost int64) { a.log.Warn("log lines lost", "lost", lost) })
	a.warnings.add(func() []string {
		if a.logWriter.State().Failing {
			return []string{"log lines cannot be written and are lost"}
		}
		return nil
	})
}

// logFailure logs in one JSON line why the gateway did not start, and returns errLogged.
func logFailure(to io.Writer, err error) error {
	q := output.New(output.Config{To: to, Room: outputRoom})
	log := slog.New(slog.NewJSONHandler(q.Writer(nil, nil), nil))
	var faults config.Faults
	if errors.As(err, &faults) {
		log.Error("start failed", "faults", faults.Texts())
	} else {
		log.Error("start failed", "cause", err.Error())
	}
	_ = closeQueue(q)
	return errLogged
}
