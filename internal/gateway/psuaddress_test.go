package gateway_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
)

// withoutUser is a fixture whose ASPSP is never called without the user.
func withoutUser(t *testing.T) *fixture {
	t.Helper()
	w := newFixture(t)
	w.aspsp.PSUAddressRequired, w.aspsp.Unattended.Limit = true, 0
	return w
}

// TestNeverWithoutTheUser: an unattended request to an ASPSP that requires the user's address gets
// the cached list, fresh or stale, or the refusal. No call is made, and nothing is counted.
func TestNeverWithoutTheUser(t *testing.T) {
	t.Parallel()
	w := withoutUser(t)
	g, q := w.gateway(), newQuery()
	if a, _ := g.ASPSP(aspspID); !a.PSUAddressRequired || a.Unattended.Limit != 0 {
		t.Errorf("shown as %+v", a)
	}
	refused := func(name string, err error) {
		t.Helper()
		var failure *canonical.Error
		if !errors.As(err, &failure) {
			t.Fatalf("%s: %v", name, err)
		}
		want := &canonical.Error{
			Kind: canonical.PSUAddressRequired, Origin: canonical.OriginGateway, Detail: failure.Detail,
			Faults: []canonical.FieldError{{In: "header", Name: "PSU-IP-Address", Detail: "is required for this ASPSP"}},
		}
		if diff := cmp.Diff(want, failure); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	none, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
	refused("nothing is cached", err)
	if none.CacheResult != gateway.CacheMiss || remaining(none.Usage) != 0 || none.Usage.Limit != 0 || none.Usage.Used != 0 {
		t.Errorf("%s, %+v", none.CacheResult, none.Usage)
	}
	balances, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount)
	if refused("balances", err); remaining(balances.Usage) != 0 {
		t.Errorf("%+v", balances.Usage)
	}

	mustList(t, g, attended(q), gateway.CacheControl{})
	if _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); err != nil {
		t.Error(err)
	}
	hit := mustList(t, g, q, gateway.CacheControl{})
	if !hit.Cache.Hit || hit.Freshness.Stale || hit.Freshness.StaleReason != gateway.NoReason || hit.CacheResult != gateway.CacheHit {
		t.Errorf("fresh: %+v, %s", hit.Freshness, hit.CacheResult)
	}
	_, err = g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true})
	refused("no-cache", err)
	w.ageList(q, fresh+minute)
	stale := mustList(t, g, q, gateway.CacheControl{})
	if !stale.Freshness.Stale || stale.Freshness.StaleReason != gateway.StaleWithoutUser || stale.CacheResult != gateway.CacheStale || remaining(stale.Usage) != 0 {
		t.Errorf("stale: %+v, %s, %+v", stale.Freshness, stale.CacheResult, stale.Usage)
	}
	if list := mustList(t, g, q, gateway.CacheControl{OnlyIfCached: true}); list.Freshness.StaleReason != gateway.NoReason {
		t.Errorf("only-if-cached: %+v", list.Freshness)
	}
	w.ageList(q, w.aspsp.Accounts.KeepFor)
	_, err = g.Accounts(t.Context(), client, q, gateway.CacheControl{})
	refused("older than keepFor", err)

	if usage, err := g.UnattendedAccess(t.Context(), listOf(q)); err != nil || usage.Limit != 0 || usage.Used != 0 || !usage.NextAt.IsZero() {
		t.Errorf("%+v, %v", usage, err)
	}
	if n := len(w.callLog.Calls()); n != 2 {
		t.Errorf("%d calls reached the ASPSP, want 2 attended ones", n)
	}
}

// TestLimitOfZero: a limit of 0 by itself remains UNATTENDED_LIMIT.
func TestLimitOfZero(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.aspsp.Unattended.Limit = 0
	g, q := w.gateway(), newQuery()
	for name, read := range map[string]func(*gateway.Gateway, string, canonical.Query) error{"list": readList, "balances": readBalances("a")} {
		if err := read(g, client, q); kind(err) != canonical.UnattendedLimit {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustList(t, g, attended(q), gateway.CacheControl{})
	if list := mustList(t, g, q, gateway.CacheControl{MaxAge: new(time.Duration)}); list.Freshness.StaleReason != gateway.StaleByLimit {
		t.Errorf("%+v", list.Freshness)
	}
}

// TestRefusedWithoutTheUserWaitsForNothing: the refusal and the stale list need no place among the
// requests that wait for the ASPSP, and no counter.
func TestRefusedWithoutTheUserWaitsForNothing(t *testing.T) {
	t.Parallel()
	w := withoutUser(t)
	w.maxWaiting, w.timeout = 1, longTimeout
	server := redistest.Start(t)
	w.counterAddr = server.Addr
	g, cached := w.gateway(), newQuery()
	mustList(t, g, attended(cached), gateway.CacheControl{})
	arrived, open := w.interceptor.hold()
	held := make(chan error, 1)
	go func() {
		_, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
		held <- err
	}()
	<-arrived
	for _, counts := range []bool{true, false} {
		if !counts {
			server.Stop()
		}
		if list := mustList(t, g, cached, gateway.CacheControl{MaxAge: new(time.Duration)}); list.Freshness.StaleReason != gateway.StaleWithoutUser {
			t.Errorf("list: %+v", list.Freshness)
		}
		if err := readBalances("a")(g, client, cached); kind(err) != canonical.PSUAddressRequired {
			t.Errorf("balances: %v", err)
		}
		if _, err := g.Accounts(t.Context(), client, newQuery(), gateway.CacheControl{}); kind(err) != canonical.PSUAddressRequired {
			t.Errorf("nothing is cached: %v", err)
		}
	}
	open()
	if err := <-held; err != nil {
		t.Error(err)
	}
	if len(w.observed.refused) != 0 {
		t.Errorf("limits refused %q", w.observed.refused)
	}
}

// TestRoundTripsWithoutTheUser: the refusal acquires no lease and reads no counter: only the cached
// list is read.
func TestRoundTripsWithoutTheUser(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before string
		read   func(*gateway.Gateway, canonical.Query) error
	}{
		"list": {"read", func(g *gateway.Gateway, q canonical.Query) error {
			_, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{})
			return err
		}},
		"balances": {"", func(g *gateway.Gateway, q canonical.Query) error { return readBalances("a")(g, client, q) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := withoutUser(t)
			_ = tt.read(w.gateway(), newQuery()) // loads the scripts into Redis
			w.expectRoundTrips(t, tt.before, "", func(g *gateway.Gateway) {
				if err := tt.read(g, newQuery()); kind(err) != canonical.PSUAddressRequired {
					t.Error(err)
				}
			})
		})
	}
}
