package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

// Accounts returns the accounts that the query's consent covers: the cached list if it is fresh enough for the cache
// control, otherwise a list from the provider. If that fails, it may return a stale list with the reason. The error is a
// *canonical.Error. The usage is set with and without an error.
func (g *Gateway) Accounts(ctx context.Context, client string, q canonical.Query, w CacheControl) (AccountsResult, error) {
	b, ok := g.aspsps[q.ASPSP]
	if !ok {
		return AccountsResult{}, unknownASPSP()
	}
	a := &accountsRequest{g: g, aspsp: b, client: client, q: q, control: w, budget: g.newBudget()}
	usage := a.prefetchUsage(ctx)
	list, failure := a.serve(ctx)
	g.Observer.Cache(ctx, b.ID, a.cacheResult(list))
	if !q.Attended() {
		list.Usage = a.responseUsage(ctx, usage, failure)
	}
	return list, asError(failure)
}

// accountsRequest is one request for an account list.
type accountsRequest struct {
	g          *Gateway
	aspsp      *aspsp
	client     string
	q          canonical.Query
	control    CacheControl
	lookupTime time.Time // of the first lookup, by Redis's clock; zero if Redis did not respond
	budget     latencyBudget
	// unreadable means that a fresh list is cached under a key that this gateway does not have. It is not fetched for an
	// unattended request: each gateway would use slots for a list that another one has.
	unreadable   bool
	unknown      bool              // whether a list is cached is unknown: Redis did not respond, or the list is unreadable
	usage        *unattended.Usage // from the counter's last step for this request, or for the request whose call it shared
	usageUnknown bool              // the list is from another request's call, without its usage
}

// responseUsage returns the usage for the response; nil if the counter cannot be read. The prefetched usage is used unless a
// call was made since.
func (a *accountsRequest) responseUsage(ctx context.Context, prefetched <-chan *unattended.Usage, failure *canonical.Error) *unattended.Usage {
	switch {
	case failure != nil && failure.Kind == canonical.CounterUnavailable:
		return nil
	case a.usage != nil:
		return a.usage
	case a.usageUnknown:
		return a.g.readUsage(ctx, latencyBudget{left: a.budget.left, slack: a.budget.slack}, a.q, "")
	}
	return <-prefetched
}

// prefetchUsage reads the usage at the same time as the cache, so that a cache hit takes one round trip.
func (a *accountsRequest) prefetchUsage(ctx context.Context) <-chan *unattended.Usage {
	usage := make(chan *unattended.Usage, 1)
	if !a.q.Attended() {
		go func() {
			defer close(usage)
			defer recovery.Recover(ctx, a.g.Logger)
			usage <- a.g.readUsage(ctx, a.g.newBudget(), a.q, "")
		}()
	}
	return usage
}

// serve returns the cached list or one from the provider, in the order of the contract: cache, call, stale list.
func (a *accountsRequest) serve(ctx context.Context) (AccountsResult, *canonical.Error) {
	cached := a.lookupCached(ctx, nil)
	looked := time.Now() //nolint:forbidigo // measures how much older the list becomes
	switch {
	case a.control.OnlyIfCached && a.control.NoCache:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "`only-if-cached` and `no-cache` exclude each other. Send one of them")
	case a.control.OnlyIfCached && cached == nil && a.unknown:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "No cached account list is available. Repeat without `only-if-cached`")
	case a.control.OnlyIfCached && cached == nil:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "")
	case a.control.OnlyIfCached, cached != nil && !a.control.NoCache && cached.Age < a.maxAge():
		return a.fromCache(cached, NotStale), nil
	}
	if a.unreadable && !a.q.Attended() && !a.control.NoCache {
		return AccountsResult{}, canonical.NewError(canonical.InternalError, "the cached list is encrypted under a key that this gateway does not have")
	}
	fetched, failure, led := a.fetchShared(ctx)
	a.budget = a.budget.smaller(fetched.budget) // a request that shares a call has waited for Redis as long as its leader
	if failure == nil {
		return a.fromProvider(fetched, cached, led), nil
	}
	reason := staleReason(failure.Kind)
	if reason == NotStale || a.control.NoCache {
		return AccountsResult{}, failure
	}
	// Look up again: another request may have invalidated the list since.
	if cached = a.lookupCached(ctx, agedBy(cached, time.Since(looked))); cached == nil { //nolint:forbidigo // as above
		return AccountsResult{}, failure
	}
	return a.fromCache(cached, reason), nil
}

