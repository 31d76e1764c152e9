package gateway

import (
	"context"
	"errors"
	"time"

	"ais-gateway/internal/cache"
)

const (
	// RedisAllowance is what Redis may cost one request where the answer can be had without it.
	RedisAllowance = 100 * time.Millisecond
	// forgetTimeout is what Redis may cost where it is what the request is about.
	forgetTimeout = 2 * time.Second
	// settleTimeout is how long a step may go on of which nobody waits for the end. It is tried again where it fails: 0.1
	// to 6.4 s apart, some 13 s in all besides what the steps take.
	settleTimeout = 2 * time.Second
	settleTries   = 8
	settlePause   = 100 * time.Millisecond
	// leaseMargin is how much longer than the call a lease lasts.
	leaseMargin = 2 * time.Second
	// How often those who wait for another gateway's call look whether it has ended.
	pollFirst, pollLast = 10 * time.Millisecond, 100 * time.Millisecond
)

var errSpent = errors.New("redis has cost this request enough")

// An allowance is how long Redis may still hold up one request. It serves one goroutine.
type allowance struct {
	left   time.Duration
	broken bool
}

func (g *Gateway) allowance() allowance { return allowance{left: g.Allowance} }

// spend makes one step in Redis within what is left. After a failed step nothing is left: Redis is slow or gone,
// and the request goes on without it.
func (a *allowance) spend(ctx context.Context, step func(context.Context) error) error {
	if a.broken || a.left <= 0 {
		return errSpent
	}
	bounded, cancel := context.WithTimeout(ctx, a.left)
	defer cancel()
	began := time.Now() //nolint:forbidigo // what is measured is how long a real wait took
	err := step(bounded)
	a.left -= time.Since(began)               //nolint:forbidigo // as above
	a.broken = err != nil && ctx.Err() == nil // a caller who goes away says nothing about Redis
	return err
}

// settle makes a step that must come to its end, and waits for it within what is left. done says whether it ended
// well by then; if not, it goes on by itself, and is tried again where it fails. Once the gateway is drained, the next
// try is the last.
func (g *Gateway) settle(ctx context.Context, a *allowance, step func(context.Context) error) (done bool) {
	first := make(chan error, 1)
	ctx = context.WithoutCancel(ctx)
	g.background(func() {
		last := false
		for try := 0; try < settleTries && !last; try++ {
			if try > 0 {
				last = g.pause(settlePause << (try - 1))
			}
			bounded, cancel := context.WithTimeout(ctx, settleTimeout)
			err := step(bounded)
			cancel()
			if try == 0 {
				first <- err
			}
			if err == nil {
				return
			}
		}
	})
	return a.spend(ctx, func(ctx context.Context) error {
		select {
		case err := <-first:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}) == nil
}

// pause waits, and reports whether the gateway is drained meanwhile: then it does not wait any longer.
func (g *Gateway) pause(d time.Duration) (drained bool) {
	select {
	case <-g.drained:
		return true
	case <-time.After(d):
		return false
	}
}

// background does what must be done before the gateway is drained. It is called where something is under way.
func (g *Gateway) background(do func()) {
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		do()
	}()
}

// forgetSurely forgets a list to which the provider has said a definite no: it must not be answered again.
func (g *Gateway) forgetSurely(ctx context.Context, a *allowance, k cache.Key) {
	g.settle(ctx, a, func(ctx context.Context) error { return g.Config.Cache.Forget(ctx, k) })
}
