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

// A providerRead is one read of a provider for a client. What earlier reads have shown is remembered in Redis: an unattended
// read that the bank has just refused without the user, or whose pages cannot fit, is not begun. The memory fails open.
type providerRead struct {
	g       *Gateway
	bank    *bank
	client  string
	q       canonical.Query
	account string // "" for the account list
}

// do makes the read, unless what is remembered forbids it. It returns the usage after the counter's last step that was made
// for it, nil if there was none.
func (r *providerRead) do(ctx context.Context, redis *allowance, read func(ctx context.Context) error) (*unattended.Usage, *canonical.Error) {
	var known cache.Memory
	if !r.q.Attended() {
		// Without Redis the call could not be made anyway.
		known, _ = spend(ctx, r.g.sharing(), r.recall)
		if usage, failure := r.forbidden(ctx, known); failure != nil {
			return usage, failure
		}
	}
	ctx, tracker := unattended.Track(ctx)
	ctx, calls := providers.CountCalls(ctx)
	failure := r.g.guard(ctx, r.bank, r.client, r.q, func() error { return read(ctx) })
	usage := tracked(tracker)
	if failure != nil && failure.Slots != nil {
		failure = r.stopped(ctx, failure)
	}
	r.remember(ctx, redis, known, failure, int(calls.Load()))
	return usage, failure
}

// tracked is the usage after the last step; nil if it is not known.
func tracked(t *unattended.Tracker) *unattended.Usage {
	if usage, known := t.Usage(); known {
		return &usage
	}
	return nil
}

func (r *providerRead) recall(ctx context.Context) (cache.Memory, error) {
	return r.g.Config.Cache.Recall(ctx, keyOf(r.client, r.q), laneHash(r.q, ""), laneHash(r.q, r.account))
}

// forbidden is the failure of an unattended read that is not begun; nil if it may be.
func (r *providerRead) forbidden(ctx context.Context, known cache.Memory) (*unattended.Usage, *canonical.Error) {
	if known.Refused != "" {
		return nil, canonical.NewError(known.Refused, "the bank refused it without the user within the last hour")
	}
	if r.account != "" || known.Pages <= 1 {
		return nil, nil
	}
	usage, wait, err := r.g.Counter.Fits(ctx, r.counted(), known.Pages)
	if fits := err != nil || usage.Remaining >= known.Pages; fits { // without the counter, the take decides
		return nil, nil
	}
	return &usage, unfit(canonical.SlotNeed{Needed: known.Pages, Remaining: usage.Remaining}, usage.Limit, wait)
}

// stopped is the failure of a list that was not read to its end because its pages cannot fit.
func (r *providerRead) stopped(ctx context.Context, failure *canonical.Error) *canonical.Error {
	usage, wait, err := r.g.Counter.Fits(context.WithoutCancel(ctx), r.counted(), failure.Slots.Needed)
	if err != nil {
		return failure
	}
	return unfit(*failure.Slots, usage.Limit, wait)
}

func (r *providerRead) counted() unattended.Call {
	return unattended.Call{ASPSP: r.q.ASPSP, Consent: r.q.Consent, Account: r.account}
}

// unfit is the failure of a list whose pages need more slots than are left. wait is how long it takes until there are
// enough; if the limit is lower than that, waiting does not help, and only an attended request can read the list.
func unfit(need canonical.SlotNeed, limit int, wait time.Duration) *canonical.Error {
	failure := canonical.NewError(canonical.UnattendedLimit, "the list has more pages than calls are left")
	failure.Slots, failure.RetryAfter = &need, max(wait, time.Second)
	if need.Needed > limit {
		failure.Detail, failure.RetryAfter = "the list has more pages than the limit allows calls: only a call with the user can read it", 0
	}
	return failure
}

// remember keeps what a read has shown, within the allowance. A failure to do so changes nothing for the caller.
func (r *providerRead) remember(ctx context.Context, redis *allowance, known cache.Memory, failure *canonical.Error, calls int) {
	memory, key := r.g.Config.Cache, keyOf(r.client, r.q)
	list := r.account == ""
	var steps []func(context.Context) error
	add := func(step func(context.Context) error) { steps = append(steps, step) }
	pages := func(n int) { add(func(ctx context.Context) error { return memory.RememberPages(ctx, key, n) }) }
	switch {
	case failure == nil && r.q.Attended():
		add(func(ctx context.Context) error { return memory.ForgetRefusals(ctx, key) })
		if list && calls > 0 {
			pages(calls)
		}
	case failure == nil && list && calls > 0 && max(calls, 1) != max(known.Pages, 1):
		pages(calls)
	case failure == nil:
	case failure.Slots != nil:
		pages(failure.Slots.Needed)
	case failure.Origin != canonical.OriginGateway && refusal(failure.Kind):
		subject := laneHash(r.q, "")
		if failure.Kind == canonical.AccountUnknown {
			subject = laneHash(r.q, r.account)
		}
		if !r.q.Attended() { // an attended call takes no slot: nothing would bound the refusals of invented consents
			add(func(ctx context.Context) error { return memory.RememberRefusal(ctx, key, subject, failure.Kind) })
		}
		if consentRejected(failure) {
			pages(0)
		}
	}
	if len(steps) == 0 {
		return
	}
	_, _ = spend(context.WithoutCancel(ctx), redis, func(ctx context.Context) (struct{}, error) {
		var errs []error
		for _, step := range steps {
			errs = append(errs, step(ctx))
		}
		return struct{}{}, errors.Join(errs...)
	})
}

// refusal reports whether a failure of the bank is its refusal of the consent or account, which the next unattended call
// would get as well.
func refusal(k canonical.Kind) bool {
	return k == canonical.ConsentExpired || k == canonical.ConsentInvalid || k == canonical.AccountUnknown
}
