package runner_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
)

// atOnce runs the aggregation for two clients at two processes at the same time.
func atOnce(f *fixture, r aggregation.Request) []aggregation.SourceResult {
	f.t.Helper()
	processes, results := []*process{f.process(), f.process()}, make([]aggregation.SourceResult, 2)
	var all sync.WaitGroup
	for i, p := range processes {
		all.Go(func() {
			own := r
			own.Client = clients[i]
			results[i] = p.one(own)
		})
	}
	all.Wait()
	return results
}

var clients = []string{client, "reports"}

// outcomes returns the outcomes of results, sorted.
func outcomes(results []aggregation.SourceResult) []aggregation.Outcome {
	var all []aggregation.Outcome
	for _, r := range results {
		all = append(all, r.Outcome)
	}
	slices.Sort(all)
	return all
}

func TestTwoClientsWithFreshLists(t *testing.T) {
	f := newFixture(t, 1)
	s := f.banks[0].source(threeAccounts)
	for _, c := range clients {
		f.process().cacheList(c, s)
	}
	results := atOnce(f, request(s))
	if got := outcomes(results); !slices.Equal(got, []aggregation.Outcome{aggregation.OK, aggregation.Partial}) {
		t.Errorf("outcomes %v", got)
	}
	if calls := f.calls(f.banks[0], false); len(calls) != 3 {
		t.Errorf("calls %q, want 3", calls)
	}
	for _, r := range results {
		if r.Outcome == aggregation.Partial {
			check(t, r, aggregation.Partial, 0, times(3, canonical.UnattendedLimit)...)
			if n := r.Accounts[0].Failure.Slots; n == nil || *n != (canonical.SlotNeed{Needed: 3, Remaining: 1}) {
				t.Errorf("slots %+v", n)
			}
		}
	}
	if used := f.used(listOf(s)); used != 3 {
		t.Errorf("%d slots are used", used)
	}
}

func TestTwoClientsWithoutLists(t *testing.T) {
	for range 5 {
		f := newFixture(t, 1)
		s := f.banks[0].source(threeAccounts)
		results := atOnce(f, request(s))
		got := outcomes(results)
		complete := slices.Equal(got, []aggregation.Outcome{aggregation.OK, aggregation.Skipped})
		if !complete && !slices.Equal(got, []aggregation.Outcome{aggregation.Partial, aggregation.Partial}) {
			t.Errorf("outcomes %v", got)
		}
		calls, spent := len(f.calls(f.banks[0], false)), results[0].Cost.Spent+results[1].Cost.Spent
		if calls > 4 || calls != spent || calls != f.used(listOf(s)) {
			t.Errorf("%d calls, %d slots spent, %d used", calls, spent, f.used(listOf(s)))
		}
	}
}

func TestNoSlotLeft(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.use(s, berlingroupsim.GoodAccount, 4)
	r := p.one(request(s))
	check(t, r, aggregation.Skipped, 0, canonical.UnattendedLimit)
	if n := r.Failure.Slots; n == nil || *n != (canonical.SlotNeed{Needed: 1, Remaining: 0}) || r.Failure.RetryAfter <= 0 {
		t.Errorf("%+v", r.Failure)
	}
	if got := cost(r); got != [2]int{1, -1} {
		t.Errorf("cost %v", got)
	}
	if r.Usage == nil || r.Usage.Remaining != 0 || r.Usage.Used != 4 {
		t.Errorf("usage %+v", r.Usage)
	}
	if calls := f.calls(f.banks[0], false); len(calls) != 4 {
		t.Errorf("calls %q", calls)
	}
}

// fiveAccounts are accounts of HostileConsent.
var fiveAccounts = append(slices.Clone(berlinGroupAccounts), berlingroupsim.HostileAccounts[:2]...)

func TestMoreAccountsThanTheLimit(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(berlingroupsim.HostileConsent, fiveAccounts...)
	p.cacheList(client, s)
	r := p.one(request(s))
	check(t, r, aggregation.Partial, 0, times(5, canonical.UnattendedLimit)...)
	if n := r.Accounts[0].Failure; *n.Slots != (canonical.SlotNeed{Needed: 5, Remaining: 4}) || n.RetryAfter != 0 {
		t.Errorf("%+v", n)
	}
	if got := cost(r); got != [2]int{5, 5} || f.used(listOf(s)) != 0 {
		t.Errorf("cost %v, %d used", got, f.used(listOf(s)))
	}
}

func TestListButNotBalances(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(berlingroupsim.HostileConsent, fiveAccounts[:3]...)
	p.use(s, berlingroupsim.GoodAccount, 2)
	r := p.one(request(s))
	check(t, r, aggregation.Partial, 1, times(3, canonical.UnattendedLimit)...)
	if n := r.Accounts[0].Failure; *n.Slots != (canonical.SlotNeed{Needed: 3, Remaining: 1}) || n.RetryAfter <= 0 {
		t.Errorf("%+v", n)
	}
	if got := cost(r); got != [2]int{4, 4} || f.used(listOf(s)) != 3 {
		t.Errorf("cost %v, %d used", got, f.used(listOf(s)))
	}
	if r.Usage == nil || r.Usage.Remaining != 1 {
		t.Errorf("usage %+v", r.Usage)
	}
}

