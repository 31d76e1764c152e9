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
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

const (
	minute = time.Minute
	fresh  = 10 * minute
)

// asks are what makes a call, whatever is kept.
var asks = map[string]func(*gateway.Gateway, canonical.Query) error{
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
	w := newWorld(t)
	g, q := w.gateway(), alone()
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
		{"demanded", 0, gateway.CacheControl{NoCache: true}, false, gateway.CacheStatus{Forward: "request", Stored: true}, "provider", 2, "bypass", 2},
		{"attended", minute, gateway.CacheControl{}, true, gateway.CacheStatus{Hit: true, TTL: 9 * minute}, "cache", 2, "hit", -1},
		{"younger than asked", 0, gateway.CacheControl{MaxAge: ptr(2 * minute)}, false, gateway.CacheStatus{Hit: true, TTL: minute}, "cache", 2, "hit", 2},
		{"older than asked", 0, gateway.CacheControl{MaxAge: ptr(minute)}, false, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 3, "miss", 1},
		{"not older than nothing", 0, gateway.CacheControl{MaxAge: ptr(time.Duration(0))}, true, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 4, "miss", -1},
		{"max-age never loosens", fresh, gateway.CacheControl{MaxAge: ptr(time.Hour)}, true, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 5, "miss", -1},
		{"no longer fresh", fresh, gateway.CacheControl{}, false, gateway.CacheStatus{Forward: "stale", Stored: true}, "provider", 6, "miss", 0},
	} {
		if tt.after > 0 {
			w.later(q, tt.after)
		}
		ask := q
		if tt.attended {
			ask = attended(q)
		}
		list := mustList(t, g, ask, tt.wants)
		list.Cache.TTL = list.Cache.TTL.Round(minute)
		if diff := cmp.Diff(tt.cache, list.Cache); diff != "" {
			t.Errorf("%d %s: %s", i, tt.name, diff)
		}
		if list.Freshness.Source != tt.source || list.Freshness.Stale || list.Freshness.StaleReason != "" {
			t.Errorf("%d %s: %+v", i, tt.name, list.Freshness)
		}
		if calls := len(w.ledger.Calls()); calls != tt.calls {
			t.Errorf("%d %s: %d calls, want %d", i, tt.name, calls, tt.calls)
		}
		if got := w.observed.last(); got != tt.result {
			t.Errorf("%d %s: observed %s, want %s", i, tt.name, got, tt.result)
		}
		if remaining := left(list.Usage); remaining != tt.remaining {
			t.Errorf("%d %s: %d remaining, want %d", i, tt.name, remaining, tt.remaining)
		}
	}
}

// left is what remains, -1 where nobody says.
func left(s *unattended.Usage) int {
	if s == nil {
		return -1
	}
	return s.Remaining
}

func TestOnlyIfCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q, wants := w.gateway(), alone(), gateway.CacheControl{OnlyIfCached: true}
	list, err := g.Accounts(t.Context(), client, q, wants)
	if kind(err) != canonical.NotCached || left(list.Usage) != 4 {
		t.Errorf("nothing kept: %v, %d remaining", err, left(list.Usage))
	}
	mustList(t, g, q, gateway.CacheControl{})
	if list := mustList(t, g, q, wants); list.Freshness.Stale {
		t.Error("fresh is stale")
	}
	w.later(q, fresh+minute)
	list = mustList(t, g, q, wants)
	if !list.Freshness.Stale || list.Freshness.StaleReason != "" || list.Cache.TTL.Round(minute) != -minute {
		t.Errorf("%+v, %+v", list.Freshness, list.Cache)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true, NoCache: true}); kind(err) != canonical.NotCached || !strings.Contains(err.Error(), "exclude each other") {
		t.Errorf("what cannot be had: %v", err)
	}
	if n := len(w.ledger.Calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// When a list cannot be fetched anew the old one is answered, with the reason; never after a definite no.
func TestStale(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		spoil  http.HandlerFunc
		kind   canonical.Kind
		reason gateway.StaleReason
		kept   bool
	}{
		{"503", status(503), canonical.ProviderUnavailable, gateway.StaleWithoutProvider, true},
		{"504", status(504), canonical.ProviderTimeout, gateway.StaleWithoutProvider, true},
		{"500", status(500), canonical.ProviderError, gateway.StaleWithoutProvider, true},
		{"429", status(429), canonical.ProviderThrottled, gateway.StaleWithoutProvider, true},
		{"not JSON", status(200), canonical.ProviderInvalidResponse, gateway.StaleWithoutProvider, true},
		{"401", status(401), canonical.ConsentInvalid, gateway.NotStale, true},
		{"401 of the consent", rejects, canonical.ConsentInvalid, gateway.NotStale, false},
		{"403", status(403), canonical.ProviderRejected, gateway.NotStale, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			g, q := w.gateway(), attended(alone())
			mustList(t, g, q, gateway.CacheControl{})
			w.later(q, fresh+minute)
			w.front.with(tt.spoil)
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != tt.kind {
				t.Errorf("no-cache demands a call: %v, want %s", err, tt.kind)
			}
			list, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
			if tt.reason == gateway.NotStale {
				if kind(err) != tt.kind {
					t.Errorf("got %v, want %s", err, tt.kind)
				}
			} else {
				if err != nil || !list.Freshness.Stale || list.Freshness.StaleReason != tt.reason || list.Freshness.Age < fresh+minute {
					t.Errorf("%v, %+v", err, list.Freshness)
				}
				if !list.Cache.Hit || list.Cache.TTL.Round(minute) != -minute || w.observed.last() != gateway.CacheStale {
					t.Errorf("%+v, observed %s", list.Cache, w.observed.last())
				}
			}
			_, err = g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true})
			if (err == nil) != tt.kept {
				t.Errorf("afterwards: %v, want kept %t", err, tt.kept)
			}
		})
	}
}

func TestStaleByLimitUntilItIsTooOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), alone()
	mustList(t, g, q, gateway.CacheControl{})
	useUp(t, g, q)
	w.later(q, fresh+minute)
	list := mustList(t, g, q, gateway.CacheControl{})
	if list.Freshness.StaleReason != gateway.StaleByLimit || left(list.Usage) != 0 {
		t.Errorf("%+v, %d remaining", list.Freshness, left(list.Usage))
	}
	w.later(q, w.bank.Accounts.KeepFor)
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.UnattendedLimit {
		t.Errorf("older than it may be kept: %v", err)
	}
}

func TestStaleWithoutCounter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counting := redistest.Start(t)
	w.countAt = counting.Addr
	g, q := w.gateway(), alone()
	mustList(t, g, q, gateway.CacheControl{})
	counting.Stop()
	if list := mustList(t, g, q, gateway.CacheControl{}); left(list.Usage) != -1 || !list.Cache.Hit {
		t.Errorf("a hit without the counter: %+v", list)
	}
	w.later(q, fresh+minute)
	if list := mustList(t, g, q, gateway.CacheControl{}); list.Freshness.StaleReason != gateway.StaleWithoutCounter {
		t.Errorf("%+v", list.Freshness)
	}
	if _, err := g.Accounts(t.Context(), client, under(q, alone().Consent), gateway.CacheControl{}); kind(err) != canonical.CounterUnavailable {
		t.Errorf("nothing kept: %v", err)
	}
	if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.CounterUnavailable {
		t.Errorf("balances: %v", err)
	}
	if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); err != nil {
		t.Errorf("attended: %v", err)
	}
	if n := len(w.ledger.Calls()); n != 2 {
		t.Errorf("%d calls reached the bank", n)
	}
}

// Without Redis attended requests are answered, at the price of 100 ms; unattended ones are not made.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "silent"}[silent], func(t *testing.T) {
			server := redistest.Start(t)
			bubble(t, func(t *testing.T, w *world) {
				w.allowance = gateway.RedisBudget
				w.cacheAt, w.countAt = server.Addr, server.Addr
				redis := w.slow(0)
				g, q := w.gateway(), alone()
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
				if list.Cache.Stored || list.Cache.Hit || w.observed.last() != gateway.CacheError {
					t.Errorf("%+v, observed %s", list.Cache, w.observed.last())
				}
				if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.CounterUnavailable {
					t.Errorf("unattended: %v", err)
				}
				if _, err := g.UnattendedAccess(t.Context(), q, ""); kind(err) != canonical.CounterUnavailable {
					t.Errorf("unattended-access: %v", err)
				}
				if err := g.Forget(t.Context(), client, q); kind(err) != canonical.DeletionUnconfirmed {
					t.Errorf("forgetting what may still be there: %v", err)
				}
				if n := len(w.ledger.Calls()); n != 2 {
					t.Errorf("%d calls reached the bank", n)
				}
			})
		})
	}
}

// A deletion that Redis does not confirm is tried again for two seconds.
func TestDeletionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for first, want := range map[int64]canonical.Kind{1: "", 1000: canonical.DeletionUnconfirmed} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s, deletions := w.open(w.cacheAt), &refusedDeletion{}
				s.Cache.AddHook(deletions)
				lists, err := cache.New(s.Cache, [][]byte{w.key})
				if err != nil {
					t.Fatal(err)
				}
				one, q := w.gateway(), alone()
				g := w.gatewayOf(one.Config.ASPSPs[0].Adapter, one.Counter, lists)
				mustList(t, g, q, gateway.CacheControl{})
				deletions.tried.Store(0)
				deletions.first.Store(first)
				began := time.Now()
				if err := g.Forget(t.Context(), client, q); kind(err) != want {
					t.Errorf("%d deletions fail: %v", first, err)
				}
				if took := time.Since(began); want != "" && took < 2*time.Second {
					t.Errorf("given up after %v", took)
				}
				if _, err := one.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); (kind(err) == canonical.NotCached) != (want == "") {
					t.Errorf("%d deletions fail, then %v", first, err)
				}
			})
		})
	}
}

