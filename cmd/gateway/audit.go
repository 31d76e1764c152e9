package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"os"
	"sync"
	"time"

	"ais-gateway/internal/api"
	"ais-gateway/internal/audit"
	"ais-gateway/internal/config"
	"ais-gateway/internal/telemetry"
)

// auditPurpose tells the key of consents' hashes from whatever else may once be derived from the cache's key.
const auditPurpose = "ais-gateway audit records, consents, version 1"

// openAudit opens the sink of audit records. Standard output is where the log goes.
func (p *program) openAudit(c *config.Config, logs io.Writer) error {
	key, err := auditKey(c)
	if err != nil {
		return err
	}
	var sink io.WriteCloser
	switch c.Audit.Output {
	case config.AuditStdout:
		sink = audit.Stream(logs)
	case config.AuditStderr:
		sink = audit.Stream(os.Stderr)
	case config.AuditFile:
		sink = audit.File(c.Audit.File)
	case config.AuditOff:
	}
	p.audit = audit.Open(audit.Config{Sink: sink, Key: key, Now: time.Now, Logger: p.log})
	p.telemetry.ObserveAudit(func() (enabled bool, failures int64) {
		s := p.audit.State()
		return s.Enabled, s.Failures
	})
	return nil
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
		return []string{"audit records are switched off"}
	case s.Failing:
		return []string{"audit records cannot be written and are lost"}
	}
	return nil
}

// audits makes audit records of requests.
type audits struct {
	log       *audit.Log
	telemetry *telemetry.Telemetry
}

func (a audits) Audit(ctx context.Context, e api.Entry) {
	a.log.Write(audit.Record{
		Time: e.At, RequestID: e.RequestID, TraceID: a.telemetry.TraceID(ctx), Client: e.Client, Method: e.Method, Route: e.Route,
		ASPSP: e.ASPSP, Provider: e.Provider, Attended: e.Attended, Status: e.Status, Code: e.Code, Cache: e.Cache,
		Slots: e.Slots, Duration: e.Duration, Asked: e.Asked, Consent: e.Consent,
	})
}

// oneByOne lets lines of several writers follow each other.
type oneByOne struct {
	mu sync.Mutex
	to io.Writer
}

func (o *oneByOne) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to.Write(line)
}
