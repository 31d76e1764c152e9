package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

const (
	minute = time.Minute
	fresh  = 10 * minute
)

// providerReads are requests that always make a call.
var providerReads = map[string]func(*gateway.Gateway, canonical.Query) error{
	"list": func(g *gateway.Gateway, q canonical.Query) error {
		_, err := g.Accounts(context.Background(), client, q, gateway.CacheControl{NoCache: true})
		return err
	},
	"balances": func(g *gateway.Gateway, q canonical.Query) error {
		_, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
		return err
	},
}

func TestListIsFetchedThenCached(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	for i, tt := range []struct {
		name      string
		after     time.Duration
		wants     gateway.CacheControl
		attended  bool
		cache     gateway.CacheStatus
		source    gateway.Source
		calls     int
		result    gateway.CacheResult
		remaining int
	}{
		{"first", 0, gateway.CacheControl{}, false, gateway.CacheStatus{Forward: "miss", Stored: true}, "provider", 1, "miss", 3},
		{"again", minute, gateway.CacheControl{}, false, gateway.CacheStatus{Hit: true, TTL: 9 * minute}, "cache", 1, "hit", 3},
		{"no-cache", 0, gateway.CacheControl{NoCache: true}, false, gateway.CacheStatus{Forward: "request", Stored: true}, "provider", 2, "bypass", 2},
		{"attended", minute, gateway.CacheControl{}, true, gateway.CacheStatus{Hit: true, TTL: 9 * minute}, "cache", 2, "hit", -1},
		{"younger than max-age", 0, gateway.CacheControl{MaxAge: ptr(2 * minute)}, false, gateway.CacheStatus{Hit: true, TTL: minute}, "cache", 2, "hit", 2},
		{"older than max-age", 0, gateway.CacheControl{MaxAge: ptr(minute)}, false, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 3, "miss", 1},
		{"max-age=0", 0, gateway.CacheControl{MaxAge: ptr(time.Duration(0))}, true, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 4, "miss", -1},
		{"max-age above freshFor", fresh, gateway.CacheControl{MaxAge: ptr(time.Hour)}, true, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 5, "miss", -1},
		{"no longer fresh", fresh, gateway.CacheControl{}, false, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 6, "miss", 0},
	} {
		if tt.after > 0 {
			w.ageList(q, tt.after)
		}
		read := q
		if tt.attended {
			read = attended(q)
		}
		list := mustList(t, g, read, tt.wants)
		list.Cache.TTL = list.Cache.TTL.Round(minute)
		if diff := cmp.Diff(tt.cache, list.Cache); diff != "" {
			t.Errorf("%d %s: %s", i, tt.name, diff)
		}
		if list.Freshness.Source != tt.source || list.Freshness.Stale || list.Freshness.StaleReason != "" {
			t.Errorf("%d %s: %+v", i, tt.name, list.Freshness)
		}
		if calls := len(w.callLog.Calls()); calls != tt.calls {
			t.Errorf("%d %s: %d calls, want %d", i, tt.name, calls, tt.calls)
		}
		if list.CacheResult != tt.result {
			t.Errorf("%d %s: cache result %s, want %s", i, tt.name, list.CacheResult, tt.result)
		}
		if remaining := remaining(list.Usage); remaining != tt.remaining {
			t.Errorf("%d %s: %d remaining, want %d", i, tt.name, remaining, tt.remaining)
		}
	}
}

// remaining returns the remaining calls of a usage, and -1 without a usage.
func remaining(s *unattended.Usage) int {
	if s == nil {
		return -1
	}
	return s.Remaining
}

func TestOnlyIfCached(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q, wants := w.gateway(), newQuery(), gateway.CacheControl{OnlyIfCached: true}
	list, err := g.Accounts(t.Context(), client, q, wants)
	if kind(err) != canonical.NotCached || remaining(list.Usage) != 4 {
		t.Errorf("nothing is cached: %v, %d remaining", err, remaining(list.Usage))
	}
	mustList(t, g, q, gateway.CacheControl{})
	if list := mustList(t, g, q, wants); list.Freshness.Stale {
		t.Error("fresh is stale")
	}
	w.ageList(q, fresh+minute)
	list = mustList(t, g, q, wants)
	if !list.Freshness.Stale || list.Freshness.StaleReason != "" || list.Cache.TTL.Round(minute) != -minute {
		t.Errorf("%+v, %+v", list.Freshness, list.Cache)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true, NoCache: true}); kind(err) != canonical.NotCached || !strings.Contains(err.Error(), "exclude each other") {
		t.Errorf("only-if-cached with no-cache: %v", err)
	}
	if n := len(w.callLog.Calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestStale: if a call fails, the stale list is served with the reason, but never after a rejection
// of the consent.
func TestStale(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		spoil  http.HandlerFunc
		kind   canonical.Kind
		reason gateway.StaleReason
		cached bool
	}{
		{"503", status(503), canonical.ProviderUnavailable, gateway.StaleWithoutProvider, true},
		{"504", status(504), canonical.ProviderTimeout, gateway.StaleWithoutProvider, true},
		{"500", status(500), canonical.ProviderError, gateway.StaleWithoutProvider, true},
		{"429", status(429), canonical.ProviderThrottled, gateway.StaleWithoutProvider, true},
		{"not JSON", status(200), canonical.ProviderInvalidResponse, gateway.StaleWithoutProvider, true},
		{"401", status(401), canonical.ConsentInvalid, gateway.NoReason, true},
		{"401 of the consent", rejectConsent, canonical.ConsentInvalid, gateway.NoReason, false},
		{"403", status(403), canonical.ProviderRejected, gateway.NoReason, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t)
			g, q := w.gateway(), attended(newQuery())
			mustList(t, g, q, gateway.CacheControl{})
			w.ageList(q, fresh+minute)
			w.interceptor.handle(tt.spoil)
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != tt.kind {
				t.Errorf("no-cache: %v, want %s", err, tt.kind)
			}
			list, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
			if tt.reason == gateway.NoReason {
				if kind(err) != tt.kind {
					t.Errorf("got %v, want %s", err, tt.kind)
				}
			} else {
				if err != nil || !list.Freshness.Stale || list.Freshness.StaleReason != tt.reason || list.Freshness.Age < fresh+minute {
					t.Errorf("%v, %+v", err, list.Freshness)
				}
				if !list.Cache.Hit || list.Cache.TTL.Round(minute) != -minute || list.CacheResult != gateway.CacheStale {
					t.Errorf("%+v, %s", list.Cache, list.CacheResult)
				}
			}
			_, err = g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true})
			if (err == nil) != tt.cached {
				t.Errorf("afterwards: %v, want cached %t", err, tt.cached)
			}
		})
	}
}

