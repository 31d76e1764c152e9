package cache_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// subject returns a subject of a refusal, with the 43 characters of an encoded hash.
func subject(name string) string { return name + strings.Repeat("-", 43-len(name)) }

// refusedName returns the key under which the refusals of a consent are stored.
func refusedName(t *testing.T, k cache.Key) string {
	t.Helper()
	return strings.TrimSuffix(listName(t, k), "list") + "refused"
}

// learn publishes the result of a call that shows something about later ones.
func learn(t *testing.T, c *cache.Cache, k cache.Key, l cache.Learned) {
	t.Helper()
	lease, _, err := acquire(t.Context(), c, k, "learn", ttl)
	if err != nil || !lease.Held {
		t.Fatal(lease, err)
	}
	if done, err := c.Publish(t.Context(), lease, cache.CallResult{Learned: l, Ended: lease.RedisTime(time.Now())}); err != nil || !done.Held {
		t.Fatal(done, err)
	}
}

// recall returns what a request for an account, or for the list if both subjects are equal, learns
// from earlier calls.
func recall(t *testing.T, c *cache.Cache, k cache.Key, consent, account string) cache.Memory {
	t.Helper()
	lease := cache.NewLease(cache.CallID{Key: k, ShareKey: "recall"})
	found, err := c.Acquire(t.Context(), lease, cache.Lookup{TTL: ttl, ConsentSubject: consent, ReadSubject: account})
	if err != nil {
		t.Fatal(err)
	}
	return found.Memory
}

// TestRefusalsAreRemembered: a refusal of a consent applies to its accounts, and a refusal of an
// account only to that account. Other tokens and clients have their own refusals. A refusal of an
// unknown kind, from a newer gateway, is ignored. All refusals of a consent are deleted together.
func TestRefusalsAreRemembered(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			consent, account, other := subject("consent"), subject("account"), subject("other account")
			recalled := func(k cache.Key, consent, account string, want canonical.Kind) {
				t.Helper()
				if got := recall(t, c, k, consent, account); got.RefusedWith != want {
					t.Errorf("refused with %q, want %q", got.RefusedWith, want)
				}
			}
			remember := func(subject string, kind canonical.Kind) {
				t.Helper()
				learn(t, c, k, cache.Learned{Subject: subject, RefusedWith: kind})
			}
			recalled(k, consent, consent, "")
			remember(account, canonical.AccountUnknown)
			recalled(k, consent, account, canonical.AccountUnknown)
			recalled(k, consent, other, "")
			recalled(k, consent, consent, "")
			remember(consent, canonical.ConsentExpired)
			recalled(k, consent, consent, canonical.ConsentExpired)
			recalled(k, consent, account, canonical.ConsentExpired) // the newest
			remember(consent, "KIND_OF_LATER")
			recalled(k, consent, account, canonical.ConsentExpired) // the newest of a known kind
			recalled(k, subject("another token"), subject("another token"), "")
			recalled(newCacheKey(), consent, consent, "")
			learn(t, c, k, cache.Learned{Accepted: true})
			recalled(k, consent, account, "")
		})
	}
}

// TestRefusalsAreBounded: the newest 32 refusals of a consent are remembered, and their key expires
// with the newest.
func TestRefusalsAreBounded(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			account := func(i int) string { return subject(fmt.Sprint("account ", i)) }
			for i := range 40 {
				learn(t, c, k, cache.Learned{Subject: account(i), RefusedWith: canonical.AccountUnknown})
			}
			for i := range 40 {
				if known := recall(t, c, k, subject("consent"), account(i)).RefusedWith != ""; known != (i >= 8) {
					t.Errorf("account %d: remembered %t", i, known)
				}
			}
			if left := rdb.PTTL(t.Context(), refusedName(t, k)).Val(); left <= cache.RefusedFor-time.Minute || left > cache.RefusedFor {
				t.Errorf("the key expires in %v", left)
			}
			before := rdb.Get(t.Context(), refusedName(t, k)).Val()
			learn(t, c, k, cache.Learned{Subject: "short", RefusedWith: canonical.AccountUnknown})
			if rdb.Get(t.Context(), refusedName(t, k)).Val() != before {
				t.Error("a subject that is not a hash is remembered")
			}
		})
	}
}