// lookupCached returns the cached list if it may be served; nil if there is none. If Redis does not respond, it returns
// otherwise.
func (a *accountsRequest) lookupCached(ctx context.Context, otherwise *cache.Entry) *cache.Entry {
	type found struct {
		entry *cache.Entry
		now   time.Time
	}
	pending := a.invalidationPending() // before the read: the invalidation may be confirmed between read and check
	got, err := runWithin(ctx, &a.budget, func(ctx context.Context) (f found, err error) {
		f.entry, f.now, err = a.g.Config.Cache.Get(ctx, cacheKey(a.client, a.q))
		return f, err
	})
	a.unknown = err != nil || got.entry != nil && got.entry.Unreadable
	switch {
	case err != nil:
		got.entry = otherwise
	case a.lookupTime.IsZero():
		a.lookupTime = got.now
	}
	if got.entry == nil || pending || !a.servable(got.entry) {
		a.unreadable = got.entry != nil && got.entry.Unreadable && !pending && got.entry.Age < a.maxAge()
		return nil
	}
	return got.entry
}

// agedBy returns the entry as it is after a time; nil for nil.
func agedBy(e *cache.Entry, by time.Duration) *cache.Entry {
	if e == nil {
		return nil
	}
	aged := *e
	aged.Age += by
	return &aged
}

// fetchedList is a list from the provider, with the remaining Redis budget of the request that led its call.
type fetchedList struct {
	sharedResult[cache.Entry]
	budget latencyBudget
}

// fetchShared returns a list that this request or an identical one fetches on this gateway. The last result reports
// whether this request led. It fails with Overloaded if too many requests wait.
func (a *accountsRequest) fetchShared(ctx context.Context) (fetchedList, *canonical.Error, bool) {
	allowed := a.budget // the call may outlive this request
	leave, failure := a.g.admitWaiter(ctx, a.aspsp, a.client)
	if failure != nil {
		return fetchedList{budget: allowed}, failure, false
	}
	defer leave()
	got, failure, led := doOnce(ctx, a.g, a.aspsp, a.flightKey(), func(ctx context.Context) (fetchedList, *canonical.Error) {
		return a.fetchCoalesced(ctx, allowed)
	})
	a.usage, a.usageUnknown = got.usage, failure == nil && got.usage == nil
	return got, failure, led
}

// flightKey is equal for requests that share a call on this gateway. A request that requires a call does not share with one
// that accepts a list which was just stored.
func (a *accountsRequest) flightKey() string {
	more := "any"
	if a.control.NoCache {
		more = "anew"
	}
	return flightKey("accounts", a.client, a.q, more)
}

// fetchCoalesced returns a list by the one call that all gateways make for identical requests.
func (a *accountsRequest) fetchCoalesced(ctx context.Context, redis latencyBudget) (fetchedList, *canonical.Error) {
	got, failure := doShared(ctx, a.g, &redis, sharedCall[cache.Entry]{
		aspsp: a.aspsp, key: cacheKey(a.client, a.q), shareKey: a.shareKey(), counted: !a.q.Attended(),
		acquire: a.acquireLease, call: a.callProvider, onEnd: func() {},
		result: func(e cache.Entry) cache.CallResult {
			return cache.CallResult{Entry: &e, KeepFor: a.aspsp.Accounts.KeepFor, FreshFor: a.aspsp.Accounts.FreshFor}
		},
		withTime:    func(e cache.Entry, at time.Time) cache.Entry { e.FetchedAt = at; return e },
		fromOutcome: func(o cache.LeaderOutcome) *cache.Entry { return a.satisfying(o.Entry) },
	})
	return fetchedList{got, redis}, failure
}

// acquireLease acquires the lease and, in the same step, returns the cached list if it satisfies the request.
func (a *accountsRequest) acquireLease(ctx context.Context, ttl time.Duration) (cache.Lease, *cache.Entry, error) {
	pending := a.invalidationPending()
	lease, cached, err := a.g.Config.Cache.AcquireList(ctx, cacheKey(a.client, a.q), a.shareKey(), ttl)
	if pending {
		cached = nil
	}
	return lease, a.satisfying(cached), err
}

