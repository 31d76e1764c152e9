package cache_test

import (
	"sync"
	"testing"

	"ais-gateway/internal/config"
)

// TestSetKeys: SetKeys replaces the keys while the cache is in use, and refuses invalid keys.
func TestSetKeys(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	old, young, k := newKey(t), newKey(t), newCacheKey()
	c := newCache(t, rdb, old)
	storeList(t, c, k, entry())
	if c.SetKeys([][]byte{young, nil}) == nil || c.SetKeys(nil) == nil || mustGet(t, c, k) == nil {
		t.Error("invalid keys are in use")
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for range 100 {
			if e, _, err := c.Get(t.Context(), k); e == nil || err != nil {
				t.Errorf("a concurrent read: %v, %v", e, err)
				return
			}
		}
	})
	if err := c.SetKeys([][]byte{young, old}); err != nil {
		t.Fatal(err)
	}
	reading.Wait()
	storeList(t, c, k, entry())
	if err := c.SetKeys([][]byte{young}); err != nil || mustGet(t, c, k) == nil {
		t.Errorf("not encrypted under the new key, %v", err)
	}
}
