package cache_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

const (
	ttl        = time.Hour
	attended   = "attended"
	unattended = "unattended"
)

func newKey(t *testing.T) []byte {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return key
}

// redises returns clients of a real Redis and of the embedded one. The cache must behave equally on
// both.
func redises(t *testing.T) map[string]redis.UniversalClient {
	t.Helper()
	return map[string]redis.UniversalClient{
		"redis-server": open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}),
		"embedded":     open(t, config.Redis{Mode: config.Embedded}),
	}
}

func open(t *testing.T, c config.Redis) redis.UniversalClient {
	t.Helper()
	return redistest.Open(t, c).Cache
}

func newCache(t *testing.T, rdb redis.UniversalClient, keys ...[]byte) *cache.Cache {
	t.Helper()
	c, err := cache.New(rdb, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCacheKey() cache.Key {
	return cache.Key{Client: "payments", ASPSP: "4f1e2d3c-0000-4000-8000-000000000001", Consent: uuid.NewString()}
}

// entry returns a list. Its JSON is stored as it is, byte by byte.
func entry() *cache.Entry {
	return &cache.Entry{
		Accounts: json.RawMessage(`[{"accountId":"aa:q648383844dhhfHhTV","iban":"BG57INTF40015004462007",` +
			`"identification":{"scheme":"IBAN","value":"BG57INTF40015004462007"},"currency":"EUR","type":"CACC","holderName":"John <Doe>"}]`),
		FetchedAt: time.Date(2020, 2, 29, 10, 0, 0, 123456000, time.UTC),
	}
}

func balances() *cache.Entry {
	amount, err := canonical.ParseAmount("-47.100", "GBP")
	if err != nil {
		panic(err)
	}
	residue, err := canonical.ParseAmount("-5.684341886080802e-14", "GBP")
	if err != nil {
		panic(err)
	}
	return &cache.Entry{
		Balances: &canonical.AccountBalances{
			Name: "Main account",
			Balances: []canonical.Balance{
				{Type: canonical.ClosingBooked, ProviderType: "closingBooked", Amount: amount, ReferenceDate: "2026-01-14"},
				{Type: canonical.InterimBooked, Amount: residue, ProviderDateTime: "yesterday"},
			},
		},
		FetchedAt: time.Date(2020, 2, 29, 10, 0, 0, 0, time.UTC),
	}
}

// ignoreAge compares everything but ages and the ends of calls.
var ignoreAge = cmp.Options{
	cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Age" || p.Last().String() == ".Ended" }, cmp.Ignore()),
	cmp.Comparer(func(a, b canonical.Amount) bool { return a.Value() == b.Value() && a.Currency() == b.Currency() }),
}

// acquire acquires the lease for a list, and returns the cached list.
func acquire(ctx context.Context, c *cache.Cache, k cache.Key, shareKey string, ttl time.Duration) (cache.Lease, *cache.Entry, error) {
	found, err := c.Acquire(ctx, cache.NewLease(cache.CallID{Key: k, ShareKey: shareKey}), cache.Lookup{List: true, TTL: ttl})
	return found.Lease, found.Entry, err
}

// storeList stores an entry as a call with a lease does.
func storeList(t *testing.T, c *cache.Cache, k cache.Key, e *cache.Entry) {
	t.Helper()
	lease, _, err := acquire(t.Context(), c, k, attended, ttl)
	if err != nil || !lease.Held {
		t.Fatalf("lease %+v, %v", lease, err)
	}
	end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: e, KeepFor: time.Hour, Ended: lease.RedisTime(time.Now())})
	if err != nil || !end.Held {
		t.Fatalf("%+v, %v", end, err)
	}
}

func mustGet(t *testing.T, c *cache.Cache, k cache.Key) *cache.Entry {
	t.Helper()
	e, _, err := c.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if e != nil && e.Unreadable {
		return nil
	}
	return e
}

// eventually waits up to a minute until holds returns true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

func TestListIsStored(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			if e := mustGet(t, c, k); e != nil {
				t.Fatalf("found %v in an empty cache", e)
			}
			storeList(t, c, k, entry())
			if diff := cmp.Diff(entry(), mustGet(t, c, k), ignoreAge); diff != "" {
				t.Error(diff)
			}
			if err := c.Invalidate(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			if e := mustGet(t, c, k); e != nil {
				t.Error("a deleted list is still there")
			}
		})
	}
}

