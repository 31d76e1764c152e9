package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/audit"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/output"
)

const (
	bank    = "4f1e2d3c-0000-4000-8000-000000000001"
	consent = "3c7816ee-3d51-4bf5-8ced-ece2af35d431"
)

// fixture is a Log with its log lines and a clock.
type fixture struct {
	*audit.Log
	logged bytes.Buffer
	now    time.Time
}

func open(sink io.WriteCloser, key byte) *fixture {
	k := &fixture{now: time.Unix(0, 0)}
	k.Log = audit.Open(audit.Config{
		Sink: sink, Key: bytes.Repeat([]byte{key}, 32), Now: func() time.Time { return k.now },
		Logger: slog.New(slog.NewJSONHandler(&k.logged, nil)),
	})
	return k
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestRecord(t *testing.T) {
	var out bytes.Buffer
	no := false
	l := open(audit.Stream(&out), 7)
	l.TraceIDs = func(context.Context) ([16]byte, [8]byte) { return [16]byte{0x4b, 15: 1}, [8]byte{7: 0xf0} }
	start := time.Date(2026, 11, 20, 12, 0, 0, 5, time.FixedZone("", 3600))
	l.Write(t.Context(), event.Request{
		Start: start, RequestID: "r", Client: "c", IdentifiedBy: "azp", Issuer: "clients.oidc[0]", Method: "GET", Route: "/v1",
		ASPSP: bank, Provider: "p", Attended: &no, Status: 429, Code: "X", Cache: "miss", Slots: 2, Duration: 1500 * time.Millisecond,
		RequestedASPSP: bank, Consent: consent,
	})
	l.Write(t.Context(), event.Request{Start: start, Method: "POST", Status: 200, RequestedASPSP: bank, Consent: consent, Outcome: "ok"})
	l.TraceIDs = nil
	l.Write(t.Context(), event.Request{Start: start, Code: "INTERNAL_ERROR", Cause: "panic"})
	want := `{"time":"2026-11-20T11:00:00.000000005Z","level":"INFO","msg":"request","record":"audit","method":"GET","route":"/v1",` +
		`"status":429,"code":"X","client":"c","identified_by":"azp","issuer":"clients.oidc[0]","aspsp_id":"` + bank + `","provider":"p",` +
		`"cache":"miss","slots":2,"duration_ms":1500,"request_id":"r","attended":false,` +
		`"consent_hash":"e7c22a5f21a591d1ef31714b44a43a2e","trace_id":"4b000000000000000000000000000001","span_id":"00000000000000f0"}` + "\n" +
		`{"time":"2026-11-20T11:00:00.000000005Z","level":"INFO","msg":"request","record":"audit","method":"POST","status":200,"outcome":"ok",` +
		`"slots":0,"duration_ms":0,"consent_hash":"e7c22a5f21a591d1ef31714b44a43a2e","trace_id":"4b000000000000000000000000000001","span_id":"00000000000000f0"}` + "\n" +
		`{"time":"2026-11-20T11:00:00.000000005Z","level":"ERROR","msg":"request","record":"audit","status":0,"code":"INTERNAL_ERROR","cause":"panic",` +
		`"slots":0,"duration_ms":0}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if l.State() != (audit.State{Enabled: true}) || l.logged.Len() > 0 {
		t.Errorf("%+v %s", l.State(), &l.logged)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// hash returns the consent_hash of a record.
func hash(t *testing.T, key byte, aspsp, consent string) string {
	t.Helper()
	var out bytes.Buffer
	open(audit.Stream(&out), key).Write(t.Context(), event.Request{RequestedASPSP: aspsp, Consent: canonical.Secret(consent)})
	var record struct {
		Hash string `json:"consent_hash"`
	}
	if err := json.Unmarshal(out.Bytes(), &record); err != nil || strings.Contains(strings.ToLower(out.String()), "3c7816ee") {
		t.Fatalf("%s, %v", &out, err)
	}
	return record.Hash
}

func TestConsentHash(t *testing.T) {
	one := hash(t, 7, bank, consent)
	if len(one) != 32 {
		t.Errorf("a hash of %d digits, want 128 bits", len(one))
	}
	if hash(t, 7, bank, strings.ToUpper(consent)) != one {
		t.Error("two spellings of one consent have two hashes")
	}
	seen := map[string]string{one: "itself"}
	for name, other := range map[string]string{
		"another key":     hash(t, 8, bank, consent),
		"another bank":    hash(t, 7, strings.Replace(bank, "1", "2", 1), consent),
		"another consent": hash(t, 7, bank, consent[:35]+"2"),
		"another split":   hash(t, 7, bank+consent[:1], consent[1:]),
		"no UUID":         hash(t, 7, bank, "abc"),
		"in capitals":     hash(t, 7, bank, "ABC"),
	} {
		if twin, found := seen[other]; found {
			t.Errorf("%s has the hash of %s", name, twin)
		}
		seen[other] = name
	}
	for _, got := range []string{hash(t, 7, "", consent), hash(t, 7, bank, "")} {
		if got != "" {
			t.Errorf("without ASPSP or consent the hash is %s", got)
		}
	}
}

// A Log computes many hashes, also concurrently, and each is that of a new Log.
func TestPseudonyms(t *testing.T) {
	one := open(nil, 7)
	var all sync.WaitGroup
	for i := range 50 {
		parts := []string{strings.Repeat("x", 100-i), strings.Repeat("y", i)}[:1+i%2]
		want := open(nil, 7).Pseudonym(parts...)
		for range 4 {
			all.Go(func() {
				if got := one.Pseudonym(parts...); got != want {
					t.Errorf("the hash of %q is %s, want %s", parts, got, want)
				}
			})
		}
	}
	all.Wait()
}

func TestOff(t *testing.T) {
	l := open(nil, 7)
	l.Write(t.Context(), event.Request{})
	if l.State() != (audit.State{}) || l.Close() != nil {
		t.Errorf("%+v", l.State())
	}
	if got := l.logged.String(); !strings.Contains(got, `"level":"WARN","msg":"audit records are off"`) {
		t.Errorf("nothing was logged: %s", got)
	}
}

// The file has mode 0600, is appended to, and is created again after it was moved or removed.
func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(name, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(audit.File(name), 7)
	l.Write(t.Context(), event.Request{Start: time.Unix(1, 0), RequestID: "1"})
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	l.Write(t.Context(), event.Request{Start: time.Unix(1, 0), RequestID: "2"})
	l.Write(t.Context(), event.Request{RequestID: "3"})
	// a program that rotates files may create the new one
	if err := errors.Join(os.Rename(name, name+".2"), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	l.Write(t.Context(), event.Request{RequestID: "4"})
	if got := lines(t, name); len(got) != 1 || !strings.Contains(got[0], `"request_id":"4"`) {
		t.Errorf("the new file contains %q", got)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	l.Write(t.Context(), event.Request{RequestID: "5"})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l.Write(t.Context(), event.Request{RequestID: "6"})
	for file, want := range map[string][]string{name + ".1": {"before", "1"}, name + ".2": {"2", "3"}, name: {"5", "6"}} {
		got := lines(t, file)
		if len(got) != len(want) {
			t.Fatalf("%s contains %q", file, got)
		}
		for i, id := range want {
			if id != "before" && !strings.Contains(got[i], `"request_id":"`+id+`"`) {
				t.Errorf("line %d of %s is %s, want request %s", i, file, got[i], id)
			}
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if l.State() != (audit.State{Enabled: true}) || l.logged.Len() > 0 {
		t.Errorf("%+v %s", l.State(), &l.logged)
	}
}

// A failing sink is logged immediately and then once a minute, is counted, and recovers.
func TestFailingSink(t *testing.T) {
	dir := t.TempDir()
	pipe, place := filepath.Join(dir, "pipe"), filepath.Join(dir, "later", "audit.log")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0) // so that a write would not block
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for name, tt := range map[string]struct {
		path, cause string
		early       bool // the failure shows at the start
		repair      func() error
	}{
		"disk full":    {path: "/dev/full", cause: "disk_full"},
		"no directory": {path: place, cause: "no_such_directory", early: true, repair: func() error { return os.Mkdir(filepath.Dir(place), 0o700) }},
		"a pipe":       {path: pipe, cause: "no_file", early: true},
		"a directory":  {path: dir, cause: "no_file", early: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(audit.File(tt.path), 7)
			if l.State().Failing != tt.early || (l.logged.Len() > 0) != tt.early {
				t.Errorf("at the start: %+v %s", l.State(), &l.logged)
			}
			for range 3 {
				l.Write(t.Context(), event.Request{})
				l.now = l.now.Add(10 * time.Second)
			}
			if l.State() != (audit.State{Enabled: true, Failing: true, Failures: 3}) {
				t.Errorf("after three records: %+v", l.State())
			}
			l.now = l.now.Add(time.Minute)
			l.Write(t.Context(), event.Request{})
			loggedLines := strings.Split(strings.TrimSpace(l.logged.String()), "\n")
			silenced := map[bool]string{true: `"silenced":3}`, false: `"silenced":2}`}[tt.early]
			if len(loggedLines) != 2 || !strings.Contains(loggedLines[1], silenced) {
				t.Errorf("%d log lines in a minute, want 2, the second with %s: %q", len(loggedLines), silenced, loggedLines)
			}
			for _, s := range loggedLines {
				if !strings.Contains(s, `"level":"ERROR"`) || !strings.Contains(s, `"cause":"`+tt.cause+`"`) || strings.Contains(s, tt.path) {
					t.Errorf("logged %s", s)
				}
			}
			if tt.repair == nil {
				return
			}
			if err := tt.repair(); err != nil {
				t.Fatal(err)
			}
			l.Write(t.Context(), event.Request{})
			if l.State() != (audit.State{Enabled: true, Failures: 4}) || len(lines(t, tt.path)) != 1 {
				t.Errorf("repaired: %+v", l.State())
			}
		})
	}
}

// A partial record on a full disk does not spoil the next record.
func TestPartialLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	l := open(audit.File(name), 7)
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		t.Fatal(err)
	}
	limit := func(to syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &to); err != nil {
			t.Fatal(err)
		}
	}
	limit(syscall.Rlimit{Cur: 100, Max: unlimited.Max})
	l.Write(t.Context(), event.Request{Start: time.Unix(1, 0), RequestID: "1"})
	limit(unlimited)
	if s := l.State(); !s.Failing || s.Failures != 1 {
		t.Errorf("%+v", s)
	}
	l.Write(t.Context(), event.Request{Start: time.Unix(1, 0), RequestID: "2"})
	got := lines(t, name)
	if len(got) != 2 || len(got[0]) != 100 || !strings.HasPrefix(got[1], `{"time":`) {
		t.Errorf("%q", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	l := open(audit.File(name), 7)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { l.Write(t.Context(), event.Request{RequestID: strings.Repeat("x", 2000)}) })
	}
	all.Wait()
	got := lines(t, name)
	for _, line := range got {
		if !json.Valid([]byte(line)) {
			t.Errorf("a broken line: %s", line)
		}
	}
	if len(got) != 50 {
		t.Errorf("%d lines", len(got))
	}
}

// blocked returns a Log whose queue cannot write until opened is called.
func blocked(t *testing.T, refuse bool) (l *fixture, opened func()) {
	t.Helper()
	gate := make(chan struct{})
	q := output.New(output.Config{To: gated(gate), Room: 2*audit.MaxLine + 100})
	l = &fixture{now: time.Unix(0, 0)}
	l.Log = audit.Open(audit.Config{
		Queue: q, Key: bytes.Repeat([]byte{7}, 32), Refuse: refuse, Now: func() time.Time { return l.now },
		Logger: slog.New(slog.NewJSONHandler(&l.logged, nil)),
	})
	opened = sync.OnceFunc(func() {
		close(gate)
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(opened)
	return l, opened
}

type gated chan struct{}

func (g gated) Write(p []byte) (int, error) {
	<-g
	return len(p), nil
}

// Without space in the queue records are lost and counted, and Write does not wait.
func TestFullQueue(t *testing.T) {
	l, _ := blocked(t, false)
	for range 100 {
		if !l.Reserve(1) {
			t.Fatal("a request is refused")
		}
		l.Write(t.Context(), event.Request{RequestID: strings.Repeat("x", 1000)})
	}
	s := l.State()
	if !s.Failing || s.Failures < 90 || s.Failures >= 100 {
		t.Errorf("%+v", s)
	}
	if got := l.logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"cause":"queue_full"`) {
		t.Errorf("%s", got)
	}
}

