package providertest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

// timeout is what the suite's adapters have for one read, on a busy machine too, and hasty where it is to run out.
const (
	timeout = 30 * time.Second
	hasty   = 1500 * time.Millisecond
)

// Run holds an adapter to the contract of providers.Provider: over real HTTP, with the wire and the counter that
// the gateway has, on a real Redis.
func Run(t *testing.T, s Subject) {
	complete(t, s)
	for name, test := range map[string]func(*testing.T, Subject){
		"accounts":                  testAccounts,
		"balances":                  testBalances,
		"signs and types":           testExample,
		"all pages":                 testPages,
		"counting":                  testCounting,
		"fifth unattended call":     testLimit,
		"refusals":                  testRefusals,
		"unreadable refusals":       testUnreadableRefusals,
		"compressed refusals":       testCompressedRefusals,
		"limit told by the ASPSP":   testClosure,
		"hostile account ids":       testHostileAccounts,
		"mutated answers":           testMutations,
		"broken answers":            testBrokenAnswers,
		"careless answers":          testCareless,
		"harmless parts":            testHarmlessParts,
		"slow answers":              testSlow,
		"lost connection":           testLost,
		"nobody there":              testUnreachable,
		"many at once":              testConcurrency,
		"request id goes unchanged": testRequestID,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// complete fails where a Subject leaves something out.
func complete(t *testing.T, s Subject) {
	t.Helper()
	if s.Open == nil || s.Settings == nil || s.Simulator == nil || s.Query.Consent == "" || s.Query.Attended() ||
		s.Account == "" || s.ManyAccounts == "" || s.ManyCount < 60 || s.Signed.Body == "" || len(s.Signed.Want) == 0 {
		t.Fatal("the subject is not filled")
	}
	for _, id := range []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1"} {
		if !slices.Contains(s.HostileAccounts, id) {
			t.Errorf("hostile account %q is missing", id)
		}
	}
	for _, k := range []canonical.Kind{
		canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.UnattendedLimit,
		canonical.ProviderRejected, canonical.ProviderThrottled, canonical.ProviderError, canonical.ProviderUnavailable,
		canonical.ProviderTimeout,
	} {
		if s.Refusals[k] == "" {
			t.Errorf("refusal %s is missing", k)
		}
	}
	for _, name := range RequiredMutations {
		if s.AccountsMutations[name] == nil && name != "missing id or amount" || s.BalancesMutations[name] == nil {
			t.Errorf("mutation %q is missing", name)
		}
	}
	for _, name := range RequiredBalances {
		if s.BalancesMutations[name] == nil {
			t.Errorf("balances mutation %q is missing", name)
		}
	}
}

// A rig is an adapter joined to its simulator. Every answer passes through front, where it can be spoiled.
type rig struct {
	providers.Provider
	ledger  *aspspsim.Ledger
	counter *unattended.Counter
	front   *front
	subject Subject
	timeout time.Duration // of one read
}

type front struct {
	mu      sync.Mutex
	next    http.Handler
	spoil   http.Handler // in place of next, if set
	arrived int
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.arrived++
	h := f.next
	if f.spoil != nil {
		h = f.spoil
	}
	f.mu.Unlock()
	h.ServeHTTP(w, r)
}

// count is how many requests arrived since the last with.
func (f *front) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived
}

func newRig(t *testing.T, s Subject) *rig {
	t.Helper()
	return newRigWithin(t, s, timeout)
}

func newRigWithin(t *testing.T, s Subject, timeout time.Duration) *rig {
	t.Helper()
	r := &rig{ledger: aspspsim.NewLedger(time.Now), subject: s, timeout: timeout}
	r.front = &front{next: s.Simulator(r.ledger)}
	server := httptest.NewServer(r.front)
	t.Cleanup(server.Close)
	r.open(t, server.URL)
	return r
}

func (r *rig) open(t *testing.T, base string) {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Start(t).Addr)
	r.counter = unattended.New(st.Counter, map[string]config.Unattended{
		r.subject.Query.ASPSP: {Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}).Within(redistest.Patience)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	wire := upstream.New(upstream.Config{Provider: "subject", Timeout: r.timeout, Counter: r.counter})
	r.Provider, err = r.subject.Open(r.subject.Settings, providers.Env{BaseURL: u, Timeout: r.timeout, Client: wire.Client})
	if err != nil {
		t.Fatal(err)
	}
}

// alone is the subject's query, unattended, under a request id of its own.
func (r *rig) alone() canonical.Query {
	q := r.subject.Query
	q.RequestID = uuid.NewString()
	return q
}

func (r *rig) attended() canonical.Query {
	q := r.alone()
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7"), Port: 4711, UserAgent: "Browser/1"}
	return q
}

func (r *rig) used(t *testing.T, q canonical.Query) int {
	t.Helper()
	s, err := r.counter.Usage(t.Context(), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent})
	if err != nil {
		t.Fatal(err)
	}
	return s.Used
}

// both runs a test for the list and for balances.
func both(t *testing.T, r *rig, test func(t *testing.T, read func(canonical.Query) (size int, err error))) {
	t.Helper()
	t.Run("accounts", func(t *testing.T) {
		test(t, func(q canonical.Query) (int, error) {
			all, err := r.Accounts(t.Context(), q)
			return len(all), err
		})
	})
	t.Run("balances", func(t *testing.T) {
		test(t, func(q canonical.Query) (int, error) {
			b, err := r.Balances(t.Context(), q, r.subject.Account)
			if err != nil && (b.Identification != canonical.Identification{} || b.Name != "") {
				t.Error("a failure comes with a part of the answer")
			}
			return len(b.Balances), err
		})
	})
}

// failed checks that a read brought a failure of the kind, nothing else, and nothing of the query in its text.
func failed(t *testing.T, want canonical.Kind, q canonical.Query, size int, err error) *canonical.Error {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) || failure.Kind != want {
		t.Errorf("got %v, want %s", err, want)
		return &canonical.Error{}
	}
	if size != 0 {
		t.Errorf("%s comes with %d records", want, size)
	}
	for _, secret := range []string{q.Consent, q.Token.Reveal()} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the query's secrets: %v", err)
		}
	}
	return failure
}

func (f *front) with(spoil http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil, f.arrived = spoil, 0
}

// mutated answers what the simulator does, changed.
func (f *front) mutated(m Mutation) {
	f.answered(func(h http.Header, _ *int, body []byte) []byte {
		h.Del("Content-Length")
		return m(h, body)
	})
}

// answered answers what the simulator does, its status changed as well.
func (f *front) answered(change func(h http.Header, status *int, body []byte) []byte) {
	f.with(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		f.next.ServeHTTP(rec, r)
		body := change(rec.Header(), &rec.Code, rec.Body.Bytes())
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	conn.Close()
}

// sleepy answers after a time, if the client is still there.
func sleepy(next http.Handler, d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // only then is it seen that the client has gone
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-time.After(d):
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}
