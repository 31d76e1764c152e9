package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/load"
)

// Two bounds stand before a bank. Calls to it: one that is slow is not given more and more of them. Requests that wait
// for it, those who share another's call too: one that is slow takes neither all places, nor all of one client's.

// wait lets a client's request wait for a bank, if there is a place for it. Whoever got one leaves when he waits no longer.
func (g *Gateway) wait(ctx context.Context, b *bank, client string) (leave func(), failure *canonical.Error) {
	if !g.waits.Enter(b.ID) {
		return nil, g.overloaded(ctx, b, "too many requests wait for the ASPSP")
	}
	if !g.own.Enter(client, b.ID) {
		g.waits.Leave(b.ID)
		return nil, g.overloaded(ctx, b, "too many requests of this client wait for the ASPSP")
	}
	start := time.Now() //nolint:forbidigo // telemetry measures by the process's own clock
	return func() {
		g.Observer.Waited(ctx, time.Since(start)) //nolint:forbidigo // as above
		g.own.Leave(client, b.ID)
		g.waits.Leave(b.ID)
	}, nil
}

func (g *Gateway) overloaded(ctx context.Context, b *bank, detail string) *canonical.Error {
	g.Observer.Refused(ctx, b.ID, load.ASPSP)
	return &canonical.Error{Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: time.Second, Detail: detail}
}