func TestAllowPartialReadsInTheOrderOfTheList(t *testing.T) {
	for _, cached := range []bool{false, true} {
		f := newFixture(t, 1)
		// The order of accountIds does not count.
		ids := slices.Clone(fiveAccounts)
		slices.Reverse(ids)
		p, s := f.process(), f.banks[0].source(berlingroupsim.HostileConsent, ids...)
		want := fiveAccounts[:3]
		if cached {
			p.cacheList(client, s)
			want = fiveAccounts[:4]
		}
		all := request(s)
		all.AllowPartial = true
		r := p.one(all)
		check(t, r, aggregation.Partial, 4, times(5-len(want), canonical.UnattendedLimit)...)
		if got := withBalances(r); !slices.Equal(got, want) {
			t.Errorf("cached %t: balances of %q", cached, got)
		}
		for _, a := range r.Accounts {
			if a.Failure != nil && *a.Failure.Slots != (canonical.SlotNeed{Needed: 5, Remaining: len(want)}) {
				t.Errorf("cached %t: %+v", cached, a.Failure)
			}
		}
	}
}

func TestSourcesOfOneUnitInRequestOrder(t *testing.T) {
	f := newFixture(t, 1)
	f.setPolicy(f.banks[0], 4, config.UnitASPSP)
	p := f.process()
	var all aggregation.Request
	for _, consent := range []string{"a", "b", "c"} {
		s := f.banks[0].source(consent)
		if consent == "c" {
			s.AccountIDs = berlinGroupAccounts[:1]
		}
		p.cacheList(client, s)
		all = request(append(all.Sources, s)...)
	}
	results := p.aggregate(all)
	check(t, results[0], aggregation.OK, 3)
	check(t, results[1], aggregation.Partial, 0, times(3, canonical.UnattendedLimit)...)
	check(t, results[2], aggregation.OK, 1) // the source before it has taken nothing
}

func TestManySourcesOfOneUnit(t *testing.T) {
	const limit = 10
	f := newFixture(t, 1)
	f.setPolicy(f.banks[0], limit, config.UnitASPSP)
	p := f.process()
	var all []aggregation.Source
	for i := range 2 * limit {
		s := f.banks[0].source("consent-"+strconv.Itoa(i), berlinGroupAccounts[0])
		p.cacheList(client, s)
		all = append(all, s)
	}
	for i, s := range p.aggregate(request(all...)) {
		if i < limit {
			check(t, s, aggregation.OK, 1)
		} else {
			check(t, s, aggregation.Partial, 0, canonical.UnattendedLimit)
		}
	}
}

func TestAllUnitsOrNone(t *testing.T) {
	for _, partial := range []bool{false, true} {
		f := newFixture(t, 1)
		f.setPolicy(f.banks[0], 1, config.UnitResource)
		p, s := f.process(), f.banks[0].source(threeAccounts)
		p.cacheList(client, s)
		p.use(s, berlinGroupAccounts[1], 1)
		all := request(s)
		all.AllowPartial = partial
		r := p.one(all)
		used := 0
		if partial {
			check(t, r, aggregation.Partial, 2, canonical.UnattendedLimit)
			used = 1
		} else {
			check(t, r, aggregation.Partial, 0, times(3, canonical.UnattendedLimit)...)
		}
		for _, a := range r.Accounts {
			if a.Failure != nil && *a.Failure.Slots != (canonical.SlotNeed{Needed: 1, Remaining: 0}) {
				t.Errorf("partial %t: %+v", partial, a.Failure)
			}
		}
		for i, n := range []int{used, 1, used} {
			if got := f.used(balancesOf(s, berlinGroupAccounts[i])); got != n {
				t.Errorf("partial %t: %d slots of account %d are used, want %d", partial, got, i, n)
			}
		}
		// The usage is that of the list's unit.
		if got := f.used(listOf(s)); got != 0 || r.Usage == nil || r.Usage.Remaining != 1 {
			t.Errorf("partial %t: %d slots of the list are used, usage %+v", partial, got, r.Usage)
		}
	}
}

// A list of several pages needs as many slots as pages, all of which are reserved.
func TestPagesAreReserved(t *testing.T) {
	f := newFixture(t, 1)
	f.banks[0].page(f, 2)
	f.setPolicy(f.banks[0], 3, config.UnitConsent)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	all := request(s)
	all.Balances = false
	p.cacheList(client, s) // the number of pages is known
	all.Control.NoCache = true
	r := p.one(all)
	check(t, r, aggregation.OK, 2)
	if got := cost(r); got != [2]int{2, 2} {
		t.Errorf("cost %v", got)
	}
	r = p.one(all)
	check(t, r, aggregation.Skipped, 0, canonical.UnattendedLimit)
	if n := r.Failure.Slots; n == nil || *n != (canonical.SlotNeed{Needed: 2, Remaining: 1}) {
		t.Errorf("%+v", r.Failure)
	}
}