func TestStaleByLimitUntilKeepFor(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	exhaustLimit(t, g, q)
	w.ageList(q, fresh+minute)
	list := mustList(t, g, q, gateway.CacheControl{})
	if list.Freshness.StaleReason != gateway.StaleByLimit || remaining(list.Usage) != 0 {
		t.Errorf("%+v, %d remaining", list.Freshness, remaining(list.Usage))
	}
	w.ageList(q, w.aspsp.Accounts.KeepFor)
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.UnattendedLimit {
		t.Errorf("older than keepFor: %v", err)
	}
}

func TestStaleWithoutCounter(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	counting := redistest.Start(t)
	w.counterAddr = counting.Addr
	g, q := w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	counting.Stop()
	if list := mustList(t, g, q, gateway.CacheControl{}); remaining(list.Usage) != -1 || !list.Cache.Hit {
		t.Errorf("a hit without the counter: %+v", list)
	}
	w.ageList(q, fresh+minute)
	if list := mustList(t, g, q, gateway.CacheControl{}); list.Freshness.StaleReason != gateway.StaleWithoutCounter {
		t.Errorf("%+v", list.Freshness)
	}
	if _, err := g.Accounts(t.Context(), client, withConsent(q, newQuery().Consent), gateway.CacheControl{}); kind(err) != canonical.CounterUnavailable {
		t.Errorf("nothing is cached: %v", err)
	}
	if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.CounterUnavailable {
		t.Errorf("balances: %v", err)
	}
	if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); err != nil {
		t.Errorf("attended: %v", err)
	}
	if n := len(w.callLog.Calls()); n != 2 {
		t.Errorf("%d calls reached the ASPSP", n)
	}
}

// TestRedisThatCannotWrite: a stale list is served, with its reason, by a Redis that refuses
// writes.
func TestRedisThatCannotWrite(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string][]any{
		"read only":     {"REPLICAOF", "127.0.0.1", "1"},
		"no replicas":   {"CONFIG", "SET", "min-replicas-to-write", "1"},
		"out of memory": {"CONFIG", "SET", "maxmemory", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			redis := redistest.Start(t)
			w.cacheAddr, w.counterAddr = redis.Addr, redis.Addr
			g, q := w.gateway(), newQuery()
			mustList(t, g, q, gateway.CacheControl{})
			if err := redis.Do(refuse...).Err(); err != nil {
				t.Fatal(err)
			}
			again := gateway.CacheControl{MaxAge: ptr(time.Duration(0))}
			if list := mustList(t, g, q, again); !list.Freshness.Stale || list.Freshness.StaleReason != gateway.StaleWithoutCounter {
				t.Errorf("unattended: %+v", list.Freshness)
			}
			if list := mustList(t, g, attended(q), again); list.Cache.Forward != gateway.ForwardStale || list.Cache.Stored {
				t.Errorf("attended: %+v", list.Cache)
			}
			w.interceptor.handle(status(http.StatusServiceUnavailable))
			if list := mustList(t, g, attended(q), again); list.Freshness.StaleReason != gateway.StaleWithoutProvider {
				t.Errorf("attended, without the provider: %+v", list.Freshness)
			}
			if _, err := g.Accounts(t.Context(), client, attended(q), gateway.CacheControl{NoCache: true}); kind(err) != canonical.ProviderUnavailable {
				t.Errorf("no-cache: %v", err)
			}
		})
	}
}

// TestWithoutRedis: without Redis, attended requests succeed within the latency budget, and
// unattended calls are not made.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "silent"}[silent], func(t *testing.T) {
			server := redistest.Start(t)
			bubble(t, func(t *testing.T, w *fixture) {
				w.redisBudget = gateway.RedisBudget
				w.cacheAddr, w.counterAddr = server.Addr, server.Addr
				redis := w.slowRedis(0)
				g, q := w.gateway(), newQuery()
				mustList(t, g, q, gateway.CacheControl{})
				if silent {
					redis.silent.Store(true)
				} else {
					server.Stop()
				}
				began := time.Now()
				list := mustList(t, g, attended(q), gateway.CacheControl{})
				if took := time.Since(began); took > gateway.RedisBudget {
					t.Errorf("attended: took %v", took)
				}
				if list.Cache.Stored || list.Cache.Hit || list.CacheResult != gateway.CacheError {
					t.Errorf("%+v, %s", list.Cache, list.CacheResult)
				}
				if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.CounterUnavailable {
					t.Errorf("unattended: %v", err)
				}
				if _, err := g.UnattendedAccess(t.Context(), listOf(q)); kind(err) != canonical.CounterUnavailable {
					t.Errorf("unattended-access: %v", err)
				}
				if err := g.DeleteCachedData(t.Context(), client, q); kind(err) != canonical.DeletionUnconfirmed {
					t.Errorf("deletion: %v", err)
				}
				_ = g.Drain(t.Context()) // the deletion is not retried any more
				if n := len(w.callLog.Calls()); n != 2 {
					t.Errorf("%d calls reached the ASPSP", n)
				}
			})
		})
	}
}

// TestDeletionIsRetried: a deletion that Redis does not confirm is retried for two seconds.
func TestDeletionIsRetried(t *testing.T) {
	t.Parallel()
	for first, want := range map[int64]canonical.Kind{1: "", 1000: canonical.DeletionUnconfirmed} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				s, deletions := w.open(w.cacheAddr), &failingDeletes{}
				s.Cache.AddHook(deletions)
				lists, err := cache.New(s.Cache, [][]byte{w.key})
				if err != nil {
					t.Fatal(err)
				}
				one, q := w.gateway(), newQuery()
				g := w.gatewayOf(one.Config.ASPSPs[0].Adapter, one.Counter, lists)
				mustList(t, g, q, gateway.CacheControl{})
				deletions.attempts.Store(0)
				deletions.failures.Store(first)
				began := time.Now()
				if err := g.DeleteCachedData(t.Context(), client, q); kind(err) != want {
					t.Errorf("%d deletions fail: %v", first, err)
				}
				if took := time.Since(began); want != "" && took < 2*time.Second {
					t.Errorf("given up after %v", took)
				}
				if _, err := one.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); (kind(err) == canonical.NotCached) != (want == "") {
					t.Errorf("%d deletions fail, then %v", first, err)
				}
				// This gateway does not serve the list either way, and deletes it as soon as it
				// can.
				if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
					t.Errorf("%d deletions fail, and the gateway serves the list: %v", first, err)
				}
				deletions.failures.Store(0)
				time.Sleep(minute)
				if _, err := one.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
					t.Errorf("the deletion is not retried: %v", err)
				}
			})
		})
	}
}

