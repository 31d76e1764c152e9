package unattended

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"ais-gateway/internal/retryqueue"
)

const (
	// maxReleases is how many slots may wait for their removal. More than that stay counted.
	maxReleases = 1024
	// releaseFor and releasePause are how long the removal of a slot is retried, and the longest pause between two attempts.
	releaseFor   = 13 * time.Second
	releasePause = 6400 * time.Millisecond
	// maxBlocks is how many blocks may wait for Redis. A block needs a call that was counted just before Redis was lost, so
	// that there are fewer.
	maxBlocks = 16_384
	// blockPause is the longest pause between two attempts to store a block.
	blockPause = time.Second
)

// errNoSlot means that a slot to remove is not there. The step that takes it may still be on its way to Redis.
var errNoSlot = errors.New("the slot is not there")

// pending are Redis writes that failed and are retried in the background.
type pending struct {
	releases *retryqueue.Queue[string] // by slot id
	blocks   *retryqueue.Queue[string] // by the block's key

	mu    sync.Mutex
	until map[string]time.Time // by the block's key: blocks that Redis has not confirmed
}

func newPending(timeout time.Duration) *pending {
	return &pending{
		releases: retryqueue.New[string](retryqueue.Config{
			Max: maxReleases, Timeout: timeout, MaxPause: releasePause, GiveUp: releaseFor,
		}),
		blocks: retryqueue.New[string](retryqueue.Config{Max: maxBlocks, Timeout: timeout, MaxPause: blockPause}),
		until:  map[string]time.Time{},
	}
}

// Drain makes the last attempt of each pending release and block. It returns ctx's error if ctx ends first.
func (c *Counter) Drain(ctx context.Context) error {
	return errors.Join(c.pending.releases.Drain(ctx), c.pending.blocks.Drain(ctx))
}

// releaseLater removes the slot of a call that was not made: Redis did not confirm the removal, or it did not respond to the
// take and may still execute it. The removal is retried until the slot was there, or for 13 s.
func (c *Counter) releaseLater(s Slot) {
	c.pending.releases.Add(s.id, func(ctx context.Context) error {
		found, _, err := s.remove(ctx)
		if err == nil && !found {
			err = errNoSlot
		}
		if err == nil {
			c.units.note(s.unit)
		}
		return err
	})
}

// blockLater stores a block that Redis did not confirm. Until it is stored or over, this gateway enforces it.
func (c *Counter) blockLater(u unit, wait time.Duration) {
	c.pending.remember(u.blockKey(), wait)
	c.pending.blocks.Add(u.blockKey(), func(ctx context.Context) error { return c.storeBlock(ctx, u) })
}

// storeBlock stores the unit's pending block, if it has one. It fails if Redis does not confirm it.
func (c *Counter) storeBlock(ctx context.Context, u unit) error {
	until, left := c.pending.blocked(u.blockKey())
	if left <= 0 {
		return nil
	}
	if _, err := c.block(ctx, u, left); err != nil {
		return err
	}
	c.pending.confirmed(u.blockKey(), until)
	return nil
}

// remember keeps a block for so long. One that lasts longer stays.
func (p *pending) remember(key string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	maps.DeleteFunc(p.until, func(_ string, until time.Time) bool { return !until.After(now) })
	if until := now.Add(wait); until.After(p.until[key]) {
		p.until[key] = until
	}
}

// blocked returns until when the key is blocked by a block that Redis has not confirmed, and for how long; 0 if it is not.
func (p *pending) blocked(key string) (until time.Time, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until = p.until[key]
	return until, max(time.Until(until), 0) //nolint:forbidigo // as above
}

// confirmed removes a block that Redis has stored, unless it was made longer since.
func (p *pending) confirmed(key string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until[key].Equal(until) {
		delete(p.until, key)
	}
}
