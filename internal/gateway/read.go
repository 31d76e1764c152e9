package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/event"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store/steps"
	"ais-gateway/internal/unattended"
)

// noCapacity is the detail of a call that exceeds the concurrency limit of its ASPSP.
const noCapacity = "too many calls to the ASPSP are in progress"

// providerRead is one read of a provider for a client. What earlier reads have shown is remembered
// in Redis: an unattended read that the ASPSP has refused within the last hour, or whose pages
// exceed the remaining slots, is not started. Without Redis nothing is remembered, and the read is
// started.
type providerRead struct {
	g       *Gateway
	aspsp   *aspsp
	client  string
	q       canonical.Query
	account string // "" for the account list and all balances
	// allBalances means that the balances of all accounts are read in one call.
	allBalances bool
	hasPlace    bool         // the concurrency limits count the read already
	budget      steps.Budget // of the request
	memory      cache.Memory // of earlier reads
	// usage is that of the unit, as it is read concurrently with the lookup; nil if it was not read, or
	// if the lookup was repeated.
	usage *steps.Pending[unattended.Usage]
}

// newRead returns a read of an account's balances, or of the account list for "". It fails with
// ASPSPUnknown.
func (g *Gateway) newRead(client string, q canonical.Query, account string) (providerRead, *canonical.Error) {
	b, ok := g.aspsps[q.ASPSP]
	if !ok {
		return providerRead{}, canonical.NewError(canonical.ASPSPUnknown, "")
	}
	return providerRead{g: g, aspsp: b, client: client, q: q, account: account, budget: steps.NewBudget(g.RedisBudget)}, nil
}

// key identifies the cached data of the read's client and consent.
func (r *providerRead) key() cache.Key {
	return cache.Key{Client: r.client, ASPSP: r.q.ASPSP, Consent: canonical.NormalizeID(r.q.Consent)}
}

// options returns how the read shares a call with identical ones: of the same client, ASPSP,
// consent, user token and account, both attended or both unattended.
func (r *providerRead) options() coalesce.Options {
	kind := "unattended"
	switch {
	case r.allBalances:
		kind = "all-balances"
	case r.account != "":
		kind = "balances"
	case r.q.Attended():
		kind = "attended"
	}
	consentSubject := cache.Subject(r.q, "")
	readSubject := consentSubject
	if r.account != "" {
		readSubject = cache.Subject(r.q, r.account)
	}
	return coalesce.Options{
		Call:    cache.CallID{Key: r.key(), ShareKey: kind + ":" + readSubject},
		Timeout: r.aspsp.Timeout, Counted: !r.q.Attended(), Budget: &r.budget,
		Lookup: cache.Lookup{ConsentSubject: consentSubject, ReadSubject: readSubject},
	}
}

// checkUser fails with PSUAddressRequired if the read is unattended and its ASPSP is never called
// without the user. Then the request must neither call nor wait: it shares no call and acquires no
// lease.
func (r *providerRead) checkUser() *canonical.Error {
	if r.q.Attended() || !r.aspsp.PSUAddressRequired {
		return nil
	}
	return UserRequired()
}

// UserRequired returns the failure of an unattended read of an ASPSP that is never called without
// the user.
func UserRequired() *canonical.Error {
	failure := canonical.NewError(canonical.PSUAddressRequired, "the bank is never called without the user")
	failure.Faults = []canonical.FieldError{{In: "header", Name: "PSU-IP-Address", Detail: "is required for this ASPSP"}}
	return failure
}

// RefusedBefore returns the failure of an unattended read that the ASPSP has refused with a kind.
func RefusedBefore(k canonical.Kind) *canonical.Error {
	return canonical.NewError(k, "the bank refused it without the user within the last hour")
}

