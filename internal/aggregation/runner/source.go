package runner

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

// source is one source of a run. Until it is served, only plan and reserve use it.
type source struct {
	aggregation.Source
	run         *run
	aspsp       gateway.ASPSPInfo
	known       bool // the ASPSP is configured
	reservation *unattended.Reservation
	totals      event.Totals

	// The plan.
	listed      gateway.CachedList
	asksGateway bool // the list is read through gateway.Accounts or AccountsWithBalances
	method      method
	made        int               // calls for balances so far
	planned     []unattended.Call // before the number of accounts is known: of the list only
	granted     []bool            // by planned call; nil if nothing was to be reserved
	slots       aggregation.Slots

	mu       sync.Mutex       // of the following
	refusal  *canonical.Error // why not all planned calls are granted
	result   aggregation.SourceResult
	finished bool
	late     gateway.CachedList // what is cached at the end of the wait; only if the source is not finished
}

func (r *run) newSource(i int, from aggregation.Source) *source {
	s := &source{Source: from, run: r}
	s.aspsp, s.known = r.Gateway.ASPSP(from.Query.ASPSP)
	s.result = aggregation.SourceResult{
		Index: i, Ref: from.Ref, ASPSP: from.Query.ASPSP, Provider: s.aspsp.Provider, RequestID: from.Query.RequestID,
		Attended: from.Query.Attended(), Cost: aggregation.Cost{Max: new(int)},
	}
	if s.known {
		s.reservation = r.Gateway.Counter.NewReservation(s.aspsp.Timeout)
	}
	return s
}

// serve reads the source, and reports its result to the run.
func (s *source) serve(ctx context.Context) {
	defer s.run.inProgress.Done()
	ctx = event.WithTotals(ctx, &s.totals)
	ctx, end := s.run.Observer.Source(ctx, s.result.ASPSP, s.result.Provider, s.result.Attended)
	if s.known {
		ctx = unattended.WithReservation(ctx, s.reservation)
	}
	s.read(ctx)
	s.release(ctx)
	s.finish()
	result := s.snapshot()
	end(result, s.slots)
	if s.run.Recorder != nil {
		s.run.Recorder.Finished(ctx, result)
	}
	s.run.finished <- s.result.Index
}

// read reads the list and the balances. A panic is an InternalError of this source only.
func (s *source) read(ctx context.Context) {
	defer func() {
		if value := recover(); value != nil {
			recovery.Log(ctx, s.run.Logger, value)
			s.fail(canonical.NewError(canonical.InternalError, ""))
		}
	}()
	if failure := s.readList(ctx); failure != nil {
		s.fail(failure)
		return
	}
	if s.run.Balances {
		s.readBalances(ctx)
	}
}

// readList reads the account list, from the cache if the plan has no call for it.
func (s *source) readList(ctx context.Context) *canonical.Error {
	g, r := s.run.Gateway, s.run
	switch {
	case !s.known:
		return canonical.NewError(canonical.ASPSPUnknown, "")
	case s.asksGateway && s.refusal != nil:
		return s.useCached(s.refusal)
	case !s.asksGateway && s.listed.Fresh:
		s.useList(s.listed.List)
		return nil
	}
	if !s.enter() {
		return s.useCached(notStarted())
	}
	defer s.leave()
	if s.method == withList && s.asksGateway {
		list, err := g.AccountsWithBalances(ctx, r.Client, s.Query, r.Control)
		s.noteUsage(list.Usage, true)
		if err != nil {
			return s.inTime(err)
		}
		s.useList(list)
		s.useBalances(list.Balances, list.Freshness)
		if list.BalancesFailure != nil {
			s.failBalances(s.inTime(list.BalancesFailure))
		}
		return nil
	}
	list, err := g.Accounts(ctx, r.Client, s.Query, r.Control)
	s.noteUsage(list.Usage, true)
	if err != nil {
		return s.inTime(err)
	}
	s.useList(list)
	return nil
}

// enter waits until the run has capacity for one more read at the ASPSP. It returns false if the wait
// is over.
func (s *source) enter() bool {
	return s.run.capacity.Acquire(s.run.Over, "", s.result.ASPSP) == bulkhead.None
}

func (s *source) leave() { s.run.capacity.Release("", s.result.ASPSP) }

// useCached uses the cached list, because no call is made for it. It returns the failure if there is
// no list that may replace it. Only if balances may be read in part, their calls may still fit.
func (s *source) useCached(failure *canonical.Error) *canonical.Error {
	list, ok := s.cachedInstead(s.listed, failure)
	if !ok {
		return failure
	}
	s.useList(list)
	if s.method = oneByOne; !s.run.AllowPartial || failure.Kind != canonical.UnattendedLimit {
		s.failBalances(failure)
	}
	return nil
}

