package gateway

import (
	"context"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

// Accounts answers the accounts that the query's consent covers, for a client, by the client's wants.
func (g *Gateway) Accounts(ctx context.Context, client string, q canonical.Query, w Wants) (AccountList, error) {
	b, ok := g.banks[q.ASPSP]
	if !ok {
		return AccountList{}, unknown()
	}
	a := &ask{g: g, bank: b, client: client, q: q, wants: w, redis: g.allowance()}
	beside := a.limitBeside(ctx)
	list, failure := a.answer(ctx)
	g.Observer.Cache(ctx, b.ID, a.result(list))
	switch {
	case q.Attended():
	case failure == nil && list.Cache.Hit && !list.Freshness.Stale:
		list.Limit = <-beside
	default:
		list.Limit = g.limit(ctx, allowance{left: a.redis.left}, q, "", failure)
	}
	return list, asError(failure)
}

// An ask is one request for an account list on its way.
type ask struct {
	g      *Gateway
	bank   *bank
	client string
	q      canonical.Query
	wants  Wants
	seen   *cache.Entry // what was kept when it first looked
	redis  allowance
}

// limitBeside reads where the unit stands while the cache is looked at, so that a hit costs one round trip.
func (a *ask) limitBeside(ctx context.Context) <-chan *unattended.State {
	beside := make(chan *unattended.State, 1)
	if !a.q.Attended() {
		go func() { beside <- a.g.limit(ctx, a.g.allowance(), a.q, "", nil) }()
	}
	return beside
}

func (a *ask) answer(ctx context.Context) (AccountList, *canonical.Error) {
	kept := a.lookup(ctx, nil)
	a.seen = kept
	switch {
	case a.wants.OnlyIfCached && (kept == nil || a.wants.NoCache):
		return AccountList{}, canonical.Fail(canonical.NotCached, "")
	case a.wants.OnlyIfCached, kept != nil && !a.wants.NoCache && a.age(kept) < a.lifetime():
		return a.fromCache(kept, NotStale), nil
	}
	fetched, failure, led := fly(ctx, a.g, a.bank, a.flight(), a.fetch)
	if led {
		a.redis = fetched.redis
	}
	if failure == nil {
		return a.fromProvider(fetched, kept, led), nil
	}
	reason := staleReason(failure.Kind)
	if reason == NotStale || a.wants.NoCache {
		return AccountList{}, failure
	}
	// Looked up again: meanwhile the provider may have said no to another request, or the user to the client.
	if kept = a.lookup(ctx, kept); kept == nil {
		return AccountList{}, failure
	}
	return a.fromCache(kept, reason), nil
}

// lookup is what is kept and may still be answered, or otherwise if Redis does not say.
func (a *ask) lookup(ctx context.Context, otherwise *cache.Entry) *cache.Entry {
	entry := otherwise
	_ = a.redis.spend(ctx, func(ctx context.Context) error {
		kept, err := a.g.Config.Cache.Get(ctx, keyOf(a.client, a.q))
		if err == nil {
			entry = kept
		}
		return err
	})
	if entry == nil || a.age(entry) >= a.bank.Accounts.KeepFor {
		return nil
	}
	return entry
}

// fetched is what a call for the list brought.
type fetched struct {
	entry     cache.Entry
	stored    bool
	collapsed bool // it was another gateway's call
	redis     allowance
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

// fetch gets the list by the one call that all gateways make for equal asks at once: its own, or another's. It
// goes on with a copy of the allowance of the ask that leads it, which may be gone before it ends.
func (a *ask) fetch(ctx context.Context) (fetched, *canonical.Error) {
	redis := a.redis
	f, failure := a.obtain(ctx, &redis)
	f.redis = redis
	return f, failure
}

func (a *ask) obtain(ctx context.Context, redis *allowance) (fetched, *canonical.Error) {
	for {
		var lease cache.Lease
		var kept *cache.Entry
		err := redis.spend(ctx, func(ctx context.Context) (err error) {
			lease, kept, err = a.g.Config.Cache.Acquire(ctx, keyOf(a.client, a.q), a.lane(), a.bank.Timeout+leaseMargin)
			return err
		})
		switch {
		case err == nil && kept != nil && a.content(kept):
			if lease.Held {
				a.g.settle(ctx, redis, func(ctx context.Context) error {
					_, err := a.g.Config.Cache.Finish(ctx, lease, cache.Result{})
					return err
				})
			}
			return fetched{entry: *kept, collapsed: true}, nil
		case err != nil, lease.Held: // with an error, Redis may hold the lease for us all the same
			return a.lead(ctx, redis, lease)
		}
		outcome, ok := a.await(ctx, redis, lease)
		switch {
		case ok && outcome.Failure != nil:
			return fetched{}, outcome.Failure
		case ok && outcome.Entry != nil:
			return fetched{entry: *outcome.Entry, collapsed: true}, nil
		case ctx.Err() != nil:
			return fetched{}, &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no answer in time"}
		}
		// The holder died, or what it fetched was forgotten: the next turn may be ours.
	}
}

// lead makes the call under a lease and leaves the result for those who wait. Redis being slow, that goes on when
// the answer has long been given.
func (a *ask) lead(ctx context.Context, redis *allowance, lease cache.Lease) (fetched, *canonical.Error) {
	entry, failure := a.call(ctx)
	result := cache.Result{Entry: &entry, KeepFor: a.bank.Accounts.KeepFor}
	if failure != nil {
		result = cache.Result{Failure: failure, Forget: definiteNo(failure.Kind)}
	}
	if !lease.Asked() { // Redis had failed before
		if result.Forget {
			a.g.forgetSurely(ctx, redis, keyOf(a.client, a.q))
		}
		return fetched{entry: entry}, failure
	}
	held := make(chan bool, 1)
	done := a.g.settle(ctx, redis, func(ctx context.Context) error {
		was, err := a.g.Config.Cache.Finish(ctx, lease, result)
		held <- was && err == nil
		return err
	})
	stands := done && <-held
	if result.Forget && !stands {
		a.g.forgetSurely(ctx, redis, keyOf(a.client, a.q))
	}
	return fetched{entry: entry, stored: stands && failure == nil}, failure
}

// call reads the list from the provider.
func (a *ask) call(ctx context.Context) (cache.Entry, *canonical.Error) {
	var entry cache.Entry
	failure := a.g.guard(ctx, a.bank, func() (err error) {
		entry.Accounts, err = a.bank.Reader.Accounts(ctx, a.q)
		return err
	})
	entry.FetchedAt = a.g.Now().UTC()
	return entry, failure
}

// await waits for the end of another gateway's call. ok is false if there is no outcome to be had from it. Looking
// for it holds nobody up, and so costs nothing of the allowance; but a look that fails ends it.
func (a *ask) await(ctx context.Context, redis *allowance, lease cache.Lease) (cache.Outcome, bool) {
	for wait := pollFirst; ; wait = min(2*wait, pollLast) {
		select {
		case <-ctx.Done():
			return cache.Outcome{}, false
		case <-time.After(wait):
		}
		var outcome cache.Outcome
		look := a.g.allowance()
		err := look.spend(ctx, func(ctx context.Context) (err error) {
			outcome, err = a.g.Config.Cache.Outcome(ctx, lease)
			return err
		})
		if err != nil {
			redis.broken = true
			return cache.Outcome{}, false
		}
		if !outcome.Held {
			return outcome, outcome.Done
		}
	}
}

// content reports whether a list is what the ask wants that is kept when it asks for the lease. One that demands a
// call is content with a list that was not there when it first looked: its call ended since.
func (a *ask) content(kept *cache.Entry) bool {
	if a.wants.NoCache {
		return a.seen == nil || !kept.FetchedAt.Equal(a.seen.FetchedAt)
	}
	return a.age(kept) < a.lifetime()
}

// lane is equal for asks that may share a call across gateways, as their flight's name is within one.
func (a *ask) lane() string {
	kind := "unattended"
	if a.q.Attended() {
		kind = "attended"
	}
	return kind + ":" + tokenHash(a.q)
}

// lifetime is how old a list may be that is answered without a call.
func (a *ask) lifetime() time.Duration {
	if a.wants.MaxAge != nil {
		return min(*a.wants.MaxAge, a.bank.Accounts.FreshFor)
	}
	return a.bank.Accounts.FreshFor
}

// age is how old a list is; one from a gateway whose clock is ahead is new.
func (a *ask) age(e *cache.Entry) time.Duration {
	return max(a.g.Now().Sub(e.FetchedAt), 0)
}

func (a *ask) fromCache(kept *cache.Entry, reason StaleReason) AccountList {
	age := a.age(kept)
	stale := age >= a.lifetime()
	if !stale {
		reason = NotStale
	}
	return AccountList{
		Accounts:  kept.Accounts,
		Freshness: Freshness{Source: FromCache, FetchedAt: kept.FetchedAt, Age: age, Stale: stale, StaleReason: reason},
		Cache:     CacheStatus{Hit: true, TTL: a.lifetime() - age},
	}
}

func (a *ask) fromProvider(f fetched, kept *cache.Entry, led bool) AccountList {
	forward := ForwardMiss
	switch {
	case a.wants.NoCache:
		forward = ForwardRequest
	case kept != nil:
		forward = ForwardStale
	}
	collapsed := f.collapsed || !led
	return AccountList{
		Accounts:  f.entry.Accounts,
		Freshness: Freshness{Source: FromProvider, FetchedAt: f.entry.FetchedAt, Age: a.age(&f.entry)},
		Cache:     CacheStatus{Forward: forward, Stored: f.stored && !collapsed, Collapsed: collapsed},
	}
}

// result is what the cache had to do with the answer, for telemetry.
func (a *ask) result(list AccountList) CacheResult {
	switch {
	case list.Freshness.Stale:
		return CacheStale
	case list.Cache.Hit:
		return CacheHit
	case list.Cache.Collapsed:
		return CacheCollapsed
	case a.wants.NoCache:
		return CacheBypass
	case a.redis.broken:
		return CacheError
	}
	return CacheMiss
}