// Admit lets the request wait for a call. leave must be called when it no longer waits; the time
// until then is added to the request's event. It fails with Overloaded.
func (r *providerRead) Admit(ctx context.Context) (leave func(), failure *canonical.Error) {
	if !r.hasPlace {
		if by := r.g.waitLimits.TryAcquire(r.client, r.aspsp.ID); by != bulkhead.None {
			return nil, r.overloaded(ctx, by, "too many requests wait for the ASPSP", "too many requests of your client wait for the ASPSP")
		}
	}
	start := time.Now() //nolint:forbidigo // telemetry measures by the process's own clock
	return func() {
		event.AddWait(ctx, time.Since(start)) //nolint:forbidigo // as above
		if !r.hasPlace {
			r.g.waitLimits.Release(r.client, r.aspsp.ID)
		}
	}, nil
}

// waitForPlace waits until the read may make a call, if ctx is one of bulkhead.WithWait. It does so
// before the read shares a call: otherwise identical requests would wait for it, and the wait would
// shorten the time of the call. leave must be called when the read has ended. It fails with Overloaded.
func (r *providerRead) waitForPlace(ctx context.Context) (leave func(), failure *canonical.Error) {
	until := bulkhead.WaitOf(ctx)
	if until == nil {
		return func() {}, nil
	}
	if r.hasPlace = r.g.shares.Acquire(until, r.client, r.aspsp.ID); !r.hasPlace {
		return nil, canonical.NewError(canonical.Overloaded, noCapacity)
	}
	return func() { r.g.shares.Release(r.client, r.aspsp.ID) }, nil
}

// share shares the read's call with identical requests.
func (r *providerRead) share(ctx context.Context, o coalesce.Options, request coalesce.Request) (coalesce.Shared, *canonical.Error) {
	leave, failure := r.waitForPlace(ctx)
	if failure != nil {
		return coalesce.Shared{}, failure
	}
	defer leave()
	return r.g.group.Do(ctx, o, request)
}

// overloaded returns an Overloaded error with the detail of the limit that refused the request, and
// reports that limit.
func (r *providerRead) overloaded(ctx context.Context, by bulkhead.Refusal, detail, ofClient string) *canonical.Error {
	if by == bulkhead.Client {
		detail = ofClient
	}
	r.g.Observer.Refused(ctx, r.aspsp.ID, by)
	return canonical.NewError(canonical.Overloaded, detail)
}

// readProvider makes the read, unless what is remembered excludes it. The result has no entry.
func (r *providerRead) readProvider(ctx context.Context, fetch func(ctx context.Context) error) cache.CallResult {
	if result := r.resultWithoutCall(ctx); result != nil {
		return *result
	}
	var tracker *unattended.Tracker
	if !r.q.Attended() {
		ctx, tracker = unattended.Track(ctx)
	}
	ctx, calls := providers.CountCalls(ctx)
	failure := r.callProvider(ctx, fetch)
	result := cache.CallResult{Failure: failure, Invalidate: failure.RejectsConsent(), Usage: tracker.Usage()}
	if failure != nil && failure.Slots != nil { // the list was not read completely
		usage, wait, err := r.g.Counter.Fits(context.WithoutCancel(ctx), r.counterCall(), failure.Slots.Needed)
		if err == nil {
			result.Failure = unattended.NotEnough(*failure.Slots, usage.Limit, wait)
		}
	}
	result.Learned = r.memory.Learn(r.q, r.account, int(calls.Load()), result.Failure)
	if r.allBalances {
		result.Learned.Pages = min(result.Learned.Pages, 0) // they are not those of the list
	}
	return result
}

