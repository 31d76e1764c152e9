package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
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

// A counting bank counts the reads of a scripted provider that it is asked for.
type countingBank struct {
	*scripted
	reads atomic.Int64
}

func (b *countingBank) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	b.reads.Add(1)
	return b.accounts(ctx, q)
}

func (b *countingBank) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	b.reads.Add(1)
	return b.balances(ctx, q, account)
}

// scriptedWorld is gateways on one Redis before a scripted provider.
func scriptedWorld(t *testing.T) (*countingBank, func() *gateway.Gateway) {
	w, bank := newWorld(t), &countingBank{scripted: listing()}
	return bank, func() *gateway.Gateway {
		one := w.gateway()
		return w.gatewayOf(bank, one.Counter, one.Config.Cache)
	}
}

// readList and readBalances read past every cached list.
func readList(g *gateway.Gateway, client string, q canonical.Query) error {
	_, err := g.Accounts(context.Background(), client, q, gateway.CacheControl{NoCache: true})
	return err
}

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

// A consent that the bank has refused is not called again without the user, by that client and with that token, on any
// gateway; until an attended read succeeds.
func TestRefusedIsNotCalledAgain(t *testing.T) {
	reads := map[string]func(*gateway.Gateway, string, canonical.Query) error{"list": readList, "balances": readBalances("a")}
	for _, failure := range []canonical.Error{
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP},
		{Kind: canonical.ConsentExpired, Origin: canonical.OriginProvider},
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true},
	} {
		for first, learn := range reads {
			t.Run(fmt.Sprintf("%s, token rejected %t, by %s", failure.Kind, failure.TokenRejected, first), func(t *testing.T) {
				bank, gateways := scriptedWorld(t)
				g, other, q := gateways(), gateways(), alone()
				bank.refuse(failure)
				if err := learn(g, client, q); kind(err) != failure.Kind || origin(err) != failure.Origin {
					t.Fatal(err)
				}
				for name, read := range reads {
					for _, at := range []*gateway.Gateway{g, other} {
						if err := read(at, client, q); kind(err) != failure.Kind || origin(err) != canonical.OriginGateway {
							t.Errorf("%s again: %v", name, err)
						}
					}
				}
				if n := bank.reads.Load(); n != 1 {
					t.Fatalf("the bank was called %d times", n)
				}
				another := q
				another.Token = "another"
				for name, call := range map[string]func() error{
					"another client":  func() error { return readList(g, "another client", q) },
					"another consent": func() error { return readList(g, client, under(q, alone().Consent)) },
					"another token":   func() error { return readList(g, client, another) },
					"attended":        func() error { return readList(g, client, attended(q)) },
				} {
					before := bank.reads.Load()
					if err := call(); kind(err) != failure.Kind || bank.reads.Load() != before+1 {
						t.Errorf("%s: %v, %d calls", name, err, bank.reads.Load()-before)
					}
				}
				bank.scripted = listing()
				if err := learn(other, client, attended(another)); err != nil {
					t.Fatal(err)
				}
				if err := readList(g, client, q); err != nil {
					t.Errorf("after an attended success: %v", err)
				}
			})
		}
	}
}

