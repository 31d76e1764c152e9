package cache_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/config"
)

// TestUnknownKeyIsReported holds that data under a key that the cache does not have are reported, and logged once.
// It replaces the process's logger, and so is not parallel.
func TestUnknownKeyIsReported(t *testing.T) {
	was, out := slog.Default(), &bytes.Buffer{}
	t.Cleanup(func() { slog.SetDefault(was) })
	slog.SetDefault(slog.New(slog.NewJSONHandler(out, nil)))
	rdb := open(t, config.Redis{Mode: config.Embedded})
	k, a, b := newOwner(), newCache(t, rdb, newKey(t)), newCache(t, rdb, newKey(t))
	put(t, a, k, entry())
	if mustGet(t, a, k) == nil || a.Unreadable() || b.Unreadable() {
		t.Error("reported before it is so")
	}
	for range 3 {
		e, _, err := b.Get(t.Context(), k)
		if err != nil || e == nil || !e.Unreadable || e.Accounts != nil || e.Age < time.Hour || !b.Unreadable() {
			t.Fatalf("%+v, %v, reported %t", e, err, b.Unreadable())
		}
	}
	if n := strings.Count(out.String(), "under an unknown key"); n != 1 || a.Unreadable() {
		t.Errorf("logged %d times: %s", n, out)
	}
	// The fresh list stays, and gives way to the next one once it is not fresh any more.
	for freshFor, stands := range map[time.Duration]bool{1 << 62: false, time.Second: true} {
		lease, _, err := b.AcquireList(t.Context(), k, unattended, ttl)
		if err != nil {
			t.Fatal(err)
		}
		next := entry()
		next.FetchedAt = next.FetchedAt.Add(time.Second)
		put(t, a, k, entry())
		end, err := b.Publish(t.Context(), lease, cache.CallResult{Entry: next, KeepFor: time.Hour, FreshFor: freshFor})
		if err != nil || end.Stored != stands {
			t.Errorf("fresh for %v: %+v, %v", freshFor, end, err)
		}
		if err := a.Invalidate(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
}
