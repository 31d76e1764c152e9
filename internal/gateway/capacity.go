package gateway

import (
	"context"

	"ais-gateway/internal/bulkhead"
)

// noCapacity is the detail of a call that exceeds the concurrency limit of its ASPSP.
const noCapacity = "too many calls to the ASPSP are in progress"

type capacityKey struct{}

// WaitForCapacity returns a context in which reads wait for the concurrency limits until until has
// ended, instead of failing immediately. Then they fail with Overloaded, and start no call. Reads
// that wait use at most a client's share of an ASPSP's calls, so that other clients find capacity.
func WaitForCapacity(ctx, until context.Context) context.Context {
	return context.WithValue(ctx, capacityKey{}, until)
}

// capacityWait returns the context that ends the wait; nil if reads do not wait.
func capacityWait(ctx context.Context) context.Context {
	until, _ := ctx.Value(capacityKey{}).(context.Context)
	return until
}

// acquire counts one more of a client for an ASPSP. It waits if ctx is one of WaitForCapacity.
func acquire(ctx context.Context, l *bulkhead.Limits, client, aspsp string) bulkhead.Refusal {
	if until := capacityWait(ctx); until != nil {
		return l.Acquire(until, client, aspsp)
	}
	return l.TryAcquire(client, aspsp)
}