// TestOldRefusalsExpire: a refusal expires by its own time, not with its key. A refusal from the
// future is ignored.
func TestOldRefusalsExpire(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			consent := subject("consent")
			learn(t, c, k, cache.Learned{Subject: consent, RefusedWith: canonical.ConsentInvalid})
			key := refusedName(t, k)
			text := rdb.Get(t.Context(), key).Val()
			for age, want := range map[time.Duration]canonical.Kind{
				time.Minute: canonical.ConsentInvalid, cache.RefusedFor + time.Minute: "", -24 * time.Hour: "",
			} {
				moved := text[:len(text)-16] + fmt.Sprintf("%016d", time.Now().Add(-age).UnixMicro())
				rdb.Set(t.Context(), key, moved, time.Hour)
				if got := recall(t, c, k, consent, consent); got.RefusedWith != want {
					t.Errorf("%v old: %q, want %q", age, got.RefusedWith, want)
				}
			}
			rdb.Set(t.Context(), key, "nonsense", time.Hour)
			if got := recall(t, c, k, consent, consent); got.RefusedWith != "" {
				t.Errorf("nonsense: %q", got.RefusedWith)
			}
		})
	}
}

// TestPagesAreRemembered: a number of pages above one is remembered; one page or an unknown number
// deletes it.
func TestPagesAreRemembered(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			for _, tt := range []struct{ pages, want int }{{3, 3}, {0, 3}, {5, 5}, {1, 0}, {2, 2}, {-1, 0}} {
				learn(t, c, k, cache.Learned{Pages: tt.pages})
				if got := recall(t, c, k, subject("consent"), subject("consent")); got.Pages != tt.want {
					t.Errorf("after %d pages: %d, want %d", tt.pages, got.Pages, tt.want)
				}
			}
		})
	}
}

// TestLeaseOfACall: one of two identical requests gets the lease, and both get Redis's time.
func TestLeaseOfACall(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := newCache(t, rdb, newKey(t)), cache.CallID{Key: newCacheKey(), ShareKey: "balances:" + subject("account")}
			for i, held := range []bool{true, false} {
				found, err := c.Acquire(t.Context(), cache.NewLease(call), cache.Lookup{TTL: ttl})
				if err != nil || found.Lease.Held != held || !found.Lease.Confirmed() || found.Now.IsZero() || found.Entry != nil {
					t.Errorf("request %d: %+v, %v", i, found, err)
				}
			}
			if cache.NewLease(call).Confirmed() {
				t.Error("a lease is confirmed before it is acquired")
			}
		})
	}
}

// TestNoLeaseForAHit: a list that is younger than the request's limit is returned without a lease,
// if the gateway can decrypt it.
func TestNoLeaseForAHit(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			key := newKey(t)
			c, other, k := newCache(t, rdb, key), newCache(t, rdb, newKey(t)), newCacheKey()
			fetched := entry()
			fetched.FetchedAt = time.Now().Add(-time.Hour)
			storeList(t, c, k, fetched)
			for _, tt := range []struct {
				name   string
				c      *cache.Cache
				maxAge time.Duration
				hit    bool
			}{
				{"younger", c, 2 * time.Hour, true},
				{"older", c, time.Minute, false},
				{"no limit", c, 0, false},
				{"another key", other, 2 * time.Hour, false},
			} {
				lease := cache.NewLease(cache.CallID{Key: k, ShareKey: tt.name})
				found, err := tt.c.Acquire(t.Context(), lease, cache.Lookup{List: true, TTL: ttl, MaxAge: tt.maxAge})
				if err != nil || found.Entry == nil || found.Lease.Held == tt.hit || found.Lease.Confirmed() == tt.hit {
					t.Errorf("%s: %+v, %v", tt.name, found, err)
				}
			}
			key2 := newCacheKey() // a list from the future, and none
			fetched.FetchedAt = time.Now().Add(2 * time.Minute)
			storeList(t, c, key2, fetched)
			for _, k := range []cache.Key{key2, newCacheKey()} {
				found, err := c.Acquire(t.Context(), cache.NewLease(cache.CallID{Key: k, ShareKey: "call"}), cache.Lookup{List: true, TTL: ttl, MaxAge: ttl})
				if err != nil || found.Entry != nil || !found.Lease.Held {
					t.Errorf("%+v, %v", found, err)
				}
			}
		})
	}
}

