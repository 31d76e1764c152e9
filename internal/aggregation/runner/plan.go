package runner

import (
	"context"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// method is how the balances of several accounts are read.
type method int

const (
	oneByOne method = iota // a call for each account
	inOne                  // one call for all accounts
	withList               // with the account list
)

// lookUp reads what is cached for the source.
func (s *source) lookUp(ctx context.Context) (listed gateway.CachedList) {
	if s.known {
		listed, _ = s.run.Gateway.CachedList(ctx, s.run.Client, s.Query, s.run.Control) // it fails for unknown ASPSPs only
	}
	return listed
}

// lookUpAgain reads what is cached for a source that is not finished: the list may have been deleted
// during the wait.
func (s *source) lookUpAgain(ctx context.Context) {
	late := s.lookUp(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = late
}

// plan plans the calls that can be known before the first one: those of the list, or, if a fresh list
// is cached, those of the balances.
func (s *source) plan() {
	refused := s.run.Control.OnlyIfCached || s.listed.RefusedWith != "" || s.listed.Failure != nil // no call is sent
	s.asksGateway = s.known && (refused || !s.listed.Fresh)
	switch {
	case !s.known, refused:
		return
	case s.asksGateway:
		s.planned = s.listCalls()
		if s.run.Balances && s.aspsp.Capabilities.ListWithBalances {
			s.method = withList
		}
	case s.run.Balances:
		s.useList(s.listed.List)
		selected := s.withoutBalances()
		s.method = s.cheapest(len(selected))
		s.planned = s.balanceCalls(selected)
		s.asksGateway = s.method == withList && len(selected) > 0
	}
	if !s.result.Attended {
		s.setPlannedCost()
	}
}

// setPlannedCost sets the cost of the plan.
func (s *source) setPlannedCost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	cost := &s.result.Cost
	cost.Min = len(s.planned)
	most := cost.Min
	switch {
	case !s.asksGateway, s.method == withList, !s.run.Balances:
	case s.aspsp.Capabilities.AllBalances:
		most++
	default: // it depends on the number of accounts
		cost.Max = nil
		return
	}
	cost.Max = &most
}

// cheapest returns the method with the fewest calls for the balances of n accounts of a fresh list.
func (s *source) cheapest(n int) method {
	can := s.aspsp.Capabilities
	switch {
	case n <= 1:
		return oneByOne
	case can.AllBalances:
		return inOne
	case can.ListWithBalances && s.listed.Pages < n:
		return withList
	}
	return oneByOne
}

// listCalls returns the calls of the account list: one for each page.
func (s *source) listCalls() []unattended.Call {
	calls := make([]unattended.Call, max(s.listed.Pages, 1))
	for i := range calls {
		calls[i] = s.listCall()
	}
	return calls
}

func (s *source) listCall() unattended.Call {
	return unattended.Call{ASPSP: s.Query.ASPSP, Consent: s.Query.Consent}
}

// balanceCalls returns the calls for the balances of the accounts with these indexes, by the source's
// method.
func (s *source) balanceCalls(accounts []int) []unattended.Call {
	switch {
	case len(accounts) == 0:
		return nil
	case s.method == withList:
		return s.listCalls()
	case s.method == inOne:
		all := s.listCall()
		all.AllBalances = true
		return []unattended.Call{all}
	}
	calls := make([]unattended.Call, 0, maxBalanceCalls)
	for _, i := range accounts[:min(len(accounts), maxBalanceCalls-s.made)] {
		one := s.listCall()
		one.Account = s.result.Accounts[i].ID
		calls = append(calls, one)
	}
	return calls
}

// reservePlan reserves the slots of the source's plan.
func (s *source) reservePlan(ctx context.Context) {
	granted, refusal := s.take(ctx, s.planned, s.readsPart())
	s.setReserved(granted, refusal)
}

// readsPart reports whether a part of the planned calls may be made. A part of a list is of no use.
func (s *source) readsPart() bool { return s.run.AllowPartial && !s.asksGateway }

func (s *source) setReserved(granted []bool, refusal *canonical.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted, s.refusal = granted, refusal
}

// take reserves a slot for each call of an unattended source, all or none. With partial, it reserves
// as many as are left. It returns which calls may be made, and why not all of them.
func (s *source) take(ctx context.Context, calls []unattended.Call, partial bool) (granted []bool, failure *canonical.Error) {
	granted = make([]bool, len(calls))
	switch {
	case s.result.Attended, len(calls) == 0:
		for i := range granted {
			granted[i] = true
		}
		return granted, nil
	case s.aspsp.PSUAddressRequired:
		return granted, gateway.UserRequired()
	case s.run.NoCounter:
		return granted, canonical.NewError(canonical.CounterUnavailable, "it is unknown whether the request was made before")
	case s.run.Over.Err() != nil:
		return granted, notStarted()
	}
	granted, usage, failure := s.reservation.Reserve(ctx, calls, partial)
	for _, ok := range granted {
		if ok {
			s.slots.Reserved++
		}
	}
	s.noteUsage(usage, calls[0] == s.listCall())
	return granted, failure
}
