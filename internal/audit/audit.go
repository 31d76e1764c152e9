// Package audit keeps a record of every request, one JSON line each: which client requested what of which ASPSP, when, and
// with which outcome, and the consent as a keyed hash. The key finds the records of a known consent; no consent can be read
// out of a record. On standard output a record is the request's log line, too. cmd opens it and hands it to internal/api.
//
// Records cannot be lost in silence: a sink that is switched off or fails is in State, and a failure in the log.
package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/output"
)

// complainEvery is how often it is logged at most that records are lost.
const complainEvery = time.Minute

// Config is what a log of audit records is made of.
type Config struct {
	Sink   io.WriteCloser // nil to keep no records; with a method Ready() error, it is called at the start
	Key    []byte         // of the hashes of consents and clients, 32 bytes
	Refuse bool           // a request whose record has no room must not be served
	Now    func() time.Time
	Logger *slog.Logger
}

// A Record is one request. It holds nothing that the caller wrote but the request's id and the consent.
type Record struct {
	Time      time.Time     // when the request came
	RequestID string        // a UUID
	TraceID   string        // 32 hexadecimal digits, or ""
	SpanID    string        // 16 hexadecimal digits, or ""
	Client    string        // the client's name as a log may have it; "" for nobody known
	ClientBy  string        // how the client was identified: api_key, or the claim of a token; "" for nobody known
	Issuer    string        // the place of its token's issuer in the configuration; "" for an API key
	Method    string        // one of the known methods, or OTHER
	Route     string        // the path's template; "" for none
	ASPSP     string        // the id of a configured one, else ""
	Provider  string        // its provider's name
	Attended  *bool         // nil where it does not matter or was not found out
	Status    int           // 0 where nothing was answered
	Code      string        // of the problem; "" for a success
	Cause     string        // of a problem, fit for the log; "" for none
	Cache     string        // what came of the cache
	Slots     int           // of the unattended limit that were taken for it
	Duration  time.Duration // to the end of the answer
	Reserved  bool          // there is room for it, as Reserve has reported
	Asked     string        // the ASPSP's id that was asked for, which the consent belongs to; only its hash is kept
	Consent   string        // the consent's id; only its hash is kept
}

// MaxLine bounds a record as it is written, in bytes, unless a client's or provider's name is very long.
const MaxLine = 2 << 10

// line is a record as it is written: a log line with the members that only records have. What is unknown is left out.
type line struct {
	Time        time.Time `json:"time"`
	Level       string    `json:"level"`
	Message     string    `json:"msg"`
	Record      string    `json:"record"`
	Method      string    `json:"method,omitempty"`
	Route       string    `json:"route,omitempty"`
	Status      int       `json:"status"`
	Code        string    `json:"code,omitempty"`
	Cause       string    `json:"cause,omitempty"`
	Client      string    `json:"client,omitempty"`
	ClientBy    string    `json:"identified_by,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	ASPSP       string    `json:"aspsp_id,omitempty"`
	Provider    string    `json:"provider,omitempty"`
	ConsentHash string    `json:"consent_hash,omitempty"`
	Attended    *bool     `json:"attended,omitempty"`
	Cache       string    `json:"cache,omitempty"`
	Slots       int       `json:"slots"`
	DurationMS  int64     `json:"duration_ms"`
	RequestID   string    `json:"request_id,omitempty"`
	TraceID     string    `json:"trace_id,omitempty"`
	SpanID      string    `json:"span_id,omitempty"`
}

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

// A room is a sink that can keep room for a record that will come.
type room interface {
	Reserve(size int) bool
	Reserved(size int) io.Writer
}

// Reserve reports whether a request may be served: with Refuse, only if its record will have room, which Write then uses.
func (l *Log) Reserve() bool {
	r, ok := l.Sink.(room)
	return !l.Refuse || !ok || r.Reserve(MaxLine)
}

// Write keeps a record. A record that cannot be written is lost, and counted.
func (l *Log) Write(r Record) {
	if l.Sink == nil {
		return
	}
	var sink io.Writer = l.Sink
	if keeps, ok := sink.(room); ok && l.Refuse && r.Reserved {
		sink = keeps.Reserved(MaxLine)
	}
	text, err := json.Marshal(l.line(r))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = sink.Write(append(text, '\n'))
	}
	if l.failing = err != nil; l.failing {
		l.fail(err, 1)
	}
}

func (l *Log) line(r Record) line {
	level := slog.LevelInfo
	if r.Code == string(canonical.InternalError) {
		level = slog.LevelError
	}
	return line{
		Time: r.Time.UTC(), Level: level.String(), Message: "request", Record: "audit", Method: r.Method, Route: r.Route,
		Status: r.Status, Code: r.Code, Cause: r.Cause, Client: r.Client, ClientBy: r.ClientBy, Issuer: r.Issuer,
		ASPSP: r.ASPSP, Provider: r.Provider, ConsentHash: l.consentHash(r.Asked, r.Consent), Attended: r.Attended,
		Cache: r.Cache, Slots: r.Slots, DurationMS: r.Duration.Milliseconds(),
		RequestID: r.RequestID, TraceID: r.TraceID, SpanID: r.SpanID,
	}
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
