package cache_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
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
	if done, err := c.Publish(t.Context(), lease, cache.Result{Learned: l}); err != nil || !done.Held {
		t.Fatal(done, err)
	}
}

// recall returns what a request for an account, or for the list if both subjects are equal, learns from earlier calls.
func recall(t *testing.T, c *cache.Cache, k cache.Key, consent, account string) cache.Memory {
	t.Helper()
	lease := cache.NewLease(cache.Call{Key: k, ShareKey: "recall"})
	found, err := c.Acquire(t.Context(), lease, cache.Lookup{TTL: ttl, Consent: consent, Account: account})
	if err != nil {
		t.Fatal(err)
	}
	return found.Memory
}

// TestRefusalsAreRemembered: a refusal of a consent applies to its accounts, and a refusal of an account only to that account.
// Other tokens and clients have their own refusals. All refusals of a consent are deleted together.
func TestRefusalsAreRemembered(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			consent, account, other := subject("consent"), subject("account"), subject("other account")
			recalled := func(k cache.Key, consent, account string, want canonical.Kind) {
				t.Helper()
				if got := recall(t, c, k, consent, account); got.Refused != want {
					t.Errorf("refused with %q, want %q", got.Refused, want)
				}
			}
			remember := func(subject string, kind canonical.Kind) {
				t.Helper()
				learn(t, c, k, cache.Learned{Refused: subject, Kind: kind})
			}
			recalled(k, consent, consent, "")
			remember(account, canonical.AccountUnknown)
			recalled(k, consent, account, canonical.AccountUnknown)
			recalled(k, consent, other, "")
			recalled(k, consent, consent, "")
			remember(consent, canonical.ConsentExpired)
			recalled(k, consent, consent, canonical.ConsentExpired)
			recalled(k, consent, account, canonical.ConsentExpired) // the newest
			recalled(k, subject("another token"), subject("another token"), "")
			recalled(newCacheKey(), consent, consent, "")
			learn(t, c, k, cache.Learned{Accepted: true})
			recalled(k, consent, account, "")
		})
	}
}

// TestRefusalsAreBounded: the newest 32 refusals of a consent are remembered, and their key expires with the newest.
func TestRefusalsAreBounded(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			account := func(i int) string { return subject(fmt.Sprint("account ", i)) }
			for i := range 40 {
				learn(t, c, k, cache.Learned{Refused: account(i), Kind: canonical.AccountUnknown})
			}
			for i := range 40 {
				if known := recall(t, c, k, subject("consent"), account(i)).Refused != ""; known != (i >= 8) {
					t.Errorf("account %d: remembered %t", i, known)
				}
			}
			if left := rdb.PTTL(t.Context(), refusedName(t, k)).Val(); left <= cache.RefusedFor-time.Minute || left > cache.RefusedFor {
				t.Errorf("the key expires in %v", left)
			}
			before := rdb.Get(t.Context(), refusedName(t, k)).Val()
			learn(t, c, k, cache.Learned{Refused: "short", Kind: canonical.AccountUnknown})
			if rdb.Get(t.Context(), refusedName(t, k)).Val() != before {
				t.Error("a subject that is not a hash is remembered")
			}
		})
	}
}

// TestOldRefusalsExpire: a refusal expires by its own time, not with its key. A refusal from the future is ignored.
func TestOldRefusalsExpire(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			consent := subject("consent")
			learn(t, c, k, cache.Learned{Refused: consent, Kind: canonical.ConsentInvalid})
			key := refusedName(t, k)
			text := rdb.Get(t.Context(), key).Val()
			for age, want := range map[time.Duration]canonical.Kind{
				time.Minute: canonical.ConsentInvalid, cache.RefusedFor + time.Minute: "", -24 * time.Hour: "",
			} {
				moved := text[:len(text)-16] + fmt.Sprintf("%016d", time.Now().Add(-age).UnixMicro())
				rdb.Set(t.Context(), key, moved, time.Hour)
				if got := recall(t, c, k, consent, consent); got.Refused != want {
					t.Errorf("%v old: %q, want %q", age, got.Refused, want)
				}
			}
			rdb.Set(t.Context(), key, "nonsense", time.Hour)
			if got := recall(t, c, k, consent, consent); got.Refused != "" {
				t.Errorf("nonsense: %q", got.Refused)
			}
		})
	}
}

// TestPagesAreRemembered: a number of pages above one is remembered; one page or an unknown number deletes it.
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
			c, call := newCache(t, rdb, newKey(t)), cache.Call{Key: newCacheKey(), ShareKey: "balances:" + subject("account")}
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

// TestNoLeaseForAHit: a list that is younger than the request's limit is returned without a lease, if the gateway can decrypt it.
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
				lease := cache.NewLease(cache.Call{Key: k, ShareKey: tt.name})
				found, err := tt.c.Acquire(t.Context(), lease, cache.Lookup{List: true, TTL: ttl, MaxAge: tt.maxAge})
				if err != nil || found.Entry == nil || found.Lease.Held == tt.hit || found.Lease.Confirmed() == tt.hit {
					t.Errorf("%s: %+v, %v", tt.name, found, err)
				}
			}
			key2 := newCacheKey() // a list from the future, and none
			fetched.FetchedAt = time.Now().Add(2 * time.Minute)
			storeList(t, c, key2, fetched)
			for _, k := range []cache.Key{key2, newCacheKey()} {
				found, err := c.Acquire(t.Context(), cache.NewLease(cache.Call{Key: k, ShareKey: "call"}), cache.Lookup{List: true, TTL: ttl, MaxAge: ttl})
				if err != nil || found.Entry != nil || !found.Lease.Held {
					t.Errorf("%+v, %v", found, err)
				}
			}
		})
	}
}
