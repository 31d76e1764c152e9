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
	aspspID = "4f1e2d3c-0000-4000-8000-000000000101"
	client  = "payments"
	timeout = longTimeout
)

// A fixture is one ASPSP behind a simulator, one or two Redis servers, and the gateways in front of
// them.
type fixture struct {
	t           *testing.T
	callLog     *aspspsim.CallLog
	interceptor *interceptor
	server      *httptest.Server
	baseURL     string
	aspsp       config.ASPSP
	cacheAddr   string // Redis of the cache
	counterAddr string // Redis of the counter
	key         []byte
	clockOffset atomic.Int64 // added to the real clock by now
	observed    observer
	// redisBudget is long by default, so that a busy machine does not look like a slow Redis. Tests
	// of the budget set gateway.RedisBudget.
	redisBudget time.Duration
	timeout     time.Duration
	// longTimeouts makes the other timeouts of Redis steps long too. Tests with a real clock need
	// it.
	longTimeouts bool
	// Concurrency limits; 0 for no limit.
	maxWaiting, maxPerASPSP, maxPerClient int
	// For gateways that are created afterwards:
	cacheHook, counterHook *delayHook                // delays of Redis; nil for no hook
	beforeCall             func(ctx context.Context) // called before each call unless nil
}

// An interceptor passes requests to the simulator, or to a handler that a test sets. It counts
// them.
type interceptor struct {
	mu       sync.Mutex
	override http.HandlerFunc
	requests int
	sim      http.Handler
}

func (f *interceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests++
	spoil := f.override
	f.mu.Unlock()
	if spoil != nil {
		spoil(w, r)
		return
	}
	f.sim.ServeHTTP(w, r)
}

func (f *interceptor) handle(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override, f.requests = h, 0
}

func (f *interceptor) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// delay makes the simulator respond after d, by the real clock even in a synctest bubble.
func (f *interceptor) delay(d time.Duration) {
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		f.sim.ServeHTTP(w, r)
	})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// rejectConsent responds that the consent is invalid. A 401 without this body rejects the token
