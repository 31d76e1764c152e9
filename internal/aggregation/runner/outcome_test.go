package runner_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/redistest"
)

// old is a cache control for which no cached list is fresh.
var old = gateway.CacheControl{MaxAge: ptr(time.Duration(0))}

func TestBankThatRequiresTheUser(t *testing.T) {
	f := newFixture(t, 1)
	f.banks[0].PSUAddressRequired = true
	p := f.process()
	without, fresh, user := f.banks[0].source("without"), f.banks[0].source("fresh"), f.banks[0].source("user")
	p.cacheList(client, fresh)
	results := p.aggregate(request(without, fresh))
	check(t, results[0], aggregation.Skipped, 0, canonical.PSUAddressRequired)
	check(t, results[1], aggregation.Partial, 0, times(3, canonical.PSUAddressRequired)...)
	if results[1].Freshness.Stale || len(results[0].Failure.Faults) != 1 {
		t.Errorf("%+v, %+v", results[0].Failure, results[1].Freshness)
	}
	stale := request(fresh)
	stale.Control, stale.Balances = old, false
	r := p.one(stale)
	check(t, r, aggregation.Stale, 0)
	if r.Freshness.StaleReason != gateway.StaleWithoutUser {
		t.Errorf("%+v", r.Freshness)
	}
	check(t, p.one(request(attended(user))), aggregation.OK, 0)
	if calls := f.calls(f.banks[0], false); len(calls) > 0 {
		t.Errorf("calls %q", calls)
	}
}

func TestLimitZero(t *testing.T) {
	f := newFixture(t, 1)
	f.setPolicy(f.banks[0], 0, f.banks[0].Unattended.Unit)
	p := f.process()
	s, fresh := f.banks[0].source("a"), f.banks[0].source("fresh")
	p.cacheList(client, fresh)
	results := p.aggregate(request(s, fresh))
	check(t, results[0], aggregation.Skipped, 0, canonical.UnattendedLimit)
	check(t, results[1], aggregation.Partial, 0, times(3, canonical.UnattendedLimit)...)
	if failure := results[0].Failure; failure.RetryAfter != 0 || *failure.Slots != (canonical.SlotNeed{Needed: 1}) {
		t.Errorf("%+v", failure)
	}
	if calls := f.calls(f.banks[0], false); len(calls) > 0 {
		t.Errorf("calls %q", calls)
	}
}

func TestUnknownASPSP(t *testing.T) {
	f := newFixture(t, 1)
	unknown := f.banks[0].source(threeAccounts)
	unknown.Query.ASPSP = uuid.NewString()
	all := request(unknown, f.banks[0].source(threeAccounts))
	results := f.process().aggregate(all)
	check(t, results[0], aggregation.Failed, 0, canonical.ASPSPUnknown)
	check(t, results[1], aggregation.OK, 4)
	if results[0].ASPSP != unknown.Query.ASPSP || results[0].Provider != "" || results[1].Provider != "berlingroup" {
		t.Errorf("%+v", results)
	}
}

func TestOnlyIfCached(t *testing.T) {
	f := newFixture(t, 1)
	p := f.process()
	s, cached := f.banks[0].source("a"), f.banks[0].source("b")
	p.cacheList(client, cached)
	all := request(s, cached)
	all.Control.OnlyIfCached = true
	results := p.aggregate(all)
	check(t, results[0], aggregation.Failed, 0, canonical.NotCached)
	check(t, results[1], aggregation.Partial, 0, times(3, canonical.NotCached)...)
	all.Balances = false
	check(t, p.aggregate(all)[1], aggregation.OK, 0)
	all.Control.MaxAge = old.MaxAge
	r := p.aggregate(all)[1]
	check(t, r, aggregation.Stale, 0)
	if r.Freshness.StaleReason != gateway.NoReason || cost(r) != [2]int{0, 0} {
		t.Errorf("%+v, cost %v", r.Freshness, cost(r))
	}
	if calls := f.calls(f.banks[0], false); len(calls) > 0 || f.used(listOf(s))+f.used(listOf(cached)) > 0 {
		t.Errorf("calls %q", calls)
	}
}

func TestNoCache(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	all := request(s)
	all.Control.NoCache = true
	check(t, p.one(all), aggregation.OK, 4)
	// Without a slot there is no list.
	check(t, p.one(all), aggregation.Skipped, 0, canonical.UnattendedLimit)
}

