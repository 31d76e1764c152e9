package cache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// down returns a cache with a list on a Redis that was stopped, and the Redis.
func down(t *testing.T) (*cache.Cache, cache.Key, *redistest.Server, redis.UniversalClient) {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	c, k := newCache(t, rdb, newKey(t)), newCacheKey()
	fetched := entry()
	fetched.FetchedAt = time.Now()
	storeList(t, c, k, fetched)
	learn(t, c, k, cache.Learned{Subject: subject("consent"), RefusedWith: canonical.ConsentInvalid})
	server.Stop()
	return c, k, server, rdb
}

// eraseLate erases for a request that does not wait any more.
func eraseLate(c *cache.Cache, k cache.Key) {
	ctx, leave := context.WithCancel(context.Background())
	leave()
	_ = c.Erase(ctx, k)
}

// TestDeletionsAreRetried: a deletion that Redis does not confirm is retried until it does. Until
// then the cache does not return the list.
func TestDeletionsAreRetried(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	failed <- errors.New("not published")
	for name, tt := range map[string]struct {
		start  func(*cache.Cache, cache.Key)
		erases bool // also what is remembered
	}{
		"invalidation":                       {func(c *cache.Cache, k cache.Key) { c.InvalidateEventually(k, nil) }, false},
		"invalidation by a step that failed": {func(c *cache.Cache, k cache.Key) { c.InvalidateEventually(k, failed) }, false},
		"invalidation by a step without end": {func(c *cache.Cache, k cache.Key) { c.InvalidateEventually(k, make(chan error)) }, false},
		"deletion of all cached data":        {eraseLate, true},
		"deletion, then an invalidation":     {func(c *cache.Cache, k cache.Key) { eraseLate(c, k); c.InvalidateEventually(k, nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, k, server, rdb := down(t)
			tt.start(c, k)
			if !c.InvalidationPending(k) {
				t.Error("it is not pending")
			}
			server.Restart()
			for c.InvalidationPending(k) {
				if e, _, err := c.Get(t.Context(), k); e != nil {
					t.Fatalf("the list is returned: %+v, %v", e, err)
				}
				lease := cache.NewLease(cache.CallID{Key: k, ShareKey: attended})
				if found, _ := c.Acquire(t.Context(), lease, cache.Lookup{List: true, TTL: ttl, MaxAge: ttl}); found.Entry != nil {
					t.Fatalf("the list is found: %+v", found)
				}
			}
			eventually(t, "the list is deleted", func() bool { return rdb.Exists(t.Context(), listName(t, k)).Val() == 0 })
			if kept := rdb.Exists(t.Context(), refusedName(t, k)).Val() == 1; kept == tt.erases {
				t.Errorf("the refusal is kept: %t", kept)
			}
		})
	}
}

// TestInvalidationByAnotherStep: a list that another step has invalidated is not deleted again.
func TestInvalidationByAnotherStep(t *testing.T) {
	t.Parallel()
	c, k := newCache(t, open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}), newKey(t)), newCacheKey()
	done := make(chan error, 1)
	first := c.InvalidateEventually(k, done)
	if !c.InvalidationPending(k) {
		t.Error("it is not pending")
	}
	storeList(t, c, k, entry()) // fetched after the other step
	done <- nil
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not pending any more", func() bool { return !c.InvalidationPending(k) })
	if mustGet(t, c, k) == nil {
		t.Error("the newer list is deleted")
	}
}
