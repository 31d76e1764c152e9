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

// TestRefusalsAreRemembered: a refusal of a consent applies to its accounts, and a refusal of an account only to that account.
// Other tokens and clients have their own refusals. All refusals of a consent are deleted together.
func TestRefusalsAreRemembered(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			consent, account, other := subject("consent"), subject("account"), subject("other account")
			recalled := func(k cache.Key, consent, account string, want canonical.Kind) {
				t.Helper()
				got, err := c.Recall(t.Context(), k, consent, account)
				if err != nil || got.Refused != want {
					t.Errorf("refused with %q, %v, want %q", got.Refused, err, want)
				}
			}
			remember := func(subject string, kind canonical.Kind) {
				t.Helper()
				if err := c.RememberRefusal(t.Context(), k, subject, kind); err != nil {
					t.Fatal(err)
				}
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
			if err := c.DeleteRefusals(t.Context(), k); err != nil {
				t.Fatal(err)
			}
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
				if err := c.RememberRefusal(t.Context(), k, account(i), canonical.AccountUnknown); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 40 {
				got, err := c.Recall(t.Context(), k, subject("consent"), account(i))
				if known := got.Refused != ""; err != nil || known != (i >= 8) {
					t.Errorf("account %d: remembered %t, %v", i, known, err)
				}
			}
			if left := rdb.PTTL(t.Context(), refusedName(t, k)).Val(); left <= cache.RefusedFor-time.Minute || left > cache.RefusedFor {
				t.Errorf("the key expires in %v", left)
			}
			if err := c.RememberRefusal(t.Context(), k, "short", canonical.AccountUnknown); err == nil {
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
			if err := c.RememberRefusal(t.Context(), k, consent, canonical.ConsentInvalid); err != nil {
				t.Fatal(err)
			}
			key := refusedName(t, k)
			text := rdb.Get(t.Context(), key).Val()
			for age, want := range map[time.Duration]canonical.Kind{
				time.Minute: canonical.ConsentInvalid, cache.RefusedFor + time.Minute: "", -24 * time.Hour: "",
			} {
				moved := text[:len(text)-16] + fmt.Sprintf("%016d", time.Now().Add(-age).UnixMicro())
				rdb.Set(t.Context(), key, moved, time.Hour)
				if got, err := c.Recall(t.Context(), k, consent, consent); err != nil || got.Refused != want {
					t.Errorf("%v old: %q, %v, want %q", age, got.Refused, err, want)
				}
			}
			rdb.Set(t.Context(), key, "nonsense", time.Hour)
			if got, err := c.Recall(t.Context(), k, consent, consent); err != nil || got.Refused != "" {
				t.Errorf("nonsense: %q, %v", got.Refused, err)
			}
		})
	}
}

// TestPagesAreRemembered: a number of pages above one is remembered; one page deletes it.
func TestPagesAreRemembered(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			for _, tt := range []struct{ pages, want int }{{3, 3}, {5, 5}, {1, 0}, {0, 0}} {
				if err := c.RememberPages(t.Context(), k, tt.pages); err != nil {
					t.Fatal(err)
				}
				if got, err := c.Recall(t.Context(), k, subject("consent"), subject("consent")); err != nil || got.Pages != tt.want {
					t.Errorf("after %d pages: %d, %v, want %d", tt.pages, got.Pages, err, tt.want)
				}
			}
		})
	}
}

// TestLeaseOfACall: one of two identical requests gets the lease, and both get Redis's time.
func TestLeaseOfACall(t *testing.T) {
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			for i, held := range []bool{true, false} {
				lease, err := c.Acquire(t.Context(), k, "balances:"+subject("account"), ttl)
				if err != nil || lease.Held != held || !lease.Pending() || !lease.Granted() {
					t.Errorf("request %d: %+v, %v", i, lease, err)
				}
			}
			if (cache.Lease{}).Pending() || (cache.Lease{}).Granted() {
				t.Error("a lease that was not requested is known")
			}
		})
	}
}