// callProvider makes one read through the concurrency limits and the ASPSP's breaker. The call
// counts for its client until it has ended, even if the request that started it is gone. A panic in
// an adapter becomes InternalError, so that one response does not end the process.
func (r *providerRead) callProvider(ctx context.Context, fetch func(ctx context.Context) error) *canonical.Error {
	if !r.hasPlace {
		if by := r.g.callLimits.TryAcquire(r.client, r.aspsp.ID); by != bulkhead.None {
			return r.overloaded(ctx, by, noCapacity, "too many calls of your client to the ASPSP are in progress")
		}
		defer r.g.callLimits.Release(r.client, r.aspsp.ID)
	}
	err := r.aspsp.breaker.Do(r.q.Consent, func() (err error) {
		defer func() {
			if value := recover(); value != nil {
				recovery.Log(ctx, r.g.Logger, value, slog.String("provider", r.aspsp.Provider))
				err = canonical.NewError(canonical.InternalError, "")
			}
		}()
		return fetch(ctx)
	})
	failure, ok := errors.AsType[*canonical.Error](err)
	if err != nil && !ok {
		return canonical.NewError(canonical.InternalError, "")
	}
	return failure
}

// resultWithoutCall returns the result of an unattended read that must not be started; nil for any
// other.
func (r *providerRead) resultWithoutCall(ctx context.Context) *cache.CallResult {
	pages := r.memory.Pages
	switch {
	case r.q.Attended():
		return nil
	case r.memory.RefusedWith != "":
		return &cache.CallResult{Failure: RefusedBefore(r.memory.RefusedWith)}
	case r.account != "" || r.allBalances || pages <= max(r.g.Counter.Reserved(ctx, r.counterCall()), 1):
		return nil
	}
	if r.usage != nil {
		if usage, err := r.usage.Wait(ctx); err == nil && usage.Remaining >= pages {
			return nil
		}
	}
	usage, wait, err := r.g.Counter.Fits(ctx, r.counterCall(), pages)
	if err != nil || usage.Remaining >= pages { // if the counter does not respond, the take decides
		return nil
	}
	failure := unattended.NotEnough(canonical.SlotNeed{Needed: pages, Remaining: usage.Remaining}, usage.Limit, wait)
	return &cache.CallResult{Failure: failure, Usage: &usage}
}

func (r *providerRead) counterCall() unattended.Call {
	return unattended.Call{ASPSP: r.q.ASPSP, Consent: r.q.Consent, Account: r.account, AllBalances: r.allBalances}
}

// readUsage returns the usage of the read's unit. It fails with CounterUnavailable.
func (r *providerRead) readUsage(ctx context.Context) (unattended.Usage, error) {
	return r.g.Counter.Usage(ctx, r.counterCall())
}

// prefetchUsage starts to read the usage of an unattended read's unit, so that a cache hit takes one
// round trip. A read that waits for a place would have an old one.
func (r *providerRead) prefetchUsage(ctx context.Context) {
	if !r.q.Attended() && bulkhead.WaitOf(ctx) == nil {
		r.usage = steps.Begin(ctx, r.g.workers, r.g.RedisBudget, r.readUsage)
	}
}

// responseUsage returns the usage for the response; nil for an attended request, and if the counter
// cannot be read. It is that of the call's last step of the counter. If no call was made, it is the
// prefetched one. After a call whose last step Redis has not confirmed, and if nothing was
// prefetched, it is read within the budget.
func (r *providerRead) responseUsage(ctx context.Context, shared coalesce.Shared, failure *canonical.Error) *unattended.Usage {
	switch {
	case r.q.Attended(), failure != nil && failure.Kind == canonical.CounterUnavailable:
		return nil
	case shared.Usage != nil:
		return shared.Usage
	}
	var usage unattended.Usage
	var err error
	called := !shared.Hit && (shared.Entry != nil || shared.Failure != nil) && !madeNoCall(shared.Failure)
	if ctx = context.WithoutCancel(ctx); called || r.usage == nil {
		usage, err = steps.Do(ctx, &r.budget, r.readUsage)
	} else {
		usage, err = r.usage.Wait(ctx)
	}
	if err != nil {
		return nil
	}
	return &usage
}

// madeNoCall reports whether a failure means that no call was made: because of a remembered refusal,
// of an open breaker, or of a concurrency limit.
func madeNoCall(failure *canonical.Error) bool {
	return failure != nil && failure.Origin == canonical.OriginGateway &&
		failure.Kind != canonical.CounterUnavailable && failure.Kind != canonical.InternalError
}
