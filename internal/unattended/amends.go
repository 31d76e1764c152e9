package unattended

import (
	"context"
	"maps"
	"sync"
	"time"
)

// What Redis could not be told when it had to be, it is told later.

const (
	// maxUndoing bounds how many slots are given back at once in the background. More are left counted.
	maxUndoing = 1024
	// undoTries and undoPause say how often and after which pause, doubled each time, a slot is looked for: at once,
	// then after 0.2 to 6.4 s, for some 13 s in all.
	undoTries = 7
	undoPause = 200 * time.Millisecond
)

// undo gives a slot back whose call was not made: Redis could not be told so, or the step that took the slot, if it
// did, had no answer. The step may still lie in Redis's queue, so the slot is looked for until it is found, or for a
// while.
func (c *Counter) undo(s Slot) {
	select {
	case c.undoing <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-c.undoing }()
		for try := range undoTries {
			if try > 0 {
				time.Sleep(undoPause << (try - 1))
			}
			ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
			found, err := c.rdb.ZRem(ctx, s.key, s.id).Result()
			cancel()
			if err == nil && found > 0 {
				return
			}
		}
	}()
}

// closures are those that an ASPSP asked for and Redis could not be told, by the name of their key. There are no
// more of them than calls that were counted just before Redis went.
type closures struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (c *closures) keep(key string, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until == nil {
		c.until = map[string]time.Time{}
	}
	now := time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	// Of those that are over, nobody need ever ask again.
	maps.DeleteFunc(c.until, func(_ string, until time.Time) bool { return !until.After(now) })
	c.until[key] = now.Add(wait)
}

// left is for how long the key is to be closed yet, 0 if not.
func (c *closures) left(key string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.until[key]
	if !ok {
		return 0
	}
	left := time.Until(until) //nolint:forbidigo // as above
	if left <= 0 {
		delete(c.until, key)
	}
	return max(left, 0)
}

func (c *closures) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.until, key)
}