// TestSlowRedis: all steps of an attended request together wait at most 100 ms for Redis, however
// slow it is.
func TestSlowRedis(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{20, 40, 60, 90, 200, 2000} {
		delay := time.Duration(ms) * time.Millisecond
		t.Run(delay.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.redisBudget = gateway.RedisBudget
				w.slowRedis(delay)
				g := w.gateway()
				for i := range 4 { // the first request opens connections
					began := time.Now()
					mustList(t, g, attended(newQuery()), gateway.CacheControl{})
					if took := time.Since(began); took > gateway.RedisBudget {
						t.Errorf("request %d took %v", i+1, took)
					}
				}
			})
		})
	}
}

// TestSlowRedisServesHits: with a Redis that takes 60 or 80 ms per command lists are served from
// the cache, although a new connection takes longer than the budget.
func TestSlowRedisServesHits(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{60, 80} {
		bubble(t, func(t *testing.T, w *fixture) {
			w.redisBudget = gateway.RedisBudget
			q := attended(newQuery())
			mustList(t, w.gateway(), q, gateway.CacheControl{})
			w.slowRedis(time.Duration(ms) * time.Millisecond)
			g, hits := w.gateway(), 0
			for range 10 {
				if mustList(t, g, q, gateway.CacheControl{}).Cache.Hit {
					hits++
				}
				time.Sleep(50 * time.Millisecond)
			}
			if hits < 5 {
				t.Errorf("%d ms: %d hits of 10", ms, hits)
			}
		})
	}
}

// TestCountedListIsCached: the list of a counted call is cached, however slow Redis is, so the
// second request makes no call.
func TestCountedListIsCached(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{60, 150, 400} {
		bubble(t, func(t *testing.T, w *fixture) {
			w.redisBudget = gateway.RedisBudget
			fast, q := w.gateway(), newQuery()
			w.slowCache(time.Duration(ms) * time.Millisecond)
			slow := w.gateway()
			_, _ = slow.UnattendedAccess(t.Context(), listOf(q))
			for range 2 { // open connections
				_, _ = slow.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{OnlyIfCached: true})
			}
			time.Sleep(minute)
			w.shiftClock(time.Hour) // the age of a list does not depend on the gateway's clock
			mustList(t, slow, q, gateway.CacheControl{})
			if err := slow.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			list := mustList(t, fast, q, gateway.CacheControl{})
			now := w.open(w.cacheAddr).Cache.Time(t.Context()).Val()
			if !list.Cache.Hit || now.Sub(list.Freshness.FetchedAt).Abs() > 10*minute {
				t.Errorf("%d ms: %+v, %+v", ms, list.Cache, list.Freshness)
			}
			w.ageList(q, minute) // the bubble's clock may be ahead of Redis's
			if list := mustList(t, fast, q, gateway.CacheControl{NoCache: true}); !list.Cache.Stored {
				t.Errorf("%d ms: the lease was not released: %+v", ms, list.Cache)
			}
		})
	}
}

// TestSharedCallSharesTheRedisBudget: requests that share a call also share its latency budget for
// Redis.
func TestSharedCallSharesTheRedisBudget(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		const call = 300 * time.Millisecond
		w.redisBudget = gateway.RedisBudget
		redis := w.slowRedis(0)
		w.beforeCall = func(context.Context) {
			redis.silent.Store(true)
			time.Sleep(call)
		}
		w.interceptor.handle(status(http.StatusServiceUnavailable))
		g, q := w.gateway(), attended(newQuery())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				began := time.Now()
				if _, err := g.Accounts(context.Background(), client, q, gateway.CacheControl{}); kind(err) != canonical.ProviderUnavailable {
					t.Error(err)
				}
				if took := time.Since(began); took < call || took > call+gateway.RedisBudget {
					t.Errorf("took %v, the call %v of it", took, call)
				}
			})
		}
		wg.Wait()
		redis.silent.Store(false)
		if n := w.interceptor.count(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestNoCacheRequiresACall: a request with no-cache makes a call, whatever the age of the cached
// list, and even if another request could be served from the cache.
func TestNoCacheRequiresACall(t *testing.T) {
	t.Parallel()
	t.Run("older than keepFor", func(t *testing.T) {
		w := newFixture(t)
		q := attended(newQuery())
		mustList(t, w.gateway(), q, gateway.CacheControl{})
		w.ageList(q, 2*time.Hour)
		w.aspsp.Accounts.KeepFor = time.Hour
		if list := mustList(t, w.gateway(), q, gateway.CacheControl{NoCache: true}); len(w.callLog.Calls()) != 2 || list.Freshness.Age > minute {
			t.Errorf("%d calls, %+v", len(w.callLog.Calls()), list.Freshness)
		}
	})
	t.Run("while another request holds a lease", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *fixture) {
			g, q := w.gateway(), attended(newQuery())
			mustList(t, g, q, gateway.CacheControl{})
			w.ageList(q, 5*minute)
			_, lists, lease := w.holdLease(q, strings.Replace(shareKey(q), "unattended", "anew-attended", 1))
			go func() {
				time.Sleep(200 * time.Millisecond)
				_, _ = lists.Publish(context.Background(), lease, cache.CallResult{Ended: lease.RedisTime(time.Now())})
			}()
			list := mustList(t, g, q, gateway.CacheControl{NoCache: true})
			if len(w.callLog.Calls()) != 2 || list.Freshness.Age > minute {
				t.Errorf("%d calls, %+v", len(w.callLog.Calls()), list.Freshness)
			}
		})
	})
}

