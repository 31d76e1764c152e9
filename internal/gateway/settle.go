package gateway

import (
	"context"
	"maps"
	"sync"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/recovery"
)

// What must be done in Redis is done although nobody waits for it any more.

const (
	// settleTimeout is how long a step may go on of which nobody waits for the end. It is tried again where it fails: 0.1
	// to 6.4 s apart, some 13 s in all besides what the steps take.
	settleTimeout = 2 * time.Second
	settleTries   = 8
	settlePause   = 100 * time.Millisecond
	// maxSettling is how many steps are tried again at once in the background.
	maxSettling = 1024
	// forgetPause is how long Redis is left alone between two tries to tell it of lists that must go.
	forgetPause = time.Second
	// maxForgets is of how many such lists a gateway knows at once: some 5 MB.
	maxForgets = 16_384
)

// settle makes a step that must come to its end, and waits for it within what is left. done says whether it ended
// well by then; if not, it goes on by itself, and is tried again where it fails, some 13 s long. Once the gateway is
// drained, the next try is the last.
func (g *Gateway) settle(ctx context.Context, a *allowance, step func(context.Context) error) (done bool) {
	first := make(begun[struct{}], 1)
	ctx = context.WithoutCancel(ctx)
	g.background(func() {
		err := tell(first, func() error { return within(ctx, settleTimeout+g.Slack, step) })
		if err == nil || !g.mayRetry() {
			return
		}
		defer func() { <-g.settling }()
		last := false
		for try := 1; err != nil && !last && try < settleTries; try++ {
			last = g.pause(settlePause << (try - 1))
			err = within(ctx, settleTimeout+g.Slack, step)
		}
	})
	_, err := await(ctx, a, first)
	return err == nil
}

// tell makes a step and tells first how it ended, also where it panics.
func tell(first begun[struct{}], step func() error) error {
	e := ended[struct{}]{err: errPanicked}
	defer func() { first <- e }()
	e.err = step()
	return e.err
}

// mayRetry says whether one more step may be tried again in the background: not too many at once.
func (g *Gateway) mayRetry() bool {
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
		defer recovery.Recover(context.Background(), g.Logger)
		do()
	}()
}

// forgetSurely forgets a list to which the provider has said a definite no: it must not be answered again, and is not by
// this gateway until Redis has been told. It is told at once, and if that fails time and again until it is.
func (g *Gateway) forgetSurely(ctx context.Context, a *allowance, k cache.Key) {
	no, full := g.forgets.begin(k)
	if full {
		g.Logger.WarnContext(ctx, tooMany)
	}
	first := make(begun[struct{}], 1)
	ctx = context.WithoutCancel(ctx)
	g.background(func() {
		err := tell(first, func() error { return g.tell(ctx, k, no) })
		if err != nil && g.forgets.hire() {
			g.tellAll(ctx)
		}
	})
	_, _ = await(ctx, a, first)
}

// What is logged where a definite no may not have its effect.
const (
	tooMany = "too many pending deletions: some account lists may still be cached"
	untold  = "deletion not confirmed: an account list may still be cached"
)

// tell tells Redis of one no.
func (g *Gateway) tell(ctx context.Context, k cache.Key, no int) error {
	err := within(ctx, settleTimeout+g.Slack, func(ctx context.Context) error { return g.Config.Cache.Invalidate(ctx, k) })
	if err == nil {
		g.forgets.end(k, no)
	}
	return err
}

// tellAll tells Redis of all that it has not been told of, until nothing is left or the gateway is drained. While Redis
// is away, one no is tried each second for all.
func (g *Gateway) tellAll(ctx context.Context) {
	for {
		last := g.pause(forgetPause)
		for k, no := range g.forgets.all() {
			if g.tell(ctx, k, no) != nil {
				break
			}
		}
		if g.forgets.leave(last) {
			return
		}
		if last {
			g.Logger.WarnContext(ctx, untold)
			return
		}
	}
}

// forgets are the lists that must go of which Redis has not been told yet, each with its last no: what was told of an
// earlier one says nothing of a list that was kept since.
type forgets struct {
	mu    sync.Mutex
	keys  map[cache.Key]int
	last  int
	hired bool // somebody tells Redis
	full  bool // there were too many
}

// begin notes a no, unless there are too many already; full says so once.
func (f *forgets) begin(k cache.Key) (no int, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[cache.Key]int{}
	}
	f.last++
	if _, known := f.keys[k]; known || len(f.keys) < maxForgets {
		f.keys[k] = f.last
		return f.last, false
	}
	full = !f.full
	f.full = true
	return f.last, full
}

func (f *forgets) end(k cache.Key, no int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys[k] == no {
		delete(f.keys, k)
	}
}

func (f *forgets) pending(k cache.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, pending := f.keys[k]
	return pending
}

func (f *forgets) all() map[cache.Key]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.keys)
}

// hire reports whether the one who asks is to tell Redis: there is one at a time.
func (f *forgets) hire() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	hired := !f.hired && len(f.keys) > 0
	f.hired = f.hired || hired
	return hired
}

// leave reports whether nothing is left to tell, and ends the service then, or if it must end.
func (f *forgets) leave(must bool) (empty bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	empty = len(f.keys) == 0
	f.hired = !empty && !must
	f.full = f.full && !empty
	return empty
}