// TestAge: the age of a list comes from Redis's clock.
func TestAge(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k, began := newCache(t, rdb, newKey(t)), newCacheKey(), time.Now()
			lease, _, err := acquire(t.Context(), c, k, attended, ttl)
			if err != nil {
				t.Fatal(err)
			}
			e := entry()
			e.FetchedAt = lease.RedisTime(time.Now().Add(-time.Hour))
			if _, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: e, KeepFor: time.Hour}); err != nil {
				t.Fatal(err)
			}
			const clocks = time.Second // the largest difference between two readings of the machine's clock
			if age := mustGet(t, c, k).Age; age < time.Hour-clocks || age > time.Hour+time.Since(began)+clocks {
				t.Errorf("%v old after %v, want an hour more", age, time.Since(began))
			}
			_, cached, err := acquire(t.Context(), c, k, attended, ttl)
			if age := cached.Age; err != nil || age < time.Hour-clocks || age > time.Hour+time.Since(began)+clocks {
				t.Errorf("%v old after %v, %v", age, time.Since(began), err)
			}
		})
	}
}

// TestListsFromTheFuture: a list whose time is more than the allowed clock skew ahead is not
// served, because its age is unknown.
func TestListsFromTheFuture(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	c := newCache(t, rdb, newKey(t))
	for ahead, served := range map[time.Duration]bool{2 * time.Second: true, 2 * time.Minute: false, 24 * time.Hour: false} {
		k, e := newCacheKey(), entry()
		e.FetchedAt = time.Now().Add(ahead)
		storeList(t, c, k, e)
		got := mustGet(t, c, k)
		if (got != nil) != served || got != nil && got.Age != 0 {
			t.Errorf("%v ahead: %+v", ahead, got)
		}
	}
}

func TestListBelongsToOneKey(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	c, k := newCache(t, rdb, newKey(t)), newCacheKey()
	storeList(t, c, k, entry())
	for name, other := range map[string]cache.Key{
		"client":  {Client: "other", ASPSP: k.ASPSP, Consent: k.Consent},
		"ASPSP":   {Client: k.Client, ASPSP: "other", Consent: k.Consent},
		"consent": {Client: k.Client, ASPSP: k.ASPSP, Consent: "other"},
	} {
		if e := mustGet(t, c, other); e != nil {
			t.Errorf("another %s gets the list", name)
		}
	}
}

func TestListExpires(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			lease, _, err := acquire(t.Context(), c, k, attended, ttl)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: 100 * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the list is gone", func() bool { return mustGet(t, c, k) == nil })
		})
	}
}

func TestNothingInClearInRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	c, k := newCache(t, rdb, newKey(t)), newCacheKey()
	k.Consent = "GFiTpF3:EBy5xGqQMatk"
	storeList(t, c, k, entry())
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %q, %v, want the list and the outcome", keys, err)
	}
	for _, key := range keys {
		value, err := rdb.Get(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"GFiTpF3", "BG57INTF", "John", "q648383844", "payments", "EUR", "4f1e2d3c"} {
			if strings.Contains(key+value, secret) {
				t.Errorf("%q is in clear in %q", secret, key)
			}
		}
		if left, err := rdb.PTTL(t.Context(), key).Result(); err != nil || left <= 0 {
			t.Errorf("%q never expires: %v, %v", key, left, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	old, young, k := newKey(t), newKey(t), newCacheKey()
	storeList(t, newCache(t, rdb, old), k, entry())
	if mustGet(t, newCache(t, rdb, young, old), k) == nil {
		t.Error("a rotation emptied the cache")
	}
	if mustGet(t, newCache(t, rdb, young), k) != nil {
		t.Error("read without its key")
	}
	storeList(t, newCache(t, rdb, young, old), k, entry())
	if mustGet(t, newCache(t, rdb, young), k) == nil {
		t.Error("not encrypted under the first key")
	}
}

// TestUnreadableIsAMiss: a value that is damaged, of another format, or copied from another key is
// a miss.
func TestUnreadableIsAMiss(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	c, k, other := newCache(t, rdb, newKey(t)), newCacheKey(), newCacheKey()
	storeList(t, c, k, entry())
	storeList(t, c, other, &cache.Entry{Accounts: json.RawMessage("[]"), FetchedAt: time.Now()})
	name, otherName := listName(t, k), listName(t, other)
	good, err := rdb.Get(t.Context(), name).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := rdb.Get(t.Context(), otherName).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	newer := bytes.Clone(good)
	newer[16]++ // the version, after the list's time
	for label, value := range map[string][]byte{
		"empty": {}, "garbage": []byte("garbage"), "cut off": good[:20], "flipped bit": flipped, "other format": newer,
		"another's": foreign, "header alone": good[:5],
	} {
		if err := rdb.Set(t.Context(), name, value, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if e, _, err := c.Get(t.Context(), k); e != nil || err != nil {
			t.Errorf("%s: %v, %v, want a miss", label, e, err)
		}
	}
	if err := rdb.Set(t.Context(), name, good, time.Hour).Err(); err != nil || mustGet(t, c, k) == nil {
		t.Errorf("the good value is not read: %v", err)
	}
}

func listName(t *testing.T, k cache.Key) string {
	t.Helper()
	return store.Prefix("accounts", k.Client, k.ASPSP, k.Consent) + "list"
}

func TestNoncesDiffer(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	c, k, seen := newCache(t, rdb, newKey(t)), newCacheKey(), map[string]bool{}
	for range 100 {
		storeList(t, c, k, entry())
		value, err := rdb.Get(t.Context(), listName(t, k)).Result()
		if err != nil {
			t.Fatal(err)
		}
		if nonce := value[16+5 : 16+17]; seen[nonce] {
			t.Fatal("a nonce was used twice")
		} else {
			seen[nonce] = true
		}
	}
}

func TestLeaseHasOneHolder(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k, held := newCache(t, rdb, newKey(t)), newCacheKey(), atomic.Int64{}
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					lease, _, err := acquire(context.Background(), c, k, unattended, ttl)
					if err != nil {
						t.Error(err)
					}
					if lease.Held {
						held.Add(1)
					}
				})
			}
			wg.Wait()
			if held.Load() != 1 {
				t.Errorf("%d requests hold the lease", held.Load())
			}
			if lease, _, err := acquire(t.Context(), c, k, attended, ttl); err != nil || !lease.Held {
				t.Errorf("the lease of another key: %+v, %v", lease, err)
			}
		})
	}
}

// TestReleaseBeforeTheLookup: a lookup that Redis executes after the release of its lease, or once
// more then, is not granted it, whether or not another request had the lease at the time.
func TestReleaseBeforeTheLookup(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			for _, before := range []string{"", "the lookup", "another request"} {
				c, k := newCache(t, rdb, newKey(t)), newCacheKey()
				late, lookup := cache.NewLease(cache.CallID{Key: k, ShareKey: unattended}), cache.Lookup{List: true, TTL: ttl}
				late.Held = true // as after an Acquire that fails
				holder := late
				var err error
				switch before {
				case "the lookup":
					_, err = c.Acquire(t.Context(), late, lookup)
				case "another request":
					holder, _, err = acquire(t.Context(), c, k, unattended, ttl)
				}
				for _, l := range []cache.Lease{late, holder} {
					_, failed := c.Publish(t.Context(), l, cache.CallResult{})
					err = errors.Join(err, failed)
				}
				if err != nil {
					t.Fatal(err)
				}
				if found, err := c.Acquire(t.Context(), late, lookup); err != nil || found.Lease.Holder != "" {
					t.Errorf("before %q: the late lookup gets the lease %+v, %v", before, found.Lease, err)
				}
				if next, _, err := acquire(t.Context(), c, k, unattended, ttl); err != nil || !next.Held {
					t.Errorf("before %q: the next request does not get the lease: %+v, %v", before, next, err)
				}
			}
		})
	}
}

// A replyError is an error reply of Redis.
type replyError string

func (e replyError) Error() string { return string(e) }

func (replyError) RedisError() {}