// TestRejectionInvalidatesEventually: a rejection deletes the list, even if Redis has no memory
// left or was down when it came.
func TestRejectionInvalidatesEventually(t *testing.T) { // not in parallel: it counts goroutines
	for _, tt := range []struct {
		name           string
		fails, recover func(*redistest.Server)
		outage         time.Duration
	}{
		{
			"out of memory",
			func(s *redistest.Server) { _ = s.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *redistest.Server) { _ = s.Do("CONFIG", "SET", "maxmemory", "0") }, 0,
		},
		{"down", (*redistest.Server).Stop, (*redistest.Server).Restart, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t)
			w.redisBudget = gateway.RedisBudget
			redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			w.cacheAddr = redis.Addr
			g, q := w.gateway(), attended(newQuery())
			mustList(t, g, q, gateway.CacheControl{})
			w.interceptor.handle(rejectConsent)
			tt.fails(redis)
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != canonical.ConsentInvalid {
				t.Fatal(err)
			}
			before := runtime.NumGoroutine()
			for range 100 { // none of them starts a goroutine that stays
				_, _ = g.Accounts(t.Context(), client, q, gateway.CacheControl{})
			}
			time.Sleep(tt.outage)
			if grown := runtime.NumGoroutine() - before; grown > 60 {
				t.Errorf("%d goroutines more", grown)
			}
			tt.recover(redis)
			// The list is never served again, and is deleted without another rejection.
			rdb := w.open(redis.Addr).Cache
			for deadline := time.Now().Add(minute); ; {
				if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
					t.Fatalf("the list is served: %v", err)
				}
				if all, err := rdb.Keys(t.Context(), "*:list").Result(); err == nil && len(all) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the list is not deleted")
				}
			}
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.ConsentInvalid {
				t.Errorf("when Redis is back: %v", err)
			}
		})
	}
}

// TestLateLeaseIsReleased: a lease that Redis grants after the gateway stopped waiting is released,
// so later requests do not wait until it expires.
func TestLateLeaseIsReleased(t *testing.T) {
	t.Parallel()
	for name, read := range providerReads {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.redisBudget = gateway.RedisBudget
				other, q := w.gateway(), newQuery()
				redis := w.slowCache(0)
				g := w.gateway()
				if err := read(g, q); err != nil { // opens connections
					t.Fatal(err)
				}
				redis.delay.Store(int64(3 * time.Second))
				began := time.Now()
				if err := read(g, q); err != nil {
					t.Fatal(err)
				}
				redis.delay.Store(0) // a release that is sent now reaches Redis before the delayed lookup
				time.Sleep(time.Until(began.Add(4500 * time.Millisecond)))
				began = time.Now()
				if err := read(other, q); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestFailureDuringAnOutageIsNotShared: the failure of a call without Redis is not the result of
// requests that come when it is back.
func TestFailureDuringAnOutageIsNotShared(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	redis := redistest.Start(t)
	w.cacheAddr, w.counterAddr = redis.Addr, redis.Addr
	other, q := w.gateway(), newQuery()
	w.redisBudget, w.longTimeouts = gateway.RedisBudget, false
	g := w.gateway()
	for _, g := range []*gateway.Gateway{g, other} { // opens connections
		_, _ = g.Balances(t.Context(), client, q, mypossim.GoodAccount)
	}
	redis.Pause()
	if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.CounterUnavailable {
		t.Errorf("while Redis is paused: %v", err)
	}
	redis.Resume()
	if _, err := other.Balances(t.Context(), client, q, mypossim.GoodAccount); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestResultOfAnEndedCallIsNotShared: a request that comes after the end of a call makes its own
// call, even if the end is not yet known to Redis.
func TestResultOfAnEndedCallIsNotShared(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.redisBudget = gateway.RedisBudget
	steps := w.slowCache(0)
	other, q := w.gateway(), newQuery()
	w.cacheHook = nil
	proxy := crashproxy.New(t).NewProxy(w.cacheAddr)
	w.cacheAddr = proxy.Addr
	slow := w.gateway()
	var calls atomic.Int32
	release := make(chan func(), 1)
	w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			release <- proxy.Hold()
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.interceptor.sim.ServeHTTP(rw, r)
	})
	if _, err := slow.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.ProviderError {
		t.Fatal(err)
	}
	requests := make(chan error, 1)
	before := steps.completed.Load()
	go func() {
		_, err := other.Balances(t.Context(), client, q, mypossim.GoodAccount)
		requests <- err
	}()
	eventually(t, "the other request waits", func() bool { return steps.completed.Load() > before+1 || len(requests) > 0 })
	(<-release)()
	if err := <-requests; err != nil {
		t.Errorf("after the end of the call: %v", err)
	}
}

// TestSlowRedisGetsTheResultLater: writes that exceed the latency budget continue in the
// background: the list is cached, and the lease is released.
func TestSlowRedisGetsTheResultLater(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		w.redisBudget = gateway.RedisBudget
		fast := w.gateway()
		w.slowCache(45 * time.Millisecond)
		g, q := w.gateway(), newQuery()
		_, _ = g.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{OnlyIfCached: true}) // opens a connection
		mustList(t, g, q, gateway.CacheControl{})
		if err := g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := mustList(t, fast, q, gateway.CacheControl{}); !list.Cache.Hit {
			t.Errorf("the list was not cached: %+v", list.Cache)
		}
		w.ageList(q, minute) // the bubble's clock may be ahead of Redis's
		began := time.Now()
		list := mustList(t, fast, q, gateway.CacheControl{NoCache: true})
		if took := time.Since(began); took > 0 || !list.Cache.Stored { // a lease that is held would make it wait
			t.Errorf("took %v, %+v", took, list.Cache)
		}
	})
}

// TestRejectionInvalidatesDespiteAnOutage: a rejection deletes the list, even if Redis is paused
// when it comes.
func TestRejectionInvalidatesDespiteAnOutage(t *testing.T) {
	t.Parallel()
	for name, read := range providerReads {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.redisBudget = gateway.RedisBudget
			redis := redistest.Start(t)
			w.cacheAddr = redis.Addr
			g, q := w.gateway(), attended(newQuery())
			mustList(t, g, q, gateway.CacheControl{})
			w.interceptor.handle(rejectConsent)
			redis.Pause()
			if err := read(g, q); kind(err) != canonical.ConsentInvalid {
				t.Fatal(err)
			}
			redis.Resume()
			if err := g.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
				t.Errorf("the list is not deleted: %v", err)
			}
		})
	}
}

