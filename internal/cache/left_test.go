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

// kinds returns what keys there are, without their hashes and holders.
func kinds(t *testing.T, rdb redis.UniversalClient) string {
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

// TestWhatIsLeft holds what each step leaves in Redis: nothing of a consent for which no call is in progress and no list is
// stored, however often its deletion is requested.
func TestWhatIsLeft(t *testing.T) {
	for name, c := range map[string]config.Redis{
		"redis-server": {Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}},
		"embedded":     {Mode: config.Embedded},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := open(t, c)
			c, k := newCache(t, rdb, newKey(t)), newOwner()
			left := func(when, want string) {
				t.Helper()
				if got := kinds(t, rdb); got != want {
					t.Errorf("%s: %q is left, want %q", when, got, want)
				}
			}
			forget := func() {
				t.Helper()
				if err := c.Invalidate(t.Context(), k); err != nil {
					t.Fatal(err)
				}
			}
			acquire := func() cache.Lease {
				t.Helper()
				lease, _, err := c.AcquireList(t.Context(), k, attended, ttl)
				if err != nil || !lease.Held {
					t.Fatal(lease, err)
				}
				return lease
			}
			finish := func(lease cache.Lease, r cache.CallResult) {
				t.Helper()
				if _, err := c.Publish(t.Context(), lease, r); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				forget()
			}
			mustGet(t, c, k)
			left("of a deletion of nothing", "")
			lease := acquire()
			left("of a call in progress", "calls lease")
			finish(lease, cache.CallResult{})
			left("of a call that was not made", "")
			lease = acquire()
			forget()
			left("of a deletion during a call", "lease")
			finish(lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour, Ended: lease.RedisTime(time.Now())})
			left("after that call", "")
			put(t, c, k, entry())
			left("of a list", "list note")
			forget()
			left("of a deleted list", "note")
			lease = acquire()
			finish(lease, cache.CallResult{Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true})
			left("of a rejected consent", "note")
		})
	}
}

// TestNothingIsWrittenWithoutMemory holds that Redis does not grow past its maxmemory, and that whatever must go still goes.
func TestNothingIsWrittenWithoutMemory(t *testing.T) {
	server := redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	memory := func(limit string) {
		t.Helper()
		if err := server.Do("CONFIG", "SET", "maxmemory", limit).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c, k, other := newCache(t, rdb, newKey(t)), newOwner(), newOwner()
	put(t, c, other, entry())
	lease, _, err := c.AcquireList(t.Context(), k, attended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	memory("1")
	if _, _, err := c.AcquireList(t.Context(), newOwner(), attended, ttl); err == nil {
		t.Error("a lease is given")
	}
	end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour, Ended: lease.RedisTime(time.Now())})
	if err != nil || end.Stored || mustGet(t, c, k) != nil {
		t.Errorf("a list is stored: %+v, %v", end, err)
	}
	if err := c.Invalidate(t.Context(), other); err != nil || mustGet(t, c, other) != nil {
		t.Errorf("a list cannot be deleted: %v", err)
	}
	if got := kinds(t, rdb); got != "note" { // of the first list's call
		t.Errorf("%q is left", got)
	}
	memory("0")
	put(t, c, other, entry())
	lease, _, err = c.AcquireList(t.Context(), other, unattended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	memory("1")
	end, err = c.Publish(t.Context(), lease, cache.CallResult{
		Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true, Ended: lease.RedisTime(time.Now()),
	})
	if err != nil || !end.Stored || mustGet(t, c, other) != nil {
		t.Errorf("a rejected consent's list stays: %+v, %v", end, err)
	}
	if keys := rdb.Keys(t.Context(), "*lease*").Val(); len(keys) != 0 {
		t.Errorf("leases are left: %q", keys)
	}
}
