package main

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"os"
	"time"

	"ais-gateway/internal/audit"
	"ais-gateway/internal/config"
	"ais-gateway/internal/output"
)

// auditPurpose tells the key of consents' hashes from whatever else may once be derived from the cache's key.
const auditPurpose = "ais-gateway audit records, consents, version 1"

// openAudit opens the sink of audit records. With output stdout they go where the log goes, and are the log lines of their
// requests, too.
func (p *program) openAudit(c *config.Config) error {
	key, err := auditKey(c)
	if err != nil {
		return err
	}
	p.recorded = p.log
	var sink io.WriteCloser
	switch c.Audit.Output {
	case config.AuditStdout:
		sink = &recordSink{Writer: p.recordWriter(p.lines)}
		p.recorded = p.telemetry.Exported()
	case config.AuditStderr:
		sink = p.recordSink(c, audit.Stream(os.Stderr))
	case config.AuditFile:
		sink = p.recordSink(c, audit.File(c.Audit.File))
	case config.AuditOff:
	}
	p.audit = audit.Open(audit.Config{
		Sink: sink, Key: key, Refuse: c.Audit.WhenFull == config.AuditRefuse, Now: time.Now, Logger: p.log,
		TraceIDs: p.telemetry.IDs,
	})
	p.warnings.add(p.auditWarnings)
	p.telemetry.ObserveLog(func() int64 { return p.logLines.State().Lost })
	p.telemetry.ObserveAudit(func() (enabled bool, failures int64) {
		s := p.audit.State()
		return s.Enabled, s.Failures
	})
	return nil
}

// recordWriter is where a queue takes records.
func (p *program) recordWriter(q *output.Queue) *output.Writer {
	return q.Writer(
		func(err error, n int64) { p.audit.Lost(err, n) },
		func(lost int64) { p.audit.Recovered(lost) })
}

// A recordSink is a queue of records alone, or the records' part of the log's.
type recordSink struct {
	*output.Writer
	own *output.Queue // nil for the log's
	to  io.WriteCloser
}

func (p *program) recordSink(c *config.Config, to io.WriteCloser) *recordSink {
	own := newQueue(c, to)
	return &recordSink{p.recordWriter(own), own, to}
}

// Ready reports at the start whether records can be written.
func (s *recordSink) Ready() error {
	if r, ok := s.to.(interface{ Ready() error }); ok {
		return r.Ready()
	}
	return nil
}

// Close writes what waits, as far as that is possible.
func (s *recordSink) Close() error {
	if s.own == nil {
		return nil
	}
	if err := flushed(s.own); err != nil {
		return err // and the file is still in use
	}
	return s.to.Close()
}

// auditKey is the key of consents' hashes: one of its own, else one that follows from the cache's first key. Without
// any, a consent has one hash for as long as the process lives.
func auditKey(c *config.Config) ([]byte, error) {
	if key := c.Audit.Key(); key != nil {
		return key, nil
	}
	if keys := c.Cache.Keys(); len(keys) > 0 {
		return hkdf.Key(sha256.New, keys[0], nil, auditPurpose, sha256.Size)
	}
	key := make([]byte, sha256.Size)
	_, err := rand.Read(key)
	return key, err
}

// auditWarnings are what is wrong with audit records, for whoever runs the gateway.
func (p *program) auditWarnings() []string {
	switch s := p.audit.State(); {
	case !s.Enabled:
		return []string{"audit records are off"}
	case s.Failing:
		return []string{"audit records cannot be written and are lost"}
	}
	return nil
}