// TestDrainWithoutRedis: a gateway that drains while Redis is down does not wait until it is back.
func TestDrainWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	bubble(t, func(t *testing.T, w *fixture) {
		w.redisBudget = gateway.RedisBudget
		w.cacheAddr = server.Addr
		w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Psu-Ip-Address") != "" {
				server.Stop()
			}
			rejectConsent(rw, r)
		})
		g, q := w.gateway(), attended(newQuery())
		if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != canonical.ConsentInvalid {
			t.Fatal(err)
		}
		began := time.Now()
		if err := g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestInvalidatedListIsNotServedStale: a list that is deleted while a call is in progress is not
// served when the call fails.
func TestInvalidatedListIsNotServedStale(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), attended(newQuery())
	mustList(t, g, q, gateway.CacheControl{})
	w.ageList(q, fresh+minute)
	w.interceptor.handle(func(rw http.ResponseWriter, _ *http.Request) {
		if err := g.DeleteCachedData(context.Background(), client, q); err != nil {
			t.Error(err)
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.ProviderUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestOneConsentInTwoSpellings(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	capitals := withConsent(q, strings.ToUpper(q.Consent))
	mustList(t, g, q, gateway.CacheControl{})
	if list := mustList(t, g, capitals, gateway.CacheControl{}); !list.Cache.Hit {
		t.Errorf("%+v", list.Cache)
	}
	exhaustLimit(t, g, q)
	if _, err := g.Balances(t.Context(), client, capitals, mypossim.GoodAccount); kind(err) != canonical.UnattendedLimit {
		t.Errorf("a fifth call in capitals: %v", err)
	}
	if err := g.DeleteCachedData(t.Context(), client, capitals); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("deleted in capitals: %v", err)
	}
	if n := len(w.callLog.Breaches()); n != 0 {
		t.Errorf("%d breaches", n)
	}
}

func TestCallerWhoLeftCostsNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, list := g.Accounts(gone, client, q, gateway.CacheControl{})
	_, result := g.Balances(gone, client, q, mypossim.GoodAccount)
	if kind(list) != canonical.Canceled || kind(result) != canonical.Canceled {
		t.Errorf("%v, %v", list, result)
	}
	if err := g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := g.UnattendedAccess(t.Context(), listOf(q)); err != nil || s.Used != 0 || len(w.callLog.Calls()) != 0 {
		t.Errorf("%+v, %v, %d calls", s, err, len(w.callLog.Calls()))
	}
}

// TestDrainAfterCancellations: after callers have left at any moment, Drain returns and no call is
// made afterwards.
func TestDrainAfterCancellations(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		w.slowRedis(time.Millisecond)
		w.delayCalls(20 * time.Millisecond)
		g := w.gateway()
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
				defer cancel()
				q := newQuery()
				if i%2 == 0 {
					_, _ = g.Accounts(ctx, client, q, gateway.CacheControl{})
				} else {
					_, _ = g.Balances(ctx, client, q, mypossim.GoodAccount)
				}
			})
		}
		wg.Wait()
		if err := g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := len(w.callLog.Calls())
		time.Sleep(minute)
		if after := len(w.callLog.Calls()); after != before || before == 0 {
			t.Errorf("%d calls were made, and %d after the gateway was drained", before, after-before)
		}
	})
}

// TestNoCacheWithAClockAhead: a list that was cached by a gateway whose clock is ahead does not
// satisfy no-cache.
func TestNoCacheWithAClockAhead(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), attended(newQuery())
	w.shiftClock(5 * minute)
	mustList(t, g, q, gateway.CacheControl{})
	w.shiftClock(-5 * minute)
	list := mustList(t, g, q, gateway.CacheControl{NoCache: true})
	if n := len(w.callLog.Calls()); n != 2 || list.Cache.Collapsed {
		t.Errorf("%d calls, %+v", n, list.Cache)
	}
}

// TestLeaseOutlivesASlowCall: a lease lasts at least as long as the timeout of its call.
func TestLeaseOutlivesASlowCall(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	arrived, open := w.interceptor.hold()
	first, q := w.gateway(), newQuery()
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { mustList(t, first, q, gateway.CacheControl{}) })
	<-arrived
	leases := w.leases(q)
	rdb := w.open(w.cacheAddr).Cache
	if len(leases) != 1 || rdb.PTTL(t.Context(), leases[0]).Val() < timeout-time.Since(began) {
		t.Errorf("the leases %q expire in %v, after %v", leases, rdb.PTTL(t.Context(), leases[0]).Val(), time.Since(began))
	}
	open()
	wg.Wait()
}

// leases returns the keys of all leases for the list of q.
func (w *fixture) leases(q canonical.Query) []string {
	w.t.Helper()
	return w.open(w.cacheAddr).Cache.Keys(w.t.Context(), store.Prefix("accounts", client, aspspID, q.Consent)+"lease:*").Val()
}

func TestEqualRequestsMakeOneCall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		gateways int
		wants    gateway.CacheControl
		attended bool
	}{
		{"one gateway, unattended", 1, gateway.CacheControl{}, false},
		{"one gateway, attended", 1, gateway.CacheControl{}, true},
		{"three gateways, unattended", 3, gateway.CacheControl{}, false},
		{"three gateways, attended", 3, gateway.CacheControl{}, true},
		{"three gateways, no-cache", 3, gateway.CacheControl{NoCache: true}, false},
		{"three gateways, max-age=0", 3, gateway.CacheControl{MaxAge: ptr(time.Duration(0))}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.delayCalls(longCall)
				q := newQuery()
				if tt.attended {
					q = attended(q)
				}
				var mu sync.Mutex
				stored, collapsed := 0, 0
				var wg sync.WaitGroup
				for range tt.gateways {
					g := w.gateway()
					for range 20 {
						wg.Go(func() {
							list, err := g.Accounts(context.Background(), client, q, tt.wants)
							mu.Lock()
							defer mu.Unlock()
							switch {
							case err != nil:
								t.Error(err)
							case list.Cache.Stored:
								stored++
							case list.Cache.Collapsed:
								collapsed++
							}
						})
					}
				}
				wg.Wait()
				if n := len(w.callLog.Calls()); n != 1 || stored != 1 || collapsed != 20*tt.gateways-1 {
					t.Errorf("%d calls, %d stored, %d collapsed", n, stored, collapsed)
				}
			})
		})
	}
}

