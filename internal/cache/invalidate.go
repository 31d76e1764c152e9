package cache

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ais-gateway/internal/retryqueue"
)

const (
	// maxInvalidations is how many invalidations may wait for Redis: some 5 MB.
	maxInvalidations = 16_384
	// invalidateTimeout is the timeout of one attempt, and invalidatePause the longest pause
	// between two.
	invalidateTimeout = 2 * time.Second
	invalidatePause   = time.Second
	// invalidateSpacing is the time between two attempts while Redis is down, so that many
	// invalidations do not load it.
	invalidateSpacing = 10 * time.Millisecond
	// erasePause is the pause between two attempts for which a request waits.
	erasePause = 100 * time.Millisecond
)

// Log messages for invalidations that may have been lost.
const (
	msgTooMany     = "too many pending deletions: some account lists may still be cached"
	msgUnconfirmed = "deletion not confirmed: an account list may still be cached"
)

// deletion identifies a pending deletion. An invalidation does not replace an erasure, which deletes
// more.
type deletion struct {
	Key
	erases bool
}

// invalidations are lists that must not be served any more, until Redis confirms it.
type invalidations struct {
	queue *retryqueue.Queue[deletion]
	full  *atomic.Bool // there were too many
}

func newInvalidations() invalidations {
	return invalidations{full: &atomic.Bool{}, queue: retryqueue.New[deletion](retryqueue.Config{
		Max: maxInvalidations, Timeout: invalidateTimeout, MaxPause: invalidatePause, Spacing: invalidateSpacing,
		Lost: sync.OnceFunc(func() { slog.Warn(msgUnconfirmed) }),
	})}
}

func (i invalidations) pending(k Key) bool {
	return i.queue.Pending(deletion{k, false}) || i.queue.Pending(deletion{k, true})
}

func (i invalidations) add(d deletion, write retryqueue.Write) <-chan error {
	first := i.queue.Add(d, write)
	switch n := i.queue.Len(); {
	case n >= maxInvalidations && !i.full.Swap(true):
		slog.Warn(msgTooMany)
	case n < maxInvalidations/2:
		i.full.Store(false)
	}
	return first
}

// Invalidate deletes the list and the register of calls in progress, so that none of them stores it
// again. It needs no memory in Redis.
func (c *Cache) Invalidate(ctx context.Context, k Key) error {
	p := k.prefix()
	return c.rdb.Del(ctx, p+"list", p+"calls").Err()
}

// InvalidateEventually invalidates the list in the background, and retries until Redis confirms it.
// Until then this cache does not return the list. If too many deletions are pending, there is one
// attempt only, which is logged. The channel gets the error of the first attempt.
// If unless is not nil, the first attempt waits for it, and does nothing if it gets nil: another
// step has invalidated the list then.
func (c *Cache) InvalidateEventually(k Key, unless <-chan error) <-chan error {
	return c.invalidations.add(deletion{k, false}, func(ctx context.Context) error {
		if unless != nil {
			first := unless
			unless = nil
			select {
			case err := <-first:
				if err == nil {
					return nil
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return c.Invalidate(ctx, k)
	})
}

// InvalidationPending reports whether the list was invalidated and Redis has not confirmed it yet.
func (c *Cache) InvalidationPending(k Key) bool { return c.invalidations.pending(k) }

// Drain makes the last attempt of each pending deletion. It returns ctx's error if ctx ends first.
func (c *Cache) Drain(ctx context.Context) error { return c.invalidations.queue.Drain(ctx) }

// Erase invalidates the list, and also deletes the remembered refusals and number of pages, and all
// stored aggregations of the client that contain the consent. It tries until Redis confirms it, or
// until ctx ends. Then it returns ctx's error and continues in the background; until Redis confirms
// it, this cache does not return the list, and Claim fails for aggregations that contain the consent.
func (c *Cache) Erase(ctx context.Context, k Key) error {
	erase := func(ctx context.Context) error {
		p := k.prefix()
		// The list first: an aggregation that begins later than its deletion cannot contain it.
		if err := c.rdb.Del(ctx, p+"list", p+"calls", p+"refused", p+"pages").Err(); err != nil {
			return err
		}
		return c.eraseReplays(ctx, k)
	}
	// A command may fail earlier, for example in a failover. Repeating a deletion is safe.
	for erase(ctx) != nil {
		select {
		case <-ctx.Done():
			c.invalidations.add(deletion{k, true}, erase)
			return ctx.Err()
		case <-time.After(erasePause):
		}
	}
	return nil
}
