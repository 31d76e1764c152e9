// Package audit keeps a record of every request, one JSON line each: which client requested what of which ASPSP, when, and
// with which outcome, and the consent as a keyed hash. The key finds the records of a known consent; no consent can be read
// out of a record. On standard output a record is the request's log line, too. cmd opens it and hands it to internal/api.
//
// Records cannot be lost in silence: a sink that is switched off or fails is in State, and a failure in the log.
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

// complainEvery is how often it is logged at most that records are lost.
const complainEvery = time.Minute

// Config is what a log of audit records is made of.
type Config struct {
	Sink   io.WriteCloser // nil to keep no records; with a method Ready() error, it is called at the start
	Key    []byte         // of the hashes of consents and clients, 32 bytes
	Refuse bool           // a request whose record has no room must not be served
	// TraceIDs returns the ids of the trace and span of a request's context, in hexadecimal, or "". Optional.
	TraceIDs func(context.Context) (traceID, spanID string)
	Now      func() time.Time
	Logger   *slog.Logger
}

// MaxLine bounds a record as it is written, in bytes, unless a client's or provider's name is very long.
const MaxLine = 2 << 10

// State is how the keeping of records stands.
type State struct {
	Enabled  bool
	Failing  bool  // the last record was lost
	Failures int64 // records that were lost since the start
}

// A Log writes audit records. It is safe for concurrent use.
type Log struct {
	Config

	mu       sync.Mutex
	failing  bool
	failures int64
	told     time.Time // when it was last logged that records are lost
	untold   int64     // records that were lost since
}

// Open makes a log of audit records, and complains at once about a sink that cannot be written or that there is none.
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

// Reserve reports whether a request may be served: with Refuse, only if its record will have room, which Write then uses.
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

// Lost notes that n records which the sink had taken are lost, or, with 0, that it cannot write them now.
func (l *Log) Lost(err error, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err, n)
}

// Recovered logs that records are written again after some were lost.
func (l *Log) Recovered(lost int64) { l.Logger.Warn("audit records written again", "lost", lost) }

// State is how it stands now.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Enabled: l.Sink != nil, Failing: l.failing, Failures: l.failures}
	if q, ok := l.Sink.(interface{ State() output.State }); ok { // which has taken records that cannot be written
		s.Failing = s.Failing || q.State().Failing
	}
	return s
}

// Close ends the sink.
func (l *Log) Close() error {
	if l.Sink == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Sink.Close()
}

// fail counts lost records, and logs it at most once a minute. The sink's own words may hold its path.
func (l *Log) fail(err error, lost int64) {
	l.failing = true
	l.failures += lost
	now := l.Now()
	if !l.told.IsZero() && now.Sub(l.told) < complainEvery {
		l.untold += lost
		return
	}
	l.Logger.Error("audit records cannot be written", "cause", Cause(err), "silenced", l.untold)
	l.told, l.untold = now, 0
}

// consentHash returns the pseudonym of an ASPSP's id and a consent's; "" unless there are both. Spellings of a consent that a
// bank takes for one have one hash.
func (l *Log) consentHash(aspsp, consent string) string {
	if aspsp == "" || consent == "" {
		return ""
	}
	return l.Pseudonym(aspsp, canonical.NormalizeID(consent))
}

// Pseudonym returns the HMAC-SHA-256 of parts, each with its length before it, the first 128 bits in hexadecimal.
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