// However slow Redis is, it costs an attended request 100 ms at most, over all steps together.
func TestSlowRedis(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{20, 40, 60, 90, 200, 2000} {
		delay := time.Duration(ms) * time.Millisecond
		t.Run(delay.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.allowance = gateway.RedisBudget
				w.slow(delay)
				g := w.gateway()
				for i := range 4 { // the first opens connections
					began := time.Now()
					mustList(t, g, attended(alone()), gateway.CacheControl{})
					if took := time.Since(began); took > gateway.RedisBudget {
						t.Errorf("request %d took %v", i+1, took)
					}
				}
			})
		})
	}
}

// A Redis that takes 60 or 80 ms an answer serves hits all the same, though setting up a connection takes longer.
func TestSlowRedisServesHits(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{60, 80} {
		bubble(t, func(t *testing.T, w *world) {
			w.allowance = gateway.RedisBudget
			q := attended(alone())
			mustList(t, w.gateway(), q, gateway.CacheControl{})
			w.slow(time.Duration(ms) * time.Millisecond)
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

// A list that was counted is kept, however slow Redis is: the second request makes no call.
func TestCountedListIsKept(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{60, 150, 400} {
		bubble(t, func(t *testing.T, w *world) {
			w.allowance = gateway.RedisBudget
			fast, q := w.gateway(), alone()
			w.slowCache(time.Duration(ms) * time.Millisecond)
			slow := w.gateway()
			_, _ = slow.UnattendedAccess(t.Context(), q, "")
			for range 2 { // open connections
				_, _ = slow.Accounts(t.Context(), client, alone(), gateway.CacheControl{OnlyIfCached: true})
			}
			time.Sleep(minute)
			w.jump(time.Hour) // the clock of a gateway says nothing of a list's age
			mustList(t, slow, q, gateway.CacheControl{})
			if err := slow.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			list := mustList(t, fast, q, gateway.CacheControl{})
			now := w.open(w.cacheAt).Cache.Time(t.Context()).Val()
			if !list.Cache.Hit || now.Sub(list.Freshness.FetchedAt).Abs() > 10*minute {
				t.Errorf("%d ms: %+v, %+v", ms, list.Cache, list.Freshness)
			}
			w.later(q, minute) // the bubble's clock may be ahead of Redis's
			if list := mustList(t, fast, q, gateway.CacheControl{NoCache: true}); !list.Cache.Stored {
				t.Errorf("%d ms: a lease is left behind: %+v", ms, list.Cache)
			}
		})
	}
}

// Those who share a call have waited for what it spent, and pay no second time.
func TestSharedCallIsPaidOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const call = 300 * time.Millisecond
		w.allowance = gateway.RedisBudget
		redis := w.slow(0)
		w.before = func(context.Context) {
			redis.silent.Store(true)
			time.Sleep(call)
		}
		w.front.with(status(http.StatusServiceUnavailable))
		g, q := w.gateway(), attended(alone())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				began := time.Now()
				if _, err := g.Accounts(context.Background(), client, q, gateway.CacheControl{}); kind(err) != canonical.ProviderUnavailable {
					t.Error(err)
				}
				if took := time.Since(began); took < call || took > call+gateway.RedisBudget {
					t.Errorf("took %v, of which the call %v", took, call)
				}
			})
		}
		wg.Wait()
		redis.silent.Store(false)
		if n := w.front.count(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// A call is demanded: what was kept before will not do, however old, and whoever else is content with it.
func TestNoCacheRequiresACall(t *testing.T) {
	t.Parallel()
	t.Run("older than it may be kept", func(t *testing.T) {
		w := newWorld(t)
		q := attended(alone())
		mustList(t, w.gateway(), q, gateway.CacheControl{})
		w.later(q, 2*time.Hour)
		w.bank.Accounts.KeepFor = time.Hour
		if list := mustList(t, w.gateway(), q, gateway.CacheControl{NoCache: true}); len(w.ledger.Calls()) != 2 || list.Freshness.Age > minute {
			t.Errorf("%d calls, %+v", len(w.ledger.Calls()), list.Freshness)
		}
	})
	t.Run("while another is content", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			g, q := w.gateway(), attended(alone())
			mustList(t, g, q, gateway.CacheControl{})
			w.later(q, 5*minute)
			lists, err := cache.New(w.open(w.cacheAt).Cache, [][]byte{w.key})
			if err != nil {
				t.Fatal(err)
			}
			key := cache.Key{Client: client, ASPSP: aspsp, Consent: q.Consent}
			lease, _, err := lists.AcquireList(t.Context(), key, strings.Replace(lane(q), "unattended", "attended", 1), minute)
			if err != nil || !lease.Held {
				t.Fatal(lease, err)
			}
			go func() {
				time.Sleep(200 * time.Millisecond)
				_, _ = lists.Publish(context.Background(), lease, cache.CallResult{Ended: lease.RedisTime(time.Now())})
			}()
			list := mustList(t, g, q, gateway.CacheControl{NoCache: true})
			if len(w.ledger.Calls()) != 2 || list.Freshness.Age > minute {
				t.Errorf("%d calls, %+v", len(w.ledger.Calls()), list.Freshness)
			}
		})
	})
}

