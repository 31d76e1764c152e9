package cache_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/accountkey"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// keyedEntry returns a list of one account as the cache encodes it for a client.
func keyedEntry(t *testing.T, c *cache.Cache, k cache.Key) *cache.Entry {
	t.Helper()
	list, err := c.EncodeList(k, []canonical.Account{{
		ID: "1", Identification: canonical.NewIdentification(canonical.SchemeIBAN, "BG57INTF40015004462007"), Currency: "EUR", Type: "CACC",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &cache.Entry{Accounts: list, FetchedAt: time.Now().Add(-time.Minute)}
}

// TestAccountKeysOfAnotherGateway: gateways whose keys for account keys differ, or that have none,
// read each other's lists, and each returns its own account keys. None overwrites a list for that.
func TestAccountKeysOfAnotherGateway(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			sealKey := newKey(t)
			gateways := map[string]*cache.Cache{"none": newCache(t, rdb, sealKey)}
			for _, key := range []string{"first", "second"} {
				gateways[key] = newCache(t, rdb, sealKey).WithAccountKeys(accountkey.New(newKey(t)))
			}
			for writer, w := range gateways {
				k := newCacheKey()
				storeList(t, w, k, keyedEntry(t, w, k))
				name := listName(t, k)
				stored := rdb.Get(t.Context(), name).Val()
				if schema := stored[16]; (schema == 1) != (writer == "none") {
					t.Errorf("%s: schema %d", writer, schema)
				}
				seen := map[string]string{}
				for reader, r := range gateways {
					want := string(keyedEntry(t, r, k).Accounts)
					if other, ok := seen[want]; ok || strings.Contains(want, "accountKey") != (reader != "none") {
						t.Errorf("%s and %s: %s", reader, other, want)
					}
					seen[want] = reader
					got := mustGet(t, r, k)
					if got == nil || string(got.Accounts) != want {
						t.Errorf("%s reads the list of %s: %+v, want %s", reader, writer, got, want)
					}
					found, err := r.Acquire(t.Context(), cache.NewLease(cache.CallID{Key: k, ShareKey: unattended}), cache.Lookup{List: true, TTL: ttl, MaxAge: time.Hour})
					if err != nil || found.Lease.Holder != "" || found.Entry == nil || string(found.Entry.Accounts) != want {
						t.Errorf("%s looks up the list of %s: %+v, %v", reader, writer, found, err)
					}
				}
				if rdb.Get(t.Context(), name).Val() != stored {
					t.Errorf("the list of %s was overwritten", writer)
				}
			}
		})
	}
}

// TestEqualAccountKeysAreNotComputedAgain: a list under the gateway's own key, and one without
// account keys for a gateway without a key, are returned byte by byte.
func TestEqualAccountKeysAreNotComputedAgain(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	for _, key := range [][]byte{nil, newKey(t)} {
		c, k := newCache(t, rdb, newKey(t)).WithAccountKeys(accountkey.New(key)), newCacheKey()
		e := keyedEntry(t, c, k)
		e.Accounts = append(json.RawMessage(" "), e.Accounts...)
		storeList(t, c, k, e)
		if got := mustGet(t, c, k); got == nil || !bytes.Equal(got.Accounts, e.Accounts) {
			t.Errorf("got %+v, want %s", got, e.Accounts)
		}
	}
}

// TestAccountKeysOfWaitingRequests: a request that waits for the call of a gateway with another key
// gets the account keys of its own gateway.
func TestAccountKeysOfWaitingRequests(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	sealKey, k := newKey(t), newCacheKey()
	leader := newCache(t, rdb, sealKey).WithAccountKeys(accountkey.New(newKey(t)))
	waiting := newCache(t, rdb, sealKey).WithAccountKeys(accountkey.New(newKey(t)))
	lease, _, err := acquire(t.Context(), leader, k, attended, ttl)
	if err != nil || !lease.Held {
		t.Fatal(lease, err)
	}
	other, _, err := acquire(t.Context(), waiting, k, attended, ttl)
	if err != nil || other.Held {
		t.Fatal(other, err)
	}
	result := cache.CallResult{Entry: keyedEntry(t, leader, k), KeepFor: time.Hour, Ended: lease.RedisTime(time.Now())}
	if end, err := leader.Publish(t.Context(), lease, result); err != nil || !end.Stored {
		t.Fatal(end, err)
	}
	out, err := waiting.Outcome(t.Context(), other)
	if want := keyedEntry(t, waiting, k).Accounts; err != nil || out.Entry == nil || !bytes.Equal(out.Entry.Accounts, want) {
		t.Errorf("%+v, %v, want %s", out, err, want)
	}
}
