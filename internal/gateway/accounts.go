package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/store/steps"
)

// Accounts returns the accounts that the query's consent covers: the cached list if it is fresh
// enough for the cache control, otherwise a list from the provider. If that fails, it may return a
// stale list with the reason. The error is a *canonical.Error. The use of the cache is set also with
// an error, and so is the usage of an unattended request, if it could be read.
func (g *Gateway) Accounts(ctx context.Context, client string, q canonical.Query, control CacheControl) (AccountsResult, error) {
	read, failure := g.newRead(client, q, "")
	if failure != nil {
		return AccountsResult{}, failure
	}
	a := &accountsRequest{providerRead: read, control: control}
	result, failure := a.do(ctx)
	return result, asError(failure)
}

// AccountsWithBalances returns the accounts as Accounts does, and their balances, always from one
// call, whose list is cached. If the call fails, it may return the cached list without balances, and
// the failure of the call in the result. The ASPSP must have the capability ListWithBalances.
func (g *Gateway) AccountsWithBalances(ctx context.Context, client string, q canonical.Query, control CacheControl) (AccountsResult, error) {
	read, failure := g.newRead(client, q, "")
	if failure != nil {
		return AccountsResult{}, failure
	}
	a := &accountsRequest{providerRead: read, control: control, withBalances: true}
	result, failure := a.do(ctx)
	if result.BalancesFailure = a.shared.Failure; a.shared.Failure == nil && a.shared.Entry != nil {
		result.Balances = a.shared.Entry.AllBalances
	}
	return result, asError(failure)
}

// CachedList returns what is cached for an account list, in one round trip and without a call. Its
// error is a *canonical.Error; if Redis does not respond, the result is empty.
func (g *Gateway) CachedList(ctx context.Context, client string, q canonical.Query, control CacheControl) (CachedList, error) {
	read, failure := g.newRead(client, q, "")
	if failure != nil {
		return CachedList{}, failure
	}
	a := &accountsRequest{providerRead: read, control: control}
	found, err := steps.Do(ctx, &a.budget, func(ctx context.Context) (cache.Found, error) {
		return g.Config.Cache.LookUp(ctx, a.key(), a.options().Lookup)
	})
	var result CachedList
	if err == nil {
		fresh, failure := a.Record(found)
		result = CachedList{Pages: max(found.Memory.Pages, 1), RefusedWith: found.Memory.RefusedWith, Failure: failure}
		if a.cached != nil {
			result.List, result.Found, result.Fresh = a.fromCache(a.cached, NoReason), true, fresh
		}
	}
	return result, nil
}

// do serves the request, and completes the result.
func (a *accountsRequest) do(ctx context.Context) (AccountsResult, *canonical.Error) {
	a.prefetchUsage(ctx)
	result, failure := a.serve(ctx)
	result.CacheResult = a.cacheResult(result)
	result.Usage = a.responseUsage(ctx, a.shared, failure)
	return result, failure
}

// accountsRequest is one request for an account list. It is a coalesce.Request.
type accountsRequest struct {
	providerRead
	control      CacheControl
	withBalances bool         // the call reads the balances too, so that no cached list satisfies the request
	cached       *cache.Entry // the list that was found; nil if there is none that may be served
	foundAt      time.Time    // when it was found, by the process's clock
	firstLookup  time.Time    // when the first lookup was made, by Redis's clock; zero if Redis did not respond
	hadList      bool         // whether the first lookup found a list that may be served
	// unreadable means that a fresh list is cached under a key that this gateway does not have. It
	// is not fetched for an unattended request: each gateway would use slots for a list that
	// another one has.
	unreadable bool
	noLease    bool // Redis refused to store a lease
	shared     coalesce.Shared
}

// serve returns the cached list or one from the provider, in the order of the contract: cache,
// call, stale list. Do looks up the list (Record) and admits the request (Admit); then it leads the
// call (Call) or waits for another one (Satisfies).
func (a *accountsRequest) serve(ctx context.Context) (AccountsResult, *canonical.Error) {
	if a.control.OnlyIfCached {
		return a.serveCached(ctx)
	}
	failure := a.checkUser()
	if failure == nil {
		a.shared, failure = a.share(ctx, a.options(), a)
	}
	a.shared.Failure = failure
	switch {
	case failure == nil && a.shared.Hit:
		return a.fromCache(a.shared.Entry, NoReason), nil
	case failure == nil:
		return a.fromProvider(), nil
	}
	reason := StaleReasonOf(failure.Kind)
	if reason == NoReason || a.control.NoCache {
		return AccountsResult{}, failure
	}
	// Look up again: another request may have invalidated the list since. Without a call, this is the
	// first lookup, and the list may be fresh.
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
	switch known := a.readList(ctx); {
	case a.cached != nil:
		return a.fromCache(a.cached, NoReason), nil
	case !known:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "No cached account list is available. Repeat without `only-if-cached`")
	}
	return AccountsResult{}, canonical.NewError(canonical.NotCached, "")
}

