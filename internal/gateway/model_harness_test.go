package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

// Parts of the model test: an ASPSP with behaviors, gateways behind proxies, and counts of what
// happened.

// A behavior is how the ASPSP, or the network to it, behaves during a round.
type behavior string

const (
	normal             behavior = "good"
	inPages            behavior = "pages"
	slowResponse       behavior = "slow response"
	slowConnect        behavior = "slow connection"
	resets             behavior = "resets"
	truncated          behavior = "truncated response"
	refusesConnections behavior = "refuses connections"
	exceeded           behavior = "ACCESS_EXCEEDED"
	exceededRetryAfter behavior = "ACCESS_EXCEEDED with Retry-After"
	throttles          behavior = "throttles"
	serverError        behavior = "server error"
)

var behaviors = []behavior{normal, inPages, slowResponse, slowConnect, resets, truncated, refusesConnections, exceeded, exceededRetryAfter, throttles, serverError}

// blocks reports whether the ASPSP reports its limit as used up.
func (m behavior) blocks() bool { return m == exceeded || m == exceededRetryAfter }

// succeeds reports whether every call succeeds.
func (m behavior) succeeds() bool { return m == normal || m == inPages }

// A scriptedASPSP is the simulator with a behavior. The simulator records every call that arrives,
// whatever the behavior.
type scriptedASPSP struct {
	callLog      *aspspsim.CallLog
	plain, paged http.Handler
	slowBy       time.Duration

	mu             sync.Mutex
	behavior       behavior
	beforeResponse func()    // called once, when the next call has arrived and before its response
	unattended     []arrival // unattended
}

// An arrival is an unattended call that reached the ASPSP.
type arrival struct {
	call      unattended.Call
	requestID string
	at        time.Time
}

// requestID returns a request id that contains the number of a round. A call may arrive after the
// end of its round.
func requestID(n int) string { return fmt.Sprintf("%08x", n) + uuid.NewString()[8:] }

// roundOf returns the round of a request id.
func (h *history) roundOf(requestID string) int {
	if round, ok := h.derived[requestID]; ok {
		return round
	}
	n, _ := strconv.ParseInt(requestID[:min(8, len(requestID))], 16, 32)
	return int(n)
}

// newScriptedASPSP returns an ASPSP that enforces no limit itself.
func newScriptedASPSP(aspsp string, window, timeout time.Duration) *scriptedASPSP {
	callLog := aspspsim.NewCallLog(time.Now)
	callLog.SetPolicy(aspsp, aspspsim.Policy{Limit: 1 << 30, Window: window, Unit: aspspsim.PerConsent})
	sim := func(size int) http.Handler {
		return mypossim.New(mypossim.Config{APIKey: "key", Log: callLog, ASPSP: aspsp, PageSize: size})
	}
	return &scriptedASPSP{callLog: callLog, plain: sim(0), paged: sim(1), slowBy: maxDelay(timeout), behavior: normal}
}

func (b *scriptedASPSP) set(m behavior) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behavior = m
}

func (b *scriptedASPSP) onNextCall(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beforeResponse = do
}

func (b *scriptedASPSP) arrivals() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.unattended)
}

func (b *scriptedASPSP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	m, do := b.behavior, b.beforeResponse
	b.beforeResponse = nil
	if r.Header.Get("PSU-IP-Address") == "" {
		account, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/accounts"), "/balances")
		call := unattended.Call{Consent: r.Header.Get("Consent-ID"), Account: strings.TrimPrefix(account, "/")}
		b.unattended = append(b.unattended, arrival{call, r.Header.Get("X-Request-ID"), time.Now()})
	}
	b.mu.Unlock()
	if do != nil {
		do()
	}
	if m == inPages {
		b.paged.ServeHTTP(w, r)
		return
	}
	response := httptest.NewRecorder()
	b.plain.ServeHTTP(response, r)
	switch m { // the other behaviors return the simulator's response
	case slowResponse:
		select {
		case <-r.Context().Done():
		case <-time.After(b.slowBy):
		}
	case exceeded, exceededRetryAfter, throttles:
		code := "ACCESS_EXCEEDED"
		if m == throttles {
			code = "TOO_MANY"
		}
		if m != exceeded {
			w.Header().Set("Retry-After", "60") // longer than a window, to which it is limited
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"tppMessages":[{"category":"ERROR","code":"`+code+`"}]}`)
		return
	case serverError:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case resets, truncated:
		if m == truncated {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"accounts":[`)
			_ = http.NewResponseController(w).Flush()
		}
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		return
	}
	maps.Copy(w.Header(), response.Header())
	w.WriteHeader(response.Code)
	_, _ = w.Write(response.Body.Bytes())
}

