package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
)

// A countingProvider is a scripted provider that counts its reads.
type countingProvider struct {
	*scripted
	reads atomic.Int64
}

func (b *countingProvider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	b.reads.Add(1)
	return b.accounts(ctx, q)
}

func (b *countingProvider) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	b.reads.Add(1)
	return b.balances(ctx, q, account)
}

// newScripted returns a scripted provider, and a function that returns a new gateway for it. All
// gateways share one Redis.
func newScripted(t *testing.T) (*countingProvider, func() *gateway.Gateway) {
	w, provider := newFixture(t), &countingProvider{scripted: twoAccounts()}
	return provider, func() *gateway.Gateway {
		one := w.gateway()
		return w.gatewayOf(provider, one.Counter, one.Config.Cache)
	}
}

// readList reads the account list of q, never from the cache.
func readList(g *gateway.Gateway, client string, q canonical.Query) error {
	_, err := g.Accounts(context.Background(), client, q, gateway.CacheControl{NoCache: true})
	return err
}

// readBalances returns a function that reads the balances of an account.
func readBalances(account string) func(g *gateway.Gateway, client string, q canonical.Query) error {
	return func(g *gateway.Gateway, client string, q canonical.Query) error {
		_, err := g.Balances(context.Background(), client, q, account)
		return err
	}
}

func origin(err error) canonical.Origin {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Origin
	}
	return ""
}

// TestRefusedIsNotCalledAgain: after the ASPSP has refused a consent, no gateway makes an
// unattended call with it for the same client and token until an attended list succeeds.
func TestRefusedIsNotCalledAgain(t *testing.T) {
	reads := map[string]func(*gateway.Gateway, string, canonical.Query) error{"list": readList, "balances": readBalances("a")}
	for _, failure := range []canonical.Error{
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP},
		{Kind: canonical.ConsentExpired, Origin: canonical.OriginProvider},
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true},
	} {
		for first, firstRead := range reads {
			t.Run(fmt.Sprintf("%s, token rejected %t, by %s", failure.Kind, failure.TokenRejected, first), func(t *testing.T) {
				provider, gateways := newScripted(t)
				g, other, q := gateways(), gateways(), newQuery()
				provider.failWith(failure)
				if err := firstRead(g, client, q); kind(err) != failure.Kind || origin(err) != failure.Origin {
					t.Fatal(err)
				}
				for name, read := range reads {
					for _, at := range []*gateway.Gateway{g, other} {
						if err := read(at, client, q); kind(err) != failure.Kind || origin(err) != canonical.OriginGateway {
							t.Errorf("%s again: %v", name, err)
						}
					}
				}
				if n := provider.reads.Load(); n != 1 {
					t.Fatalf("the provider was called %d times", n)
				}
				another := q
				another.Token = "another"
				for name, call := range map[string]func() error{
					"another client":  func() error { return readList(g, "another client", q) },
					"another consent": func() error { return readList(g, client, withConsent(q, newQuery().Consent)) },
					"another token":   func() error { return readList(g, client, another) },
					"attended":        func() error { return readList(g, client, attended(q)) },
				} {
					before := provider.reads.Load()
					if err := call(); kind(err) != failure.Kind || provider.reads.Load() != before+1 {
						t.Errorf("%s: %v, %d calls", name, err, provider.reads.Load()-before)
					}
				}
				provider.scripted = twoAccounts()
				if err := readList(other, client, attended(another)); err != nil {
					t.Fatal(err)
				}
				if err := readList(g, client, q); err != nil {
					t.Errorf("after an attended list: %v", err)
				}
			})
		}
	}
}