// TestRequestsThatRequireACall: requests that require a call share one with each other, and none
// with requests that do not.
func TestRequestsThatRequireACall(t *testing.T) {
	t.Parallel()
	for _, gateways := range []int{1, 3} {
		bubble(t, func(t *testing.T, w *fixture) {
			w.delayCalls(longCall)
			q := newQuery()
			var wg sync.WaitGroup
			for range gateways {
				g := w.gateway()
				for i := range 20 {
					wg.Go(func() { mustList(t, g, q, gateway.CacheControl{NoCache: i%2 == 0}) })
				}
			}
			wg.Wait()
			if n := len(w.callLog.Calls()); n != 2 {
				t.Errorf("%d gateways make %d calls", gateways, n)
			}
		})
	}
}

// TestEqualRequestsWithoutRedis: without Redis, identical concurrent requests on one gateway still
// share one call.
func TestEqualRequestsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	bubble(t, func(t *testing.T, w *fixture) {
		w.cacheAddr = server.Addr
		w.delayCalls(500 * time.Millisecond)
		g, list, balances := w.gateway(), attended(newQuery()), newQuery()
		server.Stop()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := g.Accounts(context.Background(), client, list, gateway.CacheControl{}); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := g.Balances(context.Background(), client, balances, mypossim.GoodAccount); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(w.callLog.Calls()); n != 2 {
			t.Errorf("%d calls, want one for each", n)
		}
	})
}

func TestFollowersShareTheFailure(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		w.delayCalls(longCall)
		q := withConsent(newQuery(), mypossim.Consent401ConsentExpired)
		var wg sync.WaitGroup
		for range 2 {
			g := w.gateway()
			for range 10 {
				wg.Go(func() {
					if _, err := g.Accounts(context.Background(), client, q, gateway.CacheControl{}); kind(err) != canonical.ConsentExpired {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := len(w.callLog.Calls()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestDifferentRequestsMakeTheirOwnCalls: requests that differ in client, consent, token or user do
// not share a call.
func TestDifferentRequestsMakeTheirOwnCalls(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		w.delayCalls(300 * time.Millisecond)
		g, second, q := w.gateway(), w.gateway(), newQuery()
		other := q
		other.Token = mypossim.ExpiredToken
		var wg sync.WaitGroup
		for _, read := range []struct {
			g      *gateway.Gateway
			client string
			q      canonical.Query
			want   canonical.Kind
		}{
			{g, "payments", q, ""},
			{g, "credit", q, ""},
			{g, "payments", attended(q), ""},
			{g, "payments", withConsent(q, newQuery().Consent), ""},
			{g, "payments", other, canonical.ConsentExpired},
			{second, "payments", attended(other), canonical.ConsentExpired},
		} {
			wg.Go(func() {
				list, err := read.g.Accounts(context.Background(), read.client, read.q, gateway.CacheControl{})
				if kind(err) != read.want || list.Cache.Collapsed {
					t.Errorf("%s: %v, %+v", read.client, err, list.Cache)
				}
			})
		}
		wg.Wait()
		if n := len(w.callLog.Calls()); n != 6 {
			t.Errorf("%d calls, want one each", n)
		}
	})
}

func TestClientsDoNotShareLists(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	if _, err := g.Accounts(t.Context(), "other", q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("got %v", err)
	}
}

func TestListOfACanceledCallIsCached(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		ctx, leave := context.WithCancel(t.Context())
		w.beforeCall = func(context.Context) {
			leave()
			time.Sleep(100 * time.Millisecond)
		}
		g, q := w.gateway(), newQuery()
		if _, err := g.Accounts(ctx, client, q, gateway.CacheControl{}); kind(err) != canonical.Canceled {
			t.Fatal(err)
		}
		if err := g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := mustList(t, g, q, gateway.CacheControl{OnlyIfCached: true}); remaining(list.Usage) != 3 {
			t.Errorf("%d remaining", remaining(list.Usage))
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g := w.gateway()
	arrived, open := w.interceptor.hold()
	go func() { _, _ = g.Accounts(context.Background(), client, newQuery(), gateway.CacheControl{}) }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g.Drain(ctx) == nil {
		t.Error("drained although a call is in progress")
	}
	open()
	if err := g.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// shareKey returns the key under which the gateway coalesces unattended lists of q.
func shareKey(q canonical.Query) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", q.Consent, q.Token.Reveal(), ""))
	return "unattended:" + base64.RawURLEncoding.EncodeToString(hash[:])
}

// TestLeaseOfADeadGateway: if a gateway dies during a call, others wait until its lease is gone,
// and not longer.
func TestLeaseOfADeadGateway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		g, q := w.gateway(), newQuery()
		rdb, _, _ := w.holdLease(q, shareKey(q))
		const dead = 3 * time.Second
		time.AfterFunc(dead, func() { rdb.Del(context.Background(), w.leases(q)...) })
		began := time.Now()
		list := mustList(t, g, q, gateway.CacheControl{})
		if took := time.Since(began); took < dead || took > dead+100*time.Millisecond || !list.Cache.Stored {
			t.Errorf("took %v, %+v", took, list.Cache)
		}
	})
}

// TestForwardIsThatOfTheFirstLookup: if the list that satisfies a request is stored while it waits,
// Cache-Status shows what was cached before.
func TestForwardIsThatOfTheFirstLookup(t *testing.T) {
	t.Parallel()
	for before, want := range map[string]gateway.Forward{"nothing": gateway.ForwardMiss, "a stale list": gateway.ForwardStale} {
		t.Run(before, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				g, q := w.gateway(), newQuery()
				list := mustList(t, g, q, gateway.CacheControl{})
				if w.ageList(q, fresh+minute); before == "nothing" {
					if err := g.DeleteCachedData(t.Context(), client, q); err != nil {
						t.Fatal(err)
					}
				}
				w.holdLease(q, shareKey(q))                    // of a gateway that dies
				rdb, lists, unshared := w.holdLease(q, "test") // of one whose call is not shared
				time.AfterFunc(3*time.Second, func() {
					newer := cache.CallResult{Entry: &cache.Entry{Accounts: list.Accounts, FetchedAt: unshared.RedisTime(time.Now())}, KeepFor: time.Hour}
					if done, err := lists.Publish(context.Background(), unshared, newer); err != nil || !done.Stored {
						t.Error(done, err)
					}
					rdb.Del(context.Background(), w.leases(q)...)
				})
				got := mustList(t, g, q, gateway.CacheControl{})
				if diff := cmp.Diff(gateway.CacheStatus{Forward: want, Collapsed: true}, got.Cache); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestErasure(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	if err := g.DeleteCachedData(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	list, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true})
	if kind(err) != canonical.NotCached || remaining(list.Usage) != 3 {
		t.Errorf("%v, %d remaining: a slot was released", err, remaining(list.Usage))
	}
	arrived, open := w.interceptor.hold()
	go func() { _, _ = g.Accounts(context.Background(), client, q, gateway.CacheControl{}) }()
	<-arrived
	if err := g.DeleteCachedData(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	open()
	if err := g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("a call in progress stored the deleted list: %v", err)
	}
}

func TestRejectedBalancesInvalidateTheList(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	w.interceptor.handle(rejectConsent)
	if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); kind(err) != canonical.ConsentInvalid {
		t.Fatal(err)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("the list is not deleted: %v", err)
	}
}

func TestBalances(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		w.delayCalls(200 * time.Millisecond)
		g, q := w.gateway(), newQuery()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				result, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
				if err != nil || len(result.Balances) < 2 || remaining(result.Usage) != 3 || result.Freshness.Source != gateway.FromProvider {
					t.Errorf("%v, %+v", err, result)
				}
			})
		}
		wg.Wait()
		if n := len(w.callLog.Calls()); n != 1 {
			t.Errorf("ten concurrent unattended requests made %d calls", n)
		}
		result, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount)
		if err != nil || result.Usage != nil || len(w.callLog.Calls()) != 2 {
			t.Errorf("attended: %v, %+v", err, result.Usage)
		}
		exhaustLimit(t, g, q)
		result, err = g.Balances(t.Context(), client, q, mypossim.GoodAccount)
		if kind(err) != canonical.UnattendedLimit || remaining(result.Usage) != 0 || len(w.callLog.Breaches()) != 0 {
			t.Errorf("%v, %d remaining, %d breaches", err, remaining(result.Usage), len(w.callLog.Breaches()))
		}
	})
}

