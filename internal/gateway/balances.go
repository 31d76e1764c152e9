package gateway

import (
	"context"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

// Balances returns all balances of one account, always from the provider. Identical concurrent
// unattended requests share one call across gateways. The error is a *canonical.Error. For an
// unattended request the usage is set, also with an error, if it could be read.
func (g *Gateway) Balances(ctx context.Context, client string, q canonical.Query, account string) (BalancesResult, error) {
	return g.balances(ctx, client, q, account, false)
}

// AllBalances returns the balances of all accounts of the consent in one call, as Balances does. The
// ASPSP must have the capability AllBalances.
func (g *Gateway) AllBalances(ctx context.Context, client string, q canonical.Query) (BalancesResult, error) {
	return g.balances(ctx, client, q, "", true)
}

func (g *Gateway) balances(ctx context.Context, client string, q canonical.Query, account string, all bool) (BalancesResult, error) {
	read, failure := g.newRead(client, q, account)
	if failure != nil {
		return BalancesResult{}, failure
	}
	read.allBalances = all
	entry, usage, failure := (&balancesRequest{read}).serve(ctx)
	result := BalancesResult{Usage: usage}
	if failure == nil {
		result.All, result.Freshness = entry.AllBalances, Freshness{Source: FromProvider, FetchedAt: entry.FetchedAt, Age: entry.Age}
		if entry.Balances != nil {
			result.AccountBalances = *entry.Balances
		}
	}
	return result, asError(failure)
}

// balancesRequest is one request for the balances of an account, or of all accounts. It is a
// coalesce.Request.
type balancesRequest struct{ providerRead }

// serve returns what was read, and for an unattended request the usage.
func (r *balancesRequest) serve(ctx context.Context) (entry *cache.Entry, usage *unattended.Usage, failure *canonical.Error) {
	if r.q.Attended() {
		entry, failure = r.serveAttended(ctx)
		return entry, nil, failure
	}
	var shared coalesce.Shared
	if failure = r.checkUser(); failure == nil {
		shared, failure = r.share(ctx, r.options(), r)
	}
	return shared.Entry, r.responseUsage(ctx, shared, failure), failure
}

// serveAttended reads the balances for this request only. It uses Redis only if the provider
// rejects the consent.
func (r *balancesRequest) serveAttended(ctx context.Context) (*cache.Entry, *canonical.Error) {
	free, failure := r.waitForPlace(ctx)
	if failure != nil {
		return nil, failure
	}
	defer free()
	leave, failure := r.Admit(ctx)
	if failure != nil {
		return nil, failure
	}
	defer leave()
	r.g.attendedBalances.Add(1)
	defer r.g.attendedBalances.Done()
	result := r.Call(ctx)
	if result.Invalidate {
		_ = r.budget.Wait(context.WithoutCancel(ctx), r.g.Config.Cache.InvalidateEventually(r.key(), nil))
	}
	if result.Failure != nil {
		return nil, result.Failure
	}
	result.Entry.FetchedAt = r.g.Now().UTC()
	return result.Entry, nil
}

// Record stores the reply of the lookup. Balances are not cached, so that nothing satisfies the
// request without a call.
func (r *balancesRequest) Record(found cache.Found) (bool, *canonical.Error) {
	if found.Responded() {
		r.memory = found.Memory
	}
	return false, nil
}

// Satisfies reports whether the result has balances.
func (r *balancesRequest) Satisfies(result *cache.Entry) bool {
	return result.Balances != nil || result.AllBalances != nil
}

// Call reads the balances from the provider.
func (r *balancesRequest) Call(ctx context.Context) cache.CallResult {
	var entry cache.Entry
	result := r.readProvider(ctx, func(ctx context.Context) error {
		if r.allBalances {
			all, err := r.aspsp.Adapter.(providers.AllBalancesReader).AllBalances(ctx, r.q)
			entry.AllBalances = all
			return err
		}
		balances, err := r.aspsp.Adapter.Balances(ctx, r.q, r.account)
		entry.Balances = &balances
		return err
	})
	if result.Failure == nil {
		result.Entry = &entry
	}
	return result
}