func TestStaleListAtARefusal(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.use(s, berlingroupsim.GoodAccount, 4)
	p.cacheList(client, s)
	all := request(s)
	all.Control = old
	r := p.one(all)
	check(t, r, aggregation.Partial, 0, times(3, canonical.UnattendedLimit)...)
	if !r.Freshness.Stale || r.Freshness.StaleReason != gateway.StaleByLimit {
		t.Errorf("%+v", r.Freshness)
	}
	all.Balances = false
	check(t, p.one(all), aggregation.Stale, 0)

	// The bank refuses it, not the counter.
	refusing := f.banks[0].source("refusing")
	p.cacheList(client, refusing)
	f.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	all = request(refusing)
	all.Control = old
	r = p.one(all)
	check(t, r, aggregation.Partial, 4, times(3, canonical.ProviderError)...)
	if r.Freshness.StaleReason != gateway.StaleWithoutProvider {
		t.Errorf("%+v", r.Freshness)
	}
}

// A list with balances that cannot be read is replaced by the cached list.
func TestStaleListInsteadOfOneWithBalances(t *testing.T) {
	f := newFixture(t, 0)
	b := f.addBank("berlingroup", true)
	p, s := f.process(), b.source(threeAccounts)
	p.cacheList(client, s)
	f.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	check(t, p.one(request(s)), aggregation.Partial, 1, times(3, canonical.ProviderError)...)
}

func TestCounterDown(t *testing.T) {
	f := newFixture(t, 2)
	server := redistest.Start(t)
	f.redisAddr = server.Addr
	p := f.process()
	var all []aggregation.Source
	for i := range 10 {
		all = append(all, f.banks[i%2].source("consent-"+strconv.Itoa(i)))
	}
	p.cacheList(client, all[9])
	server.Stop()
	for i, r := range p.aggregate(request(all...)) {
		check(t, r, aggregation.Failed, 0, canonical.CounterUnavailable)
		if r.Usage != nil || cost(r) != [2]int{1, -1} {
			t.Errorf("source %d: usage %+v, cost %v", i, r.Usage, cost(r))
		}
	}
	check(t, p.one(request(attended(all[0]))), aggregation.OK, 0)
	if calls := len(f.calls(f.banks[0], false)) + len(f.calls(f.banks[1], false)); calls > 0 {
		t.Errorf("%d calls without a counter", calls)
	}
	plan := p.DryRun(t.Context(), request(all...), func(aggregation.SourceResult) {})
	for _, s := range plan.Sources {
		if s.Failure == nil || s.Failure.Kind != canonical.CounterUnavailable {
			t.Errorf("%+v", s.Failure)
		}
	}
}

// Without the certainty that the sources were not read before, no slot is taken.
func TestNoCounter(t *testing.T) {
	f := newFixture(t, 1)
	p, s, fresh := f.process(), f.banks[0].source(threeAccounts), f.banks[0].source("fresh")
	p.cacheList(client, fresh)
	result, err := p.Run(t.Context(), request(s, fresh), runner.Options{Over: t.Context(), NoCounter: true}, func(aggregation.SourceResult) {})
	if err != nil {
		t.Fatal(err)
	}
	check(t, result.Sources[0], aggregation.Failed, 0, canonical.CounterUnavailable)
	check(t, result.Sources[1], aggregation.Partial, 0, times(3, canonical.CounterUnavailable)...)
	if calls := f.calls(f.banks[0], false); len(calls) > 0 {
		t.Errorf("calls %q", calls)
	}
}

func TestRememberedRefusal(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(berlingroupsim.Consent401ConsentExpired)
	r := p.one(request(s))
	check(t, r, aggregation.Failed, 1, canonical.ConsentExpired)
	if r.Failure.Origin == canonical.OriginGateway {
		t.Errorf("%+v", r.Failure)
	}
	plan := p.DryRun(t.Context(), request(s), func(aggregation.SourceResult) {}).Sources[0]
	if plan.Failure == nil || plan.Failure.Kind != canonical.ConsentExpired || cost(plan) != [2]int{0, 0} {
		t.Errorf("%+v, cost %v", plan.Failure, cost(plan))
	}
	r = p.one(request(s))
	check(t, r, aggregation.Failed, 0, canonical.ConsentExpired)
	if got := cost(r); r.Failure.Origin != canonical.OriginGateway || got != [2]int{0, 0} {
		t.Errorf("%+v, cost %v", r.Failure, got)
	}
	if calls := f.calls(f.banks[0], false); len(calls) != 1 || f.used(listOf(s)) != 1 {
		t.Errorf("calls %q, %d slots are used", calls, f.used(listOf(s)))
	}
	// A user may ask again.
	check(t, p.one(request(attended(s))), aggregation.Failed, 0, canonical.ConsentExpired)
	if calls := f.calls(f.banks[0], true); len(calls) != 1 {
		t.Errorf("calls %q", calls)
	}
}