// TestBalancesAreSharedAcrossGateways: identical unattended balance requests on several gateways
// share one call and its failure. Requests that differ in account, client or token do not.
func TestBalancesAreSharedAcrossGateways(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		consent string
		want    canonical.Kind
	}{
		{"balances", newQuery().Consent, ""},
		{"a failure", mypossim.Consent401ConsentExpired, canonical.ConsentExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.delayCalls(longCall)
				q := withConsent(newQuery(), tt.consent)
				q.Token = anotherToken() // no earlier refusal is remembered
				var wg sync.WaitGroup
				for range 3 {
					g := w.gateway()
					for range 10 {
						wg.Go(func() {
							result, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
							if kind(err) != tt.want {
								t.Error(err)
							}
							if err == nil && (remaining(result.Usage) != 3 || len(result.Balances) < 2 || result.Freshness.Source != gateway.FromProvider || result.Freshness.Age > minute) {
								t.Errorf("%+v", result)
							}
						})
					}
				}
				wg.Wait()
				if n := len(w.callLog.Calls()); n != 1 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
	type read struct {
		client, account string
		token           canonical.Secret
	}
	mine := read{client, mypossim.GoodAccount, mypossim.GoodToken}
	for name, other := range map[string]read{
		"another account": {client, "another", mypossim.GoodToken},
		"another client":  {"credit", mypossim.GoodAccount, mypossim.GoodToken},
		"another token":   {client, mypossim.GoodAccount, mypossim.ExpiredToken},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.delayCalls(300 * time.Millisecond)
				q := newQuery()
				var wg sync.WaitGroup
				for _, a := range []read{mine, other} {
					g, q := w.gateway(), q
					q.Token = a.token
					wg.Go(func() { _, _ = g.Balances(context.Background(), a.client, q, a.account) })
				}
				wg.Wait()
				if n := len(w.callLog.Calls()); n != 2 {
					t.Errorf("%d calls, want one each", n)
				}
			})
		})
	}
}

// TestSharedBalancesAreNotCached: balances are not cached, so each later request makes a call.
func TestSharedBalancesAreNotCached(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	first, second, q := w.gateway(), w.gateway(), newQuery()
	for _, g := range []*gateway.Gateway{first, second, first} {
		if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.callLog.Calls()); n != 3 {
		t.Errorf("%d calls", n)
	}
}

// TestClockOfAGatewayJumps: cached lists, their age and the number of calls do not depend on the
// gateway's clock.
func TestClockOfAGatewayJumps(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, other, q := w.gateway(), w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	for _, jump := range []time.Duration{24 * time.Hour, -48 * time.Hour} {
		w.shiftClock(jump)
		for _, g := range []*gateway.Gateway{g, other} {
			if list := mustList(t, g, q, gateway.CacheControl{}); !list.Cache.Hit || list.Freshness.Age > minute || remaining(list.Usage) != 3 {
				t.Errorf("after %v: %+v, %+v, %d remaining", jump, list.Cache, list.Freshness, remaining(list.Usage))
			}
		}
		list := mustList(t, g, attended(newQuery()), gateway.CacheControl{})
		if ago := time.Since(list.Freshness.FetchedAt).Abs(); ago > minute {
			t.Errorf("after %v: fetched %v ago", jump, ago)
		}
	}
	w.ageList(q, fresh+minute)
	mustList(t, other, q, gateway.CacheControl{})
	exhaustLimit(t, g, q)
	if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.UnattendedLimit {
		t.Errorf("after a day by its own clock: %v", err)
	}
	if len(w.callLog.Breaches()) != 0 {
		t.Error("the limit was exceeded")
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.aspsp.Breaker.ConsecutiveFailures = 3
	g, q := w.gateway(), newQuery()
	w.interceptor.handle(status(500))
	for range 3 {
		if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); kind(err) != canonical.ProviderError {
			t.Fatal(err)
		}
	}
	result, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount)
	if kind(err) != canonical.ProviderUnavailable || remaining(result.Usage) != 4 || w.interceptor.count() != 3 {
		t.Errorf("%v, %d remaining, %d arrived", err, remaining(result.Usage), w.interceptor.count())
	}
	if a, ok := g.ASPSP(aspspID); !ok || a.Breaker != breaker.Open || len(w.observed.states) != 1 {
		t.Errorf("%+v, observed %v", a, w.observed.states)
	}
}

