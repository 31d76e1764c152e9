package runner_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/obie/obiesim"
)

// edit makes the fixture change each successful response.
func (f *fixture) edit(change func(path string, body map[string]any)) {
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		response := httptest.NewRecorder()
		f.pass(response, r)
		body := response.Body.Bytes()
		if response.Code == http.StatusOK {
			var content map[string]any
			if err := json.Unmarshal(body, &content); err != nil {
				f.t.Error(err)
			}
			change(r.URL.Path, content)
			body, _ = json.Marshal(content)
		}
		for name, values := range response.Header() {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}
		w.WriteHeader(response.Code)
		_, _ = w.Write(body)
	})
}

func TestCheapestPlan(t *testing.T) {
	const unknown = -1
	for _, c := range []struct {
		name          string
		provider      string
		bulk, cached  bool
		accounts      int // selected, 0 for all
		plan          [2]int
		calls         []string
		withoutExtras bool // no balances
	}{
		{name: "one by one", provider: "berlingroup", plan: [2]int{1, unknown}, calls: append([]string{""}, berlinGroupAccounts...)},
		{name: "one by one, cached", provider: "berlingroup", cached: true, plan: [2]int{3, 3}, calls: berlinGroupAccounts},
		{name: "two of them, cached", provider: "berlingroup", cached: true, accounts: 2, plan: [2]int{2, 2}, calls: berlinGroupAccounts[:2]},
		{name: "with the list", provider: "berlingroup", bulk: true, plan: [2]int{1, 1}, calls: []string{""}},
		{name: "with the list, cached", provider: "berlingroup", bulk: true, cached: true, plan: [2]int{1, 1}, calls: []string{""}},
		{name: "one account, cached", provider: "berlingroup", bulk: true, cached: true, accounts: 1, plan: [2]int{1, 1}, calls: berlinGroupAccounts[:1]},
		{name: "all in one", provider: "obie", bulk: true, plan: [2]int{1, 2}, calls: []string{"", obiesim.AllAccounts}},
		{name: "all in one, cached", provider: "obie", bulk: true, cached: true, plan: [2]int{1, 1}, calls: []string{obiesim.AllAccounts}},
		{name: "one of all, cached", provider: "obie", bulk: true, cached: true, accounts: 1, plan: [2]int{1, 1}, calls: obieAccounts[:1]},
		{name: "list", provider: "berlingroup", bulk: true, withoutExtras: true, plan: [2]int{1, 1}, calls: []string{""}},
		{name: "list, cached", provider: "berlingroup", bulk: true, cached: true, withoutExtras: true, calls: []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, 0)
			b := f.addBank(c.provider, c.bulk)
			p, s := f.process(), b.source(threeAccounts)
			accounts := berlinGroupAccounts
			if c.provider == "obie" {
				accounts = obieAccounts
			}
			if c.accounts > 0 {
				accounts = accounts[:c.accounts]
				s.AccountIDs = accounts
			}
			if c.cached {
				p.cacheList(client, s)
			}
			all := request(s)
			if all.Balances = !c.withoutExtras; c.withoutExtras {
				accounts = []string{}
			}
			plan := p.DryRun(t.Context(), all, func(aggregation.SourceResult) {}).Sources[0]
			if got := cost(plan); got != c.plan || plan.Failure != nil {
				t.Errorf("plan %v, %v, want %v", got, plan.Failure, c.plan)
			}
			if made := f.calls(b, false); len(made) > 0 || f.used(listOf(s)) > 0 {
				t.Errorf("a dry run made calls %q", made)
			}
			r := p.one(all)
			check(t, r, aggregation.OK, len(c.calls))
			made := f.calls(b, false)
			slices.Sort(made)
			want := slices.Clone(c.calls)
			slices.Sort(want)
			if !slices.Equal(made, want) || f.used(listOf(s)) != len(want) {
				t.Errorf("calls %q, %d slots are used, want %q", made, f.used(listOf(s)), want)
			}
			if got := cost(r); got != [2]int{len(want), len(want)} {
				t.Errorf("cost %v", got)
			}
			if got := withBalances(r); !slices.Equal(got, accounts) {
				t.Errorf("balances of %q, want %q", got, accounts)
			}
		})
	}
}