// TestDeletionDeletesRefusals: DELETE cached-data also deletes a remembered refusal, so the next
// request makes a call.
func TestDeletionDeletesRefusals(t *testing.T) {
	provider, gateways := newScripted(t)
	g, q := gateways(), newQuery()
	provider.failWith(canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP})
	for i, origins := range []canonical.Origin{canonical.OriginASPSP, canonical.OriginGateway} {
		if err := readList(g, client, q); origin(err) != origins {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := g.DeleteCachedData(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	if err := readList(g, client, q); origin(err) != canonical.OriginASPSP {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestAttendedRefusalLeavesNothing: a refused attended call leaves nothing in Redis but the outcome
// of a list call, for seconds. Otherwise requests with invented consents, which take no slots,
// could fill Redis.
func TestAttendedRefusalLeavesNothing(t *testing.T) {
	w, provider := newFixture(t), &countingProvider{scripted: twoAccounts()}
	w.cacheAddr = redistest.Start(t).Addr
	s := w.open(w.cacheAddr)
	one := w.gateway()
	g := w.gatewayOf(provider, one.Counter, one.Config.Cache)
	for _, failure := range []canonical.Error{
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP},
		{Kind: canonical.ConsentExpired, Origin: canonical.OriginProvider},
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true},
		{Kind: canonical.AccountUnknown, Origin: canonical.OriginASPSP},
	} {
		provider.failWith(failure)
		for i := range 10 {
			if err := readBalances(fmt.Sprint("a", i))(g, client, attended(newQuery())); kind(err) != failure.Kind {
				t.Fatal(err)
			}
		}
		if keys := s.Cache.Keys(t.Context(), "*").Val(); len(keys) != 0 {
			t.Errorf("%s of balances leaves %d keys, such as %s", failure.Kind, len(keys), keys[0])
		}
		q := newQuery()
		if err := readList(g, client, attended(q)); kind(err) != failure.Kind {
			t.Fatal(err)
		}
		eventually(t, "only the outcome is left", func() bool { // the result may be published after the response
			return !slices.ContainsFunc(s.Cache.Keys(t.Context(), "*").Val(), func(key string) bool { return !strings.Contains(key, ":note:") })
		})
		if err := s.Cache.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		provider.scripted = twoAccounts()
		if err := readList(g, client, q); err != nil {
			t.Errorf("unattended after %s of an attended call: %v", failure.Kind, err)
		}
		if err := s.Cache.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnknownAccountIsNotCalledAgain: a refused account does not affect other accounts or the list.
func TestUnknownAccountIsNotCalledAgain(t *testing.T) {
	provider, gateways := newScripted(t)
	g, q := gateways(), newQuery()
	unknown := canonical.Error{Kind: canonical.AccountUnknown, Origin: canonical.OriginASPSP}
	provider.failWith(unknown)
	for range 3 {
		if err := readBalances("a")(g, client, q); kind(err) != canonical.AccountUnknown {
			t.Fatal(err)
		}
	}
	if err := readBalances("b")(g, client, q); kind(err) != canonical.AccountUnknown || provider.reads.Load() != 2 {
		t.Fatalf("%v, %d calls for two accounts", err, provider.reads.Load())
	}
	provider.scripted = twoAccounts()
	if err := readList(g, client, q); err != nil {
		t.Errorf("the list: %v", err)
	}
	if err := readBalances("a")(g, client, q); origin(err) != canonical.OriginGateway {
		t.Errorf("an unattended list deletes the refusal: %v", err)
	}
	if err := readList(g, client, attended(q)); err != nil {
		t.Fatal(err)
	}
	if err := readBalances("a")(g, client, q); err != nil {
		t.Errorf("after an attended list: %v", err)
	}
	// ACCOUNT_UNKNOWN for a list is remembered for the list only.
	provider.failWith(unknown)
	for range 2 {
		if err := readList(g, client, q); kind(err) != canonical.AccountUnknown {
			t.Fatal(err)
		}
	}
	before := provider.reads.Load()
	if err := readBalances("b")(g, client, q); kind(err) != canonical.AccountUnknown || provider.reads.Load() != before+1 {
		t.Errorf("balances after a refused list: %v, %d calls", err, provider.reads.Load()-before)
	}
}

// TestOtherFailuresAreNotRemembered: only refusals are remembered.
func TestOtherFailuresAreNotRemembered(t *testing.T) {
	for _, k := range []canonical.Kind{
		canonical.ProviderError, canonical.ProviderTimeout, canonical.ProviderUnavailable, canonical.ProviderThrottled,
		canonical.ProviderInvalidResponse, canonical.ProviderRejected,
	} {
		provider, gateways := newScripted(t)
		g, q := gateways(), newQuery()
		provider.failWith(canonical.Error{Kind: k, Origin: canonical.OriginASPSP})
		for range 2 {
			if err := readList(g, client, q); kind(err) != k {
				t.Error(k, err)
			}
		}
		if n := provider.reads.Load(); n != 2 {
			t.Errorf("%s: %d calls", k, n)
		}
	}
}

// TestRememberedRefusalDeletesNothing: a remembered refusal of a token neither deletes the cached
// list nor stops it from being served.
func TestRememberedRefusalDeletesNothing(t *testing.T) {
	provider, gateways := newScripted(t)
	g, q := gateways(), newQuery()
	provider.failWith(canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true})
	if err := readBalances("a")(g, client, q); kind(err) != canonical.ConsentInvalid {
		t.Fatal(err)
	}
	provider.scripted = twoAccounts()
	another := q
	another.Token = "another"
	mustList(t, g, another, gateway.CacheControl{}) // unattended, so that the refusal stays
	for name, read := range map[string]func(*gateway.Gateway, string, canonical.Query) error{"list": readList, "balances": readBalances("a")} {
		if err := read(g, client, q); kind(err) != canonical.ConsentInvalid || origin(err) != canonical.OriginGateway {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := mustList(t, g, q, gateway.CacheControl{}); !list.Cache.Hit {
		t.Errorf("%+v", list.Cache)
	}
}

// TestRememberedRefusalsFailOpen: calls are made while the Redis that remembers refusals is down.
func TestRememberedRefusalsFailOpen(t *testing.T) {
	w, provider := newFixture(t), &countingProvider{scripted: twoAccounts()}
	redis := redistest.Start(t)
	w.cacheAddr = redis.Addr
	one := w.gateway()
	g, q := w.gatewayOf(provider, one.Counter, one.Config.Cache), newQuery()
	provider.failWith(canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP})
	for range 2 {
		if err := readBalances("a")(g, client, q); kind(err) != canonical.ConsentInvalid {
			t.Fatal(err)
		}
	}
	redis.Stop()
	if err := readBalances("a")(g, client, q); kind(err) != canonical.ConsentInvalid || provider.reads.Load() != 2 {
		t.Errorf("%v, %d calls", err, provider.reads.Load())
	}
}

// servePages makes the simulator return lists in pages of size accounts.
func (w *fixture) servePages(size int) {
	server := httptest.NewServer(mypossim.New(mypossim.Config{APIKey: "key", Log: w.callLog, ASPSP: aspspID, PageSize: size}))
	w.t.Cleanup(server.Close)
	w.baseURL = server.URL
}

// asError returns err as a *canonical.Error, or fails the test.
func asError(t *testing.T, err error) *canonical.Error {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v", err)
	}
	return failure
}

// TestListThatCannotFit: a list that needs more slots than the limit takes one slot the first time
// and none afterwards, on any gateway and for every unit. An attended request reads it.
func TestListThatCannotFit(t *testing.T) {
	for _, unit := range []config.Unit{config.UnitConsent, config.UnitResource, config.UnitASPSP} {
		t.Run(string(unit), func(t *testing.T) {
			w := newFixture(t)
			w.aspsp.Unattended.Unit = unit
			w.counterAddr, w.cacheAddr = redistest.Start(t).Addr, redistest.Start(t).Addr
			w.callLog.SetPolicy(aspspID, aspspsim.Policy{Limit: 100, Window: time.Hour, Unit: aspspsim.PerASPSP})
			w.servePages(12) // 5 pages
			g, other, q := w.gateway(), w.gateway(), withConsent(newQuery(), mypossim.ManyConsent)
			for i, at := range []*gateway.Gateway{g, g, other} {
				list, err := at.Accounts(t.Context(), client, q, gateway.CacheControl{})
				failure := asError(t, err)
				if failure.Kind != canonical.UnattendedLimit || failure.Origin != canonical.OriginGateway || failure.RetryAfter != 0 {
					t.Errorf("attempt %d: %+v", i, failure)
				}
				if diff := cmp.Diff(&canonical.SlotNeed{Needed: 5, Remaining: 3}, failure.Slots); diff != "" {
					t.Errorf("attempt %d: %s", i, diff)
				}
				if remaining(list.Usage) != 3 {
					t.Errorf("attempt %d: usage %+v", i, list.Usage)
				}
			}
			if n := len(w.callLog.Calls()); n != 1 {
				t.Errorf("%d calls", n)
			}
			if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) == canonical.UnattendedLimit {
				t.Errorf("balances need one slot: %v", err)
			}
			mustList(t, g, attended(q), gateway.CacheControl{})
			if n := len(w.callLog.Calls()); n != 1+1+5 {
				t.Errorf("%d calls in all", n)
			}
			stale := mustList(t, other, q, gateway.CacheControl{MaxAge: new(time.Duration)})
			if stale.Freshness.StaleReason != gateway.StaleByLimit {
				t.Errorf("the cached list: %+v", stale.Freshness)
			}
			if n := len(w.callLog.Calls()); n != 1+1+5 {
				t.Errorf("%d calls in all", n)
			}
		})
	}
}

// TestListThatDoesNotFitNow: if too few slots remain for the pages of a list, the error contains
// the number of pages and when enough slots will be available. The number is known from any earlier
// successful read.
func TestListThatDoesNotFitNow(t *testing.T) {
	for _, present := range []bool{true, false} {
		t.Run(fmt.Sprintf("first read attended %t", present), func(t *testing.T) {
			w := newFixture(t)
			w.servePages(1) // 3 pages
			g, q := w.gateway(), newQuery()
			calls := 3
			if present {
				mustList(t, g, attended(q), gateway.CacheControl{})
				for range 2 {
					calls++
					if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				mustList(t, g, q, gateway.CacheControl{})
			}
			before, err := g.UnattendedAccess(t.Context(), listOf(q))
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true})
			failure := asError(t, err)
			if diff := cmp.Diff(&canonical.SlotNeed{Needed: 3, Remaining: before.Remaining}, failure.Slots); diff != "" {
				t.Error(diff)
			}
			// More than one slot must become available, so the wait is not that of the oldest slot.
			if failure.Kind != canonical.UnattendedLimit || failure.RetryAfter <= before.Wait-time.Minute || failure.RetryAfter > before.Window+w.timeout {
				t.Errorf("%+v, the next slot in %v", failure, before.Wait)
			}
			if n := len(w.callLog.Calls()); n != calls {
				t.Errorf("%d calls, want %d", n, calls)
			}
		})
	}
}

// TestListThatNoLongerFits: the slots that are left are read again if a request has waited for
// another gateway's call.
func TestListThatNoLongerFits(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		pages := mypossim.New(mypossim.Config{APIKey: "key", Log: aspspsim.NewCallLog(time.Now), ASPSP: aspspID, PageSize: 1}) // 3 pages
		w.interceptor.handle(pages.ServeHTTP)
		g, other, q := w.gateway(), w.gateway(), newQuery()
		mustList(t, g, attended(q), gateway.CacheControl{})
		rdb, _, _ := w.holdLease(q, shareKey(q))
		time.AfterFunc(3*time.Second, func() { // the gateway with the lease dies
			for _, account := range []string{mypossim.GoodAccount, "another"} {
				_, _ = other.Balances(context.Background(), client, q, account)
			}
			rdb.Del(context.Background(), w.leases(q)...)
		})
		list, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{MaxAge: new(time.Duration)})
		if err != nil || list.Freshness.StaleReason != gateway.StaleByLimit || remaining(list.Usage) != 2 {
			t.Errorf("%v, %+v, usage %+v", err, list.Freshness, list.Usage)
		}
		if n := w.interceptor.count(); n != 3+2 {
			t.Errorf("%d calls: one for a list that does not fit", n)
		}
	})
}

