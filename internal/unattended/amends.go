package unattended

import (
	"context"
	"sync"
	"time"
)

// What Redis could not be told when it had to be, it is told later.

const (
	// maxUndoing bounds how many slots are given back at once in the background. More are left counted.
	maxUndoing = 256
	// undoTries and undoPause say how often and after which pause, doubled each time, a slot is looked for that a
	// step without an answer may have taken: 0.2 to 6.4 s, some 13 s in all.
	undoTries = 6
	undoPause = 200 * time.Millisecond
)

// undo gives a slot back whose call was never made because the step that took it, if it did, had no answer. The
// step may still lie in Redis's queue, so the slot is looked for until it is found, or for a while.
func (c *Counter) undo(s Slot) {
	select {
	case c.undoing <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-c.undoing }()
		for try := range undoTries {
			time.Sleep(undoPause << try)
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
	c.until[key] = time.Now().Add(wait) //nolint:forbidigo // the process's own monotonic time, as of a timer
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
