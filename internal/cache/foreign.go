package cache

import (
	"log/slog"
	"sync"
	"time"
)

// foreignFor is how long after the last value under an unknown key the cache reports it.
const foreignFor = time.Hour

// foreign notes values that are encrypted under a key that the cache does not have: another gateway has another key, or
// an old key was removed too early.
type foreign struct {
	mu   sync.Mutex
	last time.Time
}

// note notes such a value, and logs the first.
func (f *foreign) note() {
	f.mu.Lock()
	first := !f.recent()
	f.last = time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	f.mu.Unlock()
	if first {
		slog.Warn("cached data is encrypted under an unknown key")
	}
}

func (f *foreign) recent() bool {
	return !f.last.IsZero() && time.Since(f.last) < foreignFor //nolint:forbidigo // as above
}

// Unreadable reports whether there was a value within the last hour that is encrypted under a key that the cache does not
// have.
func (c *Cache) Unreadable() bool {
	c.foreign.mu.Lock()
	defer c.foreign.mu.Unlock()
	return c.foreign.recent()
}