// readList looks up the list without acquiring a lease. If Redis does not respond, the list that
// was found before stays. It is unknown whether there is a list if Redis does not respond, or if the
// list is unreadable.
func (a *accountsRequest) readList(ctx context.Context) (known bool) {
	entry, err := steps.Do(ctx, &a.budget, func(ctx context.Context) (*cache.Entry, error) {
		entry, _, err := a.g.Config.Cache.Get(ctx, a.key())
		return entry, err
	})
	switch {
	case err == nil:
		a.useEntry(entry)
		return entry == nil || !entry.Unreadable
	case a.cached == nil:
	case a.g.Config.Cache.InvalidationPending(a.key()):
		a.cached = nil
	default:
		aged := *a.cached
		aged.Age += time.Since(a.foundAt) //nolint:forbidigo // measures how much older the list has become
		a.useEntry(&aged)
	}
	return false
}

// useEntry records the list that Redis returned.
func (a *accountsRequest) useEntry(entry *cache.Entry) {
	a.cached, a.unreadable, a.foundAt = nil, false, time.Now() //nolint:forbidigo // measures how much older the list becomes
	switch {
	case entry == nil:
	case entry.Unreadable:
		a.unreadable = entry.Age < a.aspsp.Accounts.FreshFor // also if max-age is shorter: Redis would not replace the list
	case entry.Age < a.aspsp.Accounts.KeepFor:
		a.cached = entry
	}
}

// options returns how the request shares a call, and what it needs to know before it.
func (a *accountsRequest) options() coalesce.Options {
	o := a.providerRead.options()
	if a.control.NoCache {
		o.Call.ShareKey = "anew-" + o.Call.ShareKey // requests that require a call share with each other only
	}
	o.Lookup.List = true
	switch {
	case a.withBalances:
		o.Call.ShareKey = "with-balances-" + o.Call.ShareKey
	case !a.control.NoCache:
		o.Lookup.MaxAge = a.maxAge()
	}
	return o
}

// Record stores the reply of the lookup. It reports whether the cached list satisfies the request.
func (a *accountsRequest) Record(found cache.Found) (satisfied bool, failure *canonical.Error) {
	if !found.Responded() {
		return false, nil
	}
	a.useEntry(found.Entry)
	a.memory, a.noLease = found.Memory, found.NoLease
	satisfied = a.Satisfies(a.cached)
	if a.firstLookup.IsZero() {
		a.firstLookup, a.hadList = found.Now, a.cached != nil
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
	if list == nil || list.Unreadable || list.Age >= a.aspsp.Accounts.KeepFor || a.withBalances && list.AllBalances == nil {
		return false
	}
	fetchedSince := !a.firstLookup.IsZero() && !list.FetchedAt.Before(a.firstLookup)
	return fetchedSince || !a.control.NoCache && list.Age < a.maxAge()
}

// Call reads the list from the provider.
func (a *accountsRequest) Call(ctx context.Context) cache.CallResult {
	var entry cache.Entry
	result := a.readProvider(ctx, func(ctx context.Context) (err error) {
		var accounts []canonical.Account
		if a.withBalances {
			var read []canonical.AccountWithBalances
			read, err = a.aspsp.Adapter.(providers.ListerWithBalances).AccountsWithBalances(ctx, a.q)
			accounts, entry.AllBalances = cache.SplitBalances(read)
		} else {
			accounts, err = a.aspsp.Adapter.Accounts(ctx, a.q)
		}
		if err == nil {
			entry.Accounts, err = a.g.Config.Cache.EncodeList(a.key(), accounts)
		}
		return err
	})
	if result.Failure == nil {
		result.Entry = &entry
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

func (a *accountsRequest) fromCache(cached *cache.Entry, reason StaleReason) AccountsResult {
	stale := cached.Age >= a.maxAge()
	if !stale {
		reason = NoReason
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
	case a.budget.Ended(), a.noLease:
		return CacheError
	}
	return CacheMiss
}
