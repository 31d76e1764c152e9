package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
)

// Aggregations in the model test.

// goodAccounts are the accounts of every consent of a history.
var goodAccounts = []string{mypossim.GoodAccount, "50044620081", "50044620099"}

// unknownAccount is an account that no consent covers.
const unknownAccount = "70044620073"

// aggregated is the result of one aggregation, and what it has made: the final result of each source,
// also of one that has finished after the response, and the request ids of the calls.
type aggregated struct {
	response aggregation.Result
	err      error
	ids      [][]string // by source: of the list first, then of all balances in one call and of each account's
	over     time.Time
	cancel   context.CancelFunc

	mu     sync.Mutex
	finals map[int]aggregation.SourceResult
}

// Finished implements runner.Recorder.
func (a *aggregated) Finished(_ context.Context, s aggregation.SourceResult) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finals[s.Index] = s
}

// Unfinished implements runner.Recorder.
func (a *aggregated) Unfinished(context.Context, []aggregation.SourceResult) {}

// unobserved is a runner.Observer.
type unobserved struct{}

func (unobserved) Source(ctx context.Context, _, _ string, _ bool) (context.Context, func(aggregation.SourceResult, aggregation.Slots)) {
	return ctx, func(aggregation.SourceResult, aggregation.Slots) {}
}

func describe(r *aggregation.Request) string {
	kind := "unattended"
	if r.Sources[0].Query.Attended() {
		kind = "attended"
	}
	what := []string{fmt.Sprintf("%s aggregation within %v", kind, r.Wait)}
	for name, set := range map[string]bool{
		"balances": r.Balances, "partial": r.AllowPartial, "no-cache": r.Control.NoCache, "only-if-cached": r.Control.OnlyIfCached,
	} {
		if set {
			what = append(what, name)
		}
	}
	for _, s := range r.Sources {
		what = append(what, fmt.Sprintf("%.4s %v", s.Query.Consent, s.AccountIDs))
	}
	return strings.Join(what, ", ")
}

// drawAggregation returns an aggregation of 1 to 4 sources. Two spellings of a consent share its unit.
func (h *history) drawAggregation(t *rapid.T, at *instance, attended bool) read {
	r := &aggregation.Request{
		Client: client, Wait: minute,
		Balances:     rapid.IntRange(0, 3).Draw(t, "balances") > 0,
		AllowPartial: rapid.IntRange(0, 2).Draw(t, "partial") == 2,
		Control:      rapid.SampledFrom([]gateway.CacheControl{{}, {}, {}, {NoCache: true}, {OnlyIfCached: true}}).Draw(t, "control"),
	}
	if rapid.IntRange(0, 4).Draw(t, "short") == 4 {
		r.Wait = ms(t, "wait", 1, int(2*h.timeout.Milliseconds()))
	}
	var consents []string
	for _, c := range h.consents {
		consents = append(consents, c, strings.ToUpper(c))
	}
	consents = rapid.Permutation(consents).Draw(t, "sources")
	for i, c := range consents[:rapid.IntRange(1, len(consents)).Draw(t, "number")] {
		s := aggregation.Source{Ref: strconv.Itoa(i), Query: h.query(read{consent: c, attended: attended, token: h.token})}
		if r.Balances && rapid.IntRange(0, 2).Draw(t, "select") == 2 {
			all := append(slices.Clone(goodAccounts), unknownAccount)
			s.AccountIDs = rapid.Permutation(all).Draw(t, "accounts")[:rapid.IntRange(1, len(all)).Draw(t, "selected")]
		}
		r.Sources = append(r.Sources, s)
	}
	return read{at: at, attended: attended, aggregation: r}
}

func (h *history) oneAggregation(t *rapid.T) {
	_, g := h.drawGateway(t)
	h.run(t, conditions{behavior: h.drawBehavior(t)}, h.drawAggregation(t, g, rapid.IntRange(0, 7).Draw(t, "attended") == 7))
}

// manyAggregations runs two aggregations and other reads.
func (h *history) manyAggregations(t *rapid.T) {
	reads := h.drawReads(t, nil, 3)
	for range 2 {
		_, g := h.drawGateway(t)
		r := h.drawAggregation(t, g, false)
		r.delay = ms(t, "after", 0, 8)
		reads = append(reads, r)
	}
	h.run(t, conditions{behavior: h.drawBehavior(t)}, reads...)
}