func TestAccountsWithoutBalancesInABulkAreReadOneByOne(t *testing.T) {
	for _, provider := range []string{"berlingroup", "obie"} {
		f := newFixture(t, 0)
		b := f.addBank(provider, true)
		f.edit(func(path string, body map[string]any) {
			switch list := body["accounts"].(type) {
			case []any:
				delete(list[1].(map[string]any), "balances")
			}
			if data, ok := body["Data"].(map[string]any); ok && strings.HasSuffix(path, "/aisp/balances") {
				data["Balance"] = slices.DeleteFunc(data["Balance"].([]any), func(one any) bool {
					return one.(map[string]any)["AccountId"] == obieAccounts[1]
				})
			}
		})
		p, s := f.process(), b.source(threeAccounts)
		r := p.one(request(s))
		calls := map[string][]string{
			"berlingroup": {"", berlinGroupAccounts[1]},
			"obie":        {"", obiesim.AllAccounts, obieAccounts[1]},
		}[provider]
		check(t, r, aggregation.OK, len(calls))
		if got := f.calls(b, false); !slices.Equal(got, calls) {
			t.Errorf("%s: calls %q", provider, got)
		}
		if got := cost(r); got != [2]int{len(calls), len(calls)} {
			t.Errorf("%s: cost %v", provider, got)
		}
		if len(withBalances(r)) != 3 {
			t.Errorf("%s: balances of %q", provider, withBalances(r))
		}
	}
}

// The balances that the bulk did not contain are not read if their slots do not fit.
func TestMissingInABulkDoesNotFit(t *testing.T) {
	f := newFixture(t, 0)
	b := f.addBank("berlingroup", true)
	f.setPolicy(b, 2, b.Unattended.Unit)
	f.edit(func(_ string, body map[string]any) {
		if list, ok := body["accounts"].([]any); ok {
			delete(list[0].(map[string]any), "balances")
			delete(list[1].(map[string]any), "balances")
		}
	})
	p, s := f.process(), b.source(threeAccounts)
	r := p.one(request(s))
	check(t, r, aggregation.Partial, 1, times(2, canonical.UnattendedLimit)...)
	if got := withBalances(r); !slices.Equal(got, berlinGroupAccounts[2:]) {
		t.Errorf("balances of %q", got)
	}
	if n := r.Accounts[0].Failure.Slots; *n != (canonical.SlotNeed{Needed: 2, Remaining: 1}) {
		t.Errorf("%+v", n)
	}
}

func TestAccountIDs(t *testing.T) {
	f := newFixture(t, 1)
	p := f.process()
	s := f.banks[0].source(threeAccounts, "unknown", berlinGroupAccounts[1])
	r := p.one(request(s))
	check(t, r, aggregation.Partial, 2, canonical.AccountUnknown)
	if len(r.Accounts) != 3 || len(r.Missing) != 1 || r.Missing[0].ID != "unknown" {
		t.Errorf("%d accounts, missing %+v", len(r.Accounts), r.Missing)
	}
	for _, a := range r.Accounts {
		if a.Selected != (a.ID == berlinGroupAccounts[1]) || a.Selected != (a.Balances != nil) {
			t.Errorf("%+v", a)
		}
	}
	if got := f.calls(f.banks[0], false); !slices.Equal(got, []string{"", berlinGroupAccounts[1]}) {
		t.Errorf("calls %q", got)
	}
}

func TestMoreThanFiftyAccounts(t *testing.T) {
	for _, user := range []bool{false, true} {
		f := newFixture(t, 1)
		f.setPolicy(f.banks[0], 1000, f.banks[0].Unattended.Unit)
		p, s := f.process(), f.banks[0].source(berlingroupsim.ManyConsent)
		spent := 51
		if user {
			s, spent = attended(s), 0
		}
		r := p.one(request(s))
		check(t, r, aggregation.Partial, spent, times(berlingroupsim.ManyCount-50, canonical.Overloaded)...)
		if got := withBalances(r); len(got) != 50 || got[0] != "account-00001" || got[49] != "account-00050" {
			t.Errorf("balances of %d accounts", len(got))
		}
		if got := f.calls(f.banks[0], user); len(got) != 51 {
			t.Errorf("%d calls", len(got))
		}
		if got := cost(r); got != [2]int{spent, spent} {
			t.Errorf("cost %v", got)
		}
	}
}

