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

// A saboteur panics where the gateway takes a step in Redis, with what must not be seen.
type saboteur struct{ on atomic.Bool }

func (s *saboteur) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *saboteur) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if s.on.Load() {
			panic("Zerlinde Kanarienvogel")
		}
		return next(ctx, cmd)
	}
}

func (s *saboteur) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if s.on.Load() {
			panic("Zerlinde Kanarienvogel")
		}
		return next(ctx, cmds)
	}
}

// lines is a log that is written by many.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A panic in whatever goroutine of the gateway's is logged without what it was with; the process lives, and requests end.
func TestPanicsInTheBackground(t *testing.T) {
	const timeout = 3 * time.Second // the lease that is left behind lasts somewhat longer
	was := slog.Default()
	t.Cleanup(func() { slog.SetDefault(was) })
	out := &lines{}
	logger := slog.New(slog.NewJSONHandler(out, nil))
	slog.SetDefault(logger)
	w := newWorld(t)
	w.patient = false // a Redis that only fails costs as much as one that is away
	opened, inCache, inCounter, clock := w.open(w.cacheAt), &saboteur{}, &saboteur{}, &atomic.Bool{}
	opened.Cache.AddHook(inCache)
	opened.Counter.AddHook(inCounter)
	lists, err := cache.New(opened.Cache, [][]byte{w.key})
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	counter := w.counter(opened.Counter)
	wire := upstream.New(upstream.Config{Provider: "mypos", Timeout: timeout, Counter: counter})
	reader, err := mypos.Open(w.settings, providers.Env{BaseURL: base, Timeout: timeout, Client: wire.Client})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: w.bank, Adapter: reader, Timeout: timeout}}, Cache: lists, Counter: counter, RedisBudget: w.allowance, Slack: w.slack(),
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
		late  bool // only from the call on
	}{
		{"in a step of the cache", &inCache.on, alone(), false},
		{"in a step of the cache, the user being there", &inCache.on, attended(alone()), false},
		{"in a step of the counter", &inCounter.on, alone(), false},
		{"in a flight", clock, alone(), false},
		{"in the step that ends a call", &inCache.on, alone(), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(out.String())
			tt.fault.Store(!tt.late)
			w.front.with(func(rw http.ResponseWriter, r *http.Request) {
				tt.fault.Store(true)
				w.front.sim.ServeHTTP(rw, r)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*minute)
			defer cancel()
			_, _ = g.Accounts(ctx, client, tt.query, gateway.CacheControl{NoCache: true})
			func() {
				defer func() { _ = recover() }() // where the request's own goroutine panics, the API catches it
				_, _ = g.Balances(ctx, client, tt.query, mypossim.GoodAccount)
			}()
			tt.fault.Store(false)
			w.front.with(nil)
			if ctx.Err() != nil {
				t.Error("a request does not end")
			}
			logged := out.String()[before:]
			if !strings.Contains(logged, `"level":"ERROR","msg":"panic"`) || strings.Contains(logged, "Kanarienvogel") {
				t.Errorf("logged %s", logged)
			}
		})
	}
	soon(t, "requests are answered again", func() bool {
		_, err := g.Accounts(t.Context(), client, attended(alone()), gateway.CacheControl{NoCache: true})
		return err == nil
	})
}
