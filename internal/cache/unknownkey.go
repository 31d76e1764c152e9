package cache

import (
	"log/slog"
	"sync"
	"time"
)

// reportFor is how long after the last value under an unknown key the cache reports it.
const reportFor = time.Hour

// unknownKeys records values that are encrypted under a key that the cache does not have: another
// gateway has another key, or an old key was removed too early.
type unknownKeys struct {
	mu   sync.Mutex
	last time.Time
}

// report records such a value, and logs the first.
func (u *unknownKeys) report() {
	u.mu.Lock()
	first := !u.recently()
	u.last = time.Now() //nolint:forbidigo // the process's monotonic time
	u.mu.Unlock()
	if first {
		slog.Warn("cached data is encrypted under an unknown key")
	}
}

func (u *unknownKeys) recently() bool {
	return !u.last.IsZero() && time.Since(u.last) < reportFor //nolint:forbidigo // as above
}

// Unreadable reports whether the cache read a value under an unknown key within the last hour.
func (c *Cache) Unreadable() bool {
	c.unknown.mu.Lock()
	defer c.unknown.mu.Unlock()
	return c.unknown.recently()
}
