package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/issuertest"
)

// admitted returns how many of n requests are allowed at one time, and the wait time of the first
// that is not.
func admitted(t *testing.T, all *auth.Authenticator, c auth.Client, n int) (in int, wait time.Duration) {
	t.Helper()
	for range n {
		err := all.AllowRate(c, 1)
		var e *canonical.Error
		switch {
		case err == nil:
			in++
		case !errors.As(err, &e) || e.Kind != canonical.RateLimited || e.Origin != canonical.OriginGateway || e.RetryAfter <= 0:
			t.Fatalf("refused with %v", err)
		case wait == 0:
			wait = e.RetryAfter
		}
	}
	return in, wait
}

func TestLimit(t *testing.T) {
	r := newFixture(t, func(c *config.Clients) {
		c.RateLimit = &config.RateLimit{PerSecond: 2, Burst: 5}
		c.APIKeys = append(c.APIKeys, config.APIKey{Name: "own", SHA256: config.Hashes{sum("own")}, RateLimit: &config.RateLimit{PerSecond: 0.1, Burst: 1}})
		c.OIDC[0].Grants = []config.Grant{{Client: "fast", RateLimit: &config.RateLimit{PerSecond: 100, Burst: 50}}}
	})
	key, own := r.accepts(t, apiKey), r.accepts(t, "own")
	app, fast := r.accepts(t, r.Token(nil)), r.accepts(t, r.Token(map[string]any{"azp": "fast"}))
	for _, tt := range []struct {
		client auth.Client
		burst  int
		wait   time.Duration
	}{{key, 5, time.Second / 2}, {own, 1, 10 * time.Second}, {app, 5, time.Second / 2}, {fast, 50, 10 * time.Millisecond}} {
		if in, wait := admitted(t, r.Authenticator, tt.client, 60); in != tt.burst || wait != tt.wait {
			t.Errorf("%s: %d were admitted, then %v", tt.client.ID, in, wait)
		}
		if in, wait := admitted(t, r.Authenticator, tt.client, 60); in != 0 || wait != tt.wait {
			t.Errorf("%s: %d more were admitted, then %v: a refused request changed the wait time", tt.client.ID, in, wait)
		}
	}
	r.advance(time.Second)
	for _, tt := range []struct {
		client auth.Client
		in     int
	}{{key, 2}, {own, 0}, {app, 2}, {fast, 50}} {
		if in, _ := admitted(t, r.Authenticator, tt.client, 60); in != tt.in {
			t.Errorf("%s: a second later %d were admitted, want %d", tt.client.ID, in, tt.in)
		}
	}
	r.advance(time.Hour)
	if in, _ := admitted(t, r.Authenticator, key, 60); in != 5 {
		t.Errorf("after an hour %d were admitted", in)
	}
}

func TestNoLimit(t *testing.T) {
	r := newFixture(t)
	if in, _ := admitted(t, r.Authenticator, r.accepts(t, apiKey), 10_000); in != 10_000 {
		t.Errorf("%d were admitted", in)
	}
}

// TestLimitIsChanged changes a key's limit while its bucket is empty.
func TestLimitIsChanged(t *testing.T) {
	r := newFixture(t)
	change := func(limit *config.RateLimit) auth.Client {
		r.SetKeys([]config.APIKey{{Name: "a", SHA256: config.Hashes{sum("a")}, RateLimit: limit}})
		return r.accepts(t, "a")
	}
	slow := change(&config.RateLimit{PerSecond: 1, Burst: 3})
	if in, _ := admitted(t, r.Authenticator, slow, 10); in != 3 {
		t.Errorf("%d were admitted", in)
	}
	fast := change(&config.RateLimit{PerSecond: 20, Burst: 10})
	if in, _ := admitted(t, r.Authenticator, fast, 20); in != 0 {
		t.Errorf("%d were admitted for nothing but a new limit", in)
	}
	r.advance(time.Second)
	if in, wait := admitted(t, r.Authenticator, fast, 20); in != 10 || wait != 50*time.Millisecond {
		t.Errorf("%d were admitted with the new limit, then %v", in, wait)
	}
	if in, _ := admitted(t, r.Authenticator, change(nil), 20); in != 20 {
		t.Errorf("%d were admitted without a limit", in)
	}
}

// TestSeveralTokens takes several tokens at once: all or none, and never more than the burst.
func TestSeveralTokens(t *testing.T) {
	r := newFixture(t, func(c *config.Clients) { c.RateLimit = &config.RateLimit{PerSecond: 1, Burst: 5} })
	c := r.accepts(t, apiKey)
	take := func(tokens int, want time.Duration) {
		t.Helper()
		var e *canonical.Error
		if errors.As(r.AllowRate(c, tokens), &e); e == nil && want == 0 {
			return
		}
		if e == nil || e.RetryAfter != want {
			t.Errorf("%d tokens: %v, want to wait %v", tokens, e, want)
		}
	}
	take(3, 0)
	take(3, time.Second)
	take(100, 3*time.Second)
	take(2, 0) // what was refused took nothing
	take(1, time.Second)
	r.advance(5 * time.Second)
	take(100, 0) // a full bucket is enough for any number
	take(1, time.Second)
	r.advance(4 * time.Second)
	take(100, time.Second)
}

// TestConcurrentLimit sends concurrent requests.
func TestConcurrentLimit(t *testing.T) {
	r := newFixture(t, func(c *config.Clients) { c.RateLimit = &config.RateLimit{PerSecond: 1, Burst: 100} })
	c := r.accepts(t, apiKey)
	var asking sync.WaitGroup
	var in atomic.Int64
	for range 20 {
		asking.Go(func() {
			for range 50 {
				if r.AllowRate(c, 1) == nil {
					in.Add(1)
				}
			}
		})
	}
	asking.Wait()
	if in.Load() != 100 {
		t.Errorf("%d were admitted", in.Load())
	}
}

// TestIdleLimitersAreDropped sends one request each for many clients: their buckets are dropped
// when they are full again, and not before.
func TestIdleLimitersAreDropped(t *testing.T) {
	r := newFixture(t, func(c *config.Clients) { c.RateLimit = &config.RateLimit{PerSecond: 1, Burst: 120} })
	busy := r.accepts(t, apiKey)
	if in, _ := admitted(t, r.Authenticator, busy, 200); in != 120 {
		t.Fatalf("%d were admitted", in)
	}
	for n := range 1000 {
		if err := r.AllowRate(auth.Client{ID: fmt.Sprint(issuertest.App, n)}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := auth.LimiterCount(r.Authenticator); n != 1001 {
		t.Errorf("%d buckets", n)
	}
	r.advance(time.Minute)
	if in, _ := admitted(t, r.Authenticator, busy, 200); in != 60 {
		t.Errorf("a busy client was forgotten: %d were admitted", in)
	}
	if n := auth.LimiterCount(r.Authenticator); n != 1 {
		t.Errorf("%d buckets", n)
	}
}