// A consent that the bank rejects for one account's balances ends the cached list, not the response.
func TestConsentEndsDuringTheRead(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/"+f.banks[0].ID+"/v1/accounts" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"tppMessages":[{"category":"ERROR","code":"CONSENT_EXPIRED"}]}`))
			return
		}
		f.pass(w, r)
	})
	r := p.one(request(s))
	if r.Outcome != aggregation.Partial || len(r.Accounts) != 3 || r.Accounts[0].Failure.Kind != canonical.ConsentExpired {
		t.Errorf("%+v", r)
	}
	if cached, err := p.CachedList(t.Context(), client, s.Query, gateway.CacheControl{}); err != nil || cached.Found {
		t.Errorf("%+v, %v", cached, err)
	}
}

func TestBodyBudget(t *testing.T) {
	f := newFixture(t, 1)
	f.limits.perASPSP = 2 // of which one client of an aggregation gets one, so that no body is read in part
	const size = 1<<20 - 1024
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		response := httptest.NewRecorder()
		f.pass(response, r)
		for name, values := range response.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(response.Code)
		_, _ = w.Write(append(response.Body.Bytes(), bytes.Repeat([]byte(" "), size-response.Body.Len())...))
	})
	var all []aggregation.Source
	for i := range 48 {
		all = append(all, f.banks[0].source("consent-"+strconv.Itoa(i)))
	}
	one := request(all...)
	one.Balances = false
	read, calls := 0, 0
	for _, r := range f.process().aggregate(one) {
		if calls += r.Cost.Spent; r.Outcome == aggregation.OK {
			read++
			continue
		}
		if got := kinds(r); !slices.Equal(got, []canonical.Kind{canonical.Overloaded}) || r.Outcome != aggregation.Failed {
			t.Errorf("%s %v", r.Outcome, got)
		}
	}
	if read != 32 {
		t.Errorf("%d bodies of %d bytes were read", read, size)
	}
	if made := f.calls(f.banks[0], false); len(made) != calls {
		t.Errorf("%d calls, %d slots spent", len(made), calls)
	}
}

// panicking is an adapter that panics for one consent.
type panicking struct {
	providers.Provider
	at string // accounts or balances
}

func (p panicking) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	if p.at == "accounts" && q.Consent == "panics" {
		panic("in a test")
	}
	return p.Provider.Accounts(ctx, q)
}

func (p panicking) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	if p.at == "balances" && q.Consent == "panics" && account == berlinGroupAccounts[1] {
		panic("in a test")
	}
	return p.Provider.Balances(ctx, q, account)
}

func TestPanic(t *testing.T) {
	for _, at := range []string{"accounts", "balances"} {
		f := newFixture(t, 1)
		f.adapter = func(p providers.Provider) providers.Provider { return panicking{p, at} }
		good, bad := f.banks[0].source("good"), f.banks[0].source("panics")
		p := f.process()
		results := p.aggregate(request(bad, good))
		check(t, results[1], aggregation.OK, 4)
		if at == "accounts" {
			check(t, results[0], aggregation.Failed, 0, canonical.InternalError)
		} else {
			check(t, results[0], aggregation.Partial, 3, canonical.InternalError)
		}
		if used := f.used(listOf(bad)); used != results[0].Cost.Spent {
			t.Errorf("%s: %d slots are used", at, used)
		}
		p.Wait()
	}
}

// A call that cannot be sent releases its slot, and the usage of the source includes that.
func TestBankThatRefusesConnections(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	f.server.Close()
	r := p.one(request(s))
	check(t, r, aggregation.Partial, 0, times(3, canonical.ProviderUnavailable)...)
	if used := f.used(listOf(s)); used != 0 || r.Usage == nil || r.Usage.Remaining != 4 {
		t.Errorf("%d slots are used, usage %+v", used, r.Usage)
	}
}

// The bank refuses one account's balances because of its limit: the others are not asked for.
func TestBankRefusesByLimit(t *testing.T) {
	f := newFixture(t, 1)
	f.limits.perASPSP = 2 // of which one client of an aggregation gets one
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	var asked atomic.Int64
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"tppMessages":[{"category":"ERROR","code":"ACCESS_EXCEEDED"}]}`))
	})
	r := p.one(request(s))
	check(t, r, aggregation.Partial, 1, times(3, canonical.UnattendedLimit)...)
	if n := asked.Load(); n != 1 {
		t.Errorf("%d calls to a bank that has refused the first one", n)
	}
	if used := f.used(listOf(s)); used != 1 {
		t.Errorf("%d slots are used", used)
	}
}
