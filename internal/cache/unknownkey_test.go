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

// TestUnknownKeyIsReported: a value that is encrypted under an unknown key is reported and logged
// once. The test replaces the default logger, so it is not parallel.
func TestUnknownKeyIsReported(t *testing.T) {
	was, out := slog.Default(), &bytes.Buffer{}
	t.Cleanup(func() { slog.SetDefault(was) })
	slog.SetDefault(slog.New(slog.NewJSONHandler(out, nil)))
	rdb := open(t, config.Redis{Mode: config.Embedded})
	k, a, b := newCacheKey(), newCache(t, rdb, newKey(t)), newCache(t, rdb, newKey(t))
	storeList(t, a, k, entry())
	if mustGet(t, a, k) == nil || a.Unreadable() || b.Unreadable() {
		t.Error("reported too early")
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
	// The list stays while it is fresh. A stale one is replaced.
	for freshFor, replaced := range map[time.Duration]bool{1 << 62: false, time.Second: true} {
		lease, _, err := acquire(t.Context(), b, k, unattended, ttl)
		if err != nil {
			t.Fatal(err)
		}
		next := entry()
		next.FetchedAt = next.FetchedAt.Add(time.Second)
		storeList(t, a, k, entry())
		end, err := b.Publish(t.Context(), lease, cache.CallResult{Entry: next, KeepFor: time.Hour, FreshFor: freshFor})
		if err != nil || end.Stored != replaced {
			t.Errorf("fresh for %v: %+v, %v", freshFor, end, err)
		}
		if err := a.Invalidate(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
}