// DELETE cached-data also deletes a remembered refusal: the next request calls the bank.
func TestErasureDeletesRefusals(t *testing.T) {
	bank, gateways := scriptedWorld(t)
	g, q := gateways(), alone()
	bank.refuse(canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP})
	for i, origins := range []canonical.Origin{canonical.OriginASPSP, canonical.OriginGateway} {
		if err := readList(g, client, q); origin(err) != origins {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := g.Forget(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	if err := readList(g, client, q); origin(err) != canonical.OriginASPSP {
		t.Errorf("after the erasure: %v", err)
	}
}

// A refusal of an attended call, which takes no slot, is not remembered: requests with invented consents and accounts fill no
// Redis. What stays is the outcome note of a list, for seconds.
func TestRefusalWithTheUserLeavesNothing(t *testing.T) {
	w, bank := newWorld(t), &countingBank{scripted: listing()}
	w.cacheAt = redistest.Start(t).Addr
	s := w.open(w.cacheAt)
	one := w.gateway()
	g := w.gatewayOf(bank, one.Counter, one.Config.Cache)
	for _, failure := range []canonical.Error{
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP},
		{Kind: canonical.ConsentExpired, Origin: canonical.OriginProvider},
		{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true},
		{Kind: canonical.AccountUnknown, Origin: canonical.OriginASPSP},
	} {
		bank.refuse(failure)
		for i := range 10 {
			if err := readBalances(fmt.Sprint("a", i))(g, client, attended(alone())); kind(err) != failure.Kind {
				t.Fatal(err)
			}
		}
		if keys := s.Cache.Keys(t.Context(), "*").Val(); len(keys) != 0 {
			t.Errorf("%s of balances leaves %d keys, such as %s", failure.Kind, len(keys), keys[0])
		}
		q := alone()
		if err := readList(g, client, attended(q)); kind(err) != failure.Kind {
			t.Fatal(err)
		}
		for _, key := range s.Cache.Keys(t.Context(), "*").Val() {
			if !strings.Contains(key, ":note:") {
				t.Errorf("%s of a list leaves %s", failure.Kind, key)
			}
		}
		if err := s.Cache.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		bank.scripted = listing()
		if err := readList(g, client, q); err != nil {
			t.Errorf("without the user after %s with it: %v", failure.Kind, err)
		}
		if err := s.Cache.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// An account that the bank does not know says nothing about another account, or about the list.
func TestUnknownAccountIsNotCalledAgain(t *testing.T) {
	bank, gateways := scriptedWorld(t)
	g, q := gateways(), alone()
	unknown := canonical.Error{Kind: canonical.AccountUnknown, Origin: canonical.OriginASPSP}
	bank.refuse(unknown)
	for range 3 {
		if err := readBalances("a")(g, client, q); kind(err) != canonical.AccountUnknown {
			t.Fatal(err)
		}
	}
	if err := readBalances("b")(g, client, q); kind(err) != canonical.AccountUnknown || bank.reads.Load() != 2 {
		t.Fatalf("%v, %d calls for two accounts", err, bank.reads.Load())
	}
	bank.scripted = listing()
	if err := readList(g, client, q); err != nil {
		t.Errorf("the list: %v", err)
	}
	if err := readBalances("a")(g, client, q); origin(err) != canonical.OriginGateway {
		t.Errorf("an unattended list ends it: %v", err)
	}
	if err := readList(g, client, attended(q)); err != nil {
		t.Fatal(err)
	}
	if err := readBalances("a")(g, client, q); err != nil {
		t.Errorf("after an attended list: %v", err)
	}
	// A list that names an unknown account is remembered for the list alone.
	bank.refuse(unknown)
	for range 2 {
		if err := readList(g, client, q); kind(err) != canonical.AccountUnknown {
			t.Fatal(err)
		}
	}
	before := bank.reads.Load()
	if err := readBalances("b")(g, client, q); kind(err) != canonical.AccountUnknown || bank.reads.Load() != before+1 {
		t.Errorf("balances after a refused list: %v, %d calls", err, bank.reads.Load()-before)
	}
}

// Only refusals are remembered.
func TestOtherFailuresAreNotRemembered(t *testing.T) {
	for _, k := range []canonical.Kind{
		canonical.ProviderError, canonical.ProviderTimeout, canonical.ProviderUnavailable, canonical.ProviderThrottled,
		canonical.ProviderInvalidResponse, canonical.ProviderRejected,
	} {
		bank, gateways := scriptedWorld(t)
		g, q := gateways(), alone()
		bank.refuse(canonical.Error{Kind: k, Origin: canonical.OriginASPSP})
		for range 2 {
			if err := readList(g, client, q); kind(err) != k {
				t.Error(k, err)
			}
		}
		if n := bank.reads.Load(); n != 2 {
			t.Errorf("%s: %d calls", k, n)
		}
	}
}

// A cached list is served whatever was refused meanwhile to a token, and a refusal that is only remembered deletes nothing.
func TestRememberedRefusalDeletesNothing(t *testing.T) {
	bank, gateways := scriptedWorld(t)
	g, q := gateways(), alone()
	bank.refuse(canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP, TokenRejected: true})
	if err := readBalances("a")(g, client, q); kind(err) != canonical.ConsentInvalid {
		t.Fatal(err)
	}
	bank.scripted = listing()
	another := q
	another.Token = "another"
	mustList(t, g, another, gateway.CacheControl{}) // without the user, so that the refusal stays
	for name, read := range map[string]func(*gateway.Gateway, string, canonical.Query) error{"list": readList, "balances": readBalances("a")} {
		if err := read(g, client, q); kind(err) != canonical.ConsentInvalid || origin(err) != canonical.OriginGateway {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := mustList(t, g, q, gateway.CacheControl{}); !list.Cache.Hit {
		t.Errorf("%+v", list.Cache)
	}
}

// Without the Redis of the memory, reads go on.
func TestMemoryFailsOpen(t *testing.T) {
	w, bank := newWorld(t), &countingBank{scripted: listing()}
	redis := redistest.Start(t)
	w.cacheAt = redis.Addr
	one := w.gateway()
	g, q := w.gatewayOf(bank, one.Counter, one.Config.Cache), alone()
	bank.refuse(canonical.Error{Kind: canonical.ConsentInvalid, Origin: canonical.OriginASPSP})
	for range 2 {
		if err := readBalances("a")(g, client, q); kind(err) != canonical.ConsentInvalid {
			t.Fatal(err)
		}
	}
	redis.Stop()
	if err := readBalances("a")(g, client, q); kind(err) != canonical.ConsentInvalid || bank.reads.Load() != 2 {
		t.Errorf("%v, %d calls", err, bank.reads.Load())
	}
}

// paged lets the bank answer lists in pages of so many accounts.
func (w *world) paged(size int) {
	server := httptest.NewServer(mypossim.New(mypossim.Config{APIKey: "key", Log: w.ledger, ASPSP: aspsp, PageSize: size}))
	w.t.Cleanup(server.Close)
	w.base = server.URL
}

func failed(t *testing.T, err error) *canonical.Error {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v", err)
	}
	return failure
}

// A list whose pages cannot fit costs one slot to find that out, and none afterwards, on any gateway and whatever the unit.
// With the user present it is read.
func TestListThatCannotFit(t *testing.T) {
	for _, unit := range []config.Unit{config.UnitConsent, config.UnitResource, config.UnitASPSP} {
		t.Run(string(unit), func(t *testing.T) {
			w := newWorld(t)
			w.bank.Unattended.Unit = unit
			w.countAt, w.cacheAt = redistest.Start(t).Addr, redistest.Start(t).Addr
			w.ledger.SetPolicy(aspsp, aspspsim.Policy{Limit: 100, Window: time.Hour, Unit: aspspsim.PerASPSP})
			w.paged(12) // 5 pages
			g, other, q := w.gateway(), w.gateway(), under(alone(), mypossim.ManyConsent)
			for i, at := range []*gateway.Gateway{g, g, other} {
				list, err := at.Accounts(t.Context(), client, q, gateway.CacheControl{})
				failure := failed(t, err)
				if failure.Kind != canonical.UnattendedLimit || failure.Origin != canonical.OriginGateway || failure.RetryAfter != 0 {
					t.Errorf("attempt %d: %+v", i, failure)
				}
				if diff := cmp.Diff(&canonical.SlotNeed{Needed: 5, Remaining: 3}, failure.Slots); diff != "" {
					t.Errorf("attempt %d: %s", i, diff)
				}
				if left(list.Usage) != 3 {
					t.Errorf("attempt %d: usage %+v", i, list.Usage)
				}
			}
			if n := len(w.ledger.Calls()); n != 1 {
				t.Errorf("%d calls", n)
			}
			if _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); kind(err) == canonical.UnattendedLimit {
				t.Errorf("balances, which are one call: %v", err)
			}
			mustList(t, g, attended(q), gateway.CacheControl{})
			if n := len(w.ledger.Calls()); n != 1+1+5 {
				t.Errorf("%d calls in all", n)
			}
			stale := mustList(t, other, q, gateway.CacheControl{MaxAge: new(time.Duration)})
			if stale.Freshness.StaleReason != gateway.StaleByLimit {
				t.Errorf("what is cached: %+v", stale.Freshness)
			}
			if n := len(w.ledger.Calls()); n != 1+1+5 {
				t.Errorf("%d calls in all", n)
			}
		})
	}
}

// A list whose pages do not fit now tells when they will, and how many there are; what was read with success is known too.
func TestListThatDoesNotFitNow(t *testing.T) {
	for _, present := range []bool{true, false} {
		t.Run(fmt.Sprintf("first read attended %t", present), func(t *testing.T) {
			w := newWorld(t)
			w.paged(1) // 3 pages
			g, q := w.gateway(), alone()
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
			before, err := g.UnattendedAccess(t.Context(), q, "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true})
			failure := failed(t, err)
			if diff := cmp.Diff(&canonical.SlotNeed{Needed: 3, Remaining: before.Remaining}, failure.Slots); diff != "" {
				t.Error(diff)
			}
			// The slot that must leave is not the oldest.
			if failure.Kind != canonical.UnattendedLimit || failure.RetryAfter <= before.Wait-time.Minute || failure.RetryAfter > before.Window+w.timeout {
				t.Errorf("%+v, the next slot in %v", failure, before.Wait)
			}
			if n := len(w.ledger.Calls()); n != calls {
				t.Errorf("%d calls, want %d", n, calls)
			}
		})
	}
}

// The number of pages follows the bank, as far as it is seen; a deletion of cached data forgets it.
func TestPagesAreUpdated(t *testing.T) {
	for _, how := range []string{"an attended list", "a deletion"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			w.ledger.SetPolicy(aspsp, aspspsim.Policy{Limit: 100, Window: time.Hour, Unit: aspspsim.PerConsent})
			single := w.gateway()
			w.paged(1)
			g, q := w.gateway(), alone()
			mustList(t, g, q, gateway.CacheControl{})
			if _, err := single.Accounts(t.Context(), client, q, gateway.CacheControl{NoCache: true}); kind(err) != canonical.UnattendedLimit {
				t.Fatalf("before: %v", err)
			}
			if how == "a deletion" {
				if err := single.Forget(t.Context(), client, q); err != nil {
					t.Fatal(err)
				}
			} else {
				mustList(t, single, attended(q), gateway.CacheControl{NoCache: true})
			}
			mustList(t, single, q, gateway.CacheControl{NoCache: true})
		})
	}
}

// The usage in a response comes from the step that its call took, for those too who share the call on another gateway:
// nothing is read besides.
func TestUsageComesFromTheSteps(t *testing.T) {
	w := newWorld(t)
	redis := redistest.Start(t)
	w.countAt = redis.Addr
	w.ledger.SetPolicy(aspsp, aspspsim.Policy{Limit: 1000, Window: time.Hour, Unit: aspspsim.PerASPSP})
	gateways := []*gateway.Gateway{w.gateway(), w.gateway(), w.gateway()}
	if _, err := gateways[0].Balances(t.Context(), client, alone(), mypossim.GoodAccount); err != nil { // loads the script
		t.Fatal(err)
	}
	rdb := w.open(redis.Addr).Counter
	steps := func() (n int) {
		for _, command := range []string{"evalsha", "eval"} {
			var calls int
			text := rdb.Info(t.Context(), "commandstats").Val()
			if _, found, ok := strings.Cut(text, "cmdstat_"+command+":calls="); ok {
				_, _ = fmt.Sscanf(found, "%d", &calls)
			}
			n += calls
		}
		return n
	}
	before, bank := steps(), len(w.ledger.Calls())
	q := alone()
	var all sync.WaitGroup
	var refused atomic.Int64
	for _, g := range gateways {
		for range 10 {
			all.Go(func() {
				sheet, err := g.Balances(context.Background(), client, q, mypossim.GoodAccount)
				if kind(err) == canonical.UnattendedLimit { // came when others had used up the limit
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
				if sheet.Usage == nil || sheet.Usage.Used == 0 {
					t.Errorf("usage %+v", sheet.Usage)
				}
			})
		}
	}
	all.Wait()
	calls := len(w.ledger.Calls()) - bank
	if n := steps() - before; n < calls || n > calls+int(refused.Load()) {
		t.Errorf("%d steps for %d calls and %d refusals", n, calls, refused.Load())
	}
}
