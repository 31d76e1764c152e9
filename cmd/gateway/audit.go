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

// auditPurpose is the HKDF info string of the key that hashes consent ids.
const auditPurpose = "ais-gateway audit records, consents, version 1"

// openAudit opens the output of audit records. With output stdout they go where the log goes, and are the log lines of their
// requests as well.
func (a *app) openAudit(c *config.Config) error {
	key, err := auditKey(c)
	if err != nil {
		return err
	}
	a.requestLog = a.log
	var sink io.WriteCloser
	switch c.Audit.Output {
	case config.AuditStdout:
		sink = &recordSink{Writer: a.recordWriter(a.logQueue)}
		a.requestLog = a.telemetry.Exported()
	case config.AuditStderr:
		sink = a.newRecordSink(c, audit.Stream(os.Stderr))
	case config.AuditFile:
		sink = a.newRecordSink(c, audit.File(c.Audit.File))
	case config.AuditOff:
	}
	a.audit = audit.Open(audit.Config{
		Sink: sink, Key: key, Refuse: c.Audit.WhenFull == config.AuditRefuse, Now: time.Now, Logger: a.log,
		TraceIDs: a.telemetry.IDs,
	})
	a.warnings.add(a.auditWarnings)
	return nil
}

// recordWriter returns the writer of audit records into a queue.
func (a *app) recordWriter(q *output.Queue) *output.Writer {
	return q.Writer(
		func(err error, n int64) { a.audit.Lost(err, n) },
		func(lost int64) { a.audit.Recovered(lost) })
}

// recordSink writes audit records into a queue of their own or into that of the log.
type recordSink struct {
	*output.Writer
	own *output.Queue // nil if the queue is that of the log
	to  io.WriteCloser
}

func (a *app) newRecordSink(c *config.Config, to io.WriteCloser) *recordSink {
	own := newQueue(c, to)
	return &recordSink{a.recordWriter(own), own, to}
}

// Ready returns an error if records cannot be written.
func (s *recordSink) Ready() error {
	if r, ok := s.to.(interface{ Ready() error }); ok {
		return r.Ready()
	}
	return nil
}

// Close writes what waits within outputTimeout, and closes the output.
func (s *recordSink) Close() error {
	if s.own == nil {
		return nil
	}
	if err := closeQueue(s.own); err != nil {
		return err // and the file is still in use
	}
	return s.to.Close()
}

// auditKey returns the key of consent hashes: the configured one, or one that is derived from the cache's first key, or a random
// one, with which the hash of a consent is the same only as long as the process lives.
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

// auditWarnings returns the operator's warnings about audit records.
func (a *app) auditWarnings() []string {
	switch s := a.audit.State(); {
	case !s.Enabled:
		return []string{"audit records are off"}
	case s.Failing:
		return []string{"audit records cannot be written and are lost"}
	}
	return nil
}
