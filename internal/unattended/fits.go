package unattended

import (
	"context"
	_ "embed"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed fits.lua
	fitsSource string
	fitsScript = redis.NewScript(usageSource + fitsSource)
)

// Fits returns the usage of the call's unit, and how long it takes until so many slots are free: 0 if they are free now,
// and if they never can be because the limit is lower. It takes no slot. It fails with CounterUnavailable.
func (c *Counter) Fits(ctx context.Context, call Call, needed int) (Usage, time.Duration, error) {
	policy, u := c.policies[call.ASPSP], c.unit(call)
	if policy.Limit == 0 {
		return Usage{Window: policy.Window, Unit: policy.Unit}, 0, nil
	}
	ctx, cancel := c.detached(ctx)
	defer cancel()
	if err := c.storeBlock(ctx, u); err != nil {
		return Usage{}, 0, unavailable(err)
	}
	r, err := fitsScript.Run(ctx, c.rdb, u.keys(), append(c.policy(u), needed)...).Int64Slice()
	if err == nil && len(r) != 6 {
		err = errUnreadable
	}
	if err != nil {
		return Usage{}, 0, unavailable(err)
	}
	return c.usage(u, r), micros(max(r[5]-r[4], 0)), nil
}

// At returns the usage at a later time by Redis's clock, as far as the earlier one tells.
func (s *Usage) At(now time.Time) *Usage {
	if s == nil || s.NextAt.IsZero() {
		return s
	}
	later := *s
	later.Wait = max(s.NextAt.Sub(now), 0)
	return &later
}
