package gateway

import (
	"context"
	"errors"
	"time"
)

const (
	// redisAllowance is what Redis may cost one request where the answer can be had without it.
	redisAllowance = 100 * time.Millisecond
	// forgetTimeout is what Redis may cost where it is what the request is about.
	forgetTimeout = 2 * time.Second
	// leaseMargin is how much longer than the call a lease lasts.
	leaseMargin = 2 * time.Second
	// How often those who wait for another gateway's call look whether it has ended.
	pollFirst, pollLast = 10 * time.Millisecond, 100 * time.Millisecond
)

var errSpent = errors.New("redis has cost this request enough")

// An allowance is how long Redis may still hold up one request. The zero allowance is a whole one. It serves one
// goroutine.
type allowance struct {
	spent  time.Duration
	broken bool
}

// spend makes one step in Redis within what is left. After a failed step nothing is left: Redis is slow or gone,
// and the request goes on without it.
func (a *allowance) spend(ctx context.Context, step func(context.Context) error) error {
	if a.broken || a.spent >= redisAllowance {
		return errSpent
	}
	ctx, cancel := context.WithTimeout(ctx, redisAllowance-a.spent)
	defer cancel()
	began := time.Now() //nolint:forbidigo // what is measured is how long a real wait took
	err := step(ctx)
	a.spent += time.Since(began) //nolint:forbidigo // as above
	a.broken = err != nil
	return err
}
