package gateway

import (
	"context"
	"errors"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

// sharedCall describes a provider call that identical requests share across gateways: the request that holds the lease
// calls the provider, the others wait for its result.
type sharedCall[T any] struct {
	aspsp    *aspsp
	key      cache.Key
	shareKey string // equal for requests that may share the call
	// counted reports whether the call takes a slot. Such a call may wait longer for Redis: it cannot be made without Redis,
	// and a call that another gateway already makes would waste a slot.
	counted bool
	// acquire acquires the lease. In the same step it reads a cached value that satisfies the request; nil if there is none.
	acquire func(ctx context.Context, ttl time.Duration) (cache.Lease, *T, error)
	// call makes the call. It returns the usage after the counter's last step, nil if there was none.
	call        func(ctx context.Context, redis *latencyBudget) (T, *unattended.Usage, *canonical.Error)
	onEnd       func()                       // called when the call has ended
	result      func(T) cache.CallResult     // the part of a successful call that is stored
	withTime    func(T, time.Time) T         // the value with its fetch time
	fromOutcome func(cache.LeaderOutcome) *T // the leader's value; nil if it does not satisfy the request
}

// errLeaseUnknown means that Redis has not confirmed the lease. It may still be granted, and would block other requests
// until it expires.
var errLeaseUnknown = errors.New("the lease may still be granted")

// sharedResult is the result of a shared call.
type sharedResult[T any] struct {
	value     T
	stored    bool              // the value is in Redis for other requests
	collapsed bool              // it was another gateway's call
	usage     *unattended.Usage // after the counter's last step, of a failed call too; nil if there was none
}

// leaseReply is Redis's response to acquiring a lease.
type leaseReply[T any] struct {
	lease  cache.Lease
	cached *T
	err    error
}

// doShared makes the call, or returns the result of an identical call of another gateway. If that gateway's call ends
// without a usable result, it tries again to acquire the lease.
func doShared[T any](ctx context.Context, g *Gateway, redis *latencyBudget, r sharedCall[T]) (sharedResult[T], *canonical.Error) {
	for ctx.Err() == nil {
		acquiring := startStep(ctx, stepTimeout+g.Slack, func(ctx context.Context) (leaseReply[T], error) {
			lease, cached, err := r.acquire(ctx, r.aspsp.Timeout+leaseSlack)
			return leaseReply[T]{lease, cached, err}, nil
		})
		got, err := waitForStep(ctx, r.stepBudget(g, redis), acquiring)
		mine := &leaseHandle[T]{lease: got.lease}
		if err != nil { // Redis may still grant the lease
			mine = &leaseHandle[T]{pending: acquiring}
		}
		switch {
		case ctx.Err() != nil:
			publish(ctx, g, redis, mine, releaseOnly)
			continue // the loop ends here
		case err != nil:
			return callAsLeader(ctx, g, redis, r, mine)
		case got.err != nil:
			redis.broken = true
			return callAsLeader(ctx, g, redis, r, mine)
		case got.cached != nil:
			publish(ctx, g, redis, mine, releaseOnly)
			return sharedResult[T]{value: *got.cached, collapsed: true}, nil
		case got.lease.Held:
			return callAsLeader(ctx, g, redis, r, mine)
		}
		outcome, ok := r.waitForLeader(ctx, g, redis, got.lease)
		if ok && outcome.Failure != nil {
			return sharedResult[T]{usage: outcome.Usage}, outcome.Failure
		}
		if ok {
			if value := r.fromOutcome(outcome); value != nil {
				return sharedResult[T]{value: *value, collapsed: true, usage: outcome.Usage}, nil
			}
		}
		// The leader died, or its result was invalidated or does not satisfy this request.
	}
	return sharedResult[T]{}, &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no answer in time"}
}

// leaseHandle is a lease that may not have been confirmed yet. It is not safe for concurrent use.
type leaseHandle[T any] struct {
	lease   cache.Lease
	pending pendingStep[leaseReply[T]] // nil once Redis has responded
}

// wait returns the lease as soon as Redis has responded. It fails with the context's error.
func (t *leaseHandle[T]) wait(ctx context.Context) (cache.Lease, error) {
	if t.pending == nil {
		return t.lease, nil
	}
	select {
	case got := <-t.pending:
		t.lease, t.pending = got.value.lease, nil
		return t.lease, nil
	case <-ctx.Done():
		return cache.Lease{}, ctx.Err()
	}
}

// poll returns the lease as it is known now.
func (t *leaseHandle[T]) poll() cache.Lease {
	select {
	case got := <-t.pending:
		t.lease, t.pending = got.value.lease, nil
	default:
	}
	return t.lease
}

// callAsLeader makes the call and publishes its result under the lease, which Redis may grant during the call or after it. If
// Redis is slow, publishing continues after the response was sent.
func callAsLeader[T any](ctx context.Context, g *Gateway, redis *latencyBudget, r sharedCall[T], mine *leaseHandle[T]) (sharedResult[T], *canonical.Error) {
	began := time.Now() //nolint:forbidigo // the process's monotonic time; the lease translates it to Redis's clock
	value, usage, failure := r.call(ctx, redis)
	at := time.Now() //nolint:forbidigo // as above
	r.onEnd()
	got := sharedResult[T]{value: r.withTime(value, g.Now().UTC()), usage: usage}
	if lease := mine.poll(); lease.Granted() {
		got.value = r.withTime(value, lease.RedisTime(at))
	}
	invalidate := failure != nil && consentRejected(failure)
	end := publish(ctx, g, redis, mine, func(lease cache.Lease) cache.CallResult {
		out := cache.CallResult{Failure: failure, Invalidate: invalidate}
		if lease.Granted() {
			if failure == nil {
				out = r.result(r.withTime(value, lease.RedisTime(at)))
			}
			out.Began, out.Usage = lease.RedisTime(began), usage
		}
		// Another gateway may have capacity for the call, so this failure is not shared.
		if lease.Granted() && (failure == nil || failure.Kind != canonical.Overloaded) {
			out.Ended = lease.RedisTime(at)
		}
		return out
	})
	if invalidate && !end.Stored {
		g.invalidateEventually(ctx, redis, r.key)
	}
	got.stored = end.Stored && failure == nil
	return got, failure
}

// releaseOnly is the result for a lease under which no call was made.
func releaseOnly(cache.Lease) cache.CallResult { return cache.CallResult{} }

// publish stores the result and releases the lease, once that is known. It waits at most for the remaining Redis budget, and
// continues in the background.
func publish[T any](ctx context.Context, g *Gateway, redis *latencyBudget, mine *leaseHandle[T], result func(cache.Lease) cache.CallResult) cache.PublishResult {
	ends := make(chan cache.PublishResult, 1)
	done := g.writeEventually(ctx, redis, func(ctx context.Context) error {
		lease, err := mine.wait(ctx)
		if err != nil {
			return err
		}
		var end cache.PublishResult
		if lease.Pending() && (lease.Held || !lease.Granted()) { // otherwise this request has no lease and will not get one
			end, err = g.Config.Cache.Publish(ctx, lease, result(lease))
			if err == nil && !end.Held && !lease.Granted() {
				err = errLeaseUnknown
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

// stepBudget returns the budget of one step in Redis.
func (r sharedCall[T]) stepBudget(g *Gateway, redis *latencyBudget) *latencyBudget {
	if r.counted {
		return g.newShareBudget()
	}
	return redis
}

// waitForLeader waits for the end of another gateway's call. ok is false if it ended without an outcome, or if Redis stopped
// responding: at the first failed read, for a counted call after shareStepTimeout. Reads that succeed cost no budget.
func (r sharedCall[T]) waitForLeader(ctx context.Context, g *Gateway, redis *latencyBudget, lease cache.Lease) (out cache.LeaderOutcome, ok bool) {
	responded := time.Now() //nolint:forbidigo // measures a real wait
	for wait := pollFirst; ; wait = min(2*wait, pollLast) {
		select {
		case <-ctx.Done():
			return cache.LeaderOutcome{}, false
		case <-time.After(wait):
		}
		look := *r.stepBudget(g, redis) // a copy: a read that succeeds costs no budget
		out, err := runWithin(ctx, &look, func(ctx context.Context) (cache.LeaderOutcome, error) { return g.Config.Cache.Outcome(ctx, lease) })
		switch {
		case err == nil && !out.Held:
			return out, out.Done
		case err == nil:
			responded = time.Now() //nolint:forbidigo // as above
		case !r.counted || time.Since(responded) > shareStepTimeout+g.Slack: //nolint:forbidigo // as above
			redis.broken = true
			return cache.LeaderOutcome{}, false
		}
	}
}