// Every upstream call has a request id of its own, which repeats if the request does.
func TestRequestIDs(t *testing.T) {
	f := newFixture(t, 1)
	seen := map[string]int{}
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		seen[r.Header.Get("X-Request-ID")]++
		f.mu.Unlock()
		f.pass(w, r)
	})
	p, all := f.process(), request(f.banks[0].source("a"), f.banks[0].source("b"))
	results := p.aggregate(all)
	if len(seen) != 8 {
		t.Errorf("%d request ids of 8 calls", len(seen))
	}
	for i, s := range all.Sources {
		if results[i].RequestID != s.Query.RequestID || seen[s.Query.RequestID] != 1 {
			t.Errorf("the request id of list %d was used %d times", i, seen[s.Query.RequestID])
		}
	}
	for i := range all.Sources {
		all.Sources[i] = attended(all.Sources[i])
	}
	all.Control = gateway.CacheControl{NoCache: true}
	p.aggregate(all)
	for id, n := range seen {
		if n != 2 {
			t.Errorf("the request id %s was used %d times", id, n)
		}
	}
	all.RequestID = uuid.NewString() // the lists have ids of their own here
	p.aggregate(all)
	if len(seen) != 8+6 {
		t.Errorf("%d request ids, want 6 new ones", len(seen))
	}
}

// TestFiftyBalanceCalls: the call for all balances is one of them.
func TestFiftyBalanceCalls(t *testing.T) {
	f := newFixture(t, 0)
	b := f.addBank("obie", true)
	f.setPolicy(b, 1000, b.Unattended.Unit)
	f.edit(func(path string, body map[string]any) {
		if data, ok := body["Data"].(map[string]any); ok && strings.HasSuffix(path, "/aisp/balances") {
			data["Balance"] = []any{}
		}
	})
	r := f.process().one(request(b.source(obiesim.ManyConsent)))
	single := 0
	for _, account := range f.calls(b, false) {
		if account != "" && account != obiesim.AllAccounts {
			single++
		}
	}
	if single != 49 {
		t.Errorf("%d calls for one account", single)
	}
	if got := kinds(r); !slices.Equal(got, times(obiesim.ManyCount-49, canonical.Overloaded)) {
		t.Errorf("%v", got)
	}
}

// TestMissingAccountWithoutBalances: an unknown account is named, although no balances are requested.
func TestMissingAccountWithoutBalances(t *testing.T) {
	f := newFixture(t, 1)
	r := request(f.banks[0].source(threeAccounts, "unknown"))
	r.Balances = false
	check(t, f.process().one(r), aggregation.Partial, 1, canonical.AccountUnknown)
}

// TestSlotsOfTheRequest: the request has taken the slots of all its sources.
func TestSlotsOfTheRequest(t *testing.T) {
	f := newFixture(t, 2)
	var totals event.Totals
	ctx := event.WithTotals(t.Context(), &totals)
	r := request(f.banks[0].source(threeAccounts), f.banks[1].source(threeAccounts))
	if _, err := f.process().Run(ctx, r, runner.Options{Over: t.Context()}, func(aggregation.SourceResult) {}); err != nil {
		t.Fatal(err)
	}
	if totals.Slots() != 8 {
		t.Errorf("%d slots", totals.Slots())
	}
}

// Accounts of several sources with the same IBAN are not merged.
func TestSameIBAN(t *testing.T) {
	f := newFixture(t, 2)
	var all []aggregation.Source
	for i, b := range []*bank{f.banks[0], f.banks[0], f.banks[1]} {
		all = append(all, b.source("consent-"+strconv.Itoa(i)))
	}
	for _, r := range f.process().aggregate(request(all...)) {
		check(t, r, aggregation.OK, 4)
		if len(r.Accounts) != 3 || r.Accounts[0].IBAN != "DE02120300000000202051" || r.Accounts[0].Currency != "EUR" {
			t.Errorf("%+v", r.Accounts)
		}
	}
}
