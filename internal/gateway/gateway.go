// Package gateway answers queries: it knows how fresh an answer must be, makes one call for many equal requests,
// and answers what is kept when no call can be made. internal/api calls it; it calls the providers.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

// A Bank is one configured ASPSP and how it is read.
type ASPSP struct {
	config.ASPSP
	Adapter providers.Provider
	Timeout time.Duration // of one upstream read, as its provider has it
}

// Config is what a gateway is made of.
type Config struct {
	ASPSPs           []ASPSP
	Cache            *cache.Cache
	Counter          *unattended.Counter
	RedisBudget      time.Duration // RedisAllowance
	Slack            time.Duration // is added to every other bound on a step in Redis: 0 but in tests, which are patient with a busy machine
	Now              func() time.Time
	Logger           *slog.Logger
	Observer         Observer
	MaxWaiting       int // requests that may wait for ASPSPs at once; below 1 for no bound
	MaxPerClient     int // of one client; likewise
	MaxCallsPerASPSP int // calls that may be under way to one ASPSP, likewise
}

// An Observer is told what becomes of requests, never of their content.
type Observer interface {
	Cache(ctx context.Context, aspsp string, r CacheResult)
	Breaker(aspsp string, s breaker.State)
	// Waited reports how long a request waited for an ASPSP, by its own call or by a shared one.
	Waited(ctx context.Context, d time.Duration)
	// Refused is told of a request or call to an ASPSP that found no place under a bound.
	Refused(ctx context.Context, aspsp string, by bulkhead.Refusal)
}

// CacheResult is what the cache had to do with an answer.
type CacheResult string

// What the cache may have to do with an answer.
const (
	CacheHit        CacheResult = "hit"        // answered, fresh
	CacheStale      CacheResult = "stale"      // answered, because no call could be made
	CacheMiss       CacheResult = "miss"       // nothing fresh was kept
	CacheBypass     CacheResult = "bypass"     // the caller demanded a call
	CacheCollapsed  CacheResult = "collapsed"  // another request's call was shared
	CacheError      CacheResult = "error"      // Redis did not answer in time
	CacheUnreadable CacheResult = "unreadable" // a fresh list is cached under a key that this gateway does not have
)

// erasePause is the pause between two attempts of a deletion that a caller waits for.
const erasePause = 100 * time.Millisecond

// A Gateway answers queries. It is safe for concurrent use.
type Gateway struct {
	Config
	banks   map[string]*bank
	flights singleflight.Group
	running sync.WaitGroup
	writes  *writes
	waits   *bulkhead.FairShare         // by ASPSP
	own     *bulkhead.FairSharePerOwner // by client and ASPSP
	calls   *bulkhead.PerKey            // of an ASPSP, in progress
	clients *bulkhead.FairSharePerOwner // calls in progress, by client and ASPSP
}

type bank struct {
	ASPSP
	checker providers.Checker // nil where the provider demands nothing more
	breaker *breaker.Breaker
}

// New makes a gateway. Every member of the configuration is needed.
func New(c Config) *Gateway {
	g := &Gateway{
		Config: c, banks: map[string]*bank{}, writes: newWrites(c.Slack, c.Logger),
		waits: bulkhead.NewFairShare(c.MaxWaiting, 1), own: bulkhead.NewFairSharePerOwner(c.MaxPerClient, 4), calls: bulkhead.NewPerKey(c.MaxCallsPerASPSP),
		clients: bulkhead.NewFairSharePerOwner(c.MaxPerClient, 4),
	}
	for _, b := range c.ASPSPs {
		checker, _ := b.Adapter.(providers.Checker)
		changed := func(s breaker.State) { c.Observer.Breaker(b.ID, s) }
		g.banks[b.ID] = &bank{ASPSP: b, checker: checker, breaker: breaker.New(b.ASPSP.Breaker, b.Timeout, c.Now, changed)}
	}
	return g
}

