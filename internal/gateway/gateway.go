// Package gateway serves queries: it applies the rules of freshness, shares one provider call
// between identical requests, and serves stale lists if no call can be made. internal/api calls it;
// it calls the adapters.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/store/steps"
	"ais-gateway/internal/unattended"
)

// An ASPSP is one configured ASPSP with its adapter.
type ASPSP struct {
	config.ASPSP
	Adapter providers.Provider
	Timeout time.Duration // of one read, as configured for the provider
}

// Config configures a Gateway. Every member is needed, except as noted.
type Config struct {
	ASPSPs           []ASPSP
	Cache            *cache.Cache
	Counter          *unattended.Counter
	RedisBudget      time.Duration // how long a request waits for Redis in all, if its response is possible without it
	Slack            time.Duration // is added to every other timeout of a step in Redis: 0, except in tests on a busy machine
	Now              func() time.Time
	Logger           *slog.Logger
	Observer         Observer
	MaxWaiting       int // concurrent requests that wait for ASPSPs; below 1 for no limit
	MaxPerClient     int // such requests of one client, and also its concurrent calls; below 1 for no limit
	MaxCallsPerASPSP int // concurrent calls to one ASPSP; below 1 for no limit
}

// An Observer is notified of breakers and limits.
type Observer interface {
	Breaker(aspsp string, s breaker.State)
	// Refused reports a request or a call to an ASPSP that exceeded a concurrency limit.
	Refused(ctx context.Context, aspsp string, by bulkhead.Refusal)
}

const (
	// RedisBudget is how long a request waits for Redis in all, if its response is possible without
	// it.
	RedisBudget = 100 * time.Millisecond
	// eraseTimeout is how long the request for a deletion waits for Redis.
	eraseTimeout = 2 * time.Second
	// lastWrites is how long a gateway that drains waits for the last attempts of pending writes.
	lastWrites = 3 * time.Second
)

// A Gateway serves queries. It is safe for concurrent use.
type Gateway struct {
	Config
	aspsps           map[string]*aspsp
	workers          *steps.Workers
	group            *coalesce.Group
	attendedBalances sync.WaitGroup // in progress; they share no call
	// Two limits protect the gateway from a slow ASPSP: of the requests that wait for it, those
	// included that share a call, and of its calls in progress.
	waitLimits, callLimits *bulkhead.Limits
	shares                 *bulkhead.Shares // of the calls that may wait for capacity
}

type aspsp struct {
	ASPSP
	breaker *breaker.Breaker
}

// New returns a Gateway.
func New(c Config) *Gateway {
	g := &Gateway{
		Config: c, aspsps: map[string]*aspsp{}, workers: steps.NewWorkers(),
		group:      coalesce.New(coalesce.Config{Cache: c.Cache, Slack: c.Slack, Now: c.Now, Logger: c.Logger}),
		waitLimits: bulkhead.NewLimits(bulkhead.NewFairShare(c.MaxWaiting), c.MaxPerClient),
		callLimits: bulkhead.NewLimits(bulkhead.NewPerKey(c.MaxCallsPerASPSP), c.MaxPerClient),
	}
	g.shares = bulkhead.NewShares(g.callLimits, c.MaxCallsPerASPSP)
	for _, b := range c.ASPSPs {
		changed := func(s breaker.State) { c.Observer.Breaker(b.ID, s) }
		g.aspsps[b.ID] = &aspsp{ASPSP: b, breaker: breaker.New(b.ASPSP.Breaker, b.Timeout, c.Now, changed)}
	}
	return g
}

// ASPSPs returns the configured ASPSPs in the order of the configuration.
func (g *Gateway) ASPSPs() []ASPSPInfo {
	all := make([]ASPSPInfo, len(g.Config.ASPSPs))
	for i, b := range g.Config.ASPSPs {
		all[i], _ = g.ASPSP(b.ID)
	}
	return all
}

// ASPSP returns a configured ASPSP by its id in lower case; false if there is none.
func (g *Gateway) ASPSP(id string) (ASPSPInfo, bool) {
	b, ok := g.aspsps[id]
	if !ok {
		return ASPSPInfo{}, false
	}
	return ASPSPInfo{
		ID: b.ID, Name: b.Name, Provider: b.Provider, Unattended: b.Unattended, PSUAddressRequired: b.PSUAddressRequired,
		Requires: providers.RequirementsOf(b.Adapter, id), Capabilities: providers.CapabilitiesOf(b.Adapter, id), Breaker: b.breaker.State(), Timeout: b.Timeout,
	}, true
}

// Check returns the faults of a query under the additional requirements of its ASPSP.
func (g *Gateway) Check(q canonical.Query) []canonical.FieldError {
	if b, ok := g.aspsps[q.ASPSP]; ok {
		if r, ok := b.Adapter.(providers.Requirer); ok {
			return r.Requires(q.ASPSP).Check(q)
		}
	}
	return nil
}

// UnattendedAccess returns the usage of the unit that counts a call. It takes no slot. It fails with
// ASPSPUnknown or CounterUnavailable.
func (g *Gateway) UnattendedAccess(ctx context.Context, call unattended.Call) (unattended.Usage, error) {
	if _, ok := g.aspsps[call.ASPSP]; !ok {
		return unattended.Usage{}, canonical.NewError(canonical.ASPSPUnknown, "")
	}
	return g.Counter.Usage(ctx, call)
}

// DeleteCachedData deletes all cached data of the client for the query's consent. It releases no
// slots. If Redis does not confirm the deletion within two seconds, it fails with
// DeletionUnconfirmed. This gateway then continues to retry it, and does not serve the list until
// Redis confirms it.
func (g *Gateway) DeleteCachedData(ctx context.Context, client string, q canonical.Query) error {
	r, failure := g.newRead(client, q, "")
	if failure != nil {
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, eraseTimeout+g.Slack)
	defer cancel()
	if g.Config.Cache.Erase(ctx, r.key()) != nil {
		return canonical.NewError(canonical.DeletionUnconfirmed, "")
	}
	return nil
}

// Drain waits until every call in progress has ended, and then at most three seconds for the last
// attempt of each pending Redis write. It returns ctx's error if ctx ends first.
func (g *Gateway) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { g.attendedBalances.Wait(); g.group.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, lastWrites)
	defer cancel()
	results := make(chan error, 1)
	go func() { results <- g.group.Drain(ctx) }()
	return errors.Join(g.Config.Cache.Drain(ctx), <-results)
}

// asError returns a nil error for a nil failure.
func asError(failure *canonical.Error) error {
	if failure == nil {
		return nil
	}
	return failure
}
