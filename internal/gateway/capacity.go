package gateway

import (
	"context"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
)

// noCapacity is the detail of a call that exceeds the concurrency limit of its ASPSP.
const noCapacity = "too many calls to the ASPSP are in progress"

type capacityKey struct{}

// WaitForCapacity returns a context in which reads wait for the concurrency limits until end has ended,
// instead of failing immediately. Then they fail with Overloaded, and start no call. Reads that wait
// use at most a client's share of an ASPSP's calls, so that other clients find capacity.
func WaitForCapacity(ctx, end context.Context) context.Context {
	return context.WithValue(ctx, capacityKey{}, end)
}

// placeWait returns the context that ends the wait; nil if reads do not wait.
func placeWait(ctx context.Context) context.Context {
	end, _ := ctx.Value(capacityKey{}).(context.Context)
	return end
}

// waitForPlace waits until the read may make a call, if ctx is one of WaitForCapacity. It does so
// before the read shares a call: otherwise identical requests would wait for it, and the wait would
// shorten the time of the call. leave must be called when the read has ended. It fails with Overloaded.
func (r *providerRead) waitForPlace(ctx context.Context) (leave func(), failure *canonical.Error) {
	end := placeWait(ctx)
	if end == nil {
		return func() {}, nil
	}
	if !r.g.shares.Acquire(end, r.client, r.aspsp.ID) {
		return nil, canonical.NewError(canonical.Overloaded, noCapacity)
	}
	if r.g.callLimits.Acquire(end, r.client, r.aspsp.ID) != bulkhead.None {
		r.g.shares.Release(r.client, r.aspsp.ID)
		return nil, canonical.NewError(canonical.Overloaded, noCapacity)
	}
	r.hasPlace = true
	return func() {
		r.g.callLimits.Release(r.client, r.aspsp.ID)
		r.g.shares.Release(r.client, r.aspsp.ID)
	}, nil
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
