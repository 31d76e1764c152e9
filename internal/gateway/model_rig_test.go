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

// What the model test is made of: a bank with moods, gateways whose way out is a relay, and what is told of them.

// A mood is how the bank, or the way to it, is while some reads are made.
type mood string

const (
	good      mood = "good"
	pages     mood = "answers in pages"
	slow      mood = "answers too late"
	late      mood = "is reached late"
	resets    mood = "resets"
	torn      mood = "breaks off"
	deaf      mood = "refuses connections"
	exceeded  mood = "says ACCESS_EXCEEDED"
	exceeds   mood = "says ACCESS_EXCEEDED with Retry-After"
	throttles mood = "throttles"
	broken    mood = "fails"
)

var moods = []mood{good, pages, slow, late, resets, torn, deaf, exceeded, exceeds, throttles, broken}

// refuses reports whether the bank says that its limit is used up.
func (m mood) refuses() bool { return m == exceeded || m == exceeds }

// answers reports whether every call is answered with what it asks for.
func (m mood) answers() bool { return m == good || m == pages }

// A moody bank is the simulator, with a mood. Whatever the mood, the simulator records what arrived.
type moody struct {
	ledger       *aspspsim.CallLog
	plain, paged http.Handler
	tooLate      time.Duration

	mu   sync.Mutex
	mood mood
	asks func()    // called once, when the next call has arrived and before it is answered
	came []arrival // unattended
}

// An arrival is an unattended call that reached the bank, and in which act it was made.
type arrival struct {
	call unattended.Call
	act  int
}

// requestID is that of a call which is made in an act, and actOf finds it there again: a call may arrive when the act
// is over.
func requestID(act int) string { return fmt.Sprintf("%08x", act) + uuid.NewString()[8:] }

func actOf(requestID string) int {
	act, _ := strconv.ParseInt(requestID[:min(8, len(requestID))], 16, 32)
	return int(act)
}

// newMoody makes a bank that leaves it to others to judge: by itself it refuses nothing.
func newMoody(aspsp string, window, timeout time.Duration) *moody {
	ledger := aspspsim.NewCallLog(time.Now)
	ledger.SetPolicy(aspsp, aspspsim.Policy{Limit: 1 << 30, Window: window, Unit: aspspsim.PerConsent})
	sim := func(size int) http.Handler {
		return mypossim.New(mypossim.Config{APIKey: "key", Log: ledger, ASPSP: aspsp, PageSize: size})
	}
	return &moody{ledger: ledger, plain: sim(0), paged: sim(1), tooLate: slowest(timeout), mood: good}
}

func (b *moody) set(m mood) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mood = m
}

func (b *moody) asked(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asks = do
}

func (b *moody) arrivals() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.came)
}