// only.
func rejectConsent(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"tppMessages":[{"category":"ERROR","code":"CONSENT_INVALID"}]}`)
}

type observer struct {
	mu      sync.Mutex
	states  []breaker.State
	refused []string
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

func newFixture(t *testing.T) *fixture {
	t.Helper()
	w := &fixture{
		t: t, callLog: aspspsim.NewCallLog(time.Now), cacheAddr: redistest.Shared(t), counterAddr: redistest.Shared(t),
		key: make([]byte, 32), aspsp: config.ASPSPDefaults(), redisBudget: longTimeout, timeout: timeout, longTimeouts: true,
	}
	w.aspsp.ID, w.aspsp.Name, w.aspsp.Provider = aspspID, "A bank", "mypos"
	w.aspsp.Breaker.ConsecutiveFailures = 1000
	w.aspsp.Breaker.MinimumCalls = 1000
	w.interceptor = &interceptor{sim: mypossim.New(mypossim.Config{APIKey: "key", Log: w.callLog, ASPSP: aspspID})}
	w.server = httptest.NewServer(w.interceptor)
	t.Cleanup(w.server.Close)
	w.baseURL = w.server.URL
	return w
}

// gateway returns a gateway with its own Redis clients, cache, counter and transport, as another
// process would have.
func (w *fixture) gateway() *gateway.Gateway {
	w.t.Helper()
	counter := w.counter(w.open(w.counterAddr).Counter)
	lists, err := cache.New(w.open(w.cacheAddr).Cache, [][]byte{w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	base, err := url.Parse(w.baseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := upstream.New(upstream.Config{Provider: "mypos", Timeout: w.timeout, Counter: counter})
	adapter, err := mypos.Open(w.settings, providers.Env{BaseURL: base, Client: transport.Client})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.beforeCall != nil {
		return w.gatewayOf(callHook{adapter, w.beforeCall}, counter, lists)
	}
	return w.gatewayOf(adapter, counter, lists)
}

// counter returns a counter for the ASPSP.
func (w *fixture) counter(rdb redis.UniversalClient) *unattended.Counter {
	c := unattended.New(rdb, map[string]config.Unattended{aspspID: w.aspsp.Unattended})
	if w.longTimeouts {
		c.Within(longTimeout)
	}
	return c
}

func (w *fixture) redisSlack() time.Duration {
	if w.longTimeouts {
		return longTimeout
	}
	return 0
}

func (w *fixture) gatewayOf(adapter providers.Provider, counter *unattended.Counter, lists *cache.Cache) *gateway.Gateway {
	return gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: w.aspsp, Adapter: adapter, Timeout: w.timeout}}, Cache: lists, Counter: counter, RedisBudget: w.redisBudget, Slack: w.redisSlack(),
		Now: w.now, Logger: slog.New(slog.DiscardHandler), Observer: &w.observed, MaxWaiting: w.maxWaiting, MaxCallsPerASPSP: w.maxPerASPSP, MaxPerClient: w.maxPerClient,
	})
}

func (w *fixture) settings(into any) error {
	c, err := config.Read([]byte("providers: {mypos: {apiKeyFile: \"" + w.keyFile() + "\"}}"))
	if c == nil {
		return err
	}
	return c.Decoder("mypos")(into)
}

func (w *fixture) keyFile() string {
	name := filepath.Join(w.t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("key"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *fixture) open(address string) *store.Store {
	w.t.Helper()
	s := redistest.OpenAt(w.t, address)
	if w.cacheHook != nil {
		s.Cache.AddHook(w.cacheHook)
	}
	if w.counterHook != nil {
		s.Counter.AddHook(w.counterHook)
	}
	return s
}

func (w *fixture) now() time.Time { return time.Now().Add(time.Duration(w.clockOffset.Load())) }

// shiftClock moves the gateways' clock by d. Redis's clock is not changed.
func (w *fixture) shiftClock(d time.Duration) { w.clockOffset.Add(int64(d)) }

// acquire acquires the lease for a list.
func acquire(ctx context.Context, c *cache.Cache, k cache.Key, shareKey string, ttl time.Duration) (cache.Lease, *cache.Entry, error) {
	found, err := c.Acquire(ctx, cache.NewLease(cache.CallID{Key: k, ShareKey: shareKey}), cache.Lookup{List: true, TTL: ttl})
	return found.Lease, found.Entry, err
}

// holdLease acquires the lease for a list of q, as another gateway does, and returns it with that
// gateway's cache and Redis client.
func (w *fixture) holdLease(q canonical.Query, shareKey string) (redis.UniversalClient, *cache.Cache, cache.Lease) {
	w.t.Helper()
	rdb := w.open(w.cacheAddr).Cache
	lists, err := cache.New(rdb, [][]byte{w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	lease, _, err := acquire(w.t.Context(), lists, cache.Key{Client: client, ASPSP: aspspID, Consent: q.Consent}, shareKey, time.Hour)
	if err != nil || !lease.Held {
		w.t.Fatal(lease, err)
	}
	return rdb, lists, lease
}

// learn stores what an earlier call has shown.
func learn(t *testing.T, c *cache.Cache, k cache.Key, l cache.Learned) {
	t.Helper()
	lease, _, err := acquire(t.Context(), c, k, "test", time.Minute)
	if err != nil || !lease.Held {
		t.Fatal(lease, err)
	}
	if _, err := c.Publish(t.Context(), lease, cache.CallResult{Learned: l, Ended: lease.RedisTime(time.Now())}); err != nil {
		t.Fatal(err)
	}
}

// ageList makes the cached list of a query older by d.
func (w *fixture) ageList(q canonical.Query, d time.Duration) {
	w.t.Helper()
	lists, err := cache.New(w.open(w.cacheAddr).Cache, [][]byte{w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	k := cache.Key{Client: client, ASPSP: q.ASPSP, Consent: q.Consent}
	list, _, err := lists.Get(w.t.Context(), k)
	if err != nil || list == nil {
		w.t.Fatalf("no list is cached: %v", err)
	}
	list.FetchedAt = list.FetchedAt.Add(-d)
	if err := lists.Invalidate(w.t.Context(), k); err != nil { // Publish would not replace a newer list
		w.t.Fatal(err)
	}
	lease, _, err := acquire(w.t.Context(), lists, k, "test", time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	if end, err := lists.Publish(w.t.Context(), lease, cache.CallResult{Entry: list, KeepFor: w.aspsp.Accounts.KeepFor}); err != nil || !end.Stored {
		w.t.Fatalf("%+v, %v", end, err)
	}
}

// newQuery returns an unattended query with a new consent.
func newQuery() canonical.Query {
	return canonical.Query{ASPSP: aspspID, Consent: uuid.NewString(), Token: mypossim.GoodToken, RequestID: uuid.NewString()}
}

func attended(q canonical.Query) canonical.Query {
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	return q
}

// listOf returns the call for the account list of a query, as it is counted.
func listOf(q canonical.Query) unattended.Call {
	return unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent}
}

// withConsent returns q with another consent.
func withConsent(q canonical.Query, consent string) canonical.Query {
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

// exhaustLimit makes unattended calls until the limit is used up.
func exhaustLimit(t *testing.T, g *gateway.Gateway, q canonical.Query) {
	t.Helper()
	for range 40 { // in a bubble, whose clock is ahead of Redis's, a request may get the result of the one before
		if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) == canonical.UnattendedLimit {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the limit is not used up")
}

func ptr[T any](v T) *T { return &v }