// With Refuse, requests are accepted only while there is space for their records, and no record is
// lost.
func TestRefuse(t *testing.T) {
	l, opened := blocked(t, true)
	for i, want := range []bool{true, true, false} {
		if got := l.Reserve(1); got != want {
			t.Fatalf("request %d has room: %t", i+1, got)
		}
	}
	for range 2 {
		l.Write(t.Context(), event.Request{RequestID: strings.Repeat("x", 1000), AuditReserved: true})
	}
	for l.Reserve(1) { // a record is shorter than the reserved space
		l.Write(t.Context(), event.Request{RequestID: strings.Repeat("x", 1000), AuditReserved: true})
	}
	opened()
	if s := l.State(); s.Failures != 0 || s.Failing {
		t.Errorf("%+v", s)
	}
}

// With Refuse, space for several records is reserved at once: for all or for none.
func TestReserveSeveral(t *testing.T) {
	l, opened := blocked(t, true) // there is space for two records
	if l.Reserve(3) {
		t.Error("three records are promised space for two")
	}
	if !l.Reserve(2) || l.Reserve(1) {
		t.Error("the space for two records is not what was reserved")
	}
	for range 2 {
		l.Write(t.Context(), event.Request{RequestID: strings.Repeat("x", 1900), AuditReserved: true})
	}
	opened()
	if s := l.State(); s.Failures != 0 || s.Failing {
		t.Errorf("%+v", s)
	}
}