// forgetful executes a script whose reply is then NOSCRIPT, and refuses all other commands.
var forgetful = redistest.Hook{
	Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
		err := error(replyError("NOPERM"))
		if cmd.Name() == "evalsha" {
			if failed := next(ctx, cmd); failed != nil {
				return failed
			}
			err = replyError("NOSCRIPT")
		}
		cmd.SetErr(err)
		return err
	},
	Pipeline: func(context.Context, []redis.Cmder, redis.ProcessPipelineHook) error { return replyError("NOPERM") },
}

// TestLookupThatWasExecutedAndRefused: after a lookup that Redis has executed and then refuses, the
// lease may be held, so that the caller releases it.
func TestLookupThatWasExecutedAndRefused(t *testing.T) {
	t.Parallel()
	address := redistest.Shared(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{address}})
	c, k := newCache(t, rdb, newKey(t)), newCacheKey()
	if _, _, err := acquire(t.Context(), c, newCacheKey(), attended, ttl); err != nil { // loads the script
		t.Fatal(err)
	}
	rdb.AddHook(forgetful)
	found, err := c.Acquire(t.Context(), cache.NewLease(cache.CallID{Key: k, ShareKey: attended}), cache.Lookup{TTL: ttl})
	if err == nil || !found.Lease.Held {
		t.Errorf("%+v, %v", found.Lease, err)
	}
}

func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			dead, _, err := acquire(t.Context(), c, k, attended, 100*time.Millisecond)
			if err != nil || !dead.Held {
				t.Fatal(dead, err)
			}
			var next cache.Lease
			eventually(t, "the lease expires", func() bool {
				next, _, err = acquire(t.Context(), c, k, attended, ttl)
				return err == nil && next.Held
			})
			if end, err := c.Publish(t.Context(), dead, cache.CallResult{Entry: entry(), KeepFor: time.Hour}); err != nil || end.Stored {
				t.Errorf("the holder of an expired lease publishes: %+v, %v", end, err)
			}
			if mustGet(t, c, k) != nil {
				t.Error("the holder of an expired lease stores its list")
			}
			if o, err := c.Outcome(t.Context(), next); err != nil || !o.Held || o.Done {
				t.Errorf("the next holder's lease is gone: %+v, %v", o, err)
			}
		})
	}
}

func TestFollowersGetTheOutcome(t *testing.T) {
	t.Parallel()
	failure := &canonical.Error{
		Kind: canonical.UnattendedLimit, Origin: canonical.OriginASPSP, RetryAfter: time.Hour,
		Upstream: &canonical.UpstreamError{HTTPStatus: 429, ReasonCode: "ACCESS_EXCEEDED"},
	}
	later, known := *failure, *failure // as a newer gateway and this one describe it
	later.Kind, known.Kind = "KIND_OF_A_LATER_VERSION", canonical.ProviderError
	for name, rdb := range redises(t) {
		for _, tt := range []struct {
			name   string
			result cache.CallResult
			want   cache.LeaderOutcome
			cached bool
		}{
			{"a list", cache.CallResult{Entry: entry(), KeepFor: time.Hour}, cache.LeaderOutcome{Done: true, Entry: entry()}, true},
			{"a failure", cache.CallResult{Failure: failure}, cache.LeaderOutcome{Done: true, Failure: failure, Entry: entry()}, true},
			{"a failure of an unknown kind", cache.CallResult{Failure: &later}, cache.LeaderOutcome{Done: true, Failure: &known, Entry: entry()}, true},
			{"balances", cache.CallResult{Entry: balances()}, cache.LeaderOutcome{Done: true, Entry: balances()}, true},
			{"a rejection", cache.CallResult{Failure: failure, Invalidate: true}, cache.LeaderOutcome{Done: true, Failure: failure}, false},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				c, k := newCache(t, rdb, newKey(t)), newCacheKey()
				storeList(t, c, k, entry())
				lease, _, err := acquire(t.Context(), c, k, unattended, ttl)
				if err != nil {
					t.Fatal(err)
				}
				waiting, cached, err := acquire(t.Context(), c, k, unattended, ttl)
				if err != nil || waiting.Held || cached == nil {
					t.Fatalf("%+v, %v, %v", waiting, cached, err)
				}
				if o, err := c.Outcome(t.Context(), waiting); err != nil || !o.Held || o.Done {
					t.Errorf("during the call: %+v, %v", o, err)
				}
				tt.result.Ended = waiting.RedisTime(time.Now())
				late, _, err := acquire(t.Context(), c, k, unattended, ttl)
				if err != nil {
					t.Fatal(err)
				}
				if end, err := c.Publish(t.Context(), lease, tt.result); err != nil || !end.Held {
					t.Fatal(end, err)
				}
				got, err := c.Outcome(t.Context(), waiting)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got, ignoreAge); diff != "" || got.EndedBefore(waiting) {
					t.Error(diff, got.Ended)
				}
				if !got.EndedBefore(late) {
					t.Errorf("a request after the end of the call would get its outcome: %+v", got)
				}
				if (mustGet(t, c, k) != nil) != tt.cached {
					t.Errorf("cached is not %t", tt.cached)
				}
			})
		}
	}
}

