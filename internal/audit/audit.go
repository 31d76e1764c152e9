// Package audit keeps a record of every request, one JSON line each, apart from the log: who asked which bank for what,
// when, and what became of it, with the consent under a keyed hash. Whoever has the key can say which records belong to
// a consent; nobody can read a consent out of them. cmd opens it and hands it to internal/api.
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
)

// complainEvery is how often it is logged at most that records are lost.
const complainEvery = time.Minute

// Config is what a log of audit records is made of.
type Config struct {
	Sink   io.WriteCloser // nil to keep no records
	Key    []byte         // of the hashes of consents, 32 bytes
	Now    func() time.Time
	Logger *slog.Logger
}

// A Record is one request. It holds nothing that the caller wrote but the request's id and the consent.
type Record struct {
	Time      time.Time     // when the request came
	RequestID string        // a UUID
	TraceID   string        // 32 hexadecimal digits, or ""
	Client    string        // the caller's name in the configuration; "" for nobody known
	Method    string        // one of the known methods, or OTHER
	Route     string        // the path's template; "" for none
	ASPSP     string        // the id of a configured one, else ""
	Provider  string        // its provider's name
	Attended  *bool         // nil where it does not matter or was not found out
	Status    int           // 0 where nothing was answered
	Code      string        // of the problem; "" for a success
	Cache     string        // what came of the cache
	Slots     int           // of the unattended limit that were taken for it
	Duration  time.Duration // to the end of the answer
	Asked     string        // the ASPSP's id that was asked for, which the consent belongs to; only its hash is kept
	Consent   string        // the consent's id; only its hash is kept
}

// line is a record as it is written. stream comes first, so that records and log lines in one output can be told apart by
// their first bytes.
type line struct {
	Stream      string    `json:"stream"`
	Time        time.Time `json:"time"`
	RequestID   string    `json:"request_id"`
	TraceID     string    `json:"trace_id"`
	Client      string    `json:"client"`
	Method      string    `json:"method"`
	Route       string    `json:"route"`
	ASPSP       string    `json:"aspsp_id"`
	Provider    string    `json:"provider"`
	ConsentHash string    `json:"consent_hash"`
	Attended    *bool     `json:"attended"`
	Status      int       `json:"status"`
	Code        string    `json:"code"`
	Cache       string    `json:"cache"`
	Slots       int       `json:"slots"`
	DurationMS  int64     `json:"duration_ms"`
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
		c.Logger.Warn("audit records are switched off")
		return l
	}
	if f, ok := c.Sink.(*file); ok {
		if err := f.ready(); err != nil {
			l.fail(err, 0)
		}
	}
	return l
}

// Write keeps a record. A record that cannot be written is lost, and counted.
func (l *Log) Write(r Record) {
	if l.Sink == nil {
		return
	}
	text, err := json.Marshal(line{
		Stream: "audit", Time: r.Time.UTC(), RequestID: r.RequestID, TraceID: r.TraceID, Client: r.Client, Method: r.Method,
		Route: r.Route, ASPSP: r.ASPSP, Provider: r.Provider, ConsentHash: l.pseudonym(r.Asked, r.Consent), Attended: r.Attended,
		Status: r.Status, Code: r.Code, Cache: r.Cache, Slots: r.Slots, DurationMS: r.Duration.Milliseconds(),
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.Sink.Write(append(text, '\n'))
	}
	if l.failing = err != nil; l.failing {
		l.fail(err, 1)
	}
}

// State is how it stands now.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{Enabled: l.Sink != nil, Failing: l.failing, Failures: l.failures}
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
	l.Logger.Error("audit records cannot be written", "cause", cause(err), "silenced", l.untold)
	l.told, l.untold = now, 0
}

// pseudonym is the HMAC-SHA-256 of an ASPSP's id and a consent's, the first 128 bits in hexadecimal; "" unless there are
// both. Spellings of a consent that a bank takes for one have one pseudonym.
func (l *Log) pseudonym(aspsp, consent string) string {
	if aspsp == "" || consent == "" {
		return ""
	}
	mac := hmac.New(sha256.New, l.Key)
	for _, part := range []string{aspsp, canonical.FoldID(consent)} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
