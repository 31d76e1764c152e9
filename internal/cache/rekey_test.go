package cache_test

import (
	"sync"
	"testing"

	"ais-gateway/internal/config"
)

// Other keys take the place of those in use, while the cache is used, and keys that are none do not.
func TestRekey(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	old, young, k := newKey(t), newKey(t), newOwner()
	c := newCache(t, rdb, old)
	put(t, c, k, entry())
	if c.SetKeys([][]byte{young, nil}) == nil || c.SetKeys(nil) == nil || mustGet(t, c, k) == nil {
		t.Error("keys that are none are in use")
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for range 100 {
			if e, _, err := c.Get(t.Context(), k); e == nil || err != nil {
				t.Errorf("read meanwhile: %v, %v", e, err)
				return
			}
		}
	})
	if err := c.SetKeys([][]byte{young, old}); err != nil {
		t.Fatal(err)
	}
	reading.Wait()
	put(t, c, k, entry())
	if err := c.SetKeys([][]byte{young}); err != nil || mustGet(t, c, k) == nil {
		t.Errorf("not encrypted under the new key, %v", err)
	}
}
