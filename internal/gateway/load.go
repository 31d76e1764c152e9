package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
)

// Limits protect from a slow bank. Its calls in progress are limited, in total and per client; so are the requests that
// wait for it, including those that share another request's call. No bank takes all places of the gateway or of a client.

// wait lets a client's request wait for a bank, if there is a place for it. Whoever got one leaves when he waits no longer.
func (g *Gateway) wait(ctx context.Context, b *bank, client string) (leave func(), failure *canonical.Error) {
	if !g.waits.TryAcquire(b.ID) {
		return nil, g.overloaded(ctx, b, bulkhead.ASPSP, "too many requests wait for the ASPSP")
	}
	if !g.own.TryAcquire(client, b.ID) {
		g.waits.Release(b.ID)
		return nil, g.overloaded(ctx, b, bulkhead.ASPSP, "too many requests of this client wait for the ASPSP")
	}
	start := time.Now() //nolint:forbidigo // telemetry measures by the process's own clock
	return func() {
		g.Observer.Waited(ctx, time.Since(start)) //nolint:forbidigo // as above
		g.own.Release(client, b.ID)
		g.waits.Release(b.ID)
	}, nil
}

// enter lets a client make a call to a bank within the limits of calls in progress; leave is called when the call has
// ended. A call counts for its client until then, even if the request that started it is gone.
func (g *Gateway) enter(ctx context.Context, b *bank, client string) (leave func(), failure *canonical.Error) {
	if !g.calls.TryAcquire(b.ID) {
		return nil, g.overloaded(ctx, b, bulkhead.ASPSP, "too many calls to the ASPSP are in progress")
	}
	if !g.clients.TryAcquire(client, b.ID) {
		g.calls.Release(b.ID)
		return nil, g.overloaded(ctx, b, bulkhead.Client, "too many calls of this client are in progress")
	}
	return func() {
		g.clients.Release(client, b.ID)
		g.calls.Release(b.ID)
	}, nil
}

func (g *Gateway) overloaded(ctx context.Context, b *bank, by bulkhead.Refusal, detail string) *canonical.Error {
	g.Observer.Refused(ctx, b.ID, by)
	return &canonical.Error{Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: time.Second, Detail: detail}
}
