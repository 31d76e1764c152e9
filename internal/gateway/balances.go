package gateway

import (
	"context"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
)

// Balances returns all balances of one account, always from the provider. Identical concurrent
// unattended requests share one call across gateways. The error is a *canonical.Error. For an
// unattended request the usage is set, also with an error, if it could be read.
func (g *Gateway) Balances(ctx context.Context, client string, q canonical.Query, account string) (BalancesResult, error) {
	read, failure := g.newRead(client, q, account)
	if failure != nil {
		return BalancesResult{}, failure
	}
	r := &balancesRequest{read}
	if q.Attended() {
		result, failure := r.serveAttended(ctx)
		return result, asError(failure)
	}
	var result BalancesResult
	var shared coalesce.Shared
	if failure = r.checkUser(); failure == nil {
		shared, failure = g.group.Do(ctx, r.options(), r)
	}
	if failure == nil {
		result = newBalancesResult(shared.Entry)
	}
	result.Usage = r.responseUsage(ctx, shared, failure)
	return result, asError(failure)
}

// balancesRequest is one request for the balances of an account. It is a coalesce.Request.
type balancesRequest struct{ providerRead }

// serveAttended reads the balances for this request only. It uses Redis only if the provider
// rejects the consent.
func (r *balancesRequest) serveAttended(ctx context.Context) (BalancesResult, *canonical.Error) {
	leave, failure := r.Admit(ctx)
	if failure != nil {
		return BalancesResult{}, failure
	}
	defer leave()
	r.g.attendedBalances.Add(1)
	defer r.g.attendedBalances.Done()
	result := r.Call(ctx)
	if result.Invalidate {
		_ = r.budget.Wait(context.WithoutCancel(ctx), r.g.Config.Cache.InvalidateEventually(r.key(), nil))
	}
	if result.Failure != nil {
		return BalancesResult{}, result.Failure
	}
	result.Entry.FetchedAt = r.g.Now().UTC()
	return newBalancesResult(result.Entry), nil
}

// Record stores the reply of the lookup. Balances are not cached, so that nothing satisfies the
// request without a call.
func (r *balancesRequest) Record(found cache.Found) (bool, *canonical.Error) {
	if found.Responded() {
		r.memory = found.Memory
	}
	return false, nil
}

// Satisfies returns false, because no list satisfies the request.
func (r *balancesRequest) Satisfies(*cache.Entry) bool { return false }

// Call reads the balances from the provider.
func (r *balancesRequest) Call(ctx context.Context) cache.CallResult {
	var balances canonical.AccountBalances
	result := r.readProvider(ctx, func(ctx context.Context) (err error) {
		balances, err = r.aspsp.Adapter.Balances(ctx, r.q, r.account)
		return err
	})
	if result.Failure == nil {
		result.Entry = &cache.Entry{Balances: &balances}
	}
	return result
}

func newBalancesResult(e *cache.Entry) BalancesResult {
	return BalancesResult{
		AccountBalances: *e.Balances,
		Freshness:       Freshness{Source: FromProvider, FetchedAt: e.FetchedAt, Age: e.Age},
	}
}