// A definite no forgets the list although Redis has no memory left, and after an outage of any length.
func TestRejectionInvalidatesEventually(t *testing.T) { // not in parallel: it counts goroutines
	for _, tt := range []struct {
		name          string
		breaks, mends func(*redistest.Server)
		away          time.Duration
	}{
		{
			"out of memory",
			func(s *redistest.Server) { _ = s.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *redistest.Server) { _ = s.Do("CONFIG", "SET", "maxmemory", "0") }, 0,
		},
		{"away", (*redistest.Server).Stop, (*redistest.Server).Restart, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.allowance = gateway.RedisBudget
			redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			w.cacheAt = redis.Addr
			g, q := w.gateway(), attended(alone())
			mustList(t, g, q, gateway.CacheControl{})
			w.front.with(rejects)
			tt.breaks(redis)
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != canonical.ConsentInvalid {
				t.Fatal(err)
			}
			before := runtime.NumGoroutine()
			for range 100 { // however often it is asked for
				_, _ = g.Accounts(t.Context(), client, q, gateway.CacheControl{})
			}
			time.Sleep(tt.away)
			if grown := runtime.NumGoroutine() - before; grown > 60 {
				t.Errorf("%d goroutines more", grown)
			}
			tt.mends(redis)
			// It is never answered again, and goes without another no.
			rdb := w.open(redis.Addr).Cache
			for deadline := time.Now().Add(minute); ; {
				if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
					t.Fatalf("the list is answered: %v", err)
				}
				if all, err := rdb.Keys(t.Context(), "*:list").Result(); err == nil && len(all) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the list outlived the consent")
				}
			}
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.ConsentInvalid {
				t.Errorf("as soon as Redis is back: %v", err)
			}
		})
	}
}

// A lease that a Redis gives after everybody has given up is given back: the next ones do not wait for its end.
func TestLateLeaseIsReleased(t *testing.T) {
	t.Parallel()
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.allowance = gateway.RedisBudget
				other, q := w.gateway(), alone()
				redis := w.slowCache(0)
				g := w.gateway()
				if err := ask(g, q); err != nil { // opens connections
					t.Fatal(err)
				}
				redis.late.Store(int64(3 * time.Second))
				began := time.Now()
				if err := ask(g, q); err != nil {
					t.Fatal(err)
				}
				redis.late.Store(0) // what is sent from now on overtakes the question for the lease, and finds none to give back
				time.Sleep(time.Until(began.Add(4500 * time.Millisecond)))
				began = time.Now()
				if err := ask(other, q); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A hit costs one round trip to Redis: the list and the counter are read side by side.
func TestHitIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const delay = 150 * time.Millisecond
		mustList(t, w.gateway(), alone(), gateway.CacheControl{}) // makes Redis know the scripts
		w.slow(delay)
		g, q := w.gateway(), alone()
		mustList(t, g, q, gateway.CacheControl{})
		began := time.Now()
		list := mustList(t, g, q, gateway.CacheControl{})
		if took := time.Since(began); took != delay || !list.Cache.Hit || left(list.Usage) != 3 {
			t.Errorf("took %v, %+v, %d remaining", took, list.Cache, left(list.Usage))
		}
	})
}

// What became of a call while Redis was away says nothing to those who ask when it is back.
func TestFailureOfBeforeIsNotShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	redis := redistest.Start(t)
	w.cacheAt, w.countAt = redis.Addr, redis.Addr
	other, q := w.gateway(), alone()
	w.allowance, w.patient = gateway.RedisBudget, false
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

// One who asks after a call has ended wants to know how the bank is now, although Redis has not been told yet that the
// call has ended.
func TestResultOfBeforeIsNotShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allowance = gateway.RedisBudget
	steps := w.slowCache(0)
	other, q := w.gateway(), alone()
	w.cacheIs = nil
	way := crashproxy.New(t).NewProxy(w.cacheAt)
	w.cacheAt = way.Addr
	slow := w.gateway()
	var calls atomic.Int32
	release := make(chan func(), 1)
	w.front.with(func(rw http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			release <- way.Hold()
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.front.sim.ServeHTTP(rw, r)
	})
	if _, err := slow.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.ProviderError {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	before := steps.steps.Load()
	go func() {
		_, err := other.Balances(t.Context(), client, q, mypossim.GoodAccount)
		asked <- err
	}()
	soon(t, "the other has asked, and waits", func() bool { return steps.steps.Load() > before+1 || len(asked) > 0 })
	(<-release)()
	if err := <-asked; err != nil {
		t.Errorf("after the call's end: %v", err)
	}
}