// TestPagesAreUpdated: the remembered number of pages is replaced by that of an attended read, and
// deleted by DELETE cached-data.
func TestPagesAreUpdated(t *testing.T) {
	for _, how := range []string{"an attended list", "a deletion"} {
		t.Run(how, func(t *testing.T) {
			w := newFixture(t)
			w.callLog.SetPolicy(aspspID, aspspsim.Policy{Limit: 100, Window: time.Hour, Unit: aspspsim.PerConsent})
			single := w.gateway()
			w.servePages(1)
			g, q := w.gateway(), newQuery()
			mustList(t, g, q, gateway.CacheControl{})
			if _, err := single.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != canonical.UnattendedLimit {
				t.Fatalf("before: %v", err)
			}
			if how == "a deletion" {
				if err := single.DeleteCachedData(t.Context(), client, q); err != nil {
					t.Fatal(err)
				}
			} else {
				mustList(t, single, attended(q), gateway.CacheControl{NoCache: true})
			}
			mustList(t, single, q, gateway.CacheControl{NoCache: true})
		})
	}
}

// TestUsageComesFromTheTake: the usage in a response comes from the take of its call, also if
// another gateway made the call. No further script is run.
func TestUsageComesFromTheTake(t *testing.T) {
	w := newFixture(t)
	redis := redistest.Start(t)
	w.counterAddr = redis.Addr
	w.callLog.SetPolicy(aspspID, aspspsim.Policy{Limit: 1000, Window: time.Hour, Unit: aspspsim.PerASPSP})
	gateways := []*gateway.Gateway{w.gateway(), w.gateway(), w.gateway()}
	if _, err := gateways[0].Balances(t.Context(), client, newQuery(), mypossim.GoodAccount); err != nil { // loads the script
		t.Fatal(err)
	}
	steps := func() int { return redis.Calls("evalsha") + redis.Calls("eval") }
	before, callsBefore := steps(), len(w.callLog.Calls())
	q := newQuery()
	var all sync.WaitGroup
	var refused atomic.Int64
	for _, g := range gateways {
		for range 10 {
			all.Go(func() {
				result, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
				if kind(err) == canonical.UnattendedLimit { // others had used up the limit before
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
				if result.Usage == nil || result.Usage.Used == 0 {
					t.Errorf("usage %+v", result.Usage)
				}
			})
		}
	}
	all.Wait()
	calls := len(w.callLog.Calls()) - callsBefore
	if n := steps() - before; n < calls || n > calls+int(refused.Load()) {
		t.Errorf("%d steps for %d calls and %d refusals", n, calls, refused.Load())
	}
}
