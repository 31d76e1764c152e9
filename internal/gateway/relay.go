package gateway

import (
	"context"
	"errors"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
)

// A relay is how one call is made for all who ask the same at once, on whatever gateway: one of them gets a lease and
// calls, the others wait for what becomes of it.
type relay[T any] struct {
	bank *bank
	key  cache.Key
	lane string // equal for those who may share the call
	// acquire asks for the lease, and in the same step reads what will do without a call; nil for nothing.
	acquire func(ctx context.Context, ttl time.Duration) (cache.Lease, *T, error)
	call    func(ctx context.Context, lease cache.Lease) (T, *canonical.Error)
	result  func(T) cache.Result   // what is left of a call that went well
	told    func(cache.Outcome) *T // what others are told of it; nil for nothing
}

// errNotYet says that a lease was not found of which it is not known whether Redis gave it: it may yet do so, and
// would hold up everybody until it ends.
var errNotYet = errors.New("the lease may yet be given")

// obtained is what a relay brought.
type obtained[T any] struct {
	value     T
	stored    bool // what was fetched stands in Redis for others
	collapsed bool // it was another gateway's call
}

// obtain makes the call, or shares another's.
func obtain[T any](ctx context.Context, g *Gateway, redis *allowance, r relay[T]) (obtained[T], *canonical.Error) {
	for {
		var lease cache.Lease
		var kept *T
		err := redis.spend(ctx, func(ctx context.Context) (err error) {
			lease, kept, err = r.acquire(ctx, r.bank.Timeout+leaseMargin)
			return err
		})
		switch {
		case err == nil && kept != nil:
			if lease.Held {
				g.settle(ctx, redis, func(ctx context.Context) error {
					_, err := g.Config.Cache.Finish(ctx, lease, cache.Result{})
					return err
				})
			}
			return obtained[T]{value: *kept, collapsed: true}, nil
		case err != nil, lease.Held: // with an error, Redis may hold the lease for us all the same
			return lead(ctx, g, redis, r, lease)
		}
		outcome, ok := g.await(ctx, redis, lease)
		if ok && outcome.Failure != nil {
			return obtained[T]{}, outcome.Failure
		}
		if told := r.told(outcome); ok && told != nil {
			return obtained[T]{value: *told, collapsed: true}, nil
		}
		if ctx.Err() != nil {
			return obtained[T]{}, &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no answer in time"}
		}
		// The holder died, or what it fetched was forgotten: the next turn may be ours.
	}
}

// lead makes the call under a lease and leaves the result for those who wait. Redis being slow, that goes on when
// the answer has long been given.
func lead[T any](ctx context.Context, g *Gateway, redis *allowance, r relay[T], lease cache.Lease) (obtained[T], *canonical.Error) {
	value, failure := r.call(ctx, lease)
	result := cache.Result{Failure: failure, Forget: failure != nil && definiteNo(failure.Kind)}
	if failure == nil {
		result = r.result(value)
	}
	if !lease.Asked() { // Redis had failed before
		if result.Forget {
			g.forgetSurely(ctx, redis, r.key)
		}
		return obtained[T]{value: value}, failure
	}
	held := make(chan bool, settleTries)
	result.Untold = !lease.Known()
	done := g.settle(ctx, redis, func(ctx context.Context) error {
		was, err := g.Config.Cache.Finish(ctx, lease, result)
		result.Untold = true // whoever waits when it is tried again has asked after the call's end
		held <- was && err == nil
		if err == nil && !was && !lease.Known() {
			return errNotYet
		}
		return err
	})
	stands := done && <-held
	if result.Forget && !stands {
		g.forgetSurely(ctx, redis, r.key)
	}
	return obtained[T]{value: value, stored: stands && failure == nil}, failure
}

// await waits for the end of another gateway's call. ok is false if there is no outcome to be had from it. Looking
// for it holds nobody up, and so costs nothing of the allowance; but a look that fails ends it.
func (g *Gateway) await(ctx context.Context, redis *allowance, lease cache.Lease) (outcome cache.Outcome, ok bool) {
	for wait := pollFirst; ; wait = min(2*wait, pollLast) {
		select {
		case <-ctx.Done():
			return cache.Outcome{}, false
		case <-time.After(wait):
		}
		look := g.allowance()
		err := look.spend(ctx, func(ctx context.Context) (err error) {
			outcome, err = g.Config.Cache.Outcome(ctx, lease)
			return err
		})
		if err != nil {
			redis.broken = true
			return cache.Outcome{}, false
		}
		if !outcome.Held {
			return outcome, outcome.Done
		}
	}
}