// An instance is a gateway that reaches Redis and the ASPSP through proxies only, and has its own
// clock.
type instance struct {
	*gateway.Gateway
	runner                               *runner.Runner
	maxCalls                             int // concurrent calls; 0 for no limit
	process                              *crashproxy.Process
	counterProxy, cacheProxy, aspspProxy *crashproxy.Proxy
	clockOffset                          atomic.Int64 // added to the real clock by now
	jumped                               atomic.Int64 // how far the clock has jumped during the current read
	blockedUntil                         map[string]time.Time
}

// now returns the instance's time, for the age of lists.
func (i *instance) now() time.Time { return time.Now().Add(time.Duration(i.clockOffset.Load())) }

// deadlineNow returns the transport's time. Deadlines move with the clock, except when it jumps
// during a read. A jump back has no effect, because deadlines also hold by the monotonic clock.
func (i *instance) deadlineNow() time.Time {
	return time.Now().Add(max(time.Duration(i.jumped.Load()), 0))
}

// redisSettings returns the program's Redis options, without connections in advance: otherwise it
// would be random to which step a write on a connection belongs.
var redisSettings = sync.OnceValues(func() (redis.Options, error) {
	s, err := store.Open(config.Redis{Mode: config.Standalone, Addresses: []string{"127.0.0.1:1"}})
	if err != nil {
		return redis.Options{}, err
	}
	defer s.Close()
	c, ok := s.Counter.(*redis.Client)
	if !ok {
		return redis.Options{}, errors.New("the client of a single Redis has another type")
	}
	o := *c.Options()
	o.MinIdleConns = 0
	o.ReadBufferSize, o.WriteBufferSize = 4<<10, 4<<10 // there are many short connections
	o.MaxRetries = -1                                  // Options returns 0 for it, which would be read as the default
	return o, nil
})

// connect returns a client with the program's options and wait for all timeouts.
func (w *worker) connect(addr string, wait time.Duration) *redis.Client {
	o, err := redisSettings()
	if err != nil {
		w.Fatal(err)
	}
	o.Addr, o.NodeAddress = addr, addr
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = wait, wait, wait, wait
	return redis.NewClient(&o)
}

// instance returns a new gateway of the history.
func (h *history) instance(t *rapid.T) *instance {
	p := crashproxy.New(t)
	i := &instance{maxCalls: rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "calls"), process: p, counterProxy: p.NewProxy(h.w.redis.Addr), cacheProxy: p.NewProxy(h.w.redis.Addr), aspspProxy: p.NewProxy(h.w.server), blockedUntil: map[string]time.Time{}}
	counterClient, cacheClient := h.w.connect(i.counterProxy.Addr, time.Second), h.w.connect(i.cacheProxy.Addr, time.Second)
	t.Cleanup(func() { counterClient.Close(); cacheClient.Close() })
	counter := unattended.New(counterClient, map[string]config.Unattended{h.aspsp.ID: h.aspsp.Unattended})
	lists, err := cache.New(cacheClient, [][]byte{make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	transport := upstream.New(upstream.Config{Provider: "mypos", Timeout: h.timeout, Counter: counter, Observer: h.w.run, Now: i.deadlineNow})
	base := &url.URL{Scheme: "http", Host: i.aspspProxy.Addr}
	adapter, err := mypos.Open(h.w.settings, providers.Env{BaseURL: base, Client: transport.Client})
	if err != nil {
		t.Fatal(err)
	}
	i.Gateway = gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: h.aspsp, Adapter: adapter, Timeout: h.timeout}}, Cache: lists, Counter: counter,
		RedisBudget: time.Duration(*scale) * gateway.RedisBudget, Now: i.now, Logger: slog.New(slog.DiscardHandler), Observer: h.w.run,
		MaxCallsPerASPSP: i.maxCalls,
	})
	i.runner = runner.New(runner.Config{
		Gateway: i.Gateway, Logger: slog.New(slog.DiscardHandler), Observer: unobserved{},
	})
	return i
}