// TestDeletesWithoutMemory: a list can be deleted although Redis has no memory left.
func TestDeletesWithoutMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	c, k := newCache(t, rdb, newKey(t)), newCacheKey()
	storeList(t, c, k, entry())
	lease, _, err := acquire(t.Context(), c, k, attended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Do("CONFIG", "SET", "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Invalidate(t.Context(), k); err != nil {
		t.Error(err)
	}
	if mustGet(t, c, k) != nil {
		t.Error("a deleted list is still there")
	}
	if end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour}); err != nil || end.Stored {
		t.Errorf("a call in progress stores its list: %+v, %v", end, err)
	}
}

// TestForeignEntries: an unknown value under the key of a list is a miss, and the next list
// replaces it.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		for kind, put := range map[string]func(key string) error{
			"a list":  func(key string) error { return rdb.LPush(t.Context(), key, "x").Err() },
			"a hash":  func(key string) error { return rdb.HSet(t.Context(), key, "x", "y").Err() },
			"a text":  func(key string) error { return rdb.Set(t.Context(), key, "x", time.Hour).Err() },
			"nothing": func(key string) error { return rdb.Set(t.Context(), key, "", time.Hour).Err() },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				c, k := newCache(t, rdb, newKey(t)), newCacheKey()
				if err := put(store.Prefix("accounts", k.Client, k.ASPSP, k.Consent) + "list"); err != nil {
					t.Fatal(err)
				}
				if mustGet(t, c, k) != nil {
					t.Error("it is served")
				}
				lease, cached, err := acquire(t.Context(), c, k, attended, ttl)
				if err != nil || !lease.Held || cached != nil {
					t.Fatalf("%+v, %v, %v", lease, cached, err)
				}
				waiting, _, err := acquire(t.Context(), c, k, attended, ttl)
				if o, outErr := c.Outcome(t.Context(), waiting); err != nil || outErr != nil || !o.Held || o.Entry != nil {
					t.Errorf("%+v, %v, %v", o, err, outErr)
				}
				if end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour}); err != nil || !end.Stored {
					t.Errorf("%+v, %v", end, err)
				}
				if mustGet(t, c, k) == nil {
					t.Error("the next list does not replace it")
				}
			})
		}
	}
}

// loseLease deletes the lease of a list, as a failover of Redis may.
func loseLease(t *testing.T, rdb redis.UniversalClient, k cache.Key) {
	t.Helper()
	leases := rdb.Keys(t.Context(), store.Prefix("accounts", k.Client, k.ASPSP, k.Consent)+"lease:*").Val()
	if n, err := rdb.Del(t.Context(), leases...).Result(); err != nil || n != 1 {
		t.Fatalf("%d leases, %v", n, err)
	}
}

// TestListIsStoredWithoutItsLease: a list is stored even if its lease was lost during the call,
// unless the list was deleted or a newer one has been stored.
func TestListIsStoredWithoutItsLease(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	for _, deleted := range []bool{false, true} {
		c, k := newCache(t, rdb, newKey(t)), newCacheKey()
		lease, _, err := acquire(t.Context(), c, k, attended, ttl)
		if err != nil {
			t.Fatal(err)
		}
		loseLease(t, rdb, k)
		if deleted {
			if err := c.Invalidate(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
		end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour})
		if err != nil || end.Held || end.Stored == deleted || (mustGet(t, c, k) == nil) != deleted {
			t.Errorf("deleted %t: %+v, %v", deleted, end, err)
		}
	}
	// A newer list stays.
	c, k, newer := newCache(t, rdb, newKey(t)), newCacheKey(), entry()
	storeList(t, c, k, entry())
	lease, _, err := acquire(t.Context(), c, k, attended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	loseLease(t, rdb, k)
	newer.FetchedAt = newer.FetchedAt.Add(time.Hour)
	storeList(t, c, k, newer)
	end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour})
	if err != nil || end.Stored || !mustGet(t, c, k).FetchedAt.Equal(newer.FetchedAt) {
		t.Errorf("an older list replaces a newer one: %+v, %v", end, err)
	}
}

