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

// Fits returns the usage of the call's unit, and the time until this many slots are free. The time
// is 0 if they are free now, and also if they exceed the limit and so never can be. It takes no
// slot. It returns CounterUnavailable if Redis cannot be read.
func (c *Counter) Fits(ctx context.Context, call Call, needed int) (Usage, time.Duration, error) {
	policy, key := c.policies[call.ASPSP], c.key(call)
	if policy.Limit == 0 {
		return Usage{Window: policy.Window, Unit: policy.Unit}, 0, nil
	}
	ctx, cancel := c.stepContext(ctx)
	defer cancel()
	if err := c.storeBlock(ctx, key); err != nil {
		return Usage{}, 0, unavailable(err)
	}
	values, err := fitsScript.Run(ctx, c.rdb, key.all(), append(c.policyArgs(key), needed)...).Int64Slice()
	if err == nil && len(values) != replySize+1 {
		err = errReply
	}
	if err != nil {
		return Usage{}, 0, unavailable(err)
	}
	now, free := values[4], values[replySize]
	return c.result(key, values).usage, fromMicros(max(free-now, 0)), nil
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