// adapterSettings returns a function that decodes the adapter's part of a configuration.
func adapterSettings(t *testing.T) func(into any) error {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read([]byte("providers: {mypos: {apiKeyFile: \"" + name + "\"}}"))
	if c == nil {
		t.Fatal(err)
	}
	return c.Decoder("mypos")
}

// A modelRun counts what happened in all histories.
type modelRun struct {
	stalls stalls
	failed atomic.Bool

	mu   sync.Mutex
	seen map[string]int
}

func (r *modelRun) count(what string) { r.add(what, 1) }

func (r *modelRun) add(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[what] += n
}

func (r *modelRun) times(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[what]
}

// names returns the sorted names of everything that was counted.
func (r *modelRun) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.seen))
}

// Breaker implements gateway.Observer.
func (r *modelRun) Breaker(string, breaker.State) { r.count("breaker") }

// Refused implements gateway.Observer.
func (r *modelRun) Refused(context.Context, string, bulkhead.Refusal) { r.count("refused") }

// Call implements upstream.Observer.
func (r *modelRun) Call(ctx context.Context, _ upstream.Call) (context.Context, func(int, canonical.Kind)) {
	return ctx, func(int, canonical.Kind) {}
}

// Slot implements upstream.Observer.
func (r *modelRun) Slot(_ context.Context, _ string, e upstream.SlotEvent) {
	r.count("slot: " + string(e))
}

// stalls records when the test process had no CPU time, so that the checks can allow for it.
type stalls struct {
	mu    sync.Mutex
	found []stall
}

type stall struct {
	at       time.Time
	duration time.Duration
}

const (
	stallTick    = 2 * time.Millisecond
	maxStalls    = 1 << 14
	busyInterval = 100 * time.Millisecond // over which waitWhileBusy measures the load
)

// watch records every stall of timers and of the network until the test ends.
func (s *stalls) watch(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	go func() { _, _ = io.Copy(far, far) }()
	go func() {
		one := make([]byte, 1)
		for {
			began := time.Now()
			time.Sleep(stallTick)
			if _, err := near.Write(one); err != nil {
				return
			}
			if _, err := io.ReadFull(near, one); err != nil {
				return
			}
			if over := time.Since(began) - stallTick; over > stallTick/2 {
				s.add(over)
			}
		}
	}()
}

func (s *stalls) add(over time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.found) >= maxStalls {
		s.found = slices.Clone(s.found[maxStalls/2:])
	}
	s.found = append(s.found, stall{time.Now(), over})
}

// waitWhileBusy waits while the machine is overloaded, up to a second: otherwise most results would
// be timeouts.
func (s *stalls) waitWhileBusy() {
	for range 20 {
		if now := time.Now(); s.total(now.Add(-busyInterval), now) < busyInterval/2 {
			return
		}
		time.Sleep(busyInterval / 2)
	}
}

// total returns how long the process was stalled between two times, in total.
func (s *stalls) total(from, to time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum time.Duration
	for _, one := range slices.Backward(s.found) {
		if one.at.Before(from) {
			break
		}
		if one.at.Add(-one.duration).Before(to) {
			sum += one.duration
		}
	}
	return sum
}