// What a slow Redis could not be told in time it is told later: the list is kept, and no lease is left behind.
func TestSlowRedisGetsTheResultLater(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.allowance = gateway.RedisBudget
		fast := w.gateway()
		w.slowCache(45 * time.Millisecond)
		g, q := w.gateway(), alone()
		_, _ = g.Accounts(t.Context(), client, alone(), gateway.CacheControl{OnlyIfCached: true}) // opens a connection
		mustList(t, g, q, gateway.CacheControl{})
		if err := g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := mustList(t, fast, q, gateway.CacheControl{}); !list.Cache.Hit {
			t.Errorf("the list was not kept: %+v", list.Cache)
		}
		w.later(q, minute) // the bubble's clock may be ahead of Redis's
		began := time.Now()
		list := mustList(t, fast, q, gateway.CacheControl{NoCache: true})
		if took := time.Since(began); took > 0 || !list.Cache.Stored { // it would wait for a lease
			t.Errorf("took %v, %+v", took, list.Cache)
		}
	})
}

// A definite no forgets the list, even if Redis is away for a moment just then.
func TestRejectionInvalidatesDespiteAnOutage(t *testing.T) {
	t.Parallel()
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.allowance = gateway.RedisBudget
			redis := redistest.Start(t)
			w.cacheAt = redis.Addr
			g, q := w.gateway(), attended(alone())
			mustList(t, g, q, gateway.CacheControl{})
			w.front.with(rejects)
			redis.Pause()
			if err := ask(g, q); kind(err) != canonical.ConsentInvalid {
				t.Fatal(err)
			}
			redis.Resume()
			if err := g.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
				t.Errorf("the list outlived the consent: %v", err)
			}
		})
	}
}

// A gateway that ends while Redis is away does not wait until it is back.
func TestDrainWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	bubble(t, func(t *testing.T, w *world) {
		w.allowance = gateway.RedisBudget
		w.cacheAt = server.Addr
		w.front.with(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Psu-Ip-Address") != "" {
				server.Stop()
			}
			rejects(rw, r)
		})
		g, q := w.gateway(), attended(alone())
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

// The list that was looked up before a call failed may have been forgotten since.
func TestInvalidatedListIsNotServedStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), attended(alone())
	mustList(t, g, q, gateway.CacheControl{})
	w.later(q, fresh+minute)
	w.front.with(func(rw http.ResponseWriter, _ *http.Request) {
		if err := g.Forget(context.Background(), client, q); err != nil {
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
	w := newWorld(t)
	g, q := w.gateway(), alone()
	capitals := under(q, strings.ToUpper(q.Consent))
	mustList(t, g, q, gateway.CacheControl{})
	if list := mustList(t, g, capitals, gateway.CacheControl{}); !list.Cache.Hit {
		t.Errorf("%+v", list.Cache)
	}
	useUp(t, g, q)
	if _, err := g.Balances(t.Context(), client, capitals, mypossim.GoodAccount); kind(err) != canonical.UnattendedLimit {
		t.Errorf("a fifth call under capitals: %v", err)
	}
	if err := g.Forget(t.Context(), client, capitals); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("forgotten under capitals: %v", err)
	}
	if n := len(w.ledger.Breaches()); n != 0 {
		t.Errorf("%d breaches", n)
	}
}

func TestCallerWhoLeftCostsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), alone()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, list := g.Accounts(gone, client, q, gateway.CacheControl{})
	_, sheet := g.Balances(gone, client, q, mypossim.GoodAccount)
	if kind(list) != canonical.Canceled || kind(sheet) != canonical.Canceled {
		t.Errorf("%v, %v", list, sheet)
	}
	if err := g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := g.UnattendedAccess(t.Context(), q, ""); err != nil || s.Used != 0 || len(w.ledger.Calls()) != 0 {
		t.Errorf("%+v, %v, %d calls", s, err, len(w.ledger.Calls()))
	}
}

// Callers who leave at any moment leave nothing half done.
func TestCallersWhoLeave(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.slow(time.Millisecond)
		w.dawdle(20 * time.Millisecond)
		g := w.gateway()
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
				defer cancel()
				q := alone()
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
		before := len(w.ledger.Calls())
		time.Sleep(minute)
		if after := len(w.ledger.Calls()); after != before || before == 0 {
			t.Errorf("%d calls were made, and %d after the gateway was drained", before, after-before)
		}
	})
}

// A list of a gateway whose clock is ahead is no call that was made for this request.
func TestNoCacheIsNotDeceivedByClocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), attended(alone())
	w.jump(5 * minute)
	mustList(t, g, q, gateway.CacheControl{})
	w.jump(-5 * minute)
	list := mustList(t, g, q, gateway.CacheControl{NoCache: true})
	if n := len(w.ledger.Calls()); n != 2 || list.Cache.Collapsed {
		t.Errorf("%d calls, %+v", n, list.Cache)
	}
}

