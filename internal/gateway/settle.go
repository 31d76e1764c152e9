package gateway

import (
	"context"
	"sync"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/rescue"
)

// What must be done in Redis is done although nobody waits for it any more.

const (
	// settleTimeout is how long a step may go on of which nobody waits for the end. It is tried again where it fails: 0.1
	// to 6.4 s apart, some 13 s in all besides what the steps take.
	settleTimeout = 2 * time.Second
	settleTries   = 8
	settlePause   = 100 * time.Millisecond
	// vitalPause is the longest pause where it is tried for ever.
	vitalPause = time.Second
	// maxSettling is how many steps are tried again at once in the background, the vital ones apart.
	maxSettling = 1024
)

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
		defer rescue.Catch(context.Background(), g.Logger)
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
