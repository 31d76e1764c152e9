package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

const (
	aspsp   = "4f1e2d3c-0000-4000-8000-000000000101"
	client  = "payments"
	timeout = patience
)

// A world is one bank behind a real simulator, one or two Redis, and gateways.
type world struct {
	t        *testing.T
	ledger   *aspspsim.CallLog
	front    *front
	server   *httptest.Server
	base     string
	bank     config.ASPSP
	cacheAt  string // address of the Redis that keeps lists
	countAt  string // address of the Redis that counts
	key      []byte
	ahead    atomic.Int64 // by how much the gateways' clock is ahead of the real one
	observed observer
	// allowance is generous, so that a busy machine does not pass for a slow Redis, but where that is what is tested.
	allowance time.Duration
	timeout   time.Duration
	// patient is whether the other bounds on steps in Redis are generous too: where the clock is real they must be.
	patient bool
	// How much may be under way at once; 0 for no bound.
	waiting, perASPSP, perClient int
	// What follows is of the gateways that are made afterwards.
	cacheIs, counterIs *weather                  // how Redis is for them; nil for as it is
	before             func(ctx context.Context) // called before each call; nil for nothing
}

// front stands before the simulator and may spoil what it does.
type front struct {
	mu      sync.Mutex
	spoil   http.HandlerFunc
	arrived int
	sim     http.Handler
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.arrived++
	spoil := f.spoil
	f.mu.Unlock()
	if spoil != nil {
		spoil(w, r)
		return
	}
	f.sim.ServeHTTP(w, r)
}

func (f *front) with(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil, f.arrived = h, 0
}

func (f *front) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived
}

// slowly answers as the simulator does, after a time, which is real in a bubble too.
func (f *front) slowly(d time.Duration) {
	f.with(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		f.sim.ServeHTTP(w, r)
	})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// rejects says that the consent is not valid, which a 401 alone says of the token.
