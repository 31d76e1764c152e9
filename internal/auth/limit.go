package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ais-gateway/internal/config"
)

// sweepEvery is how often buckets that are full again are dropped.
const sweepEvery = time.Minute

// buckets are the token buckets of clients that have asked lately. A full one is the same as none.
type buckets struct {
	now func() time.Time

	mu    sync.Mutex
	all   map[string]*rate.Limiter // by Client.ID
	swept time.Time
}

func newBuckets(now func() time.Time) *buckets {
	return &buckets{now: now, all: map[string]*rate.Limiter{}, swept: now()}
}

// take takes a token of the client's, or says how long it must wait for one.
func (b *buckets) take(id string, limit config.RateLimit) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.sweep(now)
	bucket, known := b.all[id]
	if !known {
		bucket = rate.NewLimiter(rate.Limit(limit.PerSecond), limit.Burst)
		b.all[id] = bucket
	}
	// a key's limit may have changed since
	if bucket.Limit() != rate.Limit(limit.PerSecond) || bucket.Burst() != limit.Burst {
		bucket.SetLimitAt(now, rate.Limit(limit.PerSecond))
		bucket.SetBurstAt(now, limit.Burst)
	}
	taken := bucket.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now)
	}
	return wait
}

func (b *buckets) sweep(now time.Time) {
	if now.Sub(b.swept) < sweepEvery {
		return
	}
	b.swept = now
	for id, bucket := range b.all {
		if bucket.TokensAt(now) >= float64(bucket.Burst()) {
			delete(b.all, id)
		}
	}
}
