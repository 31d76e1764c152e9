package gateway_test

import (
	"context"
	"net/http"
	"runtime/metrics"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
)

// TestRoundTrips: a request takes as many round trips to Redis as the table says, one after the
// other before its response, and no commands more than it says in all.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	failing := func(w gateway.CacheControl, want canonical.Kind, left int) func(*testing.T, *gateway.Gateway, canonical.Query) {
		return func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
			t.Helper()
			got, err := g.Accounts(t.Context(), client, q, w)
			if kind(err) != want || remaining(got.Usage) != left {
				t.Errorf("list: %v with the usage %+v", err, got.Usage)
			}
		}
	}
	failingBalances := func(want canonical.Kind) func(*testing.T, *gateway.Gateway, canonical.Query) {
		return func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
			t.Helper()
			got, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount)
			if kind(err) != want || remaining(got.Usage) != 3 {
				t.Errorf("balances: %v with the usage %+v", err, got.Usage)
			}
		}
	}
	list := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		mustList(t, g, q, gateway.CacheControl{})
	}
	again := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		mustList(t, g, q, gateway.CacheControl{NoCache: true})
	}
	balances := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); err != nil {
			t.Fatal(err)
		}
	}
	refused, rejected := failing(gateway.CacheControl{}, canonical.ConsentInvalid, 3), failingBalances(canonical.ConsentInvalid)
	manyPages := mypossim.New(mypossim.Config{APIKey: "key", Log: aspspsim.NewCallLog(time.Now), ASPSP: aspspID, PageSize: 1}).ServeHTTP // 3 pages
	tooFew := failing(gateway.CacheControl{NoCache: true}, canonical.UnattendedLimit, 2)
	attendedList := func(t *testing.T, g *gateway.Gateway, q canonical.Query) { t.Helper(); list(t, g, attended(q)) }
	tooFewAgain := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		attendedList(t, g, q)
		balances(t, g, q)
		time.Sleep(minute) // by the clock of the bubble, which is ahead of Redis's, the second would be a part of the first
		balances(t, g, q)
		tooFew(t, g, q)
	}
	type reads = func(*testing.T, *gateway.Gateway, canonical.Query)
	for _, tt := range []struct {
		name     string
		earlier  reads            // an earlier read of the consent; nil for none
		bank     http.HandlerFunc // what the ASPSP responds to both; nil for the simulator
		attended bool
		read     reads
		before   int // round trips before the response
		commands int64
	}{
		{"cached list, attended", list, nil, true, list, 1, 1},
		{"cached list, unattended", list, nil, false, list, 1, 2},                                                       // list and usage at the same time
		{"list, attended", nil, nil, true, list, 2, 2},                                                                  // lookup with lease, publish
		{"list, unattended", nil, nil, false, list, 3, 4},                                                               // lookup with lease (and usage at the same time), take, publish
		{"list that was refused", refused, rejectConsent, false, refused, 1, 3},                                         // lookup with lease and usage at the same time; publish afterwards
		{"list that fails", nil, status(500), false, failing(gateway.CacheControl{}, canonical.ProviderError, 3), 3, 5}, // as above, with a lookup of a stale list; publish afterwards
		{"list of three pages", attendedList, manyPages, false, again, 5, 6},                                            // lookup with lease and usage at the same time, three takes, publish
		{"list whose pages do not fit", tooFewAgain, manyPages, false, tooFew, 2, 4},                                    // lookup with lease and usage at the same time, wait for the slots; publish afterwards
		{"balances, unattended", nil, nil, false, balances, 2, 3},                                                       // lookup with lease, take; publish afterwards
		{"balances that fail", nil, status(500), false, failingBalances(canonical.ProviderError), 2, 3},                 // the same
		{"balances whose consent is rejected", nil, rejectConsent, false, rejected, 3, 3},                               // lookup with lease, take, publish
		{"balances of an unknown account", nil, status(404), false, failingBalances(canonical.AccountUnknown), 3, 3},    // the same
		{"balances that were refused", rejected, rejectConsent, false, rejected, 2, 3},                                  // lookup with lease, usage; publish afterwards
		{"balances, attended", nil, nil, true, balances, 0, 0},                                                          //
		{"balances, unattended, again", list, nil, false, balances, 2, 3},                                               // with a unit of which calls are left, and a cached list
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *fixture) {
				w.cacheHook, w.counterHook = nil, nil
				fast, q := w.gateway(), newQuery()
				list(t, fast, newQuery()) // loads the scripts into Redis
				balances(t, fast, newQuery())
				failing(gateway.CacheControl{OnlyIfCached: true}, canonical.NotCached, 4)(t, fast, newQuery())
				w.interceptor.handle(tt.bank)
				if tt.earlier != nil {
					tt.earlier(t, fast, q)
				}
				if tt.attended {
					q = attended(q)
				}
				w.interceptor.handle(nil)
				redis := w.slowRedis(roundTrip)
				redis.fastConnect.Store(true)
				g := w.gateway()
				list(t, g, newQuery()) // opens connections
				w.interceptor.handle(tt.bank)
				redis.expect(t, tt.before, tt.commands, func() { tt.read(t, g, q) })
			})
		})
	}
}

// TestRoundTripsOfAnOverload: a list whose call exceeds a concurrency limit takes two round trips:
// the lookup, and that of a stale list. The usage of its unit is not read a second time.
func TestRoundTripsOfAnOverload(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		redis := w.slowRedis(roundTrip)
		redis.fastConnect.Store(true)
		free := make(chan struct{})
		w.maxPerASPSP, w.beforeCall = 1, func(context.Context) { <-free }
		g := w.gateway()
		held := make(chan error, 1)
		go func() {
			_, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
			held <- err
		}()
		read := func() {
			if got, err := g.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{}); kind(err) != canonical.Overloaded || remaining(got.Usage) != 4 {
				t.Errorf("%v with the usage %+v", err, got.Usage)
			}
		}
		read() // opens connections
		redis.expect(t, 2, 4, read)
		close(free)
		if err := <-held; err != nil {
			t.Error(err)
		}
	})
}

// roundTrip is how long each command to Redis takes, in the time of the bubble.
const roundTrip = 150 * time.Millisecond

// expect checks how many round trips a request takes before its response, one after the other, and
// how many commands in all.
func (w *delayHook) expect(t *testing.T, before int, commands int64, read func()) {
	t.Helper()
	time.Sleep(minute) // what earlier requests have left ends
	completed, began := w.completed.Load(), time.Now()
	read()
	if took := time.Since(began); took != time.Duration(before)*roundTrip {
		t.Errorf("took %v, want %d round trips of %v", took, before, roundTrip)
	}
	time.Sleep(minute) // what follows the response
	if n := w.completed.Load() - completed; n != commands {
		t.Errorf("%d commands, want %d", n, commands)
	}
}

// TestGoroutines: an unattended list that is not cached starts at most three goroutines in the
// gateway while its workers run: that of the call is one of them. Steps in Redis and publishing run on
// workers, which end after an hour without work; the first request after that starts them again.
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