// lateAggregation waits as long as a slot lives, so that nothing may be counted any more. Then it makes
// an aggregation whose calls are slow, and wait for each other at a gateway with a limit of calls.
func (h *history) lateAggregation(t *rapid.T) {
	if rapid.Bool().Draw(t, "waits") {
		h.allExpire(t)
	}
	n, g := h.drawGateway(t)
	for i := range h.gateways {
		if at := h.gateways[(n+i)%len(h.gateways)]; at.maxCalls > 0 {
			g = at
		}
	}
	r := h.drawAggregation(t, g, false)
	r.aggregation.Balances, r.aggregation.Wait, r.aggregation.Control.OnlyIfCached = true, minute, false
	slow := conditions{behavior: rapid.SampledFrom([]behavior{slowConnect, slowConnect, slowResponse}).Draw(t, "behavior")}
	h.run(t, slow, r)
	if rapid.Bool().Draw(t, "again") {
		h.useFreed(t, r)
	}
}

// useFreed makes a call whenever a slot of the unit of an aggregation's last calls is free, until all
// of them have been used once more.
func (h *history) useFreed(t *rapid.T, after read) {
	_, g := h.drawGateway(t)
	sources := after.aggregation.Sources
	r := read{at: g, token: h.token, consent: sources[len(sources)-1].Query.Consent, account: goodAccounts[len(goodAccounts)-1]}
	for range h.aspsp.Unattended.Limit + 1 {
		if usage := h.usage(t, h.counter, h.call(r)); usage.Remaining == 0 {
			time.Sleep(min(usage.Wait, 2*h.aspsp.Unattended.Window))
		}
		h.run(t, conditions{behavior: normal}, r)
	}
}

// allExpire waits as long as a slot lives. Then nothing may be counted any more.
func (h *history) allExpire(t *rapid.T) {
	h.w.run.count("all slots expired")
	h.waitForReleases(t) // a step that is executed late takes a slot late
	time.Sleep(h.aspsp.Unattended.Window + h.timeout + maxDelay(h.timeout) + clockSlack())
	for _, call := range h.requested {
		if usage := h.usage(t, h.counter, call); usage.Used > 0 {
			h.fail(t, "a slot is counted longer than it lives", "%+v", usage)
		}
	}
}

// aggregateOnce runs an aggregation, with new request ids.
func (h *history) aggregateOnce(ctx context.Context, r read) readResult {
	request := *r.aggregation
	request.RequestID = uuid.NewString()
	a := &aggregated{finals: map[int]aggregation.SourceResult{}}
	request.Sources = slices.Clone(request.Sources)
	for i := range request.Sources {
		list := h.query(r).RequestID
		request.Sources[i].Query.RequestID = list
		a.ids = append(a.ids, h.derive(request.RequestID, i, list))
	}
	o := readResult{from: time.Now(), aggregated: a}
	over, cancel := context.WithTimeout(context.Background(), request.Wait)
	a.over, a.cancel = o.from.Add(request.Wait), cancel
	a.response, a.err = r.at.runner.Run(ctx, request, runner.Options{Over: over, Recorder: a}, func(aggregation.SourceResult) {})
	o.to = time.Now()
	h.w.run.count("aggregations")
	var failure *canonical.Error
	if errors.As(a.err, &failure) {
		o.kind = failure.Kind
		return o
	}
	for _, s := range a.response.Sources {
		h.w.run.count("aggregation: " + string(s.Outcome))
		for _, f := range failures(s) {
			h.w.run.count("aggregation: " + string(f.Kind))
			if o.kind == "" {
				o.kind = f.Kind
			}
		}
	}
	return o
}

// derive returns the request ids of a source's calls, and remembers their round.
func (h *history) derive(namespace string, source int, list string) []string {
	ids := []string{list}
	for _, call := range []string{"balances", "balances/0", "balances/1", "balances/2"} {
		ids = append(ids, uuid.NewSHA1(uuid.MustParse(namespace), []byte("sources/"+strconv.Itoa(source)+"/"+call)).String())
	}
	h.derivedMu.Lock()
	defer h.derivedMu.Unlock()
	for _, id := range ids[1:] {
		h.derived[id] = len(h.rounds) - 1
	}
	return ids
}

