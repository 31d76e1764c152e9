package gateway_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/upstream"
)

// A panicHook makes commands to Redis panic while it is on. The value of the panic must not be
// logged.
type panicHook struct{ on atomic.Bool }

func (s *panicHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *panicHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if s.on.Load() {
			panic("Zerlinde Kanarienvogel")
		}
		return next(ctx, cmd)
	}
}

func (s *panicHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if s.on.Load() {
			panic("Zerlinde Kanarienvogel")
		}
		return next(ctx, cmds)
	}
}

// A logBuffer is a buffer for concurrent writes.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestPanicsInTheBackground: a panic in any goroutine of the gateway is logged without its value,
// the process continues, and requests return.
func TestPanicsInTheBackground(t *testing.T) {
	const timeout = 3 * time.Second // an abandoned lease lasts slightly longer
	was := slog.Default()
	t.Cleanup(func() { slog.SetDefault(was) })
	out := &logBuffer{}
	logger := slog.New(slog.NewJSONHandler(out, nil))
	slog.SetDefault(logger)
	w := newFixture(t)
	w.longTimeouts = false // a failing Redis uses the whole timeout
	opened, inCache, inCounter, clock := w.open(w.cacheAddr), &panicHook{}, &panicHook{}, &atomic.Bool{}
	opened.Cache.AddHook(inCache)
	opened.Counter.AddHook(inCounter)
	lists, err := cache.New(opened.Cache, [][]byte{w.key})
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(w.baseURL)
	if err != nil {
		t.Fatal(err)
	}
	counter := w.counter(opened.Counter)
	transport := upstream.New(upstream.Config{Provider: "mypos", Timeout: timeout, Counter: counter})
	adapter, err := mypos.Open(w.settings, providers.Env{BaseURL: base, Client: transport.Client})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: w.aspsp, Adapter: adapter, Timeout: timeout}}, Cache: lists, Counter: counter, RedisBudget: w.redisBudget, Slack: w.redisSlack(),
		Logger: logger, Observer: &w.observed, Now: func() time.Time {
			if clock.Load() {
				panic("Zerlinde Kanarienvogel")
			}
			return time.Now()
		},
	})
	for _, tt := range []struct {
		name  string
		fault *atomic.Bool
		query canonical.Query
		late  bool // only after the call has been sent
	}{
		{"in a step of the cache", &inCache.on, newQuery(), false},
		{"in a step of the cache, attended", &inCache.on, attended(newQuery()), false},
		{"in a step of the counter", &inCounter.on, newQuery(), false},
		{"in a shared call", clock, newQuery(), false},
		{"in the step after a call", &inCache.on, newQuery(), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(out.String())
			tt.fault.Store(!tt.late)
			w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) {
				tt.fault.Store(true)
				w.interceptor.sim.ServeHTTP(rw, r)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*minute)
			defer cancel()
			_, _ = g.Accounts(ctx, client, tt.query, gateway.CacheControl{NoCache: true})
			_, _ = g.Balances(ctx, client, tt.query, mypossim.GoodAccount)
			tt.fault.Store(false)
			w.interceptor.handle(nil)
			if ctx.Err() != nil {
				t.Error("a request does not return")
			}
			logged := out.String()[before:]
			if !strings.Contains(logged, `"level":"ERROR","msg":"panic"`) || strings.Contains(logged, "Kanarienvogel") {
				t.Errorf("logged %s", logged)
			}
		})
	}
	eventually(t, "requests succeed again", func() bool {
		_, err := g.Accounts(t.Context(), client, attended(newQuery()), gateway.CacheControl{NoCache: true})
		return err == nil
	})
}