func (b *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	m, do := b.mood, b.asks
	b.asks = nil
	if r.Header.Get("PSU-IP-Address") == "" {
		account, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/accounts"), "/balances")
		call := unattended.Call{Consent: r.Header.Get("Consent-ID"), Account: strings.TrimPrefix(account, "/")}
		b.came = append(b.came, arrival{call, actOf(r.Header.Get("X-Request-ID"))})
	}
	b.mu.Unlock()
	if do != nil {
		do()
	}
	if m == pages {
		b.paged.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	b.plain.ServeHTTP(answer, r)
	switch m { // the other moods have the simulator's answer
	case slow:
		select {
		case <-r.Context().Done():
		case <-time.After(b.tooLate):
		}
	case exceeded, exceeds, throttles:
		code := "ACCESS_EXCEEDED"
		if m == throttles {
			code = "TOO_MANY"
		}
		if m != exceeded {
			w.Header().Set("Retry-After", "60") // longer than a window, which is the most that counts
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"tppMessages":[{"category":"ERROR","code":"`+code+`"}]}`)
		return
	case broken:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case resets, torn:
		if m == torn {
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
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// An instance is a gateway as a process of its own: it reaches Redis and the bank through a relay alone, and has a
// clock of its own.
type instance struct {
	*gateway.Gateway
	process            *crashproxy.Process
	count, cache, bank *crashproxy.Proxy
	ahead              atomic.Int64 // by how much its clock is ahead of the real one
	leapt              atomic.Int64 // by how much it has leapt since the read began that is under way
	closed             map[string]time.Time
}

// now is the clock of freshness.
func (i *instance) now() time.Time { return time.Now().Add(time.Duration(i.ahead.Load())) }

// deadlineNow is the clock as the wire sees it: its deadlines are of the same clock, so that they move with it unless
// it leaps while they stand. A leap back changes nothing where there is a monotonic clock besides.
func (i *instance) deadlineNow() time.Time {
	return time.Now().Add(max(time.Duration(i.leapt.Load()), 0))
}

// redisSettings are the program's own, but that no connection is made before it is needed: otherwise chance would
// say to which step a chunk belongs.
var redisSettings = sync.OnceValues(func() (redis.Options, error) {
	s, err := store.Open(config.Redis{Mode: config.Standalone, Addresses: []string{"127.0.0.1:1"}})
	if err != nil {
		return redis.Options{}, err
	}
	defer s.Close()
	c, ok := s.Counter.(*redis.Client)
	if !ok {
		return redis.Options{}, errors.New("the client of a single Redis is not what it was")
	}
	o := *c.Options()
	o.MinIdleConns = 0
	o.ReadBufferSize, o.WriteBufferSize = 4<<10, 4<<10 // there are many connections, none for long
	o.MaxRetries = -1                                  // it reads as 0 once it is understood, which would be understood as the default
	return o, nil
})

// connect makes a client as the program does, but that it waits for so long.
func (w *worker) connect(addr string, wait time.Duration) *redis.Client {
	o, err := redisSettings()
	if err != nil {
		w.Fatal(err)
	}
	o.Addr, o.NodeAddress = addr, addr
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = wait, wait, wait, wait
	return redis.NewClient(&o)
}

// instance starts a gateway of a history.
func (h *history) instance(t *rapid.T) *instance {
	p := crashproxy.New(t)
	i := &instance{process: p, count: p.NewProxy(h.w.redis.Addr), cache: p.NewProxy(h.w.redis.Addr), bank: p.NewProxy(h.w.server), closed: map[string]time.Time{}}
	counts, keeps := h.w.connect(i.count.Addr, time.Second), h.w.connect(i.cache.Addr, time.Second)
	t.Cleanup(func() { counts.Close(); keeps.Close() })
	counter := unattended.New(counts, map[string]config.Unattended{h.bank.ID: h.bank.Unattended})
	lists, err := cache.New(keeps, [][]byte{make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	wire := upstream.New(upstream.Config{Provider: "mypos", Timeout: h.timeout, Counter: counter, Observer: h.w.run, Now: i.deadlineNow})
	base := &url.URL{Scheme: "http", Host: i.bank.Addr}
	reader, err := mypos.Open(h.w.settings, providers.Env{BaseURL: base, Timeout: h.timeout, Client: wire.Client})
	if err != nil {
		t.Fatal(err)
	}
	i.Gateway = gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: h.bank, Adapter: reader, Timeout: h.timeout}}, Cache: lists, Counter: counter,
		RedisBudget: time.Duration(*scale) * gateway.RedisBudget, Now: i.now, Logger: slog.New(slog.DiscardHandler), Observer: h.w.run,
	})
	return i
}

// adapterSettings decodes the adapter's part of a configuration.
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

// A run is all histories together, and what was seen in them.
type run struct {
	stalls stalls
	failed atomic.Bool

	mu   sync.Mutex
	seen map[string]int
}

func (r *run) count(what string) { r.add(what, 1) }

func (r *run) add(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[what] += n
}

func (r *run) times(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[what]
}

// names are what was seen, in order.
func (r *run) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.seen))
}

// Cache implements gateway.Observer.
func (r *run) Cache(_ context.Context, _ string, c gateway.CacheResult) {
	r.count("cache: " + string(c))
}

// Breaker implements gateway.Observer.
func (r *run) Breaker(string, breaker.State) { r.count("breaker") }

// Waited implements gateway.Observer.
func (r *run) Waited(context.Context, time.Duration) {}

// Refused implements gateway.Observer.
func (r *run) Refused(context.Context, string, bulkhead.Refusal) { r.count("refused") }

// Call implements upstream.Observer.
func (r *run) Call(ctx context.Context, _ upstream.Call) (context.Context, func(int, canonical.Kind)) {
	return ctx, func(int, canonical.Kind) {}
}

// Slot implements upstream.Observer.
func (r *run) Slot(_ context.Context, _ string, e upstream.SlotEvent) { r.count("slot: " + string(e)) }

// stalls are the moments at which the machine had no time for us, so that they are not taken for the gateway's.
type stalls struct {
	mu    sync.Mutex
	found []stall
}

type stall struct {
	at   time.Time
	long time.Duration
}

const (
	stallTick  = 2 * time.Millisecond
	stallsKept = 1 << 14
	busy       = 100 * time.Millisecond // over which it is judged whether the machine has too much to do
)

// watch notes every stall until the test ends: of timers, and of what comes over the network.
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
				s.note(over)
			}
		}
	}()
}

func (s *stalls) note(over time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.found) >= stallsKept {
		s.found = slices.Clone(s.found[stallsKept/2:])
	}
	s.found = append(s.found, stall{time.Now(), over})
}

// breathe waits while the machine has too much to do, for a second at the longest: timeouts would tell of nothing
// else.
func (s *stalls) breathe() {
	for range 20 {
		if now := time.Now(); s.lag(now.Add(-busy), now) < busy/2 {
			return
		}
		time.Sleep(busy / 2)
	}
}

// lag is for how long the machine had no time for us between two moments, all in all.
func (s *stalls) lag(from, to time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum time.Duration
	for _, one := range slices.Backward(s.found) {
		if one.at.Before(from) {
			break
		}
		if one.at.Add(-one.long).Before(to) {
			sum += one.long
		}
	}
	return sum
}