// noReader is an output without a reader until it is connected.
type noReader struct{ connected bool }

func (r *noReader) Write(p []byte) (int, error) {
	if !r.connected {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

// Records that a queue has accepted and cannot write are counted and logged too.
func TestLostLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &noReader{}
		q := output.New(output.Config{To: to, Room: audit.MaxLine})
		var logged bytes.Buffer
		l := audit.Open(audit.Config{
			Queue: q, Key: bytes.Repeat([]byte{7}, 32), Now: time.Now, Logger: slog.New(slog.NewJSONHandler(&logged, nil)),
		})
		for range 3 {
			l.Write(t.Context(), event.Request{})
			synctest.Wait()
		}
		if s := l.State(); s != (audit.State{Enabled: true, Failing: true, Failures: 3}) ||
			strings.Count(logged.String(), `"cause":"no_reader","silenced":0`) != 1 {
			t.Errorf("%+v %s", s, &logged)
		}
		to.connected = true
		l.Write(t.Context(), event.Request{})
		synctest.Wait()
		if s := l.State(); s.Failing || !strings.Contains(logged.String(), `"msg":"audit records written again","lost":3`) {
			t.Errorf("%+v %s", s, &logged)
		}
		if err := errors.Join(l.Close(), q.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestKey(t *testing.T) {
	own, cacheKey := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	key := func(configured []byte, cacheKeys ...[]byte) string {
		k, err := audit.Key(configured, cacheKeys)
		if err != nil || len(k) != 32 {
			t.Fatalf("%x, %v", k, err)
		}
		return string(k)
	}
	if key(own, cacheKey) != string(own) {
		t.Error("the configured key is not used")
	}
	if derived := key(nil, cacheKey, own); derived != key(nil, cacheKey) || derived == string(cacheKey) {
		t.Errorf("the key derived from the cache's is %x", derived)
	}
	if first := key(nil); first == key(nil) {
		t.Error("the random key is not random")
	}
}
