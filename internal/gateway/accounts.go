package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/store/steps"
	"ais-gateway/internal/unattended"
)

// Accounts returns the accounts that the query's consent covers: the cached list if it is fresh
// enough for the cache control, otherwise a list from the provider. If that fails, it may return a
// stale list with the reason. The error is a *canonical.Error. The use of the cache is set also with
// an error, and so is the usage of an unattended request, if it could be read.
func (g *Gateway) Accounts(ctx context.Context, client string, q canonical.Query, control CacheControl) (AccountsResult, error) {
	b, ok := g.aspsps[q.ASPSP]
	if !ok {
		return AccountsResult{}, unknownASPSP()
	}
	prefetched := g.prefetchUsage(ctx, q)
	read := providerRead{g: g, aspsp: b, client: client, q: q, usage: prefetched}
	a := &accountsRequest{providerRead: read, control: control, budget: steps.NewBudget(g.RedisBudget)}
	result, failure := a.serve(ctx)
	result.CacheResult = a.cacheResult(result)
	if !q.Attended() {
		result.Usage = a.responseUsage(ctx, prefetched, failure)
	}
	return result, asError(failure)
}

// accountsRequest is one request for an account list. It is a coalesce.Request.
type accountsRequest struct {
	providerRead
	control    CacheControl
	budget     steps.Budget
	cached     *cache.Entry // the list that was found; nil if there is none that may be served
	readAt     time.Time    // when it was found
	lookupTime time.Time    // of the first lookup, by Redis's clock; zero if Redis did not respond
	hadList    bool         // whether the first lookup found a list that may be served
	// unreadable means that a fresh list is cached under a key that this gateway does not have. It
	// is not fetched for an unattended request: each gateway would use slots for a list that
	// another one has.
	unreadable bool
	unknown    bool // whether a list is cached is unknown: Redis did not respond, or the list is unreadable
	noLease    bool // Redis refused to store a lease
	shared     coalesce.Shared
}

// serve returns the cached list or one from the provider, in the order of the contract: cache,
// call, stale list.
func (a *accountsRequest) serve(ctx context.Context) (AccountsResult, *canonical.Error) {
	if a.control.OnlyIfCached {
		return a.serveCached(ctx)
	}
	var failure *canonical.Error
	a.shared, failure = a.g.calls.Do(ctx, a.options(), a)
	switch {
	case failure == nil && a.shared.Hit:
		return a.fromCache(a.shared.Entry, NotStale), nil
	case failure == nil:
		return a.fromProvider(), nil
	}
	reason := staleReason(failure.Kind)
	if reason == NotStale || a.control.NoCache {
		return AccountsResult{}, failure
	}
	// Look up again: another request may have invalidated the list since.
	if a.readList(ctx); a.cached == nil {
		return AccountsResult{}, failure
	}
	return a.fromCache(a.cached, reason), nil
}

// serveCached returns the cached list, however old it is. It fails with NotCached.
func (a *accountsRequest) serveCached(ctx context.Context) (AccountsResult, *canonical.Error) {
	if a.control.NoCache {
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "`only-if-cached` and `no-cache` exclude each other. Send one of them")
	}
	switch a.readList(ctx); {
	case a.cached != nil:
		return a.fromCache(a.cached, NotStale), nil
	case a.unknown:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "No cached account list is available. Repeat without `only-if-cached`")
	}
	return AccountsResult{}, canonical.NewError(canonical.NotCached, "")
}

// readList looks up the list without acquiring a lease. If Redis does not respond, the list that
// was found before stays.
func (a *accountsRequest) readList(ctx context.Context) {
	entry, err := steps.Do(ctx, &a.budget, func(ctx context.Context) (*cache.Entry, error) {
		entry, _, err := a.g.Config.Cache.Get(ctx, a.key())
		return entry, err
	})
	if err == nil {
		a.useEntry(entry)
		return
	}
	a.unknown = true
	if a.cached == nil || a.g.Config.Cache.InvalidationPending(a.key()) {
		a.cached = nil
		return
	}
	aged := *a.cached
	aged.Age += time.Since(a.readAt) //nolint:forbidigo // measures how much older the list has become
	a.useEntry(&aged)
}

// useEntry records the list that Redis returned.
func (a *accountsRequest) useEntry(entry *cache.Entry) {
	a.cached, a.readAt = nil, time.Now() //nolint:forbidigo // measures how much older the list becomes
	a.unknown = entry != nil && entry.Unreadable
	a.unreadable = a.unknown && entry.Age < a.aspsp.Accounts.FreshFor // also if max-age is shorter: Redis would not replace the list
	if entry != nil && !entry.Unreadable && entry.Age < a.aspsp.Accounts.KeepFor {
		a.cached = entry
	}
}