// failures returns the failures of a source, without those of unknown accounts.
func failures(s aggregation.SourceResult) []*canonical.Error {
	var all []*canonical.Error
	if s.Failure != nil {
		all = append(all, s.Failure)
	}
	for _, a := range s.Accounts {
		if a.Failure != nil {
			all = append(all, a.Failure)
		}
	}
	return all
}

// mustComplete reports whether every source is complete if no call fails.
func mustComplete(r *aggregation.Request) bool { return r.Wait == minute && !r.Control.OnlyIfCached }

// recordAggregation records what the sources of an aggregation have done to their units.
func (h *history) recordAggregation(t *rapid.T, s conditions, all tally, r read, o readResult) {
	a := o.aggregated
	a.cancel()
	h.log("%s, ASPSP: %s: after %v", r, s.behavior, o.to.Sub(o.from).Round(100*time.Microsecond))
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, source := range r.aggregation.Sources {
		final, ok := a.finals[i]
		if !ok && s.crashing != r.at {
			h.fail(t, "a source has not finished", "%d", i)
		}
		h.log("  %d: %s cost %d spent %d slots", i, final.Outcome, final.Cost.Min, final.Cost.Spent)
		for _, f := range failures(final) {
			h.log("     %s %s %+v", f.Kind, f.Origin, f.Slots)
		}
		if !r.attended {
			h.recordSource(s, all, r, o, source, final)
		}
	}
}

// recordSource records what an unattended source has done to its units.
func (h *history) recordSource(s conditions, all tally, r read, o readResult, source aggregation.Source, final aggregation.SourceResult) {
	list := h.call(read{consent: source.Query.Consent})
	failed := map[string]*canonical.Error{}
	withoutCounter, accounts := final.Freshness.StaleReason == gateway.StaleWithoutCounter, []string{""}
	if failed[""] = final.Failure; final.Freshness.StaleReason == gateway.StaleWithoutProvider && s.behavior != refusesConnections {
		failed[""] = canonical.NewError(canonical.ProviderError, "")
	}
	if r.aggregation.Balances {
		accounts = append(accounts, goodAccounts...)
	}
	for _, a := range final.Accounts {
		failed[a.ID] = a.Failure
	}
	for _, f := range failed {
		withoutCounter = withoutCounter || f != nil && f.Kind == canonical.CounterUnavailable
	}
	for _, account := range accounts {
		call, slots := list, 1
		if call.Account = account; account == "" {
			slots = pagesOfAList
		}
		unit := h.unit(call)
		h.expect(s, all, call)
		switch {
		case s.crashing == r.at:
			all.costs[unit] += slots
		case s.counterDown == r.at, s.redisDown, withoutCounter:
			all.releasable[unit] += slots
		}
		f := failed[account]
		if f == nil {
			continue
		}
		if f.Kind == canonical.ProviderTimeout || f.Kind == canonical.ProviderError {
			all.sent[unit]++
		}
		if f.Kind == canonical.UnattendedLimit && f.Origin == canonical.OriginASPSP && s.crashing != r.at {
			all.reported[unit] = true
			r.at.blockedUntil[unit] = o.from.Add(h.aspsp.Unattended.Window)
		}
	}
}

// checkAggregation checks the results of an aggregation whose gateway has not crashed. unanswered is
// how many calls may have been sent without an arrival.
func (h *history) checkAggregation(t *rapid.T, s conditions, r read, o readResult, unanswered int) {
	if s.crashing == r.at {
		return
	}
	if h.mustSucceed(s, r) && o.kind != "" && !h.machineWasSlow(o) {
		h.fail(t, "an attended aggregation failed", "%s", o.kind)
	}
	a := o.aggregated
	if a.err == nil && len(a.response.Sources) != len(r.aggregation.Sources) {
		h.fail(t, "a response without all sources", "")
	}
	arrived := map[string]int{}
	for _, one := range h.provider.arrivals() {
		arrived[one.requestID]++
	}
	for i := range r.aggregation.Sources {
		for _, result := range append(a.response.Sources[min(i, len(a.response.Sources)):min(i+1, len(a.response.Sources))], a.finals[i]) {
			h.checkSource(t, r, result)
		}
		h.checkSpent(t, s, r, a.finals[i], a.ids[i], arrived, unanswered)
	}
}

