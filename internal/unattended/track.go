package unattended

import (
	"context"
	"sync"
)

// A Tracker has the usage after the last step that was made under its context. It is safe for concurrent use.
type Tracker struct {
	mu    sync.Mutex
	state Usage
	known bool
}

type trackerKey struct{}

// Track returns a context under which each take, release and block leaves the unit's usage in the tracker, so that it need
// not be read again. Contexts that are derived from it do the same, those of context.WithoutCancel too.
func Track(ctx context.Context) (context.Context, *Tracker) {
	t := &Tracker{}
	return context.WithValue(ctx, trackerKey{}, t), t
}

// Usage returns the usage after the last take, release or block. known is false if there was none, or if Redis did not
// confirm the last block: the usage must be read then.
func (t *Tracker) Usage() (s Usage, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.known
}

// track leaves a state in the context's tracker, if it has one.
func track(ctx context.Context, s Usage, known bool) {
	if t, ok := ctx.Value(trackerKey{}).(*Tracker); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.state, t.known = s, known
	}
}
