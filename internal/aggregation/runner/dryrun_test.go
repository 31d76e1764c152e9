package runner_test

import (
	"testing"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
)

// dryRun makes a dry run, and fails the test if it makes a call or takes a slot.
func (p *process) dryRun(r aggregation.Request) []aggregation.SourceResult {
	p.f.t.Helper()
	calls, used := len(p.f.callLog.Calls()), 0
	for _, s := range r.Sources {
		used += p.f.used(listOf(s))
	}
	r.DryRun = true
	ready := 0
	results := p.DryRun(p.f.t.Context(), r, func(aggregation.SourceResult) { ready++ }).Sources
	if ready != len(r.Sources) || len(results) != len(r.Sources) {
		p.f.t.Errorf("%d of %d sources were ready", ready, len(r.Sources))
	}
	for i, s := range r.Sources {
		used -= p.f.used(listOf(s))
		if results[i].Ref != s.Ref || results[i].Accounts != nil || results[i].Cost.Spent != 0 {
			p.f.t.Errorf("%+v", results[i])
		}
	}
	if n := len(p.f.callLog.Calls()); n != calls || used != 0 {
		p.f.t.Errorf("a dry run made %d calls and took %d slots", n-calls, -used)
	}
	return results
}

// checkPlan fails the test unless a source of a dry run has this cost, and could not start because of
// needed slots, of which fewer remain; needed 0: it could start.
func checkPlan(t *testing.T, s aggregation.SourceResult, want [2]int, needed, remaining int) {
	t.Helper()
	if got := cost(s); got != want {
		t.Errorf("%s: cost %v, want %v", s.Ref, got, want)
	}
	switch {
	case needed == 0 && s.Failure != nil:
		t.Errorf("%s: %+v", s.Ref, s.Failure)
	case needed == 0:
	case s.Failure == nil || s.Failure.Kind != canonical.UnattendedLimit || s.Failure.Slots == nil:
		t.Errorf("%s: %+v", s.Ref, s.Failure)
	case *s.Failure.Slots != (canonical.SlotNeed{Needed: needed, Remaining: remaining}):
		t.Errorf("%s: slots %+v", s.Ref, *s.Failure.Slots)
	}
}

func TestDryRun(t *testing.T) {
	f := newFixture(t, 1)
	p := f.process()
	fresh, unknown, full := f.banks[0].source("fresh"), f.banks[0].source("unknown"), f.banks[0].source("full")
	p.cacheList(client, fresh)
	p.use(full, berlingroupsim.GoodAccount, 4)
	results := p.dryRun(request(fresh, unknown, full))
	checkPlan(t, results[0], [2]int{3, 3}, 0, 0)
	checkPlan(t, results[1], [2]int{1, -1}, 0, 0)
	checkPlan(t, results[2], [2]int{1, -1}, 1, 0)
	if results[2].Failure.RetryAfter <= 0 {
		t.Errorf("%+v", results[2].Failure)
	}
	for i, remaining := range []int{4, 4, 0} {
		if u := results[i].Usage; u == nil || u.Remaining != remaining {
			t.Errorf("source %d: usage %+v", i, u)
		}
	}

	for _, s := range p.dryRun(request(attended(fresh), attended(unknown), attended(full))) {
		checkPlan(t, s, [2]int{0, 0}, 0, 0)
		if s.Usage != nil {
			t.Errorf("usage %+v of an attended source", s.Usage)
		}
	}
	cached := request(fresh, unknown)
	cached.Control.OnlyIfCached = true
	results = p.dryRun(cached)
	checkPlan(t, results[0], [2]int{0, 0}, 0, 0)
	if failure := results[1].Failure; failure == nil || failure.Kind != canonical.NotCached {
		t.Errorf("%+v", failure)
	}
}

// The plan of a source that does not fit takes no slots from those after it, as in a real run.
func TestDryRunOfSourcesThatShareAUnit(t *testing.T) {
	f := newFixture(t, 1)
	f.setPolicy(f.banks[0], 4, config.UnitASPSP)
	p := f.process()
	first, second, third := f.banks[0].source("a"), f.banks[0].source("b"), f.banks[0].source("c", berlinGroupAccounts[0])
	for _, s := range []aggregation.Source{first, second, third} {
		p.cacheList(client, s)
	}
	results := p.dryRun(request(first, second, third))
	checkPlan(t, results[0], [2]int{3, 3}, 0, 0)
	checkPlan(t, results[1], [2]int{3, 3}, 3, 1)
	if wait := results[1].Failure.RetryAfter; wait != 24*time.Hour+timeout { // the slots of the first source leave the window
		t.Errorf("wait %v", wait)
	}
	checkPlan(t, results[2], [2]int{1, 1}, 0, 0)
}

func TestDryRunOfPartialReads(t *testing.T) {
	f := newFixture(t, 1)
	p, s, full := f.process(), f.banks[0].source("a"), f.banks[0].source("full")
	for _, one := range []aggregation.Source{s, full} {
		p.cacheList(client, one)
	}
	p.use(s, berlingroupsim.GoodAccount, 3)
	p.use(full, berlingroupsim.GoodAccount, 4)
	all := request(s, full)
	all.AllowPartial = true
	results := p.dryRun(all)
	checkPlan(t, results[0], [2]int{3, 3}, 0, 0)
	checkPlan(t, results[1], [2]int{3, 3}, 3, 0)
	all.AllowPartial = false
	checkPlan(t, p.dryRun(all)[0], [2]int{3, 3}, 3, 1)
}

func TestDryRunOfUnits(t *testing.T) {
	f := newFixture(t, 1)
	f.setPolicy(f.banks[0], 1, config.UnitResource)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	checkPlan(t, p.dryRun(request(s))[0], [2]int{3, 3}, 0, 0)
	p.use(s, berlinGroupAccounts[1], 1)
	checkPlan(t, p.dryRun(request(s))[0], [2]int{3, 3}, 1, 0)
}

func TestDryRunWithoutTheUser(t *testing.T) {
	f := newFixture(t, 1)
	f.banks[0].PSUAddressRequired = true
	p, s, fresh := f.process(), f.banks[0].source("a"), f.banks[0].source("fresh")
	p.cacheList(client, fresh)
	unknown := s
	unknown.Query.ASPSP = "00000000-0000-4000-8000-000000000000"
	results := p.DryRun(t.Context(), request(s, fresh, unknown), func(aggregation.SourceResult) {}).Sources
	for i, want := range []canonical.Kind{canonical.PSUAddressRequired, canonical.PSUAddressRequired, canonical.ASPSPUnknown} {
		if failure := results[i].Failure; failure == nil || failure.Kind != want {
			t.Errorf("source %d: %+v", i, failure)
		}
	}
	list := request(fresh)
	list.Balances = false
	checkPlan(t, p.dryRun(list)[0], [2]int{0, 0}, 0, 0)
}

// TestDryRunShowsUsage: also if no call would be made.
func TestDryRunShowsUsage(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.use(s, berlinGroupAccounts[0], 1)
	r := request(s)
	r.Control.OnlyIfCached = true
	if got := p.dryRun(r)[0]; got.Usage == nil || got.Usage.Remaining != 3 || got.Failure.Kind != canonical.NotCached {
		t.Errorf("%+v", got)
	}
}
