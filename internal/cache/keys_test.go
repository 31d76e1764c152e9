package cache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// keyKinds returns the kinds of all keys, without hashes and holders.
func keyKinds(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, key := range keys {
		_, kind, _ := strings.Cut(key, "}:")
		kind, _, _ = strings.Cut(kind, ":")
		all[kind] = true
		if left, err := rdb.PTTL(t.Context(), key).Result(); err != nil || left <= 0 {
			t.Errorf("%q never expires: %v, %v", key, left, err)
		}
	}
	var found []string
	for _, kind := range []string{"calls", "lease", "list", "note"} {
		if all[kind] {
			found = append(found, kind)
		}
	}
	if len(found) != len(all) {
		t.Errorf("unknown keys in %q", keys)
	}
	return strings.Join(found, " ")
}

// TestKeysLeftInRedis checks which keys each step leaves in Redis. A consent without a call in
// progress and without a list leaves none, however often its deletion is requested.
func TestKeysLeftInRedis(t *testing.T) {
	for name, c := range map[string]config.Redis{
		"redis-server": {Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}},
		"embedded":     {Mode: config.Embedded},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := open(t, c)
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			left := func(when, want string) {
				t.Helper()
				if got := keyKinds(t, rdb); got != want {
					t.Errorf("%s: %q is left, want %q", when, got, want)
				}
			}
			invalidate := func() {
				t.Helper()
				if err := c.Invalidate(t.Context(), k); err != nil {
					t.Fatal(err)
				}
			}
			lead := func() cache.Lease {
				t.Helper()
				lease, _, err := acquire(t.Context(), c, k, attended, ttl)
				if err != nil || !lease.Held {
					t.Fatal(lease, err)
				}
				return lease
			}
			publish := func(lease cache.Lease, r cache.CallResult) {
				t.Helper()
				if _, err := c.Publish(t.Context(), lease, r); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				invalidate()
			}
			mustGet(t, c, k)
			left("after a deletion without a list", "")
			lease := lead()
			left("during a call", "calls lease")
			publish(lease, cache.CallResult{})
			left("after a call that was not made", "")
			lease = lead()
			invalidate()
			left("after a deletion during a call", "lease")
			publish(lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour, Ended: lease.RedisTime(time.Now())})
			left("after that call", "")
			storeList(t, c, k, entry())
			left("after a list was stored", "list note")
			invalidate()
			left("after the list was deleted", "note")
			lease = lead()
			publish(lease, cache.CallResult{Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true})
			left("after the consent was rejected", "note")
		})
	}
}

// TestNothingIsWrittenWithoutMemory: no step writes above Redis's maxmemory, and lists can still be
// deleted.
func TestNothingIsWrittenWithoutMemory(t *testing.T) {
	server := redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	memory := func(limit string) {
		t.Helper()
		if err := server.Do("CONFIG", "SET", "maxmemory", limit).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c, k, other := newCache(t, rdb, newKey(t)), newCacheKey(), newCacheKey()
	storeList(t, c, other, entry())
	lease, _, err := acquire(t.Context(), c, k, attended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	memory("1")
	for call, cached := range map[cache.Key]bool{newCacheKey(): false, other: true} {
		found, err := c.Acquire(t.Context(), cache.NewLease(cache.CallID{Key: call, ShareKey: attended}), cache.Lookup{List: true, TTL: ttl})
		if err != nil || !found.NoLease || found.Lease.Holder != "" || (found.Entry != nil) != cached {
			t.Errorf("cached %t: %+v, %v, want no lease, and the list", cached, found, err)
		}
	}
	end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour, Ended: lease.RedisTime(time.Now())})
	if err != nil || end.Stored || mustGet(t, c, k) != nil {
		t.Errorf("a list is stored: %+v, %v", end, err)
	}
	if err := c.Invalidate(t.Context(), other); err != nil || mustGet(t, c, other) != nil {
		t.Errorf("a list cannot be deleted: %v", err)
	}
	if got := keyKinds(t, rdb); got != "note" { // of the first list's call
		t.Errorf("%q is left", got)
	}
	memory("0")
	storeList(t, c, other, entry())
	lease, _, err = acquire(t.Context(), c, other, unattended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	memory("1")
	end, err = c.Publish(t.Context(), lease, cache.CallResult{
		Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true, Ended: lease.RedisTime(time.Now()),
	})
	if err != nil || !end.Stored || mustGet(t, c, other) != nil {
		t.Errorf("the list of a rejected consent stays: %+v, %v", end, err)
	}
	if keys := rdb.Keys(t.Context(), "*lease*").Val(); len(keys) != 0 {
		t.Errorf("leases are left: %q", keys)
	}
}