// cachedInstead returns the cached list that may replace a failure.
func (s *source) cachedInstead(listed gateway.CachedList, failure *canonical.Error) (list gateway.AccountsResult, ok bool) {
	reason := gateway.StaleReasonOf(failure.Kind)
	if !listed.Found || reason == gateway.NoReason || s.run.Control.NoCache {
		return list, false
	}
	if list = listed.List; list.Freshness.Stale {
		list.Freshness.StaleReason = reason
	}
	return list, true
}

// inTime returns the failure of a read: NotInTime for one that found no capacity until the end of the
// wait.
func (s *source) inTime(err error) *canonical.Error {
	failure, ok := errors.AsType[*canonical.Error](err)
	switch {
	case !ok:
		return canonical.NewError(canonical.InternalError, "")
	case failure.Kind == canonical.Overloaded && s.run.Over.Err() != nil:
		return notStarted()
	}
	return failure
}

// useList sets the accounts of the result, and selects those whose balances are requested.
func (s *source) useList(list gateway.AccountsResult) {
	accounts, missing := s.selectFrom(list)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Accounts, s.result.Missing, s.result.Freshness = accounts, missing, list.Freshness
}

// selectFrom returns the accounts of a list, which is never nil, and the selected accounts that the
// list does not contain.
func (s *source) selectFrom(list gateway.AccountsResult) (accounts []aggregation.Account, missing []aggregation.Missing) {
	accounts, err := aggregation.DecodeAccounts(list.Accounts)
	if err != nil {
		panic("aggregation: an account list does not decode")
	}
	known := map[string]bool{}
	for i := range accounts {
		known[accounts[i].ID] = true
		accounts[i].Selected = s.run.Balances && (s.AccountIDs == nil || slices.Contains(s.AccountIDs, accounts[i].ID))
	}
	for _, id := range s.AccountIDs {
		if !known[id] {
			missing = append(missing, aggregation.Missing{ID: id, Failure: canonical.NewError(canonical.AccountUnknown, "")})
		}
	}
	return accounts, missing
}

// readBalances reads the balances of the selected accounts with the fewest calls, and then those
// that the response did not contain one by one.
func (s *source) readBalances(ctx context.Context) {
	for planned := s.method != withList; ; planned = false {
		left := s.withoutBalances()
		if len(left) == 0 {
			return
		}
		if s.run.Control.OnlyIfCached {
			s.failBalances(canonical.NewError(canonical.NotCached, "Balances are not cached. Repeat without `only-if-cached`"))
			return
		}
		s.method = oneByOne
		if planned && s.cheapest(len(left)) == inOne {
			s.method = inOne
		}
		s.readLeft(ctx, left)
	}
}

// readLeft reads the balances of accounts, and sets balances or a failure for each account for which
// a call is planned.
func (s *source) readLeft(ctx context.Context, left []int) {
	calls, granted, refusal := s.balanceCalls(left), s.granted, s.refusal
	if s.granted == nil || s.asksGateway {
		s.addCost(len(calls))
		granted, refusal = s.take(ctx, calls, s.run.AllowPartial)
	}
	s.asksGateway = true // later calls are planned anew
	s.made += len(calls)
	if s.method == inOne {
		if !granted[0] {
			s.failBalances(refusal)
			return
		}
		s.readAll(ctx)
		return
	}
	var reads sync.WaitGroup
	for n, i := range left {
		switch {
		case n >= len(calls):
			s.setBalances(i, nil, gateway.Freshness{}, canonical.NewError(canonical.Overloaded,
				"the consent has more accounts than one source may read: select them with `accountIds`"))
		case !granted[n]:
			s.setBalances(i, nil, gateway.Freshness{}, refusal)
		case !s.enter():
			s.setBalances(i, nil, gateway.Freshness{}, notStarted())
		default:
			reads.Go(func() {
				defer s.leave()
				s.readOne(ctx, i)
			})
		}
	}
	reads.Wait()
}

// readOne reads the balances of one account.
func (s *source) readOne(ctx context.Context, i int) {
	defer func() {
		if value := recover(); value != nil {
			recovery.Log(ctx, s.run.Logger, value)
			s.setBalances(i, nil, gateway.Freshness{}, canonical.NewError(canonical.InternalError, ""))
		}
	}()
	q := s.Query
	q.RequestID = aggregation.CallID(s.run.RequestID, s.result.Index, "balances/"+strconv.Itoa(i))
	read, err := s.run.Gateway.Balances(ctx, s.run.Client, q, s.result.Accounts[i].ID)
	s.noteUsage(read.Usage, false)
	if err != nil {
		s.setBalances(i, nil, gateway.Freshness{}, s.inTime(err))
		return
	}
	s.setBalances(i, read.Balances, read.Freshness, nil)
}

// readAll reads the balances of all accounts in one call.
func (s *source) readAll(ctx context.Context) {
	if !s.enter() {
		s.failBalances(notStarted())
		return
	}
	defer s.leave()
	q := s.Query
	q.RequestID = aggregation.CallID(s.run.RequestID, s.result.Index, "balances")
	read, err := s.run.Gateway.AllBalances(ctx, s.run.Client, q)
	s.noteUsage(read.Usage, false)
	if err != nil {
		s.failBalances(s.inTime(err))
		return
	}
	s.useBalances(read.All, read.Freshness)
}

