package runner

import (
	"context"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// DryRun plans all sources. It makes no call and reserves nothing. The failure of a result is why the
// source could not start now.
func (a *Runner) DryRun(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) aggregation.Result {
	within, cancel := context.WithTimeout(ctx, r.Wait)
	defer cancel()
	planned := a.newRun(r, Options{Over: within})
	planned.plan(within)
	result := aggregation.Result{Sources: make([]aggregation.SourceResult, len(r.Sources))}
	needed := map[string]int{} // slots by unit, for the sources so far
	for i, s := range planned.sources {
		s.result.Failure = s.couldStart(within, needed)
		result.Sources[i] = s.result
		result.Sources[i].Accounts = nil
		ready(result.Sources[i])
	}
	return result
}

// couldStart returns why the calls of the plan could not be made now; nil if they could. needed has
// the slots that the sources before it would take, by unit, and gets those of this one.
func (s *source) couldStart(ctx context.Context, needed map[string]int) *canonical.Error {
	s.readUsage(ctx)
	switch {
	case !s.known:
		return canonical.NewError(canonical.ASPSPUnknown, "")
	case s.run.Control.OnlyIfCached:
		if s.listed.Found {
			return nil
		}
		return canonical.NewError(canonical.NotCached, "")
	case s.listed.Failure != nil:
		return s.listed.Failure
	case s.result.Attended:
		return nil
	case s.listed.RefusedWith != "":
		return gateway.RefusedBefore(s.listed.RefusedWith)
	case len(s.planned) > 0 && s.aspsp.PSUAddressRequired:
		return gateway.UserRequired()
	}
	counter := s.run.Gateway.Counter
	takes, taken := map[string]int{}, 0
	var failure *canonical.Error
	for _, ofUnit := range counter.ByUnit(s.planned) {
		call, own := s.planned[ofUnit[0]], len(ofUnit)
		unit := counter.UnitID(call)
		before := needed[unit]
		usage, wait, err := counter.Fits(ctx, call, before+own)
		if err != nil {
			return canonical.NewError(canonical.CounterUnavailable, "")
		}
		left := max(usage.Remaining-before, 0)
		takes[unit] = min(own, left)
		if taken += takes[unit]; left >= own || failure != nil {
			continue
		}
		if before+own > usage.Limit { // the slots of the sources before must leave the window
			wait = usage.Window + s.aspsp.Timeout
		}
		failure = unattended.NotEnough(canonical.SlotNeed{Needed: own, Remaining: left}, usage.Limit, wait)
	}
	if failure != nil && (!s.readsPart() || taken == 0) {
		return failure
	}
	for unit, n := range takes {
		needed[unit] += n
	}
	return nil
}
