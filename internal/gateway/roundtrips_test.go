package gateway_test

import (
	"context"
	"runtime/metrics"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
)

// TestRoundTrips: a request takes as many round trips to Redis as the table says, one after the
// other before its response, and no commands more than it says in all.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		got, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
		if kind(err) != canonical.ConsentInvalid || remaining(got.Usage) != 3 {
			t.Errorf("%v with the usage %+v", err, got.Usage)
		}
	}
	list := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		mustList(t, g, q, gateway.CacheControl{})
	}
	balances := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name             string
		cached, attended bool
		refused          bool
		read             func(*testing.T, *gateway.Gateway, canonical.Query)
		before           int // round trips before the response
		commands         int64
	}{
		{"cached list, attended", true, true, false, list, 1, 1},
		{"cached list, unattended", true, false, false, list, 1, 2},         // list and usage at the same time
		{"list, attended", false, true, false, list, 2, 2},                  // lookup with lease, publish
		{"list, unattended", false, false, false, list, 3, 4},               // lookup with lease (and usage at the same time), take, publish
		{"list that was refused", false, false, true, refused, 2, 3},        // lookup with lease and usage at the same time, publish
		{"balances, unattended", false, false, false, balances, 2, 3},       // lookup with lease, take; publish afterwards
		{"balances, attended", false, true, false, balances, 0, 0},          //
		{"balances, unattended, again", true, false, false, balances, 2, 3}, // with a unit of which calls are left, and a cached list
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				const delay = 150 * time.Millisecond
				w.cacheHook, w.counterHook = nil, nil
				fast, q := w.gateway(), newQuery()
				list(t, fast, newQuery()) // loads the scripts into Redis
				balances(t, fast, newQuery())
				if tt.cached {
					list(t, fast, q)
				}
				if tt.refused {
					w.interceptor.handle(rejectConsent)
					refused(t, fast, q)
					w.interceptor.handle(nil)
				}
				if tt.attended {
					q = attended(q)
				}
				redis := w.slowRedis(delay)
				g := w.gateway()
				list(t, g, newQuery()) // opens connections
				time.Sleep(minute)
				commands, began := redis.completed.Load(), time.Now()
				tt.read(t, g, q)
				if took := time.Since(began); took != time.Duration(tt.before)*delay {
					t.Errorf("took %v, want %d round trips of %v", took, tt.before, delay)
				}
				time.Sleep(minute) // what follows the response
				if n := redis.completed.Load() - commands; n != tt.commands {
					t.Errorf("%d commands, want %d", n, tt.commands)
				}
			})
		})
	}
}

// TestGoroutines: an unattended list that is not cached starts at most three goroutines in the
// gateway: that of the call, and that of publishing its result. Steps in Redis run on workers that
// are kept.
func TestGoroutines(t *testing.T) { // not in parallel: it counts the goroutines of the process
	const name = "/sched/goroutines-created:goroutines"
	created := func() uint64 {
		sample := []metrics.Sample{{Name: name}}
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindUint64 {
			t.Fatal("the runtime does not count goroutines")
		}
		return sample[0].Value.Uint64()
	}
	_, gateways := newScripted(t)
	g := gateways()
	least := uint64(1 << 62)
	for range 50 { // the first ones start workers, and what other tests have left may start some
		before := created()
		mustList(t, g, newQuery(), gateway.CacheControl{})
		least = min(least, created()-before)
	}
	if least > 3 || least == 0 {
		t.Errorf("%d goroutines for one request", least)
	}
}

// TestUsageAfterAFailedTake: if the take fails, the usage that was read before it is not shown.
func TestUsageAfterAFailedTake(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	server := redistest.Start(t)
	w.counterAddr = server.Addr
	ends := false
	w.beforeCall = func(context.Context) {
		if ends {
			server.Stop()
		}
	}
	g, q := w.gateway(), newQuery()
	mustList(t, g, q, gateway.CacheControl{})
	ends = true
	got, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{MaxAge: ptr(time.Duration(0))})
	if err != nil || got.Freshness.StaleReason != gateway.StaleWithoutCounter || got.Usage != nil {
		t.Errorf("%v, %+v, usage %+v", err, got.Freshness, got.Usage)
	}
}
