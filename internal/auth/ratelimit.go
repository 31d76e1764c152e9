package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ais-gateway/internal/config"
)

// sweepInterval is the time between two removals of full buckets.
const sweepInterval = time.Minute

// rateLimiters has the token buckets of recently active clients. A full bucket is equivalent to
// none.
type rateLimiters struct {
	now func() time.Time

	mu        sync.Mutex
	byClient  map[string]*rate.Limiter // by Client.ID
	lastSweep time.Time
}

func newRateLimiters(now func() time.Time) *rateLimiters {
	return &rateLimiters{now: now, byClient: map[string]*rate.Limiter{}, lastSweep: now()}
}

// take takes n tokens, at most a full bucket, from the client's bucket and returns 0. If there are
// fewer, it takes none and returns the time until they are there.
func (b *rateLimiters) take(id string, limit config.RateLimit, n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.dropFull(now)
	bucket, known := b.byClient[id]
	if !known {
		bucket = rate.NewLimiter(rate.Limit(limit.PerSecond), limit.Burst)
		b.byClient[id] = bucket
	}
	// The limit of an API key changes with a reload.
	if bucket.Limit() != rate.Limit(limit.PerSecond) || bucket.Burst() != limit.Burst {
		bucket.SetLimitAt(now, rate.Limit(limit.PerSecond))
		bucket.SetBurstAt(now, limit.Burst)
	}
	taken := bucket.ReserveN(now, min(n, limit.Burst))
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now)
	}
	return wait
}

func (b *rateLimiters) dropFull(now time.Time) {
	if now.Sub(b.lastSweep) < sweepInterval {
		return
	}
	b.lastSweep = now
	for id, bucket := range b.byClient {
		if bucket.TokensAt(now) >= float64(bucket.Burst()) {
			delete(b.byClient, id)
		}
	}
}
