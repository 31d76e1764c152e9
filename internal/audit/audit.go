// Package audit writes one JSON line for every request: the client, the ASPSP, the outcome, and a
// keyed hash of the consent. The holder of the key finds the records of a known consent, but a
// record does not show the consent id. On standard output the record is the log line of the request
// too.
//
// Lost records are always reported: State shows that records are off or cannot be written, and the
// log has each failure.
package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"sync"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/output"
)

// logEvery is the minimum time between two log lines about lost records.
const logEvery = time.Minute

// Config configures a Log.
type Config struct {
	// Sink receives the records, and Queue holds them until Sink or another output has accepted
	// them. Without Queue, Write writes to Sink. With Queue and without Sink, Queue belongs to the
	// caller. There are no records if both are nil. Open calls Sink's method Ready() error, if it
	// has one.
	Sink   io.WriteCloser
	Queue  *output.Queue
	Key    []byte // the HMAC key for consents and clients, 32 bytes; see Key
	Refuse bool   // with Queue: refuse a request if there is no space for its record
	// TraceIDs returns the ids of the trace and span of a request's context, in hexadecimal, or "".
	// Optional.
	TraceIDs func(context.Context) (traceID, spanID string)
	Now      func() time.Time
	Logger   *slog.Logger
}

// MaxLine is the space in bytes that is reserved for a record. Only a very long client or provider
// name makes a record longer.
const MaxLine = 2 << 10

// State is the current state of a Log.
type State struct {
	Enabled  bool
	Failing  bool  // the last record was lost
	Failures int64 // records lost since the start
}

// A Log writes audit records. It is safe for concurrent use.
type Log struct {
	Config

	queued   *output.Writer // into Queue; nil without it
	throttle output.Throttle

	mu       sync.Mutex
	failing  bool
	failures int64
}

// Open returns a Log. It logs immediately if there are no records, or if the sink is not ready.
func Open(c Config) *Log {
	l := &Log{Config: c, throttle: output.Throttle{Every: logEvery, Now: c.Now}}
	if c.Queue != nil {
		l.queued = c.Queue.Writer(l.lost, func(lost int64) { c.Logger.Warn("audit records written again", "lost", lost) })
	}
	if !l.enabled() {
		c.Logger.Warn("audit records are off")
	}
	if f, ok := c.Sink.(interface{ Ready() error }); ok {
		if err := f.Ready(); err != nil {
			l.fail(err, 0)
		}
	}
	return l
}

func (l *Log) enabled() bool { return l.Sink != nil || l.queued != nil }

// Reserve reports whether a request may be served. With Config.Refuse it reserves space for the
// record, which Write uses, and returns false if there is no space.
func (l *Log) Reserve() bool {
	return !l.Refuse || l.queued == nil || l.queued.Reserve(MaxLine)
}

// Write writes the audit record of r. A record that cannot be written is lost and counted in State.
func (l *Log) Write(ctx context.Context, r event.Request) {
	var to io.Writer = l.Sink
	switch {
	case !l.enabled():
		return
	case l.queued != nil && l.Refuse && r.AuditReserved:
		to = l.queued.Reserved(MaxLine)
	case l.queued != nil:
		to = l.queued
	}
	record := l.record(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	err := slog.NewJSONHandler(to, nil).Handle(ctx, record)
	if l.failing = err != nil; l.failing {
		l.fail(err, 1)
	}
}

// record returns the log line of r with the members that only audit records have.
func (l *Log) record(ctx context.Context, r event.Request) slog.Record {
	var traceID, spanID string
	if l.TraceIDs != nil {
		traceID, spanID = l.TraceIDs(ctx)
	}
	record := slog.NewRecord(r.Start.UTC(), r.Level(), "request", 0)
	record.AddAttrs(slog.Attr{Key: "record", Value: slog.StringValue("audit")})
	record.AddAttrs(r.Attrs()...)
	for _, member := range [][2]string{
		{"consent_hash", l.consentHash(r.RequestedASPSP, r.Consent.Reveal())}, {"trace_id", traceID}, {"span_id", spanID},
	} {
		if member[1] != "" {
			record.AddAttrs(slog.String(member[0], member[1]))
		}
	}
	return record
}

// lost counts n records that the queue had accepted. With n = 0 they are not lost, but cannot be
// written now.
func (l *Log) lost(err error, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err, n)
}

// State returns the current state.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Enabled: l.enabled(), Failing: l.failing, Failures: l.failures}
	if l.queued != nil { // the queue may have accepted records that it cannot write
		s.Failing = s.Failing || l.queued.State().Failing
	}
	return s
}

// Close writes the waiting records and closes Sink. It returns the error of Queue.Close, and then
// leaves Sink open, or that of closing Sink. A Queue without Sink stays open.
func (l *Log) Close() error {
	if l.Sink == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Queue != nil {
		if err := l.Queue.Close(); err != nil {
			return err
		}
	}
	return l.Sink.Close()
}

// fail counts lost records and logs at most once a minute. It logs no text of the error, because
// that may contain a path.
func (l *Log) fail(err error, lost int64) {
	l.failing = true
	l.failures += lost
	if suppressed, ok := l.throttle.Allow(lost); ok {
		l.Logger.Error("audit records cannot be written", "cause", Cause(err), "silenced", suppressed)
	}
}

// consentHash returns the pseudonym of an ASPSP id and a consent id, or "" if either is "". Consent
// ids that differ only in the case of a UUID have the same hash.
func (l *Log) consentHash(aspsp, consent string) string {
	if aspsp == "" || consent == "" {
		return ""
	}
	return l.Pseudonym(aspsp, canonical.NormalizeID(consent))
}

// Pseudonym returns the first 128 bits of the HMAC-SHA-256 of parts in hexadecimal. Each part is
// preceded by its length.
func (l *Log) Pseudonym(parts ...string) string {
	mac := hmac.New(sha256.New, l.Key)
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
