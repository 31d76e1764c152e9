package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

// Balances returns all balances of one account, always from the provider. Identical concurrent unattended requests share one
// call across gateways. The error is a *canonical.Error. The usage is set in both cases.
func (g *Gateway) Balances(ctx context.Context, client string, q canonical.Query, account string) (BalancesResult, error) {
	b, ok := g.aspsps[q.ASPSP]
	if !ok {
		return BalancesResult{}, unknownASPSP()
	}
	r := &balancesRequest{g: g, aspsp: b, client: client, q: q, account: account}
	sheet, failure := r.serve(ctx)
	switch {
	case q.Attended():
	case failure != nil && failure.Kind == canonical.CounterUnavailable:
		sheet.Usage = nil
	case sheet.Usage == nil:
		sheet.Usage = g.readUsage(ctx, g.newBudget(), q, account)
	}
	return sheet, asError(failure)
}

// balancesRequest is one request for the balances of an account.
type balancesRequest struct {
	g       *Gateway
	aspsp   *aspsp
	client  string
	q       canonical.Query
	account string
}

// serve reads the balances. It fails with Overloaded if too many requests wait.
func (r *balancesRequest) serve(ctx context.Context) (BalancesResult, *canonical.Error) {
	g := r.g
	leave, failure := g.admitWaiter(ctx, r.aspsp, r.client)
	if failure != nil {
		return BalancesResult{}, failure
	}
	defer leave()
	if r.q.Attended() {
		g.running.Add(1)
		defer g.running.Done()
		return r.readAttended(ctx)
	}
	sheet, failure, _ := doOnce(ctx, g, r.aspsp, r.flightKey(), r.readShared)
	return sheet, failure
}

// readAttended reads the balances for this request only.
func (r *balancesRequest) readAttended(ctx context.Context) (BalancesResult, *canonical.Error) {
	redis := r.g.newBudget()
	read, _, failure := r.callProvider(ctx, &redis)
	if failure == nil {
		read.FetchedAt = r.g.Now().UTC()
		return newBalancesResult(read), nil
	}
	if consentRejected(failure) {
		r.g.invalidateEventually(ctx, &redis, cacheKey(r.client, r.q))
	}
	return BalancesResult{}, failure
}

// readShared reads the balances by the one call that all gateways make for identical requests.
func (r *balancesRequest) readShared(ctx context.Context) (BalancesResult, *canonical.Error) {
	redis := r.g.newBudget()
	got, failure := doShared(ctx, r.g, &redis, sharedCall[cache.Balances]{
		aspsp: r.aspsp, key: cacheKey(r.client, r.q), shareKey: r.shareKey(), counted: true,
		acquire: r.acquireLease, call: r.callProvider,
		onEnd:       func() { r.g.flights.Forget(r.flightKey()) }, // later requests need a call of their own
		result:      func(read cache.Balances) cache.CallResult { return cache.CallResult{Balances: &read} },
		withTime:    func(read cache.Balances, at time.Time) cache.Balances { read.FetchedAt = at; return read },
		fromOutcome: func(o cache.LeaderOutcome) *cache.Balances { return o.Balances },
	})
	if failure != nil {
		return BalancesResult{Usage: got.usage}, failure
	}
	sheet := newBalancesResult(got.value)
	sheet.Usage = got.usage
	return sheet, nil
}

func (r *balancesRequest) flightKey() string { return flightKey("balances", r.client, r.q, r.account) }

// shareKey is equal for requests that may share a call across gateways.
func (r *balancesRequest) shareKey() string {
	return "balances:" + shareKeyHash(r.q, r.account)
}

// acquireLease acquires the lease. Balances are not cached, so that nothing satisfies the request without a call.
func (r *balancesRequest) acquireLease(ctx context.Context, ttl time.Duration) (cache.Lease, *cache.Balances, error) {
	lease, err := r.g.Config.Cache.Acquire(ctx, cacheKey(r.client, r.q), r.shareKey(), ttl)
	return lease, nil, err
}

// callProvider reads the balances from the provider. It returns the usage after the counter's last step; nil if there was none.
func (r *balancesRequest) callProvider(ctx context.Context, redis *latencyBudget) (read cache.Balances, usage *unattended.Usage, failure *canonical.Error) {
	one := providerRead{g: r.g, aspsp: r.aspsp, client: r.client, q: r.q, account: r.account}
	usage, failure = one.run(ctx, redis, func(ctx context.Context) (err error) {
		read.AccountBalances, err = r.aspsp.Adapter.Balances(ctx, r.q, r.account)
		return err
	})
	return read, usage, failure
}

func newBalancesResult(read cache.Balances) BalancesResult {
	return BalancesResult{
		AccountBalances: read.AccountBalances,
		Freshness:       Freshness{Source: FromProvider, FetchedAt: read.FetchedAt, Age: read.Age},
	}
}