// checkSource checks that the result of a source agrees with itself.
func (h *history) checkSource(t *rapid.T, r read, s aggregation.SourceResult) {
	read, unread := 0, len(s.Missing)
	for _, a := range s.Accounts {
		switch {
		case a.Balances != nil && a.Failure == nil && a.Selected:
			read++
		case a.Failure != nil && a.Balances == nil && a.Selected:
			unread++
		case a.Selected || a.Balances != nil || a.Failure != nil:
			h.fail(t, "an account with neither balances nor a failure, or with both", "%+v", a)
		}
	}
	var ok bool
	switch s.Outcome {
	case aggregation.OK, aggregation.Stale:
		ok = unread == 0 && s.Accounts != nil && s.Failure == nil && s.Freshness.Stale == (s.Outcome == aggregation.Stale)
	case aggregation.Partial:
		ok = unread > 0 && s.Accounts != nil && s.Failure == nil
	case aggregation.Failed, aggregation.Skipped:
		ok = s.Failure != nil && s.Accounts == nil
	}
	if !ok || (r.attended && s.Cost.Spent > 0) {
		h.fail(t, "an outcome that is wrong", "%+v", s)
	}
}

// checkSpent checks the slots that a source has used against the calls that arrived.
func (h *history) checkSpent(t *rapid.T, s conditions, r read, final aggregation.SourceResult, ids []string, arrived map[string]int, unanswered int) {
	calls, balances := 0, 0
	for n, id := range ids {
		calls += arrived[id]
		if n > 0 {
			balances += arrived[id]
		}
	}
	most := calls + max(unanswered, 0)
	reserved := true // the balances
	for _, f := range failures(final) {
		if f.Kind == canonical.ProviderTimeout || f.Kind == canonical.ProviderError {
			most++ // see tally.sent
		}
		if f.Kind == canonical.UnattendedLimit && f.Slots != nil {
			reserved = false
		}
	}
	if final.Freshness.StaleReason == gateway.StaleWithoutProvider {
		most++
	}
	if s.counterDown == r.at || s.redisDown {
		most += len(ids) + pagesOfAList // a slot whose release is not confirmed counts as spent
	}
	h.paged = h.paged || s.behavior == inPages
	switch cost := final.Cost; {
	case r.attended && (calls > 0 || cost.Min > 0):
		h.fail(t, "an attended source with unattended calls", "%d calls, %+v", calls, cost)
	case r.attended:
	case cost.Spent < calls, cost.Spent > most:
		h.fail(t, "a source has spent other slots than its calls", "%d spent, %d to %d calls", cost.Spent, calls, most)
	case cost.Max != nil && cost.Spent > *cost.Max && !h.paged && len(failures(final)) == 0:
		h.fail(t, "a source has spent more than its cost", "%d spent, at most %d", cost.Spent, *cost.Max)
	case r.aggregation.Control.OnlyIfCached && calls > 0:
		h.fail(t, "a call in spite of only-if-cached", "")
	case final.Outcome == aggregation.Skipped && calls+cost.Spent > 0:
		h.fail(t, "a skipped source with calls", "%d calls, %d spent", calls, cost.Spent)
	case !reserved && !r.aggregation.AllowPartial && balances > 0:
		h.fail(t, "a part of the balances was read", "%d calls", balances)
	}
	if h.aspsp.Unattended.Unit != config.UnitResource {
		h.checkOrder(t, final)
	}
	h.countLate(final, ids)
}

// checkOrder checks that no balances are read behind those that do not fit.
func (h *history) checkOrder(t *rapid.T, final aggregation.SourceResult) {
	refused := false
	for _, a := range final.Accounts {
		if refused && a.Balances != nil {
			h.fail(t, "balances that are behind others that do not fit", "")
		}
		refused = refused || a.Failure != nil && a.Failure.Kind == canonical.UnattendedLimit && a.Failure.Slots != nil
	}
}

// countLate counts planned calls that were refused when they renewed their slot, and those that were
// sent late.
func (h *history) countLate(final aggregation.SourceResult, ids []string) {
	for _, f := range failures(final) {
		if f.Kind == canonical.UnattendedLimit && f.Origin == canonical.OriginGateway && f.Slots == nil {
			h.w.run.count("aggregation: a slot was not renewed")
		}
	}
	for _, one := range h.provider.arrivals() {
		if slices.Contains(ids[1:], one.requestID) && one.at.After(h.rounds[len(h.rounds)-1].began.Add(h.timeout)) {
			h.w.run.count("aggregation: a late call")
		}
	}
}
