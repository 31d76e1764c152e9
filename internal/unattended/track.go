package unattended

import (
	"context"
	"sync"
)

// A Tracker holds the usage after the last step that was made under its context. It is safe for
// concurrent use.
type Tracker struct {
	mu    sync.Mutex
	usage Usage
	known bool
}

type trackerKey struct{}

// Track returns a context whose takes, releases and blocks store the unit's usage in the tracker,
// so that it need not be read again. Contexts derived from it do the same, including those of
// context.WithoutCancel.
func Track(ctx context.Context) (context.Context, *Tracker) {
	t := &Tracker{}
	return context.WithValue(ctx, trackerKey{}, t), t
}

// Usage returns the usage after the last take, release or block. known is false if there was none
// or if Redis did not confirm the last block; the usage must then be read.
func (t *Tracker) Usage() (u Usage, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.usage, t.known
}

// track stores a usage in the context's tracker, if it has one.
func track(ctx context.Context, u Usage, known bool) {
	if t, ok := ctx.Value(trackerKey{}).(*Tracker); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.usage, t.known = u, known
	}
}
