package gateway

import (
	"context"
	"errors"
	"sync"
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
	// vitalPause is the longest pause where it is tried for ever.
	vitalPause = time.Second
	// maxSettling is how many steps are tried again at once in the background, the vital ones apart.
	maxSettling = 1024
	// stepTimeout is how long a step may go on of which a request may have stopped waiting for the end.
	stepTimeout = time.Second
	// leaseMargin is how much longer than the call a lease lasts.
	leaseMargin = 2 * time.Second
	// How often those who wait for another gateway's call look whether it has ended.
	pollFirst, pollLast = 10 * time.Millisecond, 40 * time.Millisecond
)

var errSpent = errors.New("redis has cost this request enough")

// An allowance is how long Redis may still hold up one request. It serves one goroutine.
type allowance struct {
	left   time.Duration
	broken bool
}

func (g *Gateway) allowance() allowance { return allowance{left: g.Allowance} }

// spend makes one step in Redis and waits for it within what is left. After a step that failed, or was not waited for to
// its end, nothing is left: Redis is slow or gone, and the request goes on without it. The step has a time of its own: a
// connection that is being set up for it then serves the next one.
func spend[T any](ctx context.Context, a *allowance, step func(context.Context) (T, error)) (T, error) {
	var none T
	if a.broken || a.left <= 0 {
		return none, errSpent
	}
	return await(ctx, a, begin(ctx, stepTimeout, step))
}

// A begun is a step that is under way; it always comes to an end.
type begun[T any] chan ended[T]

type ended[T any] struct {
	value T
	err   error
}

// begin makes a step that does not end with the request.
func begin[T any](ctx context.Context, timeout time.Duration, step func(context.Context) (T, error)) begun[T] {
	done := make(begun[T], 1)
	go func() {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		value, err := step(own)
		done <- ended[T]{value, err}
	}()
	return done
}

// await waits for a step within what is left of an allowance.
func await[T any](ctx context.Context, a *allowance, step begun[T]) (T, error) {
	var e ended[T]
	if a.broken || a.left <= 0 {
		return e.value, errSpent
	}
	began := time.Now() //nolint:forbidigo // what is measured is how long a real wait took
	timer := time.NewTimer(a.left)
	defer timer.Stop()
	select {
	case e = <-step:
	case <-timer.C:
		e.err = errSpent
	case <-ctx.Done():
		e.err = ctx.Err()
	}
	a.left -= time.Since(began)                 //nolint:forbidigo // as above
	a.broken = e.err != nil && ctx.Err() == nil // a caller who goes away says nothing about Redis
	return e.value, e.err
}

// least is what is left of two allowances, where one waited for what the other spent.
func (a allowance) least(b allowance) allowance {
	return allowance{left: min(a.left, b.left), broken: a.broken || b.broken}
}

// settle makes a step that must come to its end, and waits for it within what is left. done says whether it ended
// well by then; if not, it goes on by itself, and is tried again where it fails: some 13 s long, or if it is vital until it
// ends well. Once the gateway is drained, the next try is the last.
func (g *Gateway) settle(ctx context.Context, a *allowance, vital bool, step func(context.Context) error) (done bool) {
	first := make(begun[struct{}], 1)
	ctx = context.WithoutCancel(ctx)
	g.background(func() {
		err := within(ctx, settleTimeout, step)
		first <- ended[struct{}]{err: err}
		if err == nil || !g.mayRetry(vital) {
			return
		}
		if !vital {
			defer func() { <-g.settling }()
		}
		last := false
		for try := 1; err != nil && !last && (vital || try < settleTries); try++ {
			wait := settlePause << min(try-1, settleTries)
			if vital {
				wait = min(wait, vitalPause)
			}
			last = g.pause(wait)
			err = within(ctx, settleTimeout, step)
		}
		if err != nil && vital {
			g.Logger.WarnContext(ctx, "a list that must go may still be kept")
		}
	})
	_, err := await(ctx, a, first)
	return err == nil
}

// mayRetry says whether one more step may be tried again in the background: of those that are not vital, not too many.
func (g *Gateway) mayRetry(vital bool) bool {
	if vital {
		return true
	}
	select {
	case g.settling <- struct{}{}:
		return true
	default:
		return false
	}
}

func within(ctx context.Context, timeout time.Duration, step func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return step(bounded)
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

// forgetSurely forgets a list to which the provider has said a definite no: it must not be answered again, and is not by
// this gateway until Redis has been told.
func (g *Gateway) forgetSurely(ctx context.Context, a *allowance, k cache.Key) {
	if !g.forgets.begin(k) {
		return // somebody is at it
	}
	g.settle(ctx, a, true, func(ctx context.Context) error {
		err := g.Config.Cache.Forget(ctx, k)
		if err == nil {
			g.forgets.end(k)
		}
		return err
	})
}

// forgets are the lists that must go of which Redis has not been told yet.
type forgets struct {
	mu   sync.Mutex
	keys map[cache.Key]bool
}

func (f *forgets) begin(k cache.Key) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[cache.Key]bool{}
	}
	first = !f.keys[k]
	f.keys[k] = true
	return first
}

func (f *forgets) end(k cache.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, k)
}

func (f *forgets) pending(k cache.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys[k]
}
