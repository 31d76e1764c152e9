package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/retryqueue"
)

const (
	// writeTimeout is the timeout of one attempt of a Redis write in the background.
	writeTimeout = 2 * time.Second
	// giveUpAfter is how long storing a result is retried.
	giveUpAfter = 13 * time.Second
	// maxPause is the longest pause between two attempts to store a result.
	maxPause = 6400 * time.Millisecond
	// maxWrites is how many results may wait for Redis.
	maxWrites = 1024
	// invalidatePause is the longest pause between two attempts of an invalidation.
	invalidatePause = time.Second
	// lastWrites is how long a gateway that drains waits for the last attempts.
	lastWrites = 3 * time.Second
	// maxInvalidations is how many invalidations may wait for Redis: some 5 MB.
	maxInvalidations = 16_384
)

// Log messages for invalidations that may have been lost.
const (
	msgTooMany     = "too many pending deletions: some account lists may still be cached"
	msgUnconfirmed = "deletion not confirmed: an account list may still be cached"
)

// writes are Redis writes that must still happen after a response was sent.
type writes struct {
	results *retryqueue.Queue[string] // results of calls, with their leases, by a random key
	// invalidations are lists that must not be served any more, until Redis confirms it.
	invalidations *retryqueue.Queue[cache.Key]
	full          atomic.Bool // there were too many invalidations
}

func newWrites(slack time.Duration, log *slog.Logger) *writes {
	return &writes{
		results: retryqueue.New[string](retryqueue.Config{
			Max: maxWrites, Timeout: writeTimeout + slack, MaxPause: maxPause, GiveUp: giveUpAfter,
		}),
		invalidations: retryqueue.New[cache.Key](retryqueue.Config{
			Max: maxInvalidations, Timeout: writeTimeout + slack, MaxPause: invalidatePause,
			Lost: sync.OnceFunc(func() { log.Warn(msgUnconfirmed) }),
		}),
	}
}

// drain makes the last attempt of each write, for three seconds at most.
func (w *writes) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastWrites)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.results.Drain(ctx) }()
	return errors.Join(w.invalidations.Drain(ctx), <-done)
}

// writeEventually makes a write that must happen, and waits for its first attempt within the budget. It returns whether that
// succeeded. Otherwise the write is retried in the background.
func (g *Gateway) writeEventually(ctx context.Context, a *latencyBudget, write retryqueue.Write) (done bool) {
	return a.waitFor(context.WithoutCancel(ctx), g.writes.results.Add(uuid.NewString(), write)) == nil
}

// invalidateEventually deletes a cached list whose consent the provider has rejected, and waits for that within the budget.
// This gateway does not serve the list until Redis confirms the deletion, which is retried.
func (g *Gateway) invalidateEventually(ctx context.Context, a *latencyBudget, k cache.Key) {
	first := g.writes.invalidations.Add(k, func(ctx context.Context) error { return g.Config.Cache.Invalidate(ctx, k) })
	_ = a.waitFor(context.WithoutCancel(ctx), first)
	switch pending := g.writes.invalidations.Len(); {
	case pending >= maxInvalidations && !g.writes.full.Swap(true):
		g.Logger.WarnContext(ctx, msgTooMany)
	case pending == 0:
		g.writes.full.Store(false)
	}
}
