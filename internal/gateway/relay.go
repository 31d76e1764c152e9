package gateway

import (
	"context"
	"errors"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

// A relay is how one call is made for all who ask the same at once, on whatever gateway: one of them gets a lease and
// calls, the others wait for what becomes of it.
type relay[T any] struct {
	bank *bank
	key  cache.Key
	lane string // equal for those who may share the call
	// counted says that the call takes a slot, so that it needs Redis anyway: it waits for Redis longer than others do,
	// rather than spend a slot on what another gateway is fetching.
	counted bool
	// acquire asks for the lease, and in the same step reads what will do without a call; nil for nothing.
	acquire func(ctx context.Context, ttl time.Duration) (cache.Lease, *T, error)
	// call makes the call. It returns the usage after the counter's last step; nil if there was none.
	call   func(ctx context.Context, redis *allowance) (T, *unattended.Usage, *canonical.Error)
	ended  func()                       // is called when the call has ended
	result func(T) cache.CallResult     // what is left of a call that went well
	dated  func(T, time.Time) T         // what was fetched, with its time
	told   func(cache.LeaderOutcome) *T // what others are told of it; nil for nothing that will do
}

// errNotYet says that a lease was not found of which it is not known whether Redis gave it: it may yet do so, and
// would hold up everybody until it ends.
var errNotYet = errors.New("the lease may yet be given")

// obtained is what a relay brought.
type obtained[T any] struct {
	value     T
	stored    bool              // what was fetched stands in Redis for others
	collapsed bool              // it was another gateway's call
	usage     *unattended.Usage // after the counter's last step for it, also of a call that failed; nil if there was none
}

// asked is what became of asking for a lease.
type asked[T any] struct {
	lease cache.Lease
	kept  *T
	err   error
}

// obtain makes the call, or shares another's.
func obtain[T any](ctx context.Context, g *Gateway, redis *allowance, r relay[T]) (obtained[T], *canonical.Error) {
	for ctx.Err() == nil {
		asking := begin(ctx, stepTimeout+g.Slack, func(ctx context.Context) (asked[T], error) {
			lease, kept, err := r.acquire(ctx, r.bank.Timeout+leaseMargin)
			return asked[T]{lease, kept, err}, nil
		})
		got, err := await(ctx, r.allowed(g, redis), asking)
		mine := &turn[T]{lease: got.lease}
		if err != nil { // Redis may give the lease when nobody waits for it any more
			mine = &turn[T]{asking: asking}
		}
		switch {
		case ctx.Err() != nil:
			finish(ctx, g, redis, mine, release)
			continue // which ends here
		case err != nil:
			return lead(ctx, g, redis, r, mine)
		case got.err != nil:
			redis.broken = true
			return lead(ctx, g, redis, r, mine)
		case got.kept != nil:
			finish(ctx, g, redis, mine, release)
			return obtained[T]{value: *got.kept, collapsed: true}, nil
		case got.lease.Held:
			return lead(ctx, g, redis, r, mine)
		}
		outcome, ok := r.outcome(ctx, g, redis, got.lease)
		if ok && outcome.Failure != nil {
			return obtained[T]{usage: outcome.Usage}, outcome.Failure
		}
		if ok {
			if told := r.told(outcome); told != nil {
				return obtained[T]{value: *told, collapsed: true, usage: outcome.Usage}, nil
			}
		}
		// The holder died, or what it fetched was forgotten or will not do: the next turn may be ours.
	}
	return obtained[T]{}, &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no answer in time"}
}

// A turn is the lease under which a call is made, which may still be being asked for. It serves one goroutine at a time.
type turn[T any] struct {
	lease  cache.Lease
	asking begun[asked[T]] // nil once the lease is known, or known not to be
}

// known is the lease as soon as there is word of it.
func (t *turn[T]) known(ctx context.Context) (cache.Lease, error) {
	if t.asking == nil {
		return t.lease, nil
	}
	select {
	case got := <-t.asking:
		t.lease, t.asking = got.value.lease, nil
		return t.lease, nil
	case <-ctx.Done():
		return cache.Lease{}, ctx.Err()
	}
}

// now is what is known of the lease by now.
func (t *turn[T]) now() cache.Lease {
	select {
	case got := <-t.asking:
		t.lease, t.asking = got.value.lease, nil
	default:
	}
	return t.lease
}

// lead makes the call and leaves the result for those who wait under the lease. Redis may give it while the call is
// under way, or after it. Redis being slow, all that goes on when the answer has long been given.
func lead[T any](ctx context.Context, g *Gateway, redis *allowance, r relay[T], mine *turn[T]) (obtained[T], *canonical.Error) {
	began := time.Now() //nolint:forbidigo // the process's own monotonic time: the lease knows Redis's
	value, usage, failure := r.call(ctx, redis)
	at := time.Now() //nolint:forbidigo // as above
	r.ended()
	got := obtained[T]{value: r.dated(value, g.Now().UTC()), usage: usage}
	if lease := mine.now(); lease.Granted() {
		got.value = r.dated(value, lease.RedisTime(at))
	}
	forget := failure != nil && consentRejected(failure)
	end := finish(ctx, g, redis, mine, func(lease cache.Lease) cache.CallResult {
		out := cache.CallResult{Failure: failure, Forget: forget}
		if lease.Granted() {
			if failure == nil {
				out = r.result(r.dated(value, lease.RedisTime(at)))
			}
			out.Began, out.Usage = lease.RedisTime(began), usage
		}
		// That this gateway had no place for the call is no word on what another one can do.
		if lease.Granted() && (failure == nil || failure.Kind != canonical.Overloaded) {
			out.Ended = lease.RedisTime(at)
		}
		return out
	})
	if forget && !end.Stands {
		g.invalidateEventually(ctx, redis, r.key)
	}
	got.stored = end.Stands && failure == nil
	return got, failure
}

// release is the result of no call.
func release(cache.Lease) cache.CallResult { return cache.CallResult{} }

// finish gives a lease back with its result, once it is known, and waits for that within the allowance.
func finish[T any](ctx context.Context, g *Gateway, redis *allowance, mine *turn[T], result func(cache.Lease) cache.CallResult) cache.PublishResult {
	ends := make(chan cache.PublishResult, 1)
	done := g.settle(ctx, redis, func(ctx context.Context) error {
		lease, err := mine.known(ctx)
		if err != nil {
			return err
		}
		var end cache.PublishResult
		if lease.Pending() && (lease.Held || !lease.Granted()) { // else Redis has given us nothing, and will not
			end, err = g.Config.Cache.Finish(ctx, lease, result(lease))
			if err == nil && !end.Held && !lease.Granted() {
				err = errNotYet
			}
		}
		if err == nil {
			ends <- end
		}
		return err
	})
	if !done {
		return cache.PublishResult{}
	}
	return <-ends
}

// allowed is how long Redis may hold up a step of the sharing.
func (r relay[T]) allowed(g *Gateway, redis *allowance) *allowance {
	if r.counted {
		return g.sharing()
	}
	return redis
}

// outcome waits for the end of another gateway's call. ok is false if there is no outcome to be had from it. Looking
// for it costs nothing of the allowance; but a look that fails ends it, for a counted call only once Redis has been silent for
// longer than it may.
func (r relay[T]) outcome(ctx context.Context, g *Gateway, redis *allowance, lease cache.Lease) (out cache.LeaderOutcome, ok bool) {
	heard := time.Now() //nolint:forbidigo // what is measured is how long a real wait took
	for wait := pollFirst; ; wait = min(2*wait, pollLast) {
		select {
		case <-ctx.Done():
			return cache.LeaderOutcome{}, false
		case <-time.After(wait):
		}
		look := *r.allowed(g, redis) // a copy: a look that succeeds holds nobody up
		out, err := spend(ctx, &look, func(ctx context.Context) (cache.LeaderOutcome, error) { return g.Config.Cache.Outcome(ctx, lease) })
		switch {
		case err == nil && !out.Held:
			return out, out.Done
		case err == nil:
			heard = time.Now() //nolint:forbidigo // as above
		case !r.counted || time.Since(heard) > sharePatience+g.Slack: //nolint:forbidigo // as above
			redis.broken = true
			return cache.LeaderOutcome{}, false
		}
	}
}
