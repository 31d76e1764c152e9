package unattended

import (
	"context"
	"time"

	"ais-gateway/internal/canonical"
)

// Fits returns the usage of the call's unit, and the time until this many slots are free. The time
// is 0 if they are free now, and also if they exceed the limit and so never can be. It takes no
// slot. It returns CounterUnavailable whenever Take would.
func (c *Counter) Fits(ctx context.Context, call Call, needed int) (Usage, time.Duration, error) {
	r, err := read(ctx, c, func(ctx context.Context) (result, error) { return c.step(ctx, c.key(call), take{needed: needed}) })
	if err != nil {
		return Usage{}, 0, unavailable(err)
	}
	return r.usage, r.free, nil
}

// NotEnough returns the refusal of calls that need more slots of a unit than remain. wait is the time
// until enough are free. Without RetryAfter they exceed the limit, so that waiting cannot help.
func NotEnough(need canonical.SlotNeed, limit int, wait time.Duration) *canonical.Error {
	refusal := canonical.NewError(canonical.UnattendedLimit, "the calls need more slots than are left")
	if refusal.Slots = &need; need.Needed <= limit {
		refusal.RetryAfter = max(wait, time.Second)
	}
	return refusal
}

// At returns the usage at a later time by Redis's clock. Only Wait differs. It returns nil for a
// nil usage.
func (u *Usage) At(now time.Time) *Usage {
	if u == nil || u.NextAt.IsZero() {
		return u
	}
	later := *u
	later.Wait = max(u.NextAt.Sub(now), 0)
	return &later
}
