package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
)

// Two limits protect the gateway from a slow ASPSP: of its calls in progress, and of the requests
// that wait for it, those included that share a call. Both apply in total and per client, so that
// no ASPSP uses the whole capacity.

// admitWaiter lets a request of a client wait for an ASPSP. leave must be called when it no longer
// waits; the time until then is added to the request's event. It fails with Overloaded.
func (g *Gateway) admitWaiter(ctx context.Context, b *aspsp, client string) (leave func(), failure *canonical.Error) {
	if !g.aspspWaiters.TryAcquire(b.ID) {
		return nil, g.overloaded(ctx, b, bulkhead.ASPSP, "too many requests wait for the ASPSP")
	}
	if !g.clientWaiters.TryAcquire(client, b.ID) {
		g.aspspWaiters.Release(b.ID)
		return nil, g.overloaded(ctx, b, bulkhead.Client, "too many requests of your client wait for the ASPSP")
	}
	start := time.Now() //nolint:forbidigo // telemetry measures by the process's own clock
	return func() {
		event.AddWait(ctx, time.Since(start)) //nolint:forbidigo // as above
		g.clientWaiters.Release(client, b.ID)
		g.aspspWaiters.Release(b.ID)
	}, nil
}

// admitCall lets a client make a call to an ASPSP. leave must be called when the call has ended:
// until then it counts for its client, even if the request that started it is gone. It fails with
// Overloaded.
func (g *Gateway) admitCall(ctx context.Context, b *aspsp, client string) (leave func(), failure *canonical.Error) {
	if !g.aspspCalls.TryAcquire(b.ID) {
		return nil, g.overloaded(ctx, b, bulkhead.ASPSP, "too many calls to the ASPSP are in progress")
	}
	if !g.clientCalls.TryAcquire(client, b.ID) {
		g.aspspCalls.Release(b.ID)
		return nil, g.overloaded(ctx, b, bulkhead.Client, "too many calls of your client to the ASPSP are in progress")
	}
	return func() {
		g.clientCalls.Release(client, b.ID)
		g.aspspCalls.Release(b.ID)
	}, nil
}

func (g *Gateway) overloaded(ctx context.Context, b *aspsp, by bulkhead.Refusal, detail string) *canonical.Error {
	g.Observer.Refused(ctx, b.ID, by)
	return &canonical.Error{Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: time.Second, Detail: detail}
}
