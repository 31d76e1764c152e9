package unattended

import (
	"context"
	"sync/atomic"
)

// A Tracker holds the usage after the last step that was made under its context. It is safe for
// concurrent use.
type Tracker struct{ usage atomic.Pointer[Usage] }

type trackerKey struct{}

// Track returns a context whose takes, releases and blocks store the unit's usage in the tracker,
// so that it need not be read again. Contexts derived from it do the same, including those of
// context.WithoutCancel.
func Track(ctx context.Context) (context.Context, *Tracker) {
	t := &Tracker{}
	return context.WithValue(ctx, trackerKey{}, t), t
}

// Usage returns the usage after the last take, release or block. It is nil if there was none, if
// Redis did not confirm the last block, and for a nil tracker; the usage must then be read.
func (t *Tracker) Usage() *Usage {
	if t == nil {
		return nil
	}
	return t.usage.Load()
}

// track stores a usage in the context's tracker, if it has one.
func track(ctx context.Context, u Usage, known bool) {
	t, ok := ctx.Value(trackerKey{}).(*Tracker)
	switch {
	case !ok:
	case known:
		t.usage.Store(&u)
	default:
		t.usage.Store(nil)
	}
}
