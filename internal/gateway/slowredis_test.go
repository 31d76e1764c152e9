package gateway_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

// TestLateLeaseStoresNothing: a list is deleted, or its consent rejected, while its call is in
// progress. The call does not store the list, even if Redis grants its lease only afterwards: a
// lease that is late is released.
func TestLateLeaseStoresNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"deletion", "rejection"} {
		t.Run(how, func(t *testing.T) {
			w := newFixture(t)
			fast, q, direct := w.gateway(), newQuery(), w.open(w.cacheAddr).Cache
			w.redisBudget = gateway.RedisBudget
			leases := func() []string {
				return direct.Keys(t.Context(), store.Prefix("accounts", client, aspspID, q.Consent)+"lease:*").Val()
			}
			proxy := crashproxy.New(t).NewProxy(w.cacheAddr)
			w.cacheAddr = proxy.Addr
			slow := w.gateway()
			_, _ = slow.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{OnlyIfCached: true}) // opens a connection
			release := proxy.Hold()
			called, respond := make(chan struct{}), make(chan struct{})
			w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) {
				close(called)
				<-respond
				w.interceptor.sim.ServeHTTP(rw, r)
			})
			var requests sync.WaitGroup
			requests.Go(func() { mustList(t, slow, attended(q), gateway.CacheControl{}) }) // does not wait for the lease
			<-called
			if how == "deletion" {
				if err := fast.DeleteCachedData(t.Context(), client, q); err != nil {
					t.Fatal(err)
				}
			} else {
				w.interceptor.handle(rejectConsent)
				if _, err := fast.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); kind(err) != canonical.ConsentInvalid {
					t.Fatal(err)
				}
			}
			if n := len(leases()); n != 0 {
				t.Errorf("%d leases are granted already", n)
			}
			release()
			eventually(t, "Redis responds again, and has granted the lease", func() bool {
				_, err := slow.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{OnlyIfCached: true})
				return err.Error() == canonical.NewError(canonical.NotCached, "").Error()
			})
			close(respond)
			requests.Wait()
			_ = slow.Drain(context.Background())
			if _, err := fast.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
				t.Errorf("the list is back: %v", err)
			}
		})
	}
}

// TestPauseOfRedisSpendsOneSlot: if Redis pauses for less than a second, before the lookups of
// identical unattended requests or during their call, the gateways still share one call.
func TestPauseOfRedisSpendsOneSlot(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]time.Duration{"before the lookups": 0, "during the call": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.redisBudget = gateway.RedisBudget
				redis := w.slowRedis(0)
				w.delayCalls(longCall)
				gateways, q := []*gateway.Gateway{w.gateway(), w.gateway(), w.gateway()}, newQuery()
				redis.silent.Store(before == 0)
				var requests sync.WaitGroup
				for _, g := range gateways {
					requests.Go(func() { _, _ = g.Accounts(context.Background(), client, q, gateway.CacheControl{}) })
				}
				time.Sleep(before)
				redis.silent.Store(true)
				time.Sleep(900 * time.Millisecond)
				redis.silent.Store(false)
				requests.Wait()
				if n := len(w.callLog.Calls()); n != 1 {
					t.Errorf("%d counted calls for one list", n)
				}
			})
		})
	}
}

// TestUsageAfterAnUnconfirmedBlock: if the ASPSP refuses a call because of its limit, and Redis does
// not confirm the block, the usage that was read before the call is not shown.
func TestUsageAfterAnUnconfirmedBlock(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		w.redisBudget = gateway.RedisBudget
		redis := w.slowRedis(0)
		w.interceptor.handle(func(rw http.ResponseWriter, _ *http.Request) {
			redis.silent.Store(true)
			rw.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(rw, `{"tppMessages":[{"category":"ERROR","code":"ACCESS_EXCEEDED"}]}`)
		})
		got, err := w.gateway().Accounts(t.Context(), client, newQuery(), gateway.CacheControl{})
		if kind(err) != canonical.UnattendedLimit || got.Usage != nil {
			t.Errorf("%v, usage %+v", err, got.Usage)
		}
		redis.silent.Store(false)
	})
}

// TestLimitAfterAFailedCall: the usage in a response includes the call that failed, even if a list
// that was cached in the meantime is served.
func TestLimitAfterAFailedCall(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g, q := w.gateway(), newQuery()
	var calls atomic.Int32
	called, cached := make(chan struct{}), make(chan struct{})
	w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			close(called)
			<-cached
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.interceptor.sim.ServeHTTP(rw, r)
	})
	go func() {
		<-called
		mustList(t, g, attended(q), gateway.CacheControl{})
		close(cached)
	}()
	list := mustList(t, g, q, gateway.CacheControl{})
	if s, err := g.UnattendedAccess(t.Context(), listOf(q)); err != nil || remaining(list.Usage) != s.Remaining || !list.Cache.Hit {
		t.Errorf("%d remaining, want those of %+v, %v", remaining(list.Usage), s, err)
	}
}

// TestManyRejectionsDuringAnOutage: one goroutine retries all invalidations while Redis is down,
// and Redis gets all of them when it is back.
func TestManyRejectionsDuringAnOutage(t *testing.T) { // not in parallel: it counts goroutines
	const rejections = 200
	w := newFixture(t)
	w.redisBudget = gateway.RedisBudget
	redis := redistest.Start(t)
	w.cacheAddr = redis.Addr
	g, q := w.gateway(), attended(newQuery())
	mustList(t, g, q, gateway.CacheControl{})
	before := runtime.NumGoroutine()
	redis.Stop()
	w.interceptor.handle(rejectConsent)
	for i := range rejections {
		other := q
		if i > 0 {
			other = attended(newQuery())
		}
		if _, err := g.Balances(t.Context(), client, other, mypossim.GoodAccount); kind(err) != canonical.ConsentInvalid {
			t.Fatal(strconv.Itoa(i), err)
		}
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() < before+rejections/4 })
	redis.Restart()
	eventually(t, "all invalidations have reached Redis", func() bool { return redis.Calls("del") == rejections })
	if err := g.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// eventually waits up to a minute until holds returns true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
