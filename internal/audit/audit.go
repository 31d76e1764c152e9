// Package audit writes one JSON line for every request: the client, the ASPSP, the outcome, and a keyed hash of the consent.
// The holder of the key finds the records of a known consent, but a record does not show the consent id. On standard
// output the record is the log line of the request too.
//
// Lost records are always reported: State shows that records are off or cannot be written, and the log has each failure.
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
	Sink   io.WriteCloser // nil for no records. Open calls its method Ready() error, if it has one
	Key    []byte         // the HMAC key for consents and clients, 32 bytes
	Refuse bool           // refuse a request if there is no space for its record
	// TraceIDs returns the ids of the trace and span of a request's context, in hexadecimal, or "". Optional.
	TraceIDs func(context.Context) (traceID, spanID string)
	Now      func() time.Time
	Logger   *slog.Logger
}

// MaxLine is the space in bytes that is reserved for a record. Only a very long client or provider name makes a record longer.
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

	mu         sync.Mutex
	failing    bool
	failures   int64
	lastLogged time.Time // when lost records were last logged
	suppressed int64     // records lost since then
}

// Open returns a Log. It logs immediately if there is no sink, or if the sink is not ready.
func Open(c Config) *Log {
	l := &Log{Config: c}
	if c.Sink == nil {
		c.Logger.Warn("audit records are off")
		return l
	}
	if f, ok := c.Sink.(interface{ Ready() error }); ok {
		if err := f.Ready(); err != nil {
			l.fail(err, 0)
		}
	}
	return l
}

// A reserver is a sink that can reserve space for a record that will be written later.
type reserver interface {
	Reserve(size int) bool
	Reserved(size int) io.Writer
}

// Reserve reports whether a request may be served. With Config.Refuse it reserves space for the record, which Write uses,
// and returns false if there is no space.
func (l *Log) Reserve() bool {
	r, ok := l.Sink.(reserver)
	return !l.Refuse || !ok || r.Reserve(MaxLine)
}

// Write writes the audit record of r. A record that cannot be written is lost and counted in State.
func (l *Log) Write(ctx context.Context, r event.Request) {
	if l.Sink == nil {
		return
	}
	var sink io.Writer = l.Sink
	if s, ok := sink.(reserver); ok && l.Refuse && r.AuditReserved {
		sink = s.Reserved(MaxLine)
	}
	record := l.record(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	err := slog.NewJSONHandler(sink, nil).Handle(ctx, record)
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

// Lost reports that n records that the sink had accepted are lost. With n = 0 they are not lost, but cannot be written now.
func (l *Log) Lost(err error, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err, n)
}

// Recovered logs that records are written again, after lost records.
func (l *Log) Recovered(lost int64) { l.Logger.Warn("audit records written again", "lost", lost) }

// State returns the current state.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Enabled: l.Sink != nil, Failing: l.failing, Failures: l.failures}
	if q, ok := l.Sink.(interface{ State() output.State }); ok { // the queue has accepted records that it cannot write
		s.Failing = s.Failing || q.State().Failing
	}
	return s
}

// Close closes the sink.
func (l *Log) Close() error {
	if l.Sink == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Sink.Close()
}

// fail counts lost records and logs at most once a minute. It logs no text of the error, because that may contain a path.
func (l *Log) fail(err error, lost int64) {
	l.failing = true
	l.failures += lost
	now := l.Now()
	if !l.lastLogged.IsZero() && now.Sub(l.lastLogged) < logEvery {
		l.suppressed += lost
		return
	}
	l.Logger.Error("audit records cannot be written", "cause", Cause(err), "silenced", l.suppressed)
	l.lastLogged, l.suppressed = now, 0
}

// consentHash returns the pseudonym of an ASPSP id and a consent id, or "" if either is "". Consent ids that differ only in
// the case of a UUID have the same hash.
func (l *Log) consentHash(aspsp, consent string) string {
	if aspsp == "" || consent == "" {
		return ""
	}
	return l.Pseudonym(aspsp, canonical.NormalizeID(consent))
}

// Pseudonym returns the first 128 bits of the HMAC-SHA-256 of parts in hexadecimal. Each part is preceded by its length.
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
