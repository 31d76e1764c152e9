package cache

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/retryqueue"
)

const (
	// acceptedDelay is how long accepted consents are collected.
	acceptedDelay = time.Second
	// maxAccepted is how many consents wait. Further ones are dropped: their refusals expire.
	maxAccepted = 16_384
	// acceptedFor is how long their deletion is retried.
	acceptedFor = time.Minute
)

// accepted are consents with which the user has just read balances, so that their refusals must be
// deleted. All that come within a second are deleted together, so that the requests cost no round
// trip.
type accepted struct {
	queue *retryqueue.Queue[string]
	mu    sync.Mutex
	keys  map[Key]struct{}
}

func newAccepted() *accepted {
	a := &accepted{keys: map[Key]struct{}{}}
	a.queue = retryqueue.New[string](retryqueue.Config{
		Max: 1, Timeout: invalidateTimeout, MaxPause: invalidatePause, GiveUp: acceptedFor,
		Lost: func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.keys = map[Key]struct{}{}
		},
	})
	return a
}

// AcceptEventually deletes the refusals of a consent and of its accounts, in a second. It is for a
// call that publishes nothing; for others, see Learned.
func (c *Cache) AcceptEventually(k Key) {
	a := c.accepted
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.keys) == 0 {
		a.queue.AddAfter(acceptedDelay, "refusals", c.deleteRefusals)
	}
	if len(a.keys) < maxAccepted {
		a.keys[k] = struct{}{}
	}
}

// deleteRefusals deletes the refusals of all accepted consents. After an error, all of them stay.
func (c *Cache) deleteRefusals(ctx context.Context) error {
	a := c.accepted
	a.mu.Lock()
	keys := maps.Clone(a.keys)
	a.mu.Unlock()
	_, err := c.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for k := range keys {
			pipe.Del(ctx, k.prefix()+"refused")
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range keys {
		delete(a.keys, k)
	}
	if len(a.keys) > 0 { // those that came during the deletion
		a.queue.AddAfter(acceptedDelay, "refusals", c.deleteRefusals)
	}
	return nil
}