// withoutBalances returns the indexes of the selected accounts that have neither balances nor a
// failure.
func (s *source) withoutBalances() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []int
	for i, a := range s.result.Accounts {
		if a.Selected && a.Balances == nil && a.Failure == nil {
			left = append(left, i)
		}
	}
	return left
}

// setBalances sets the balances of an account, or why there are none.
func (s *source) setBalances(i int, balances []canonical.Balance, f gateway.Freshness, failure *canonical.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.result.Accounts[i]
	if a.Freshness, a.Failure = f, failure; failure == nil {
		a.Balances = append([]canonical.Balance{}, balances...) // an account without balances has an empty list
	}
}

// useBalances sets the balances of the selected accounts that have none.
func (s *source) useBalances(all map[string]canonical.AccountBalances, f gateway.Freshness) {
	for _, i := range s.withoutBalances() {
		if read, ok := all[s.result.Accounts[i].ID]; ok {
			s.setBalances(i, read.Balances, f, nil)
		}
	}
}

// failBalances sets the failure of the selected accounts that have no balances.
func (s *source) failBalances(failure *canonical.Error) {
	for _, i := range s.withoutBalances() {
		s.setBalances(i, nil, gateway.Freshness{}, failure)
	}
}

// fail sets why the source has no accounts. Accounts that were read stay.
func (s *source) fail(failure *canonical.Error) {
	s.mu.Lock()
	read := s.result.Accounts != nil
	if !read {
		s.result.Failure = failure
	}
	s.mu.Unlock()
	if read {
		s.failBalances(failure)
	}
}

// addCost adds calls to the plan, which then has no unknown part.
func (s *source) addCost(calls int) {
	if s.result.Attended {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cost := &s.result.Cost
	cost.Min = max(cost.Min, s.totals.Slots()) + calls
	most := cost.Min
	cost.Max = &most
}

// noteUsage keeps the usage of the list's unit.
func (s *source) noteUsage(u *unattended.Usage, ofList bool) {
	if u == nil || !ofList && s.aspsp.Unattended.Unit == config.UnitResource {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Usage = u
}

// release releases the slots that no call has used, and reads the usage if no step has returned it, or
// if it is unknown which one was the last: concurrent calls have released or taken slots.
func (s *source) release(ctx context.Context) {
	if !s.known || s.result.Attended {
		return
	}
	released, usage := s.reservation.Release(ctx, s.listCall())
	s.slots.Released = released
	s.noteUsage(usage, true)
	if usage == nil && (s.result.Usage == nil || s.totals.Slots()+released != s.slots.Reserved) {
		s.readUsage(ctx)
	}
}

// readUsage reads the usage of the list's unit, for at most 100 ms.
func (s *source) readUsage(ctx context.Context) {
	if !s.known || s.result.Attended {
		return
	}
	within, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	if u, err := s.run.Gateway.UnattendedAccess(within, s.listCall()); err == nil {
		s.noteUsage(&u, true)
	}
}

// finish completes the result.
func (s *source) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	s.slots.Planned, s.slots.Spent = s.result.Cost.Min, s.totals.Slots()
}

// snapshot returns the result so far. What is missing of a source that is not finished is NotInTime.
func (s *source) snapshot() aggregation.SourceResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.result
	r.Cost.Spent = s.totals.Slots()
	r.Accounts = slices.Clone(r.Accounts)
	if !s.finished {
		s.completeLate(&r)
	}
	r.Outcome = outcome(r, s.refusal)
	return r
}

// completeLate completes the result of a source that is not finished at the end of the wait. The
// caller holds the lock.
func (s *source) completeLate(r *aggregation.SourceResult) {
	if r.Accounts == nil && r.Failure == nil {
		if list, ok := s.cachedInstead(s.late, notInTime()); ok {
			r.Accounts, r.Missing = s.selectFrom(list)
			r.Freshness = list.Freshness
		} else {
			r.Failure = notInTime()
		}
	}
	for i := range r.Accounts {
		if a := &r.Accounts[i]; a.Selected && a.Balances == nil && a.Failure == nil {
			a.Failure = notInTime()
		}
	}
}

// outcome returns the outcome of a result. refusal is why slots of its plan were not reserved.
func outcome(r aggregation.SourceResult, refusal *canonical.Error) aggregation.Outcome {
	missing := len(r.Missing) > 0 || slices.ContainsFunc(r.Accounts, func(a aggregation.Account) bool { return a.Failure != nil })
	switch {
	case r.Failure != nil && r.Failure == refusal && refusal.Kind != canonical.CounterUnavailable && refusal.Kind != canonical.NotInTime:
		return aggregation.Skipped
	case r.Failure != nil:
		return aggregation.Failed
	case missing:
		return aggregation.Partial
	case r.Freshness.Stale:
		return aggregation.Stale
	}
	return aggregation.OK
}