// TestOneConsentDoesNotOpenTheBreaker: failures under one consent do not open the breaker.
func TestOneConsentDoesNotOpenTheBreaker(t *testing.T) {
	for name, spoil := range map[string]http.HandlerFunc{
		"an error":                  status(500),
		"unavailable":               status(503),
		"data that is not accepted": status(200),
		"another's account": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"account":{"accountNumber":"another"},"balances":[]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.aspsp.Breaker = config.ASPSPDefaults().Breaker
			g, odd := w.gateway(), newQuery()
			mustList(t, g, newQuery(), gateway.CacheControl{})
			w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Consent-ID") == odd.Consent {
					spoil(rw, r)
				} else {
					w.interceptor.sim.ServeHTTP(rw, r)
				}
			})
			for range 10 {
				if _, err := g.Balances(t.Context(), client, attended(odd), mypossim.GoodAccount); err == nil {
					t.Fatal("no error")
				}
			}
			if n := w.interceptor.count(); n != 10 {
				t.Errorf("%d calls arrived", n)
			}
			mustList(t, g, newQuery(), gateway.CacheControl{})
			if a, _ := g.ASPSP(aspspID); a.Breaker != breaker.Closed {
				t.Errorf("the breaker is %s", a.Breaker)
			}
		})
	}
}

// TestUnattendedAccessOfResources: with the unit resource, the list, the balances of an account and
// the balances of all accounts in one call have counters of their own, and access shows each. With
// the unit consent they share one.
func TestUnattendedAccessOfResources(t *testing.T) {
	t.Parallel()
	for unit, want := range map[config.Unit][]int{config.UnitResource: {0, 1, 2}, config.UnitConsent: {3, 3, 3}} {
		t.Run(string(unit), func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			w.aspsp.Unattended.Unit = unit
			g, list := w.gateway(), listOf(newQuery())
			account, all := list, list
			account.Account, all.AllBalances = "a", true
			for _, call := range []unattended.Call{account, all, all} {
				if _, err := g.Counter.Take(t.Context(), call, timeout); err != nil {
					t.Fatal(err)
				}
			}
			for i, call := range []unattended.Call{list, account, all} {
				if usage, err := g.UnattendedAccess(t.Context(), call); err != nil || usage.Used != want[i] {
					t.Errorf("%+v, %v, want %d used", usage, err, want[i])
				}
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g := w.gateway()
	want := []gateway.ASPSPInfo{{
		ID: aspspID, Name: "A bank", Provider: "mypos", Breaker: breaker.Closed, Timeout: timeout,
		Unattended: config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
		Requires:   providers.Requirements{Token: true, ConsentUUID: true},
	}}
	if diff := cmp.Diff(want, g.ASPSPs()); diff != "" {
		t.Error(diff)
	}
	q := newQuery()
	q.ASPSP = "unknown"
	_, known := g.ASPSP(q.ASPSP)
	_, list := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
	_, result := g.Balances(t.Context(), client, q, "a")
	_, access := g.UnattendedAccess(t.Context(), listOf(q))
	for _, err := range []error{list, result, access, g.DeleteCachedData(t.Context(), client, q)} {
		if known || kind(err) != canonical.ASPSPUnknown {
			t.Errorf("got %v", err)
		}
	}
	if faults := g.Check(q); faults != nil {
		t.Errorf("%v", faults)
	}
	if faults := g.Check(canonical.Query{ASPSP: aspspID, Consent: "no uuid"}); len(faults) != 2 {
		t.Errorf("faults of the query: %v", faults)
	}
}

// TestDirectoryOfOneProvider: requirements and capabilities are those of the ASPSP, also if one
// provider has several.
func TestDirectoryOfOneProvider(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g := w.gateway()
	c := g.Config
	c.ASPSPs = nil
	want, able := map[string]gateway.ASPSPInfo{}, &capable{scripted: twoAccounts(), aspsps: map[string]gateway.ASPSPInfo{}}
	for i, a := range []gateway.ASPSPInfo{
		{Capabilities: providers.Capabilities{ListWithBalances: true}, Requires: providers.Requirements{Token: true}},
		{Capabilities: providers.Capabilities{AllBalances: true}, Requires: providers.Requirements{ConsentUUID: true}},
		{},
	} {
		a.ID = fmt.Sprintf("4f1e2d3c-0000-4000-8000-00000000030%d", i)
		able.aspsps[a.ID], want[a.ID] = a, a
		aspsp := w.aspsp
		aspsp.ID = a.ID
		c.ASPSPs = append(c.ASPSPs, gateway.ASPSP{ASPSP: aspsp, Adapter: able, Timeout: w.timeout})
	}
	for _, a := range gateway.New(c).ASPSPs() {
		if a.Requires != want[a.ID].Requires || a.Capabilities != want[a.ID].Capabilities {
			t.Errorf("%s: %+v, %+v, want %+v", a.ID, a.Requires, a.Capabilities, want[a.ID])
		}
	}
}

// capable is a provider whose requirements and capabilities depend on the ASPSP.
type capable struct {
	*scripted
	aspsps map[string]gateway.ASPSPInfo
}

func (p *capable) Requires(aspsp string) providers.Requirements { return p.aspsps[aspsp].Requires }
func (p *capable) ListsWithBalances(aspsp string) bool {
	return p.aspsps[aspsp].Capabilities.ListWithBalances
}

func (p *capable) ReadsAllBalances(aspsp string) bool {
	return p.aspsps[aspsp].Capabilities.AllBalances
}

func (p *capable) AccountsWithBalances(context.Context, canonical.Query) ([]canonical.AccountWithBalances, error) {
	return nil, nil
}

func (p *capable) AllBalances(context.Context, canonical.Query) (map[string]canonical.AccountBalances, error) {
	return nil, nil
}

// panickingProvider is an adapter whose methods panic.
type panickingProvider struct{}

func (panickingProvider) Accounts(context.Context, canonical.Query) ([]canonical.Account, error) {
	panic("BG57INTF40015004462007")
}

func (panickingProvider) Balances(context.Context, canonical.Query, string) (canonical.AccountBalances, error) {
	panic("BG57INTF40015004462007")
}

func TestPanicOfAnAdapter(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	counter := w.counter(w.open(w.counterAddr).Counter)
	lists, err := cache.New(w.open(w.cacheAddr).Cache, [][]byte{w.key})
	if err != nil {
		t.Fatal(err)
	}
	g := w.gatewayOf(panickingProvider{}, counter, lists)
	if _, err := g.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{}); kind(err) != canonical.InternalError {
		t.Errorf("accounts: %v", err)
	}
	if _, err := g.Balances(t.Context(), client, attended(newQuery()), "a"); kind(err) != canonical.InternalError {
		t.Errorf("balances: %v", err)
	}
}
