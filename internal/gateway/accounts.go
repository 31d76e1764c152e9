package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

// Accounts answers the accounts that the query's consent covers, for a client, by the client's wants.
func (g *Gateway) Accounts(ctx context.Context, client string, q canonical.Query, w CacheControl) (AccountsResult, error) {
	b, ok := g.banks[q.ASPSP]
	if !ok {
		return AccountsResult{}, unknown()
	}
	a := &ask{g: g, bank: b, client: client, q: q, wants: w, redis: g.allowance()}
	beside := a.limitBeside(ctx)
	list, failure := a.answer(ctx)
	g.Observer.Cache(ctx, b.ID, a.result(list))
	if !q.Attended() {
		list.Usage = a.limit(ctx, beside, failure)
	}
	return list, asError(failure)
}

// An ask is one request for an account list on its way.
type ask struct {
	g      *Gateway
	bank   *bank
	client string
	q      canonical.Query
	wants  CacheControl
	looked time.Time // when it first looked at what is kept, by Redis's clock; zero if Redis did not say
	redis  allowance
	// unreadable says that a list is cached which would do without a call, if this gateway had its key. It is not fetched
	// for an unattended request: with a key of its own, each gateway would spend slots on what another one has.
	unreadable bool
	unknown    bool              // it is not known whether a list is cached: Redis did not say, or the list is unreadable
	usage      *unattended.Usage // after the counter's last step for it, or for the request whose call it shared
	shared     bool              // it got a list of another request's call whose usage it does not know
}

// limit returns the usage for the response; nil if the counter cannot be read. It is read again only if a call was made
// since it was read beside the cache.
func (a *ask) limit(ctx context.Context, beside <-chan *unattended.Usage, failure *canonical.Error) *unattended.Usage {
	switch {
	case failure != nil && failure.Kind == canonical.CounterUnavailable:
		return nil
	case a.usage != nil:
		return a.usage
	case a.shared:
		return a.g.limit(ctx, allowance{left: a.redis.left, slack: a.redis.slack}, a.q, "")
	}
	return <-beside
}

// limitBeside reads the usage while the cache is looked at, so that a hit costs one round trip.
func (a *ask) limitBeside(ctx context.Context) <-chan *unattended.Usage {
	beside := make(chan *unattended.Usage, 1)
	if !a.q.Attended() {
		go func() {
			defer close(beside)
			defer recovery.Recover(ctx, a.g.Logger)
			beside <- a.g.limit(ctx, a.g.allowance(), a.q, "")
		}()
	}
	return beside
}

func (a *ask) answer(ctx context.Context) (AccountsResult, *canonical.Error) {
	kept := a.lookup(ctx, nil)
	looked := time.Now() //nolint:forbidigo // what is measured is how much older the list grows
	switch {
	case a.wants.OnlyIfCached && a.wants.NoCache:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "`only-if-cached` and `no-cache` exclude each other. Send one of them")
	case a.wants.OnlyIfCached && kept == nil && a.unknown:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "No cached account list is available. Repeat without `only-if-cached`")
	case a.wants.OnlyIfCached && kept == nil:
		return AccountsResult{}, canonical.NewError(canonical.NotCached, "")
	case a.wants.OnlyIfCached, kept != nil && !a.wants.NoCache && kept.Age < a.lifetime():
		return a.fromCache(kept, NotStale), nil
	}
	if a.unreadable && !a.q.Attended() && !a.wants.NoCache {
		return AccountsResult{}, canonical.NewError(canonical.InternalError, "the cached list is encrypted under a key that this gateway does not have")
	}
	fetched, failure, led := a.share(ctx)
	a.redis = a.redis.least(fetched.redis) // whoever shares a call has waited for what it spent
	if failure == nil {
		return a.fromProvider(fetched, kept, led), nil
	}
	reason := staleReason(failure.Kind)
	if reason == NotStale || a.wants.NoCache {
		return AccountsResult{}, failure
	}
	// Looked up again: meanwhile the provider may have said no to another request, or the user to the client.
	if kept = a.lookup(ctx, older(kept, time.Since(looked))); kept == nil { //nolint:forbidigo // as above
		return AccountsResult{}, failure
	}
	return a.fromCache(kept, reason), nil
}

// lookup is what is kept and may still be answered, or otherwise if Redis does not say.
func (a *ask) lookup(ctx context.Context, otherwise *cache.Entry) *cache.Entry {
	type found struct {
		entry *cache.Entry
		now   time.Time
	}
	doomed := a.doomed() // what is read now may be told to Redis before it is looked at
	got, err := spend(ctx, &a.redis, func(ctx context.Context) (f found, err error) {
		f.entry, f.now, err = a.g.Config.Cache.Get(ctx, keyOf(a.client, a.q))
		return f, err
	})
	a.unknown = err != nil || got.entry != nil && got.entry.Unreadable
	switch {
	case err != nil:
		got.entry = otherwise
	case a.looked.IsZero():
		a.looked = got.now
	}
	if got.entry == nil || doomed || !a.mayAnswer(got.entry) {
		a.unreadable = got.entry != nil && got.entry.Unreadable && !doomed && got.entry.Age < a.lifetime()
		return nil
	}
	return got.entry
}

// older is the entry after a time.
func older(e *cache.Entry, by time.Duration) *cache.Entry {
	if e == nil {
		return nil
	}
	aged := *e
	aged.Age += by
	return &aged
}

// fetched is a list that was obtained, and what is left of the allowance of the ask that led its call.
type fetched struct {
	obtained[cache.Entry]
	redis allowance
}