// callProvider reads the list from the provider. It returns the usage after the counter's last step; nil if there was none.
func (a *accountsRequest) callProvider(ctx context.Context, redis *latencyBudget) (entry cache.Entry, usage *unattended.Usage, failure *canonical.Error) {
	one := providerRead{g: a.g, aspsp: a.aspsp, client: a.client, q: a.q}
	usage, failure = one.run(ctx, redis, func(ctx context.Context) error {
		list, err := a.aspsp.Adapter.Accounts(ctx, a.q)
		if err == nil {
			entry.Accounts, err = canonical.EncodeAccounts(list)
		}
		return err
	})
	return entry, usage, failure
}

// satisfying returns the list if it satisfies the request's cache control, and nil otherwise. A list whose call ended after this
// request's first lookup satisfies it, even with no-cache.
func (a *accountsRequest) satisfying(cached *cache.Entry) *cache.Entry {
	if cached == nil || !a.servable(cached) {
		return nil
	}
	fetchedSince := !a.lookupTime.IsZero() && !cached.FetchedAt.Before(a.lookupTime)
	if fetchedSince || !a.control.NoCache && cached.Age < a.maxAge() {
		return cached
	}
	return nil
}

// servable reports whether a list may be served: it can be read, is younger than keepFor, and was not invalidated.
func (a *accountsRequest) servable(cached *cache.Entry) bool {
	return cached.Age < a.aspsp.Accounts.KeepFor && !cached.Unreadable && !a.invalidationPending()
}

// invalidationPending reports whether the list was invalidated and Redis has not confirmed it yet.
func (a *accountsRequest) invalidationPending() bool {
	return a.g.writes.invalidations.Pending(cacheKey(a.client, a.q))
}

// shareKey is equal for requests that may share a call across gateways.
func (a *accountsRequest) shareKey() string {
	kind := "unattended"
	if a.q.Attended() {
		kind = "attended"
	}
	return kind + ":" + shareKeyHash(a.q, "")
}

// maxAge returns the age below which a list is served without a call.
func (a *accountsRequest) maxAge() time.Duration {
	if a.control.MaxAge != nil {
		return min(*a.control.MaxAge, a.aspsp.Accounts.FreshFor)
	}
	return a.aspsp.Accounts.FreshFor
}

func (a *accountsRequest) fromCache(cached *cache.Entry, reason StaleReason) AccountsResult {
	stale := cached.Age >= a.maxAge()
	if !stale {
		reason = NotStale
	}
	return AccountsResult{
		Accounts:  cached.Accounts,
		Freshness: Freshness{Source: FromCache, FetchedAt: cached.FetchedAt, Age: cached.Age, Stale: stale, StaleReason: reason},
		Cache:     CacheStatus{Hit: true, TTL: a.maxAge() - cached.Age},
	}
}

func (a *accountsRequest) fromProvider(f fetchedList, cached *cache.Entry, led bool) AccountsResult {
	forward := ForwardMiss
	switch {
	case a.control.NoCache:
		forward = ForwardRequest
	case cached != nil:
		forward = ForwardStale
	}
	collapsed := f.collapsed || !led
	return AccountsResult{
		Accounts:  f.value.Accounts,
		Freshness: Freshness{Source: FromProvider, FetchedAt: f.value.FetchedAt, Age: f.value.Age},
		Cache:     CacheStatus{Forward: forward, Stored: f.stored && !collapsed, Collapsed: collapsed},
	}
}

// cacheResult returns how the cache was used for the response, for telemetry.
func (a *accountsRequest) cacheResult(list AccountsResult) CacheResult {
	switch {
	case list.Freshness.Stale:
		return CacheStale
	case list.Cache.Hit:
		return CacheHit
	case list.Cache.Collapsed:
		return CacheCollapsed
	case a.unreadable:
		return CacheUnreadable
	case a.control.NoCache:
		return CacheBypass
	case a.budget.broken:
		return CacheError
	}
	return CacheMiss
}