func rejects(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"tppMessages":[{"category":"ERROR","code":"CONSENT_INVALID"}]}`)
}

type observer struct {
	mu      sync.Mutex
	results []gateway.CacheResult
	states  []breaker.State
	refused []string
	waits   []time.Duration
}

func (o *observer) Waited(_ context.Context, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waits = append(o.waits, d)
}

// waited returns what was reported since the last call.
func (o *observer) waited() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.waits
	o.waits = nil
	return all
}

func (o *observer) Cache(_ context.Context, _ string, r gateway.CacheResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.results = append(o.results, r)
}

func (o *observer) Breaker(_ string, s breaker.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states = append(o.states, s)
}

func (o *observer) Refused(_ context.Context, aspsp string, by bulkhead.Refusal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = append(o.refused, string(by)+" "+aspsp)
}

func (o *observer) last() gateway.CacheResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.results[len(o.results)-1]
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, ledger: aspspsim.NewCallLog(time.Now), cacheAt: redistest.Shared(t), countAt: redistest.Shared(t),
		key: make([]byte, 32), bank: config.ASPSPDefaults(), allowance: patience, timeout: timeout, patient: true,
	}
	w.bank.ID, w.bank.Name, w.bank.Provider = aspsp, "A bank", "mypos"
	w.bank.Breaker.ConsecutiveFailures = 1000
	w.bank.Breaker.MinimumCalls = 1000
	w.front = &front{sim: mypossim.New(mypossim.Config{APIKey: "key", Log: w.ledger, ASPSP: aspsp})}
	w.server = httptest.NewServer(w.front)
	t.Cleanup(w.server.Close)
	w.base = w.server.URL
	return w
}

// gateway makes a gateway as a process of its own would have it.
func (w *world) gateway() *gateway.Gateway {
	w.t.Helper()
	counter := w.counter(w.open(w.countAt).Counter)
	lists, err := cache.New(w.open(w.cacheAt).Cache, [][]byte{w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	base, err := url.Parse(w.base)
	if err != nil {
		w.t.Fatal(err)
	}
	wire := upstream.New(upstream.Config{Provider: "mypos", Timeout: w.timeout, Counter: counter})
	reader, err := mypos.Open(w.settings, providers.Env{BaseURL: base, Timeout: w.timeout, Client: wire.Client})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.before != nil {
		return w.gatewayOf(prefaced{reader, w.before}, counter, lists)
	}
	return w.gatewayOf(reader, counter, lists)
}

// counter makes a counter of the bank's calls.
func (w *world) counter(rdb redis.UniversalClient) *unattended.Counter {
	c := unattended.New(rdb, map[string]config.Unattended{aspsp: w.bank.Unattended})
	if w.patient {
		c.Within(patience)
	}
	return c
}

func (w *world) slack() time.Duration {
	if w.patient {
		return patience
	}
	return 0
}

func (w *world) gatewayOf(reader providers.Provider, counter *unattended.Counter, lists *cache.Cache) *gateway.Gateway {
	return gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: w.bank, Adapter: reader, Timeout: w.timeout}}, Cache: lists, Counter: counter, RedisBudget: w.allowance, Slack: w.slack(),
		Now: w.now, Logger: slog.New(slog.DiscardHandler), Observer: &w.observed, MaxWaiting: w.waiting, MaxCallsPerASPSP: w.perASPSP, MaxPerClient: w.perClient,
	})
}

func (w *world) settings(into any) error {
	c, err := config.Read([]byte("providers: {mypos: {apiKeyFile: \"" + w.keyFile() + "\"}}"))
	if c == nil {
		return err
	}
	return c.Decoder("mypos")(into)
}

func (w *world) keyFile() string {
	name := filepath.Join(w.t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("key"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *world) open(address string) *store.Store {
	w.t.Helper()
	s := redistest.OpenAt(w.t, address)
	if w.cacheIs != nil {
		s.Cache.AddHook(w.cacheIs)
	}
	if w.counterIs != nil {
		s.Counter.AddHook(w.counterIs)
	}
	return s
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// jump lets the gateways' clock jump; Redis's own does not.
func (w *world) jump(d time.Duration) { w.ahead.Add(int64(d)) }

// later makes the list that is kept for a query older, as time would by Redis's clock.
func (w *world) later(q canonical.Query, d time.Duration) {
	w.t.Helper()
	lists, err := cache.New(w.open(w.cacheAt).Cache, [][]byte{w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	k := cache.Key{Client: client, ASPSP: q.ASPSP, Consent: q.Consent}
	kept, _, err := lists.Get(w.t.Context(), k)
	if err != nil || kept == nil {
		w.t.Fatalf("nothing is kept: %v", err)
	}
	kept.FetchedAt = kept.FetchedAt.Add(-d)
	if err := lists.Invalidate(w.t.Context(), k); err != nil { // a newer one would stay
		w.t.Fatal(err)
	}
	lease, _, err := lists.AcquireList(w.t.Context(), k, "test", time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	if end, err := lists.Publish(w.t.Context(), lease, cache.CallResult{Entry: kept, KeepFor: w.bank.Accounts.KeepFor}); err != nil || !end.Stored {
		w.t.Fatalf("%+v, %v", end, err)
	}
}

// alone is an unattended query under a consent of its own.
func alone() canonical.Query {
	return canonical.Query{ASPSP: aspsp, Consent: uuid.NewString(), Token: mypossim.GoodToken, RequestID: uuid.NewString()}
}

func attended(q canonical.Query) canonical.Query {
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	return q
}

// under is a query of another consent.
func under(q canonical.Query, consent string) canonical.Query {
	q.Consent = consent
	return q
}

func mustList(t *testing.T, g *gateway.Gateway, q canonical.Query, w gateway.CacheControl) gateway.AccountsResult {
	t.Helper()
	list, err := g.Accounts(t.Context(), client, q, w)
	if err != nil {
		t.Fatal(err)
	}
	var accounts []canonical.Account
	if err := json.Unmarshal(list.Accounts, &accounts); err != nil || len(accounts) < 2 {
		t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	return list
}

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	if err != nil {
		return canonical.Kind(err.Error())
	}
	return ""
}

// useUp makes unattended calls until none is left.
func useUp(t *testing.T, g *gateway.Gateway, q canonical.Query) {
	t.Helper()
	for range 4 {
		if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) == canonical.UnattendedLimit {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func ptr[T any](v T) *T { return &v }
