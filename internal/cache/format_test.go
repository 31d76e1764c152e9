package cache_test

import (
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

// A list and a note of a format that this program does not know yet are none, and the list's place is taken by the next
// one.
func TestLaterFormatIsAMiss(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	c, k := newCache(t, rdb, newKey(t)), newOwner()
	mark := func(name string, at int) {
		t.Helper()
		value, err := rdb.Get(t.Context(), name).Bytes()
		if err != nil || value[at] != 1 {
			t.Fatalf("%q, %v", value, err)
		}
		value[at] = 2
		if err := rdb.Set(t.Context(), name, value, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	prefix := store.Prefix("accounts", k.Client, k.ASPSP, k.Consent)
	lease, _, err := c.AcquireList(t.Context(), k, unattended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	waiting, _, err := c.AcquireList(t.Context(), k, unattended, ttl)
	if err != nil || waiting.Held {
		t.Fatal(waiting, err)
	}
	if end, err := c.Finish(t.Context(), lease, cache.Result{Entry: entry(), KeepFor: time.Hour, Ended: waiting.At(time.Now())}); err != nil || !end.Stands {
		t.Fatal(end, err)
	}
	notes, err := rdb.Keys(t.Context(), prefix+"note:*").Result()
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	mark(prefix+"list", 16)
	mark(notes[0], 0)
	if e, _, err := c.Get(t.Context(), k); e != nil || err != nil {
		t.Errorf("the list is %v, %v", e, err)
	}
	if o, err := c.Outcome(t.Context(), waiting); err != nil || o.Held || o.Done || o.Entry != nil {
		t.Errorf("who waits is told %+v, %v, want his own turn", o, err)
	}
	put(t, c, k, entry())
	if mustGet(t, c, k) == nil {
		t.Error("the next list does not take its place")
	}
}