// A lease lasts as long as the call may.
func TestLeaseOutlivesASlowCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arrived, open := w.front.held()
	first, q := w.gateway(), alone()
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { mustList(t, first, q, gateway.CacheControl{}) })
	<-arrived
	leases := w.leases(q)
	rdb := w.open(w.cacheAt).Cache
	if len(leases) != 1 || rdb.PTTL(t.Context(), leases[0]).Val() < timeout-time.Since(began) {
		t.Errorf("the leases %q end %v after %v", leases, rdb.PTTL(t.Context(), leases[0]).Val(), time.Since(began))
	}
	open()
	wg.Wait()
}

// leases are the keys of the leases of a query's list.
func (w *world) leases(q canonical.Query) []string {
	w.t.Helper()
	return w.open(w.cacheAt).Cache.Keys(w.t.Context(), store.Prefix("accounts", client, aspsp, q.Consent)+"lease:*").Val()
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
			bubble(t, func(t *testing.T, w *world) {
				w.dawdle(300 * time.Millisecond)
				q := alone()
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
				if n := len(w.ledger.Calls()); n != 1 || stored != 1 || collapsed != 20*tt.gateways-1 {
					t.Errorf("%d calls, %d stored, %d collapsed", n, stored, collapsed)
				}
			})
		})
	}
}

// Without Redis, equal requests on one gateway are one call all the same.
func TestEqualRequestsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	bubble(t, func(t *testing.T, w *world) {
		w.cacheAt = server.Addr
		w.dawdle(500 * time.Millisecond)
		g, list, balances := w.gateway(), attended(alone()), alone()
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
		if n := len(w.ledger.Calls()); n != 2 {
			t.Errorf("%d calls, want one for each", n)
		}
	})
}

func TestFollowersShareTheFailure(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.dawdle(300 * time.Millisecond)
		q := under(alone(), mypossim.Consent401ConsentExpired)
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
		if n := len(w.ledger.Calls()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// What is not equal is not shared.
func TestDifferentRequestsMakeTheirOwnCalls(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.dawdle(300 * time.Millisecond)
		g, second, q := w.gateway(), w.gateway(), alone()
		other := q
		other.Token = mypossim.ExpiredToken
		var wg sync.WaitGroup
		for _, ask := range []struct {
			g      *gateway.Gateway
			client string
			q      canonical.Query
			want   canonical.Kind
		}{
			{g, "payments", q, ""},
			{g, "credit", q, ""},
			{g, "payments", attended(q), ""},
			{g, "payments", under(q, alone().Consent), ""},
			{g, "payments", other, canonical.ConsentExpired},
			{second, "payments", attended(other), canonical.ConsentExpired},
		} {
			wg.Go(func() {
				list, err := ask.g.Accounts(context.Background(), ask.client, ask.q, gateway.CacheControl{})
				if kind(err) != ask.want || list.Cache.Collapsed {
					t.Errorf("%s: %v, %+v", ask.client, err, list.Cache)
				}
			})
		}
		wg.Wait()
		if n := len(w.ledger.Calls()); n != 6 {
			t.Errorf("%d calls, want one each", n)
		}
	})
}

func TestOneClientNeverGetsWhatAnotherFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), alone()
	mustList(t, g, q, gateway.CacheControl{})
	if _, err := g.Accounts(t.Context(), "other", q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("got %v", err)
	}
}

func TestCallIsFinishedAlthoughItsCallerLeft(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		ctx, leave := context.WithCancel(t.Context())
		w.before = func(context.Context) {
			leave()
			time.Sleep(100 * time.Millisecond)
		}
		g, q := w.gateway(), alone()
		if _, err := g.Accounts(ctx, client, q, gateway.CacheControl{}); kind(err) != canonical.Canceled {
			t.Fatal(err)
		}
		if err := g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := mustList(t, g, q, gateway.CacheControl{OnlyIfCached: true}); left(list.Usage) != 3 {
			t.Errorf("%d remaining", left(list.Usage))
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateway()
	arrived, open := w.front.held()
	go func() { _, _ = g.Accounts(context.Background(), client, alone(), gateway.CacheControl{}) }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g.Drain(ctx) == nil {
		t.Error("drained although a call is under way")
	}
	open()
	if err := g.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// lane is how the gateway names an unattended query's lane.
func lane(q canonical.Query) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", q.Consent, q.Token.Reveal(), ""))
	return "unattended:" + base64.RawURLEncoding.EncodeToString(hash[:])
}

// A gateway that dies in the middle of a call holds others up until its lease ends, and no longer.
func TestLeaseOfADeadGateway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		g, q := w.gateway(), alone()
		rdb := w.open(w.cacheAt).Cache
		lists, err := cache.New(rdb, [][]byte{w.key})
		if err != nil {
			t.Fatal(err)
		}
		lease, _, err := lists.AcquireList(t.Context(), cache.Key{Client: client, ASPSP: aspsp, Consent: q.Consent}, lane(q), time.Hour)
		if err != nil || !lease.Held {
			t.Fatal(lease, err)
		}
		const dead = 3 * time.Second
		time.AfterFunc(dead, func() { rdb.Del(context.Background(), w.leases(q)...) })
		began := time.Now()
		list := mustList(t, g, q, gateway.CacheControl{})
		if took := time.Since(began); took < dead || took > dead+100*time.Millisecond || !list.Cache.Stored {
			t.Errorf("took %v, %+v", took, list.Cache)
		}
	})
}

func TestErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), alone()
	mustList(t, g, q, gateway.CacheControl{})
	if err := g.Forget(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	list, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true})
	if kind(err) != canonical.NotCached || left(list.Usage) != 3 {
		t.Errorf("%v, %d remaining: nothing is given back", err, left(list.Usage))
	}
	arrived, open := w.front.held()
	go func() { _, _ = g.Accounts(context.Background(), client, q, gateway.CacheControl{}) }()
	<-arrived
	if err := g.Forget(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	open()
	if err := g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("a call under way brought back what was forgotten: %v", err)
	}
}

func TestRejectedBalancesInvalidateTheList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), alone()
	mustList(t, g, q, gateway.CacheControl{})
	w.front.with(rejects)
	if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); kind(err) != canonical.ConsentInvalid {
		t.Fatal(err)
	}
	if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
		t.Errorf("the list outlived the consent: %v", err)
	}
}

func TestBalances(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.dawdle(200 * time.Millisecond)
		g, q := w.gateway(), alone()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				sheet, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
				if err != nil || len(sheet.Balances) < 2 || left(sheet.Usage) != 3 || sheet.Freshness.Source != gateway.FromProvider {
					t.Errorf("%v, %+v", err, sheet)
				}
			})
		}
		wg.Wait()
		if n := len(w.ledger.Calls()); n != 1 {
			t.Errorf("ten unattended at once made %d calls", n)
		}
		sheet, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount)
		if err != nil || sheet.Usage != nil || len(w.ledger.Calls()) != 2 {
			t.Errorf("attended: %v, %+v", err, sheet.Usage)
		}
		useUp(t, g, q)
		sheet, err = g.Balances(t.Context(), client, q, mypossim.GoodAccount)
		if kind(err) != canonical.UnattendedLimit || left(sheet.Usage) != 0 || len(w.ledger.Breaches()) != 0 {
			t.Errorf("%v, %d remaining, %d breaches", err, left(sheet.Usage), len(w.ledger.Breaches()))
		}
	})
}

// Equal unattended reads on several gateways are one call, for its failure too, and those of different accounts,
// clients or tokens are not.
func TestBalancesAreSharedAcrossGateways(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		consent string
		want    canonical.Kind
	}{
		{"balances", alone().Consent, ""},
		{"a failure", mypossim.Consent401ConsentExpired, canonical.ConsentExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.dawdle(300 * time.Millisecond)
				q := under(alone(), tt.consent)
				q.Token = anotherToken() // no earlier refusal is remembered
				var wg sync.WaitGroup
				for range 3 {
					g := w.gateway()
					for range 10 {
						wg.Go(func() {
							sheet, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
							if kind(err) != tt.want {
								t.Error(err)
							}
							if err == nil && (left(sheet.Usage) != 3 || len(sheet.Balances) < 2 || sheet.Freshness.Source != gateway.FromProvider || sheet.Freshness.Age > minute) {
								t.Errorf("%+v", sheet)
							}
						})
					}
				}
				wg.Wait()
				if n := len(w.ledger.Calls()); n != 1 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
	type ask struct {
		client, account string
		token           canonical.Secret
	}
	mine := ask{client, mypossim.GoodAccount, mypossim.GoodToken}
	for name, other := range map[string]ask{
		"another account": {client, "another", mypossim.GoodToken},
		"another client":  {"credit", mypossim.GoodAccount, mypossim.GoodToken},
		"another token":   {client, mypossim.GoodAccount, mypossim.ExpiredToken},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.dawdle(300 * time.Millisecond)
				q := alone()
				var wg sync.WaitGroup
				for _, a := range []ask{mine, other} {
					g, q := w.gateway(), q
					q.Token = a.token
					wg.Go(func() { _, _ = g.Balances(context.Background(), a.client, q, a.account) })
				}
				wg.Wait()
				if n := len(w.ledger.Calls()); n != 2 {
					t.Errorf("%d calls, want one each", n)
				}
			})
		})
	}
}

// Balances that were shared are not kept: whoever asks afterwards makes a call of his own.
func TestSharedBalancesAreNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second, q := w.gateway(), w.gateway(), alone()
	for _, g := range []*gateway.Gateway{first, second, first} {
		if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.ledger.Calls()); n != 3 {
		t.Errorf("%d calls", n)
	}
}