// TestReadOnlyRedis: on a replica, Acquire returns the cached list without a lease, fresh or stale.
func TestReadOnlyRedis(t *testing.T) {
	server := redistest.Start(t)
	c, k := newCache(t, open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), newKey(t)), newCacheKey()
	fetched := entry()
	fetched.FetchedAt = time.Now()
	storeList(t, c, k, fetched)
	if err := server.Do("REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for maxAge, readOnly := range map[time.Duration]bool{time.Hour: false, 0: true} {
		lease := cache.NewLease(cache.CallID{Key: k, ShareKey: attended})
		found, err := c.Acquire(t.Context(), lease, cache.Lookup{List: true, TTL: ttl, MaxAge: maxAge})
		if err != nil || found.NoLease != readOnly || found.Entry == nil || found.Lease.Holder != "" {
			t.Errorf("max age %v: %+v, %v", maxAge, found, err)
		}
	}
}

// TestAcquireIsRepeated: a step that is sent again, because its response was lost, returns the
// lease that it got before.
func TestAcquireIsRepeated(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			lease, want := cache.NewLease(cache.CallID{Key: k, ShareKey: unattended}), cache.Lookup{List: true, TTL: ttl, MaxAge: time.Hour}
			for range 2 {
				if found, err := c.Acquire(t.Context(), lease, want); err != nil || !found.Lease.Held {
					t.Fatal(found, err)
				}
				fetched := entry() // another call has stored a fresh list
				fetched.FetchedAt = time.Now()
				storeList(t, c, k, fetched)
			}
		})
	}
}

// TestRefusalOfAnInvalidatedCall: a refusal has the time of its call, and is not remembered if the
// consent's data were deleted since.
func TestRefusalOfAnInvalidatedCall(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c := newCache(t, rdb, newKey(t))
			for deleted, want := range map[bool]canonical.Kind{false: canonical.ConsentInvalid, true: ""} {
				k := newCacheKey()
				lease, _, err := acquire(t.Context(), c, k, unattended, ttl)
				if err != nil {
					t.Fatal(err)
				}
				if deleted {
					if err := c.Invalidate(t.Context(), k); err != nil {
						t.Fatal(err)
					}
				}
				ended := time.Now().Add(-30 * time.Minute)
				refusal := cache.Learned{Subject: subject("consent"), RefusedWith: canonical.ConsentInvalid}
				result := cache.CallResult{Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true, Learned: refusal, Ended: ended}
				if _, err := c.Publish(t.Context(), lease, result); err != nil {
					t.Fatal(err)
				}
				if got := recall(t, c, k, subject("consent"), subject("consent")); got.RefusedWith != want {
					t.Errorf("deleted %t: refused with %q", deleted, got.RefusedWith)
				}
				if text := rdb.Get(t.Context(), refusedName(t, k)).Val(); !deleted && !strings.HasSuffix(text, fmt.Sprintf("%016d", ended.UnixMicro())) {
					t.Errorf("stored %q", text)
				}
			}
		})
	}
}
