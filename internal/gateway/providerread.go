package gateway

import (
	"context"
	"errors"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

// providerRead is one read of a provider for a client. The outcome of earlier reads is remembered in Redis: an unattended
// read that the ASPSP has refused within the last hour, or whose pages exceed the remaining slots, is not started. Without
// Redis nothing is remembered, and the read is started.
type providerRead struct {
	g       *Gateway
	aspsp   *aspsp
	client  string
	q       canonical.Query
	account string // "" for the account list
}

// run makes the read, unless an earlier outcome excludes it. It returns the usage after the counter's last step for it; nil if
// there was none.
func (r *providerRead) run(ctx context.Context, redis *latencyBudget, read func(ctx context.Context) error) (*unattended.Usage, *canonical.Error) {
	var known cache.Memory
	if !r.q.Attended() {
		// Without Redis the call could not be made.
		known, _ = runWithin(ctx, r.g.newShareBudget(), r.recall)
		if usage, failure := r.refused(ctx, known); failure != nil {
			return usage, failure
		}
	}
	ctx, tracker := unattended.Track(ctx)
	ctx, calls := providers.CountCalls(ctx)
	failure := r.g.callProvider(ctx, r.aspsp, r.client, r.q, func() error { return read(ctx) })
	usage := lastUsage(tracker)
	if failure != nil && failure.Slots != nil {
		failure = r.pagesDoNotFit(ctx, failure)
	}
	r.remember(ctx, redis, known, failure, int(calls.Load()))
	return usage, failure
}

// lastUsage returns the usage after the counter's last step; nil if it is not known.
func lastUsage(t *unattended.Tracker) *unattended.Usage {
	if usage, known := t.Usage(); known {
		return &usage
	}
	return nil
}

func (r *providerRead) recall(ctx context.Context) (cache.Memory, error) {
	return r.g.Config.Cache.Recall(ctx, cacheKey(r.client, r.q), shareKeyHash(r.q, ""), shareKeyHash(r.q, r.account))
}

// refused returns the failure of an unattended read that must not be started; nil if it may.
func (r *providerRead) refused(ctx context.Context, known cache.Memory) (*unattended.Usage, *canonical.Error) {
	if known.Refused != "" {
		return nil, canonical.NewError(known.Refused, "the bank refused it without the user within the last hour")
	}
	if r.account != "" || known.Pages <= 1 {
		return nil, nil
	}
	usage, wait, err := r.g.Counter.Fits(ctx, r.counterCall(), known.Pages)
	if fits := err != nil || usage.Remaining >= known.Pages; fits { // if the counter does not respond, the take decides
		return nil, nil
	}
	return &usage, notEnoughSlots(canonical.SlotNeed{Needed: known.Pages, Remaining: usage.Remaining}, usage.Limit, wait)
}

// pagesDoNotFit returns the failure of a list that was not read completely because its pages exceed the remaining slots.
func (r *providerRead) pagesDoNotFit(ctx context.Context, failure *canonical.Error) *canonical.Error {
	usage, wait, err := r.g.Counter.Fits(context.WithoutCancel(ctx), r.counterCall(), failure.Slots.Needed)
	if err != nil {
		return failure
	}
	return notEnoughSlots(*failure.Slots, usage.Limit, wait)
}

func (r *providerRead) counterCall() unattended.Call {
	return unattended.Call{ASPSP: r.q.ASPSP, Consent: r.q.Consent, Account: r.account}
}

// notEnoughSlots returns the failure of a list whose pages need more slots than are left. wait is the time until enough are
// free. If the limit is lower than the number of pages, only an attended request can read the list.
func notEnoughSlots(need canonical.SlotNeed, limit int, wait time.Duration) *canonical.Error {
	failure := canonical.NewError(canonical.UnattendedLimit, "the list has more pages than calls are left")
	failure.Slots, failure.RetryAfter = &need, max(wait, time.Second)
	if need.Needed > limit {
		failure.Detail, failure.RetryAfter = "the list has more pages than the limit allows calls: only a call with the user can read it", 0
	}
	return failure
}

// remember stores the outcome of a read, within the Redis budget. If that fails, the response is the same.
func (r *providerRead) remember(ctx context.Context, redis *latencyBudget, known cache.Memory, failure *canonical.Error, calls int) {
	memory, key := r.g.Config.Cache, cacheKey(r.client, r.q)
	list := r.account == ""
	var steps []func(context.Context) error
	add := func(step func(context.Context) error) { steps = append(steps, step) }
	pages := func(n int) { add(func(ctx context.Context) error { return memory.RememberPages(ctx, key, n) }) }
	switch {
	case failure == nil && r.q.Attended():
		add(func(ctx context.Context) error { return memory.DeleteRefusals(ctx, key) })
		if list && calls > 0 {
			pages(calls)
		}
	case failure == nil && list && calls > 0 && max(calls, 1) != max(known.Pages, 1):
		pages(calls)
	case failure == nil:
	case failure.Slots != nil:
		pages(failure.Slots.Needed)
	case failure.Origin != canonical.OriginGateway && isRefusal(failure.Kind):
		subject := shareKeyHash(r.q, "")
		if failure.Kind == canonical.AccountUnknown {
			subject = shareKeyHash(r.q, r.account)
		}
		if !r.q.Attended() { // attended calls take no slot: the number of refusals of invented consents would have no limit
			add(func(ctx context.Context) error { return memory.RememberRefusal(ctx, key, subject, failure.Kind) })
		}
		if consentRejected(failure) {
			pages(0)
		}
	}
	if len(steps) == 0 {
		return
	}
	_, _ = runWithin(context.WithoutCancel(ctx), redis, func(ctx context.Context) (struct{}, error) {
		var errs []error
		for _, step := range steps {
			errs = append(errs, step(ctx))
		}
		return struct{}{}, errors.Join(errs...)
	})
}

// isRefusal reports whether the ASPSP refused the consent or the account, so that the next unattended call would be refused
// too.
func isRefusal(k canonical.Kind) bool {
	return k == canonical.ConsentExpired || k == canonical.ConsentInvalid || k == canonical.AccountUnknown
}
