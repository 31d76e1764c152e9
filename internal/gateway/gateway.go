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
	"ais-gateway/internal/recovery"
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
	// eraseTimeout is how long the request for a deletion waits for Redis, and erasePause the pause
	// between two attempts.
	eraseTimeout = 2 * time.Second
	erasePause   = 100 * time.Millisecond
	// lastWrites is how long a gateway that drains waits for the last attempts of pending writes.
	lastWrites = 3 * time.Second
)

// A Gateway serves queries. It is safe for concurrent use.
type Gateway struct {
	Config
	aspsps        map[string]*aspsp
	workers       *steps.Workers
	calls         *coalesce.Group
	running       sync.WaitGroup              // attended balances, which share no call
	aspspWaiters  *bulkhead.FairShare         // waiting requests by ASPSP
	clientWaiters *bulkhead.FairSharePerOwner // waiting requests by client and ASPSP
	aspspCalls    *bulkhead.PerKey            // calls in progress by ASPSP
	clientCalls   *bulkhead.FairSharePerOwner // calls in progress by client and ASPSP
}

type aspsp struct {
	ASPSP
	checker providers.Checker // nil if the adapter is none
	breaker *breaker.Breaker
}

// New returns a Gateway.
func New(c Config) *Gateway {
	workers := steps.NewWorkers()
	g := &Gateway{
		Config: c, aspsps: map[string]*aspsp{}, workers: workers,
		calls:        coalesce.New(coalesce.Config{Cache: c.Cache, Workers: workers, Slack: c.Slack, Now: c.Now, Logger: c.Logger}),
		aspspWaiters: bulkhead.NewFairShare(c.MaxWaiting, 1), clientWaiters: bulkhead.NewFairSharePerOwner(c.MaxPerClient, 4), aspspCalls: bulkhead.NewPerKey(c.MaxCallsPerASPSP),
		clientCalls: bulkhead.NewFairSharePerOwner(c.MaxPerClient, 4),
	}
	for _, b := range c.ASPSPs {
		checker, _ := b.Adapter.(providers.Checker)
		changed := func(s breaker.State) { c.Observer.Breaker(b.ID, s) }
		g.aspsps[b.ID] = &aspsp{ASPSP: b, checker: checker, breaker: breaker.New(b.ASPSP.Breaker, b.Timeout, c.Now, changed)}
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
	return ASPSPInfo{ID: b.ID, Name: b.Name, Provider: b.Provider, Unattended: b.Unattended, Breaker: b.breaker.State()}, true
}

// Check returns the faults of a query under the additional rules of its provider.
func (g *Gateway) Check(q canonical.Query) []canonical.FieldError {
	if b, ok := g.aspsps[q.ASPSP]; ok && b.checker != nil {
		return b.checker.Check(q)
	}
	return nil
}

// UnattendedAccess returns the usage of the unit that counts the query's unattended calls: of the
// account's balances, or of the account list for "". It takes no slot. It fails with
// CounterUnavailable.
func (g *Gateway) UnattendedAccess(ctx context.Context, q canonical.Query, account string) (unattended.Usage, error) {
	if _, ok := g.aspsps[q.ASPSP]; !ok {
		return unattended.Usage{}, unknownASPSP()
	}
	return g.Counter.Usage(ctx, unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent, Account: account})
}

// DeleteCachedData deletes all cached data of the client for the query's consent. It releases no
// slots. If Redis does not confirm the deletion within two seconds, it fails with
// DeletionUnconfirmed. This gateway then continues to retry it, and does not serve the list until
// Redis confirms it.
func (g *Gateway) DeleteCachedData(ctx context.Context, client string, q canonical.Query) error {
	if _, ok := g.aspsps[q.ASPSP]; !ok {
		return unknownASPSP()
	}
	ctx, cancel := context.WithTimeout(ctx, eraseTimeout+g.Slack)
	defer cancel()
	lists, key := g.Config.Cache, cacheKey(client, q)
	// A command may fail earlier, for example in a failover. Repeating a deletion is safe.
	for lists.Erase(ctx, key) != nil {
		select {
		case <-ctx.Done():
			lists.EraseEventually(key)
			return &canonical.Error{
				Kind: canonical.DeletionUnconfirmed, Origin: canonical.OriginGateway, RetryAfter: time.Second,
			}
		case <-time.After(erasePause):
		}
	}
	return nil
}

// Drain waits until every call in progress has ended, and then at most three seconds for the last
// attempt of each pending Redis write. It returns ctx's error if ctx ends first.
func (g *Gateway) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { g.running.Wait(); g.calls.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, lastWrites)
	defer cancel()
	results := make(chan error, 1)
	go func() { results <- g.calls.Drain(ctx) }()
	return errors.Join(g.Config.Cache.Drain(ctx), <-results)
}

// callProvider makes one read through the ASPSP's breaker and the concurrency limits. A panic in an
// adapter becomes InternalError, so that one response does not end the process.
func (g *Gateway) callProvider(ctx context.Context, b *aspsp, client string, q canonical.Query, read func() error) *canonical.Error {
	leave, failure := g.admitCall(ctx, b, client)
	if failure != nil {
		return failure
	}
	defer leave()
	err := b.breaker.Do(q.Consent, func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				recovery.Log(ctx, g.Logger, r, slog.String("provider", b.Provider))
				err = canonical.NewError(canonical.InternalError, "")
			}
		}()
		return read()
	})
	if err != nil && !errors.As(err, &failure) {
		return canonical.NewError(canonical.InternalError, "")
	}
	return failure
}

// readUsage returns the usage of a unit for a response; nil if it cannot be read within the budget.
func (g *Gateway) readUsage(ctx context.Context, budget steps.Budget, q canonical.Query, account string) *unattended.Usage {
	usage, err := steps.Do(context.WithoutCancel(ctx), &budget, func(ctx context.Context) (unattended.Usage, error) {
		return g.UnattendedAccess(ctx, q, account)
	})
	if err != nil {
		return nil
	}
	return &usage
}

// prefetchUsage starts to read the usage of an account list's unit, so that a cache hit takes one
// round trip; nil if the request is attended.
func (g *Gateway) prefetchUsage(ctx context.Context, q canonical.Query) *steps.Pending[unattended.Usage] {
	if q.Attended() {
		return nil
	}
	return steps.Begin(ctx, g.workers, g.RedisBudget, func(ctx context.Context) (unattended.Usage, error) {
		return g.UnattendedAccess(ctx, q, "")
	})
}

func cacheKey(client string, q canonical.Query) cache.Key {
	return cache.Key{Client: client, ASPSP: q.ASPSP, Consent: canonical.NormalizeID(q.Consent)}
}

func unknownASPSP() *canonical.Error {
	return canonical.NewError(canonical.ASPSPUnknown, "")
}

// asError returns a nil error for a nil failure.
func asError(failure *canonical.Error) error {
	if failure == nil {
		return nil
	}
	return failure
}