// ASPSPs are the configured ASPSPs, in the order of the configuration.
func (g *Gateway) ASPSPs() []ASPSPInfo {
	all := make([]ASPSPInfo, len(g.Config.ASPSPs))
	for i, b := range g.Config.ASPSPs {
		all[i], _ = g.ASPSP(b.ID)
	}
	return all
}

// ASPSP is one configured ASPSP, by its id in lower case.
func (g *Gateway) ASPSP(id string) (ASPSPInfo, bool) {
	b, ok := g.banks[id]
	if !ok {
		return ASPSPInfo{}, false
	}
	return ASPSPInfo{ID: b.ID, Name: b.Name, Provider: b.Provider, Unattended: b.Unattended, Breaker: b.breaker.State()}, true
}

// Check names what the query's provider would miss in it, beyond what every provider needs.
func (g *Gateway) Check(q canonical.Query) []canonical.FieldError {
	if b, ok := g.banks[q.ASPSP]; ok && b.checker != nil {
		return b.checker.Check(q)
	}
	return nil
}

// UnattendedAccess reads where the unit of counting stands to which the query's unattended calls belong:
// account's balances, or the account list for "". It costs nothing.
func (g *Gateway) UnattendedAccess(ctx context.Context, q canonical.Query, account string) (unattended.Usage, error) {
	if _, ok := g.banks[q.ASPSP]; !ok {
		return unattended.Usage{}, unknown()
	}
	return g.Counter.Usage(ctx, unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent, Account: account})
}

// Forget deletes what is cached for the client under the query's consent. It releases no slots. If Redis does not confirm
// the deletion within two seconds, it fails with DeletionUnconfirmed.
func (g *Gateway) Forget(ctx context.Context, client string, q canonical.Query) error {
	if _, ok := g.banks[q.ASPSP]; !ok {
		return unknown()
	}
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout+g.Slack)
	defer cancel()
	lists, key := g.Config.Cache, keyOf(client, q)
	// A command fails before that time is over, for example in a failover. A deletion may be made twice.
	for lists.Erase(ctx, key) != nil {
		select {
		case <-ctx.Done():
			return &canonical.Error{
				Kind: canonical.DeletionUnconfirmed, Origin: canonical.OriginGateway, RetryAfter: time.Second,
			}
		case <-time.After(erasePause):
		}
	}
	return nil
}

// Drain waits until every call in progress has ended, and makes the last attempt of each pending Redis write. It returns
// ctx's error if ctx ends first.
func (g *Gateway) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { g.running.Wait(); close(done) }()
	select {
	case <-done:
		return errors.Join(g.writes.drain(ctx), g.Counter.Drain(ctx))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guard makes one read of a query for a client under the bank's breaker, within the limits of calls per ASPSP and per client. A panic
// in an adapter becomes an InternalError, so that one response does not end the process.
func (g *Gateway) guard(ctx context.Context, b *bank, client string, q canonical.Query, read func() error) *canonical.Error {
	leave, failure := g.enter(ctx, b, client)
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

// limit reads the usage of a unit for a response; nil if it cannot be read in time.
func (g *Gateway) limit(ctx context.Context, redis allowance, q canonical.Query, account string) *unattended.Usage {
	state, err := spend(context.WithoutCancel(ctx), &redis, func(ctx context.Context) (unattended.Usage, error) {
		return g.UnattendedAccess(ctx, q, account)
	})
	if err != nil {
		return nil
	}
	return &state
}

func keyOf(client string, q canonical.Query) cache.Key {
	return cache.Key{Client: client, ASPSP: q.ASPSP, Consent: canonical.NormalizeID(q.Consent)}
}

func unknown() *canonical.Error {
	return canonical.NewError(canonical.ASPSPUnknown, "")
}

// asError keeps a nil failure a nil error.
func asError(failure *canonical.Error) error {
	if failure == nil {
		return nil
	}
	return failure
}
