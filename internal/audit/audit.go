// Package audit writes one JSON line for every request, and one more for each source of an
// aggregation: the client, the ASPSP, the outcome, and a keyed hash of the consent. The holder of
// the key finds the records of a known consent, but a record does not show the consent id. On
// standard output the record is the log line of the request too.
//
// Lost records are always reported: State shows that records are off or cannot be written, and the
// log has each failure.
package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
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
	// TraceIDs returns the ids of the trace and span of a request's context, or zeros. Optional.
	TraceIDs func(context.Context) (traceID [16]byte, spanID [8]byte)
	Now      func() time.Time
	Logger   *slog.Logger
}

// MaxLine is the space in bytes that is reserved for a record. Only a very long client or provider
// name makes a record longer.
const MaxLine = 2 << 10

// lineRoom is the space in bytes in which a record is made. A longer record is made on the heap.
const lineRoom = 1 << 10

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
	hashers  sync.Pool // of *hasher

	mu       sync.Mutex  // also of Sink, without Queue
	failing  atomic.Bool // changes under mu
	failures int64
}

// Open returns a Log. It logs immediately if there are no records, or if the sink is not ready.
func Open(c Config) *Log {
	l := &Log{Config: c, throttle: output.Throttle{Every: logEvery, Now: c.Now}}
	l.hashers.New = func() any { return &hasher{mac: hmac.New(sha256.New, c.Key)} }
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

// Reserve reports whether a request may be served that writes n records. With Config.Refuse it
// reserves space for all of them, which n calls of Write must use, or returns false if there is no
// space.
func (l *Log) Reserve(n int) bool {
	return !l.Refuse || l.queued == nil || l.queued.Reserve(n*MaxLine)
}

// Write writes the audit record of r. A record that cannot be written is lost and counted in State.
func (l *Log) Write(ctx context.Context, r event.Request) {
	if !l.enabled() {
		return
	}
	var room [lineRoom]byte
	line := l.appendRecord(ctx, room[:0], r)
	if l.queued == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, err := l.Sink.Write(bytes.Clone(line))
		l.written(err)
		return
	}
	var err error
	if l.Refuse && r.AuditReserved {
		_, err = l.queued.WriteReserved(line, MaxLine)
	} else {
		_, err = l.queued.Write(line)
	}
	if err != nil || l.failing.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.written(err)
	}
}

// written records whether a record was lost.
func (l *Log) written(err error) {
	if l.failing.Store(false); err != nil {
		l.fail(err, 1)
	}
}

// appendRecord appends the line of r: its JSON object, and the members that only audit records
// have.
func (l *Log) appendRecord(ctx context.Context, to []byte, r event.Request) []byte {
	to = r.AppendJSON(to, "audit")
	if consent := r.Consent.Reveal(); r.RequestedASPSP != "" && consent != "" {
		hash := l.hash(r.RequestedASPSP, canonical.NormalizeID(consent))
		to = appendHex(to, `,"consent_hash":"`, hash[:])
	}
	if l.TraceIDs != nil {
		if traceID, spanID := l.TraceIDs(ctx); traceID != [16]byte{} {
			to = appendHex(to, `,"trace_id":"`, traceID[:])
			to = appendHex(to, `,"span_id":"`, spanID[:])
		}
	}
	return append(to, "}\n"...)
}

// appendHex appends start, value in hexadecimal, and a quotation mark.
func appendHex(to []byte, start string, value []byte) []byte {
	return append(hex.AppendEncode(append(to, start...), value), '"')
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
	s := State{Enabled: l.enabled(), Failing: l.failing.Load(), Failures: l.failures}
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
	l.failing.Store(true)
	l.failures += lost
	if suppressed, ok := l.throttle.Allow(lost); ok {
		l.Logger.Error("audit records cannot be written", "cause", Cause(err), "silenced", suppressed)
	}
}

// Pseudonym returns the first 128 bits of the HMAC-SHA-256 of parts in hexadecimal. Each part is
// preceded by its length.
func (l *Log) Pseudonym(parts ...string) string {
	hash := l.hash(parts...)
	return hex.EncodeToString(hash[:])
}

// hasher computes HMACs with the key of a Log, one after the other.
type hasher struct {
	mac  hash.Hash
	text []byte
}

// hash returns the bytes of Pseudonym.
func (l *Log) hash(parts ...string) [16]byte {
	h := l.hashers.Get().(*hasher)
	defer l.hashers.Put(h)
	h.text = h.text[:0]
	for _, part := range parts {
		h.text = binary.BigEndian.AppendUint64(h.text, uint64(len(part)))
		h.text = append(h.text, part...)
	}
	h.mac.Reset()
	h.mac.Write(h.text)
	clear(h.text) // the hash itself keeps its last block until the next one
	h.text = h.mac.Sum(h.text[:0])
	return [16]byte(h.text)
}
