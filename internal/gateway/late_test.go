package gateway_test

import (
	"context"
	"net/http"
	"regexp"
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

// A list that was erased, or to which the provider has said no, while its call was under way is not brought back by a
// lease that Redis gave later than that.
func TestLateLeaseBringsNothingBack(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"erasure", "definite no"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			fast, q, direct := w.gateway(), alone(), w.open(w.cacheAt).Cache
			w.allowance = gateway.RedisBudget
			leases := func() []string {
				return direct.Keys(t.Context(), store.Prefix("accounts", client, aspsp, q.Consent)+"lease:*").Val()
			}
			way := crashproxy.New(t).NewProxy(w.cacheAt)
			w.cacheAt = way.Addr
			slow := w.gateway()
			_, _ = slow.Accounts(t.Context(), client, alone(), gateway.CacheControl{OnlyIfCached: true}) // opens a connection
			release := way.Hold()
			called, answer := make(chan struct{}), make(chan struct{})
			w.front.with(func(rw http.ResponseWriter, r *http.Request) { close(called); <-answer; w.front.sim.ServeHTTP(rw, r) })
			var asked sync.WaitGroup
			asked.Go(func() { mustList(t, slow, attended(q), gateway.CacheControl{}) }) // does not wait for the lease
			<-called
			if how == "erasure" {
				if err := fast.Forget(t.Context(), client, q); err != nil {
					t.Fatal(err)
				}
			} else {
				w.front.with(rejects)
				if _, err := fast.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); kind(err) != canonical.ConsentInvalid {
					t.Fatal(err)
				}
			}
			if n := len(leases()); n != 0 {
				t.Errorf("%d leases are given already", n)
			}
			release()
			soon(t, "the lease is given", func() bool { return len(leases()) == 1 })
			close(answer)
			asked.Wait()
			_ = slow.Drain(context.Background())
			if _, err := fast.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached {
				t.Errorf("the list is back: %v", err)
			}
		})
	}
}

// While Redis pauses for a moment, gateways that wait for another's counted call go on waiting.
func TestPauseOfRedisSpendsOneSlot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.allowance = gateway.RedisBudget
		redis := w.slow(0)
		w.dawdle(700 * time.Millisecond)
		gateways, q := []*gateway.Gateway{w.gateway(), w.gateway(), w.gateway()}, alone()
		var asked sync.WaitGroup
		for _, g := range gateways {
			asked.Go(func() { _, _ = g.Accounts(context.Background(), client, q, gateway.CacheControl{}) })
		}
		time.Sleep(200 * time.Millisecond)
		redis.silent.Store(true)
		time.Sleep(200 * time.Millisecond)
		redis.silent.Store(false)
		asked.Wait()
		if n := len(w.ledger.Calls()); n != 1 {
			t.Errorf("%d counted calls for one list", n)
		}
	})
}

// What is told of the limit counts the call that failed, although a fresh list could be answered after it.
func TestLimitAfterAFailedCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, q := w.gateway(), alone()
	var calls atomic.Int32
	called, kept := make(chan struct{}), make(chan struct{})
	w.front.with(func(rw http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			close(called)
			<-kept
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.front.sim.ServeHTTP(rw, r)
	})
	go func() {
		<-called
		mustList(t, g, attended(q), gateway.CacheControl{})
		close(kept)
	}()
	list := mustList(t, g, q, gateway.CacheControl{})
	if s, err := g.UnattendedAccess(t.Context(), q, ""); err != nil || left(list.Usage) != s.Remaining || !list.Cache.Hit {
		t.Errorf("told %d of %+v, %v", left(list.Usage), s, err)
	}
}

// However many lists must go while Redis is away, one goroutine waits to tell it; and in the end it is told of all.
func TestManyRejectionsDuringAnOutage(t *testing.T) { // not in parallel: it counts goroutines
	const nos = 200
	w := newWorld(t)
	w.allowance = gateway.RedisBudget
	redis := redistest.Start(t)
	w.cacheAt = redis.Addr
	g, q := w.gateway(), attended(alone())
	mustList(t, g, q, gateway.CacheControl{})
	before := runtime.NumGoroutine()
	redis.Stop()
	w.front.with(rejects)
	for i := range nos {
		other := q
		if i > 0 {
			other = attended(alone())
		}
		if _, err := g.Balances(t.Context(), client, other, mypossim.GoodAccount); kind(err) != canonical.ConsentInvalid {
			t.Fatal(strconv.Itoa(i), err)
		}
	}
	soon(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() < before+nos/4 })
	redis.Restart()
	rdb := w.open(redis.Addr).Cache
	deletions := regexp.MustCompile(`cmdstat_del:calls=(\d+)`)
	soon(t, "all is told", func() bool {
		found := deletions.FindStringSubmatch(rdb.Info(t.Context(), "commandstats").Val())
		return found != nil && found[1] == strconv.Itoa(nos)
	})
	if err := g.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}