// A gateway whose clock jumps answers what it answered before, with the same age, and calls no more often.
func TestClockOfAGatewayJumps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, other, q := w.gateway(), w.gateway(), alone()
	mustList(t, g, q, gateway.CacheControl{})
	for _, jump := range []time.Duration{24 * time.Hour, -48 * time.Hour} {
		w.jump(jump)
		for _, g := range []*gateway.Gateway{g, other} {
			if list := mustList(t, g, q, gateway.CacheControl{}); !list.Cache.Hit || list.Freshness.Age > minute || left(list.Usage) != 3 {
				t.Errorf("after %v: %+v, %+v, %d remaining", jump, list.Cache, list.Freshness, left(list.Usage))
			}
		}
		list := mustList(t, g, attended(alone()), gateway.CacheControl{})
		if ago := time.Since(list.Freshness.FetchedAt).Abs(); ago > minute {
			t.Errorf("after %v: fetched %v ago", jump, ago)
		}
	}
	w.later(q, fresh+minute)
	mustList(t, other, q, gateway.CacheControl{})
	useUp(t, g, q)
	if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) != canonical.UnattendedLimit {
		t.Errorf("after a day by its own clock: %v", err)
	}
	if len(w.ledger.Breaches()) != 0 {
		t.Error("the limit was exceeded")
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bank.Breaker.ConsecutiveFailures = 3
	g, q := w.gateway(), alone()
	w.front.with(status(500))
	for range 3 {
		if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); kind(err) != canonical.ProviderError {
			t.Fatal(err)
		}
	}
	sheet, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount)
	if kind(err) != canonical.ProviderUnavailable || left(sheet.Usage) != 4 || w.front.count() != 3 {
		t.Errorf("%v, %d remaining, %d arrived", err, left(sheet.Usage), w.front.count())
	}
	if a, ok := g.ASPSP(aspsp); !ok || a.Breaker != breaker.Open || len(w.observed.states) != 1 {
		t.Errorf("%+v, observed %v", a, w.observed.states)
	}
}

// What goes wrong under one consent stops nobody else.
func TestBreakerIsNotOfOneConsent(t *testing.T) {
	for name, spoil := range map[string]http.HandlerFunc{
		"an error":                  status(500),
		"unavailable":               status(503),
		"data that is not accepted": status(200),
		"another's account": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"account":{"accountNumber":"another"},"balances":[]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.bank.Breaker = config.ASPSPDefaults().Breaker
			g, odd := w.gateway(), alone()
			mustList(t, g, alone(), gateway.CacheControl{})
			w.front.with(func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Consent-ID") == odd.Consent {
					spoil(rw, r)
				} else {
					w.front.sim.ServeHTTP(rw, r)
				}
			})
			for range 10 {
				if _, err := g.Balances(t.Context(), client, attended(odd), mypossim.GoodAccount); err == nil {
					t.Fatal("it succeeds")
				}
			}
			if n := w.front.count(); n != 10 {
				t.Errorf("%d calls arrived", n)
			}
			mustList(t, g, alone(), gateway.CacheControl{})
			if a, _ := g.ASPSP(aspsp); a.Breaker != breaker.Closed {
				t.Errorf("the breaker is %s", a.Breaker)
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateway()
	want := []gateway.ASPSPInfo{{
		ID: aspsp, Name: "A bank", Provider: "mypos", Breaker: breaker.Closed,
		Unattended: config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}}
	if diff := cmp.Diff(want, g.ASPSPs()); diff != "" {
		t.Error(diff)
	}
	q := alone()
	q.ASPSP = "nobody"
	_, known := g.ASPSP(q.ASPSP)
	_, list := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
	_, sheet := g.Balances(t.Context(), client, q, "a")
	_, access := g.UnattendedAccess(t.Context(), q, "")
	for _, err := range []error{list, sheet, access, g.Forget(t.Context(), client, q)} {
		if known || kind(err) != canonical.ASPSPUnknown {
			t.Errorf("got %v", err)
		}
	}
	if faults := g.Check(q); faults != nil {
		t.Errorf("%v", faults)
	}
	if faults := g.Check(canonical.Query{ASPSP: aspsp, Consent: "no uuid"}); len(faults) != 2 {
		t.Errorf("the provider's own demands: %v", faults)
	}
}

// panicking is an adapter with a fault that nobody foresaw.
type panicking struct{}

func (panicking) Accounts(context.Context, canonical.Query) ([]canonical.Account, error) {
	panic("BG57INTF40015004462007")
}

func (panicking) Balances(context.Context, canonical.Query, string) (canonical.AccountBalances, error) {
	panic("BG57INTF40015004462007")
}

func TestPanicOfAnAdapter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counter := w.counter(w.open(w.countAt).Counter)
	lists, err := cache.New(w.open(w.cacheAt).Cache, [][]byte{w.key})
	if err != nil {
		t.Fatal(err)
	}
	g := w.gatewayOf(panicking{}, counter, lists)
	if _, err := g.Accounts(t.Context(), client, alone(), gateway.CacheControl{}); kind(err) != canonical.InternalError {
		t.Errorf("accounts: %v", err)
	}
	if _, err := g.Balances(t.Context(), client, attended(alone()), "a"); kind(err) != canonical.InternalError {
		t.Errorf("balances: %v", err)
	}
}
