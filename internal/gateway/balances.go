package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

// Balances answers all balances of one account, always from the provider. Equal unattended requests at once share
// one call, on whatever gateways they are.
func (g *Gateway) Balances(ctx context.Context, client string, q canonical.Query, account string) (BalancesResult, error) {
	b, ok := g.banks[q.ASPSP]
	if !ok {
		return BalancesResult{}, unknown()
	}
	r := &reading{g: g, bank: b, client: client, q: q, account: account}
	sheet, failure := r.read(ctx)
	switch {
	case q.Attended():
	case failure != nil && failure.Kind == canonical.CounterUnavailable:
		sheet.Usage = nil
	case sheet.Usage == nil:
		sheet.Usage = g.limit(ctx, g.allowance(), q, account)
	}
	return sheet, asError(failure)
}

// A reading is one request for balances on its way.
type reading struct {
	g       *Gateway
	bank    *bank
	client  string
	q       canonical.Query
	account string
}

// read reads the balances, if there is a place to wait for them.
func (r *reading) read(ctx context.Context) (BalancesResult, *canonical.Error) {
	g := r.g
	leave, failure := g.wait(ctx, r.bank, r.client)
	if failure != nil {
		return BalancesResult{}, failure
	}
	defer leave()
	if r.q.Attended() {
		g.running.Add(1)
		defer g.running.Done()
		return r.alone(ctx)
	}
	sheet, failure, _ := fly(ctx, g, r.bank, r.flight(), r.shared)
	return sheet, failure
}

// alone reads the balances for this request and no other.
func (r *reading) alone(ctx context.Context) (BalancesResult, *canonical.Error) {
	redis := r.g.allowance()
	read, _, failure := r.call(ctx, &redis)
	if failure == nil {
		read.FetchedAt = r.g.Now().UTC()
		return sheetOf(read), nil
	}
	if consentRejected(failure) {
		r.g.invalidateEventually(ctx, &redis, keyOf(r.client, r.q))
	}
	return BalancesResult{}, failure
}

// shared reads them by the one call that all gateways make for equal requests at once.
func (r *reading) shared(ctx context.Context) (BalancesResult, *canonical.Error) {
	redis := r.g.allowance()
	got, failure := obtain(ctx, r.g, &redis, relay[cache.Balances]{
		bank: r.bank, key: keyOf(r.client, r.q), lane: r.lane(), counted: true,
		acquire: r.acquire, call: r.call,
		ended:  func() { r.g.flights.Forget(r.flight()) }, // whoever asks from now on wants balances of now
		result: func(read cache.Balances) cache.CallResult { return cache.CallResult{Balances: &read} },
		dated:  func(read cache.Balances, at time.Time) cache.Balances { read.FetchedAt = at; return read },
		told:   func(o cache.LeaderOutcome) *cache.Balances { return o.Balances },
	})
	if failure != nil {
		return BalancesResult{Usage: got.usage}, failure
	}
	sheet := sheetOf(got.value)
	sheet.Usage = got.usage
	return sheet, nil
}

func (r *reading) flight() string { return flightName("balances", r.client, r.q, r.account) }

// lane is equal for those who may share a call.
func (r *reading) lane() string {
	return "balances:" + laneHash(r.q, r.account)
}

// acquire asks for the lease. Balances are not kept, so there is never anything that will do without a call.
func (r *reading) acquire(ctx context.Context, ttl time.Duration) (cache.Lease, *cache.Balances, error) {
	lease, err := r.g.Config.Cache.Acquire(ctx, keyOf(r.client, r.q), r.lane(), ttl)
	return lease, nil, err
}

// call reads the balances from the provider.
func (r *reading) call(ctx context.Context, redis *allowance) (read cache.Balances, usage *unattended.Usage, failure *canonical.Error) {
	one := providerRead{g: r.g, bank: r.bank, client: r.client, q: r.q, account: r.account}
	usage, failure = one.do(ctx, redis, func(ctx context.Context) (err error) {
		read.AccountBalances, err = r.bank.Adapter.Balances(ctx, r.q, r.account)
		return err
	})
	return read, usage, failure
}

func sheetOf(read cache.Balances) BalancesResult {
	return BalancesResult{
		AccountBalances: read.AccountBalances,
		Freshness:       Freshness{Source: FromProvider, FetchedAt: read.FetchedAt, Age: read.Age},
	}
}
