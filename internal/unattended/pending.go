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
	// maxReleases is the maximum number of pending releases. Slots beyond it stay counted.
	maxReleases = 1024
	// releaseFor is how long a release is retried, and releasePause the longest pause between two
	// attempts.
	releaseFor   = 13 * time.Second
	releasePause = 6400 * time.Millisecond
	// maxBlocks is the maximum number of pending blocks. It is not reached in practice, because a
	// block needs a call that was counted just before Redis was lost.
	maxBlocks = 16_384
	// blockPause is the longest pause between two attempts to store a block, and blockSpacing the
	// time between the attempts of two blocks while Redis is down.
	blockPause   = time.Second
	blockSpacing = 10 * time.Millisecond
)

// pending holds the Redis writes that failed and are retried in the background.
type pending struct {
	releases *retryqueue.Queue[string] // by slot id
	blocks   *retryqueue.Queue[string] // by the block's key

	mu    sync.Mutex
	until map[string]time.Time // when the blocks that Redis has not confirmed end, by the block's key
}

func newPending(timeout time.Duration) *pending {
	return &pending{
		releases: retryqueue.New[string](retryqueue.Config{
			Max: maxReleases, Timeout: timeout, MaxPause: releasePause, GiveUp: releaseFor,
		}),
		blocks: retryqueue.New[string](retryqueue.Config{
			Max: maxBlocks, Timeout: timeout, MaxPause: blockPause, Spacing: blockSpacing,
		}),
		until: map[string]time.Time{},
	}
}

// Drain makes one last attempt of each pending release and block, and writes the waiting updates of
// the unit statistics. It returns ctx's error if ctx ends before all releases and blocks are done.
func (c *Counter) Drain(ctx context.Context) error {
	releases := make(chan error, 1)
	go func() { releases <- c.pending.releases.Drain(ctx) }()
	err := errors.Join(c.pending.blocks.Drain(ctx), <-releases)
	c.units.Drain(ctx)
	return err
}

// releaseLater releases slots of one unit whose calls were not made, and retries that for about 13 s.
func (c *Counter) releaseLater(key counterKey, ids ...string) {
	c.pending.releases.Add(ids[0], func(ctx context.Context) error {
		_, err := c.remove(ctx, key, ids)
		return err
	})
}

// blockLater retries to store a block that Redis did not confirm. This gateway enforces it until it
// is stored or over.
func (c *Counter) blockLater(key counterKey, wait time.Duration) {
	c.pending.remember(key.block(), wait)
	c.pending.blocks.Add(key.block(), func(ctx context.Context) error { return c.storeBlock(ctx, key) })
}

// storeBlock stores the unit's pending block, if it has one. It returns an error if Redis does not
// confirm it.
func (c *Counter) storeBlock(ctx context.Context, key counterKey) error {
	until, left := c.pending.blocked(key.block())
	if left <= 0 {
		return nil
	}
	if _, err := c.block(ctx, key, left); err != nil {
		return err
	}
	c.pending.confirmed(key.block(), until)
	return nil
}

// remember adds a block that ends after wait, unless the key has one that lasts longer. It drops
// blocks that are over.
func (p *pending) remember(key string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now() //nolint:forbidigo // monotonic time of this process, as for a timer
	maps.DeleteFunc(p.until, func(_ string, until time.Time) bool { return !until.After(now) })
	if until := now.Add(wait); until.After(p.until[key]) {
		p.until[key] = until
	}
}

// blocked returns when the key's unconfirmed block ends, and the time until then. The time is 0 if
// there is none.
func (p *pending) blocked(key string) (until time.Time, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until = p.until[key]
	return until, max(time.Until(until), 0) //nolint:forbidigo // as above
}

// confirmed removes a block that Redis has stored, unless it has been extended since.
func (p *pending) confirmed(key string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until[key].Equal(until) {
		delete(p.until, key)
	}
}