// TestDeletedListStaysDeleted: a call does not store its list if the list was deleted during the
// call.
func TestDeletedListStaysDeleted(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	c, k := newCache(t, rdb, newKey(t)), newCacheKey()
	lease, _, err := acquire(t.Context(), c, k, unattended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Invalidate(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour}); err != nil || end.Stored {
		t.Errorf("%+v, %v", end, err)
	}
	if mustGet(t, c, k) != nil {
		t.Error("the call in progress stored its list")
	}
	if o, err := c.Outcome(t.Context(), lease); err != nil || o.Held || o.Done {
		t.Errorf("followers get %+v, %v, want no outcome", o, err)
	}
}

// TestRejectionStopsOtherCalls: a call that began before a rejection does not store its list, even
// under another lease key.
func TestRejectionStopsOtherCalls(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k := newCache(t, rdb, newKey(t)), newCacheKey()
			slow, _, err := acquire(t.Context(), c, k, attended, ttl)
			if err != nil {
				t.Fatal(err)
			}
			quick, _, err := acquire(t.Context(), c, k, unattended, ttl)
			if err != nil || !quick.Held {
				t.Fatal(quick, err)
			}
			rejection := cache.CallResult{Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true}
			if end, err := c.Publish(t.Context(), quick, rejection); err != nil || !end.Held {
				t.Fatal(end, err)
			}
			if end, err := c.Publish(t.Context(), slow, cache.CallResult{Entry: entry(), KeepFor: time.Hour}); err != nil || end.Stored {
				t.Errorf("%+v, %v", end, err)
			}
			if mustGet(t, c, k) != nil {
				t.Error("an older call stored its list")
			}
			storeList(t, c, k, entry()) // a call that begins later may store
			if mustGet(t, c, k) == nil {
				t.Error("a later list is not stored")
			}
		})
	}
}

func TestRedisDownIsAnError(t *testing.T) {
	t.Parallel()
	c, k := newCache(t, open(t, config.Redis{Mode: config.Standalone, Addresses: []string{"127.0.0.1:0"}}), newKey(t)), newCacheKey()
	if _, _, err := c.Get(t.Context(), k); err == nil {
		t.Error("get: no error")
	}
	if _, _, err := acquire(t.Context(), c, k, attended, ttl); err == nil {
		t.Error("acquire: no error")
	}
	if _, err := c.Outcome(t.Context(), cache.Lease{}); err == nil {
		t.Error("outcome: no error")
	}
	if _, err := c.Publish(t.Context(), cache.Lease{}, cache.CallResult{}); err == nil {
		t.Error("publish: no error")
	}
	if c.Invalidate(t.Context(), k) == nil {
		t.Error("invalidate: no error")
	}
}

func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][][]byte{"none": nil, "short": {make([]byte, 16)}, "one short": {make([]byte, 32), nil}} {
		if _, err := cache.New(nil, keys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestNewerListStays: of two lists of different calls the newer is cached, whichever is published
// last.
func TestNewerListStays(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, k, older, newer := newCache(t, rdb, newKey(t)), newCacheKey(), entry(), entry()
			newer.FetchedAt = newer.FetchedAt.Add(time.Millisecond)
			late, _, err := acquire(t.Context(), c, k, unattended, ttl)
			if err != nil {
				t.Fatal(err)
			}
			storeList(t, c, k, newer)
			end, err := c.Publish(t.Context(), late, cache.CallResult{Entry: older, KeepFor: time.Hour})
			if err != nil || !end.Held || end.Stored || !mustGet(t, c, k).FetchedAt.Equal(newer.FetchedAt) {
				t.Errorf("%+v, %v, cached at %v", end, err, mustGet(t, c, k).FetchedAt)
			}
		})
	}
}