// options returns how the request shares a call, and what it needs to know before it.
func (a *accountsRequest) options() coalesce.Options {
	o := a.providerRead.options(&a.budget)
	if a.control.NoCache {
		o.Call.ShareKey = "anew-" + o.Call.ShareKey // requests that require a call share with each other only
	}
	o.Lookup.List = true
	if !a.control.NoCache {
		o.Lookup.MaxAge = a.maxAge()
	}
	return o
}

// Record stores the reply of the lookup. It reports whether the cached list satisfies the request.
func (a *accountsRequest) Record(found cache.Found) (satisfied bool, failure *canonical.Error) {
	if !found.Answered() {
		a.unknown = true
		return false, nil
	}
	a.useEntry(found.Entry)
	a.memory, a.noLease = found.Memory, found.NoLease
	satisfied = a.Satisfies(a.cached)
	if a.lookupTime.IsZero() {
		a.lookupTime, a.hadList = found.Now, a.cached != nil
	} else {
		a.usage = nil
	}
	if a.unreadable && !a.q.Attended() && !a.control.NoCache {
		failure = canonical.NewError(canonical.InternalError, "the cached list is encrypted under a key that this gateway does not have")
	}
	return satisfied, failure
}

// Satisfies reports whether a list satisfies the request's cache control. A list whose call ended
// after this request's first lookup satisfies it, even with no-cache.
func (a *accountsRequest) Satisfies(list *cache.Entry) bool {
	if list == nil || list.Unreadable || list.Age >= a.aspsp.Accounts.KeepFor {
		return false
	}
	fetchedSince := !a.lookupTime.IsZero() && !list.FetchedAt.Before(a.lookupTime)
	return fetchedSince || !a.control.NoCache && list.Age < a.maxAge()
}

// Call reads the list from the provider.
func (a *accountsRequest) Call(ctx context.Context) cache.CallResult {
	var list []byte
	result := a.call(ctx, func(ctx context.Context) error {
		accounts, err := a.aspsp.Adapter.Accounts(ctx, a.q)
		if err == nil {
			list, err = canonical.EncodeAccounts(accounts)
		}
		return err
	})
	if result.Failure == nil {
		result.Entry = &cache.Entry{Accounts: list}
	}
	result.KeepFor, result.FreshFor = a.aspsp.Accounts.KeepFor, a.aspsp.Accounts.FreshFor
	return result
}

// maxAge returns the age below which a list is served without a call.
func (a *accountsRequest) maxAge() time.Duration {
	if a.control.MaxAge != nil {
		return min(*a.control.MaxAge, a.aspsp.Accounts.FreshFor)
	}
	return a.aspsp.Accounts.FreshFor
}

// responseUsage returns the usage for the response; nil if the counter cannot be read. It is that of
// the call's last step of the counter. If no call was made, it is the prefetched one. After a call
// whose last step Redis has not confirmed, it is read again.
func (a *accountsRequest) responseUsage(ctx context.Context, prefetched *steps.Pending[unattended.Usage], failure *canonical.Error) *unattended.Usage {
	switch {
	case failure != nil && failure.Kind == canonical.CounterUnavailable:
		return nil
	case a.shared.Usage != nil:
		return a.shared.Usage
	case !a.shared.Hit && (a.shared.Entry != nil || a.shared.Failure != nil) && !beforeCall(a.shared.Failure):
		return a.g.readUsage(ctx, a.budget, a.q, "")
	}
	usage, err := prefetched.Wait(context.WithoutCancel(ctx))
	if err != nil {
		return nil
	}
	return &usage
}

// beforeCall reports whether a failure is that of a call that was not made: because of a remembered
// refusal, of an open breaker, or of a concurrency limit.
func beforeCall(failure *canonical.Error) bool {
	if failure == nil || failure.Origin != canonical.OriginGateway {
		return false
	}
	return isRefusal(failure.Kind) || failure.Kind == canonical.ProviderUnavailable || failure.Kind == canonical.Overloaded
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

func (a *accountsRequest) fromProvider() AccountsResult {
	forward := ForwardMiss
	switch {
	case a.control.NoCache:
		forward = ForwardRequest
	case a.hadList:
		forward = ForwardStale
	}
	list := a.shared.Entry
	return AccountsResult{
		Accounts:  list.Accounts,
		Freshness: Freshness{Source: FromProvider, FetchedAt: list.FetchedAt, Age: list.Age},
		Cache:     CacheStatus{Forward: forward, Stored: a.shared.Stored, Collapsed: !a.shared.Led},
	}
}

// cacheResult returns how the cache was used for the request.
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
	case a.budget.Failed(), a.noLease:
		return CacheError
	}
	return CacheMiss
}
