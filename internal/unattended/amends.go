package unattended

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"ais-gateway/internal/recovery"
)

// What Redis could not be told when it had to be, it is told later.

const (
	// maxUndoing bounds how much is told at once in the background. More slots than that are left counted.
	maxUndoing = 1024
	// undoTries and undoPause say how often and after which pause, doubled each time, a slot is looked for: at once,
	// then after 0.2 to 6.4 s, for some 13 s in all.
	undoTries = 7
	undoPause = 200 * time.Millisecond
	// tellPause is the longest pause before Redis is told again of a closure.
	tellPause = time.Second
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
		defer recovery.Recover(context.Background(), slog.Default())
		for try := range undoTries {
			if try > 0 {
				time.Sleep(undoPause << (try - 1))
			}
			if found, _, err := s.remove(context.Background()); err == nil && found {
				c.units.note(s.unit)
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
	told  map[string]bool // those that somebody goes on trying to tell Redis
}

// keep remembers a closure; one that lasts longer stays. first is true where nobody tells Redis of the key yet: who
// hears it does.
func (c *closures) keep(key string, wait time.Duration) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until == nil {
		c.until, c.told = map[string]time.Time{}, map[string]bool{}
	}
	now := time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	// Of those that are over, nobody need ever ask again.
	maps.DeleteFunc(c.until, func(_ string, until time.Time) bool { return !until.After(now) })
	if until := now.Add(wait); until.After(c.until[key]) {
		c.until[key] = until
	}
	first = !c.told[key]
	c.told[key] = true
	return first
}

// done says that nobody tells Redis of the key any more, unless there is something to tell again.
func (c *closures) done(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Until(c.until[key]) > 0 { //nolint:forbidigo // as above
		return false
	}
	delete(c.told, key)
	return true
}

// of is until when the key is to be closed yet, and for how long that is; 0 if it is not.
func (c *closures) of(key string) (until time.Time, left time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	until = c.until[key]
	return until, max(time.Until(until), 0) //nolint:forbidigo // as above
}

// said forgets a closure that Redis was told, unless it was made longer since.
func (c *closures) said(key string, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until[key].Equal(until) {
		delete(c.until, key)
	}
}

// say tells Redis of a closure that it could not be told before.
func (c *Counter) say(ctx context.Context, u unit) error {
	until, left := c.unsaid.of(u.closed())
	if left <= 0 {
		return nil
	}
	if _, err := c.close(ctx, u, left); err != nil {
		return err
	}
	c.unsaid.said(u.closed(), until)
	return nil
}

// tell goes on trying to tell Redis of a closure until it is over: other gateways must know of it too.
func (c *Counter) tell(ctx context.Context, u unit) {
	defer recovery.Recover(ctx, slog.Default())
	for pause := undoPause; ; pause = min(2*pause, tellPause) {
		time.Sleep(pause)
		if c.say(ctx, u) == nil && c.unsaid.done(u.closed()) {
			return
		}
	}
}
