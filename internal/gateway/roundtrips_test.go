package gateway_test

import (
	"context"
	"net/http"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
)

// TestRoundTrips: a request takes as many round trips to Redis as the table says, one after the
// other before its response, and sends no commands more than it says in all. The commands are called
// as the files of their scripts: acquire looks up a list and acquires the lease, read looks up a
// stale list, fits reads how long to wait for several slots, and publish publishes a result. A
// publish whose result a later request needs is before the response.
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
	hit := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		if got := mustList(t, g, q, gateway.CacheControl{}); !got.Cache.Hit || !q.Attended() && remaining(got.Usage) != 3 {
			t.Errorf("%+v with the usage %+v", got.Cache, got.Usage)
		}
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
		balances(t, g, q)
		tooFew(t, g, q)
	}
	threeCalls := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		for range 3 {
			balances(t, g, q)
		}
	}
	fourCalls := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		threeCalls(t, g, q)
		balances(t, g, q)
	}
	noCallLeft := func(t *testing.T, g *gateway.Gateway, q canonical.Query) {
		t.Helper()
		got, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount)
		if kind(err) != canonical.UnattendedLimit || remaining(got.Usage) != 0 {
			t.Errorf("balances: %v with the usage %+v", err, got.Usage)
		}
	}
	type reads = func(*testing.T, *gateway.Gateway, canonical.Query)
	for _, tt := range []struct {
		name          string
		earlier       reads            // an earlier read of the consent; nil for none
		bank          http.HandlerFunc // what the ASPSP responds to both; nil for the simulator
		attended      bool
		read          reads
		before, after string // see expectRoundTrips
	}{
		{"cached list, attended", list, nil, true, hit, "acquire", ""},
		{"cached list, unattended", list, nil, false, hit, "acquire+usage", ""},
		{"list, attended", nil, nil, true, list, "acquire > publish", ""},
		{"list, unattended", nil, nil, false, list, "acquire+usage > take > publish", ""},
		{"list, unattended, last call", threeCalls, nil, false, list, "acquire+usage > take > publish", ""},
		{"list that was refused", refused, rejectConsent, false, refused, "acquire+usage", "publish"},
		{"list that fails", nil, status(500), false, failing(gateway.CacheControl{}, canonical.ProviderError, 3), "acquire+usage > take > read", "publish"},
		{"list of three pages", attendedList, manyPages, false, again, "acquire+usage > take > take > take > publish", ""},
		{"list whose pages do not fit", tooFewAgain, manyPages, false, tooFew, "acquire+usage > fits", "publish"},
		{"balances, unattended", nil, nil, false, balances, "acquire > take", "publish"},
		{"balances, unattended, no call left", fourCalls, nil, false, noCallLeft, "acquire > take", "publish"},
		{"balances that fail", nil, status(500), false, failingBalances(canonical.ProviderError), "acquire > take", "publish"},
		{"balances whose consent is rejected", nil, rejectConsent, false, rejected, "acquire > take > publish", ""},
		{"balances of an unknown account", nil, status(404), false, failingBalances(canonical.AccountUnknown), "acquire > take > publish", ""},
		{"balances that were refused", rejected, rejectConsent, false, rejected, "acquire > usage", "publish"},
		{"balances, attended", nil, nil, true, balances, "", ""},
		{"balances, unattended, again", list, nil, false, balances, "acquire > take", "publish"}, // with a unit of which calls are left, and a cached list
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, q := newFixture(t), newQuery()
			direct := w.gateway()
			list(t, direct, newQuery()) // loads the scripts into Redis
			balances(t, direct, newQuery())
			failing(gateway.CacheControl{OnlyIfCached: true}, canonical.NotCached, 4)(t, direct, newQuery())
			w.interceptor.handle(tt.bank)
			if tt.earlier != nil {
				tt.earlier(t, direct, q)
			}
			drain(t, direct)
			if tt.attended {
				q = attended(q)
			}
			w.expectRoundTrips(t, tt.before, tt.after, func(g *gateway.Gateway) { tt.read(t, g, q) })
		})
	}
}

// TestRoundTripsOfAnOverload: a list whose call exceeds a concurrency limit takes two round trips:
// the lookup, and that of a stale list. The usage of its unit is not read a second time.
func TestRoundTripsOfAnOverload(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	direct := w.gateway()
	mustList(t, direct, newQuery(), gateway.CacheControl{}) // loads the scripts into Redis
	_, _ = direct.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{OnlyIfCached: true})
	called, free := make(chan struct{}), make(chan struct{})
	w.maxPerASPSP, w.beforeCall = 1, func(context.Context) { close(called); <-free }
	w.expectRoundTrips(t, "acquire+usage > read", "publish", func(g *gateway.Gateway) {
		held := make(chan error, 1)
		go func() {
			_, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
			held <- err
		}()
		<-called
		if got, err := g.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{}); kind(err) != canonical.Overloaded || remaining(got.Usage) != 4 {
			t.Errorf("%v with the usage %+v", err, got.Usage)
		}
		close(free)
		if err := <-held; err != nil {
			t.Error(err)
		}
	})
}

// TestGoroutines: an unattended list that is not cached starts one goroutine in the gateway while
// its workers run, that of the call; those of the transport are not counted. Steps in Redis and
// publishing run on workers, of which some are kept for an hour without a request.
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
	all := make([]uint64, 50) // the first ones start workers, and what other tests have left may start some
	for i := range all {
		before := created()
		mustList(t, g, newQuery(), gateway.CacheControl{})
		all[i] = created() - before
	}
	slices.Sort(all)
	if median := all[len(all)/2]; median != 1 {
		t.Errorf("%d goroutines for one request in the median of %v", median, all)
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