// share gets the list by a flight, if there is a place to wait for it.
func (a *ask) share(ctx context.Context) (fetched, *canonical.Error, bool) {
	allowed := a.redis // the flight may outlive this ask
	leave, failure := a.g.wait(ctx, a.bank, a.client)
	if failure != nil {
		return fetched{redis: allowed}, failure, false
	}
	defer leave()
	got, failure, led := fly(ctx, a.g, a.bank, a.flight(), func(ctx context.Context) (fetched, *canonical.Error) {
		return a.fetch(ctx, allowed)
	})
	a.usage, a.shared = got.usage, failure == nil && got.usage == nil
	return got, failure, led
}

// flight is the name under which equal asks share a call. One that demands a call does not share with one that
// would be content with what another has just stored.
func (a *ask) flight() string {
	more := "any"
	if a.wants.NoCache {
		more = "anew"
	}
	return flightName("accounts", a.client, a.q, more)
}

// fetch gets the list by the one call that all gateways make for equal asks at once: its own, or another's.
func (a *ask) fetch(ctx context.Context, redis allowance) (fetched, *canonical.Error) {
	got, failure := obtain(ctx, a.g, &redis, relay[cache.Entry]{
		bank: a.bank, key: keyOf(a.client, a.q), lane: a.lane(), counted: !a.q.Attended(),
		acquire: a.acquire, call: a.call, ended: func() {},
		result: func(e cache.Entry) cache.CallResult {
			return cache.CallResult{Entry: &e, KeepFor: a.bank.Accounts.KeepFor, FreshFor: a.bank.Accounts.FreshFor}
		},
		dated: func(e cache.Entry, at time.Time) cache.Entry { e.FetchedAt = at; return e },
		told:  func(o cache.LeaderOutcome) *cache.Entry { return a.content(o.Entry) },
	})
	return fetched{got, redis}, failure
}

// acquire asks for the lease, and reads the list if it will do without a call.
func (a *ask) acquire(ctx context.Context, ttl time.Duration) (cache.Lease, *cache.Entry, error) {
	doomed := a.doomed()
	lease, kept, err := a.g.Config.Cache.AcquireList(ctx, keyOf(a.client, a.q), a.lane(), ttl)
	if doomed {
		kept = nil
	}
	return lease, a.content(kept), err
}

// call reads the list from the provider.
func (a *ask) call(ctx context.Context, redis *allowance) (entry cache.Entry, usage *unattended.Usage, failure *canonical.Error) {
	one := providerRead{g: a.g, bank: a.bank, client: a.client, q: a.q}
	usage, failure = one.do(ctx, redis, func(ctx context.Context) error {
		list, err := a.bank.Adapter.Accounts(ctx, a.q)
		if err == nil {
			entry.Accounts, err = canonical.EncodeAccounts(list)
		}
		return err
	})
	return entry, usage, failure
}

// content is a list that is kept, or that another call has brought, if it is what the ask wants; else nil. Whatever the
// ask demands, it is content with a list whose call has ended since it first looked.
func (a *ask) content(kept *cache.Entry) *cache.Entry {
	if kept == nil || !a.mayAnswer(kept) {
		return nil
	}
	anew := !a.looked.IsZero() && !kept.FetchedAt.Before(a.looked)
	if anew || !a.wants.NoCache && kept.Age < a.lifetime() {
		return kept
	}
	return nil
}

// mayAnswer reports whether a list may be answered at all: it is not too old, and the provider has not said no since.
func (a *ask) mayAnswer(kept *cache.Entry) bool {
	return kept.Age < a.bank.Accounts.KeepFor && !kept.Unreadable && !a.doomed()
}

// doomed reports whether the list must go, and Redis has not been told yet.
func (a *ask) doomed() bool { return a.g.writes.invalidations.Pending(keyOf(a.client, a.q)) }

// lane is equal for asks that may share a call across gateways, as their flight's name is within one.
func (a *ask) lane() string {
	kind := "unattended"
	if a.q.Attended() {
		kind = "attended"
	}
	return kind + ":" + laneHash(a.q, "")
}

// lifetime is how old a list may be that is answered without a call.
func (a *ask) lifetime() time.Duration {
	if a.wants.MaxAge != nil {
		return min(*a.wants.MaxAge, a.bank.Accounts.FreshFor)
	}
	return a.bank.Accounts.FreshFor
}

func (a *ask) fromCache(kept *cache.Entry, reason StaleReason) AccountsResult {
	stale := kept.Age >= a.lifetime()
	if !stale {
		reason = NotStale
	}
	return AccountsResult{
		Accounts:  kept.Accounts,
		Freshness: Freshness{Source: FromCache, FetchedAt: kept.FetchedAt, Age: kept.Age, Stale: stale, StaleReason: reason},
		Cache:     CacheStatus{Hit: true, TTL: a.lifetime() - kept.Age},
	}
}

func (a *ask) fromProvider(f fetched, kept *cache.Entry, led bool) AccountsResult {
	forward := ForwardMiss
	switch {
	case a.wants.NoCache:
		forward = ForwardRequest
	case kept != nil:
		forward = ForwardStale
	}
	collapsed := f.collapsed || !led
	return AccountsResult{
		Accounts:  f.value.Accounts,
		Freshness: Freshness{Source: FromProvider, FetchedAt: f.value.FetchedAt, Age: f.value.Age},
		Cache:     CacheStatus{Forward: forward, Stored: f.stored && !collapsed, Collapsed: collapsed},
	}
}

// result is what the cache had to do with the answer, for telemetry.
func (a *ask) result(list AccountsResult) CacheResult {
	switch {
	case list.Freshness.Stale:
		return CacheStale
	case list.Cache.Hit:
		return CacheHit
	case list.Cache.Collapsed:
		return CacheCollapsed
	case a.unreadable:
		return CacheUnreadable
	case a.wants.NoCache:
		return CacheBypass
	case a.redis.broken:
		return CacheError
	}
	return CacheMiss
}
