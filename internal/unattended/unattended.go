// Package unattended limits unattended calls: calls to an ASPSP that are made without the user
// present.
//
// It guarantees that, within any window, all gateways together make at most as many calls per unit
// as the ASPSP's policy allows, regardless of crashes, retries and races, as long as Redis keeps
// its data. Each call takes a slot in Redis before it is sent, in one atomic step on Redis's clock.
// A slot is released only if its call was certainly not sent. The counter fails closed: if Redis
// cannot be read or written, a step fails with CounterUnavailable, and the call must not be made.
//
// internal/providers/upstream takes and releases the slots of calls, and blocks units.
// internal/aggregation/runner reserves slots before their calls. internal/gateway reads the usage.
package unattended

import (
	"context"
	_ "embed"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/store"
	"ais-gateway/internal/store/steps"
	"ais-gateway/internal/unattended/unitstats"
)

var (
	//go:embed usage.lua
	usageSource string
	//go:embed take.lua
	takeSource string
	//go:embed release.lua
	releaseSource string
	//go:embed block.lua
	blockSource string

	takeScript    = redis.NewScript(usageSource + takeSource)
	releaseScript = redis.NewScript(usageSource + releaseSource)
	blockScript   = redis.NewScript(usageSource + blockSource)
)

// A Counter counts unattended calls under each ASPSP's policy. It is safe for concurrent use.
type Counter struct {
	rdb      redis.UniversalClient
	replicas int           // that must confirm a step
	timeout  time.Duration // of one step
	policies map[string]config.Unattended
	pending  *pending
	workers  *steps.Workers
	units    *unitstats.Stats // nil if no statistics are kept
	blocks   atomic.Int64     // calls of Block so far: slots that were reserved before the last one are renewed
}

// New returns a counter for the ASPSPs in policies, by id. The client should not retry commands
// (MaxRetries: -1), because callers wait for each step.
func New(rdb redis.UniversalClient, policies map[string]config.Unattended) *Counter {
	return &Counter{rdb: rdb, policies: policies, timeout: store.Timeout, pending: newPending(store.Timeout), workers: steps.NewWorkers()}
}

// WithReplicas makes steps fail with CounterUnavailable unless n replicas of Redis confirm them. It
// must be called before the counter is used.
func (c *Counter) WithReplicas(n int) *Counter {
	c.replicas = n
	return c
}

// WithUnitStats makes the counter update u after each step that changes a unit's state. It must be
// called before the counter is used.
func (c *Counter) WithUnitStats(u *unitstats.Stats) *Counter {
	c.units = u
	return c
}

// Within sets the timeout of one step in Redis, which is store.Timeout by default. Tests use it to
// allow for a busy machine. It must be called before the counter is used.
func (c *Counter) Within(d time.Duration) *Counter {
	c.timeout, c.pending = d, newPending(d)
	return c
}

// A Call identifies what an unattended call reads, and so the unit that counts it.
type Call struct {
	ASPSP       string
	Consent     string
	Account     string // whose balances are read; "" for the account list and all balances
	AllBalances bool   // the balances of all accounts are read in one call
}

// Usage is how much of its limit a unit has used.
type Usage struct {
	Limit     int
	Used      int // calls in the window
	Remaining int // calls that are still allowed; 0 while the unit is blocked
	Window    time.Duration
	Unit      config.Unit
	Wait      time.Duration // until Remaining increases; 0 if it cannot: the limit is 0, or no call is used and no block lasts
	NextAt    time.Time     // now by Redis's clock plus Wait; zero if Wait is 0
}

// A Slot is one counted call.
type Slot struct {
	Left int // slots of the unit that were left after this one was taken, those included that are reserved for the same source
	// SendUntil is when the call must have been sent and answered; zero if it is the timeout of Take.
	SendUntil time.Time
	counter   *Counter
	key       counterKey
	id        string
}

// Take takes a slot for a call, which must be sent within timeout or not at all. If ctx has a reserved
// slot of the unit (WithReservation), it returns that, without a step in Redis, or renews it. It returns
// UnattendedLimit with the time until the next slot if the limit is used up or the unit is blocked,
// and CounterUnavailable if Redis does not confirm the slot in time; in both cases the call must
// not be made. Canceling ctx does not interrupt a step that has started.
func (c *Counter) Take(ctx context.Context, call Call, timeout time.Duration) (Slot, error) {
	slot := Slot{counter: c, key: c.key(call), id: uuid.NewString()}
	reserved, renews := reservationOf(ctx).next(slot.key)
	if reserved != nil && !renews {
		track(ctx, reserved.usage, true)
		return reserved.Slot, nil
	}
	step := take{ids: []string{slot.id}, needed: 1, timeout: timeout}
	if renews {
		step.replaced = reserved.id
	}
	r, err := c.step(ctx, slot.key, step)
	if err != nil {
		c.undo(slot.key, step, err)
		return Slot{}, unavailable(err)
	}
	track(ctx, r.usage, true)
	r.unit.Released = renews
	c.units.Update(slot.key.unit(), r.unit)
	if r.done == 0 {
		return Slot{}, LimitError(r.usage)
	}
	slot.Left = r.usage.Remaining + reservationOf(ctx).unused(slot.key)
	return slot, nil
}

// undo removes the slots of a step that has failed, as soon as Redis responds: it may have taken
// them, or may still take them. The slot that the step replaces is not used any more.
func (c *Counter) undo(key counterKey, step take, err error) {
	if !store.NotExecuted(c.rdb, err) {
		c.releaseLater(key, step.ids...)
	}
	if step.replaced != "" {
		c.releaseLater(key, step.replaced)
	}
}

// LimitError returns the refusal of a call whose unit has no slot left.
func LimitError(u Usage) *canonical.Error {
	refusal := canonical.NewError(canonical.UnattendedLimit, "the unattended calls that the ASPSP allows are used up")
	refusal.RetryAfter = u.Wait
	return refusal
}

// Usage returns the usage of the call's unit. It takes no slot. It returns CounterUnavailable
// whenever Take would.
func (c *Counter) Usage(ctx context.Context, call Call) (Usage, error) {
	r, err := read(ctx, c, func(ctx context.Context) (result, error) { return c.step(ctx, c.key(call), take{}) })
	if err != nil {
		return Usage{}, unavailable(err)
	}
	return r.usage, nil
}

// Release releases the slot of a call that was certainly not sent. If Redis does not confirm it,
// Release returns the error and retries in the background for about 13 s.
func (s Slot) Release(ctx context.Context) error {
	r, err := s.counter.remove(ctx, s.key, []string{s.id})
	if err != nil {
		s.counter.releaseLater(s.key, s.id)
		return err
	}
	_, blocked := s.counter.pending.blocked(s.key.block())
	track(ctx, r.usage, blocked == 0) // the usage does not include a block that Redis has not confirmed
	return nil
}

// remove removes slots of one unit, or prevents that they are taken within the next minute. It does
// not wait for replicas: one that misses this step counts too many slots, never too few.
func (c *Counter) remove(ctx context.Context, key counterKey, ids []string) (result, error) {
	ctx, cancel := c.stepContext(ctx)
	defer cancel()
	args := c.policyArgs(key)
	for _, id := range ids {
		args = append(args, id)
	}
	r, err := c.parseReply(key, releaseScript.Run(ctx, c.rdb, key.withSlots(ids), args...))
	if err == nil {
		r.unit.Released = true
		c.units.Update(key.unit(), r.unit)
	}
	return r, err
}

// Block refuses further unattended calls of the call's unit, because the ASPSP reported that its
// limit is used up. wait is clamped by ClampRetryAfter. Block returns the time until a call is
// allowed, which is longer than wait if an earlier block lasts longer or no slot is left. If Redis
// does not confirm the block, Block returns CounterUnavailable; this gateway then enforces the
// block itself and keeps trying to store it.
func (c *Counter) Block(ctx context.Context, call Call, wait time.Duration) (time.Duration, error) {
	wait = c.ClampRetryAfter(call.ASPSP, wait)
	if wait == 0 {
		return 0, nil
	}
	key := c.key(call)
	usage, err := c.block(ctx, key, wait)
	track(ctx, usage, err == nil)
	if err != nil {
		c.blockLater(key, wait)
	}
	c.blocks.Add(1) // the next step refuses
	if err != nil {
		return wait, unavailable(err)
	}
	return usage.Wait, nil
}

func (c *Counter) block(ctx context.Context, key counterKey, wait time.Duration) (Usage, error) {
	ctx, cancel := c.stepContext(ctx)
	defer cancel()
	reply, err := c.runScript(ctx, blockScript, key.all(), append(c.policyArgs(key), wait.Microseconds())...)
	if err != nil {
		return Usage{}, err
	}
	r, err := c.parseReply(key, reply)
	c.units.Update(key.unit(), r.unit)
	return r.usage, err
}

// ClampRetryAfter returns how long a refusal by the ASPSP blocks a unit: its Retry-After, but at
// least one second and at most one window; one window if it has none. It returns 0 if the limit is
// 0, because no call is allowed anyway.
func (c *Counter) ClampRetryAfter(aspsp string, retryAfter time.Duration) time.Duration {
	switch policy := c.policies[aspsp]; {
	case policy.Limit == 0:
		return 0
	case retryAfter <= 0:
		return policy.Window
	default:
		return min(max(retryAfter, time.Second), policy.Window)
	}
}

// take is what one step of the counter takes. The zero value only reads the usage.
type take struct {
	ids      []string // of the slots
	needed   int      // how many slots are needed; result.free refers to it
	partial  bool     // fewer may be taken
	replaced string   // the id of a slot that is removed first; "" for none
	timeout  time.Duration
}

// step takes slots if they are left.
func (c *Counter) step(ctx context.Context, key counterKey, t take) (result, error) {
	policy, known := c.policies[key.aspsp]
	if !known {
		return result{}, canonical.NewError(canonical.InternalError, "an ASPSP without a policy was to be called")
	}
	if policy.Limit == 0 {
		return result{usage: Usage{Window: policy.Window, Unit: policy.Unit}}, nil
	}
	ctx, cancel := c.stepContext(ctx)
	defer cancel()
	if err := c.storeBlock(ctx, key); err != nil {
		return result{}, err
	}
	args := append(c.policyArgs(key), t.timeout.Microseconds(), c.replicas > 0, t.replaced, t.needed, t.partial)
	for _, id := range t.ids {
		args = append(args, id)
	}
	reply, err := c.runScript(ctx, takeScript, key.withSlots(t.ids), args...)
	if err != nil {
		return result{}, err
	}
	return c.parseReply(key, reply)
}

// policyArgs returns the arguments that every script begins with.
func (c *Counter) policyArgs(key counterKey) []any {
	policy := c.policies[key.aspsp]
	var closedUntil int64
	if !policy.ClosedUntil.IsZero() {
		closedUntil = policy.ClosedUntil.UnixMicro()
	}
	return []any{policy.Limit, policy.Window.Microseconds(), closedUntil}
}

// A result is what usage.lua returns.
type result struct {
	done  int // how many slots the script has taken or removed
	usage Usage
	free  time.Duration // until the slots are free that a take needs; 0 if they are, or if they exceed the limit
	unit  unitstats.Update
}

// parseReply returns the result in a script's reply.
func (c *Counter) parseReply(key counterKey, reply *redis.Cmd) (result, error) {
	if reply.Err() != nil {
		return result{}, reply.Err()
	}
	values, err := reply.Int64Slice()
	if err != nil || len(values) < replySize || len(values) > replySize+1 {
		return result{}, errReply
	}
	r := c.result(key, values)
	if len(values) > replySize {
		r.free = fromMicros(max(values[replySize]-values[4], 0))
	}
	return r, nil
}

// result converts the values of usage.lua: done, used, open, when Remaining increases, now, and
// when the unit leaves each state.
func (c *Counter) result(key counterKey, values []int64) result {
	policy := c.policies[key.aspsp]
	used, open, next, now := int(values[1]), values[2] == 1, values[3], values[4]
	usage := Usage{Limit: policy.Limit, Used: used, Window: policy.Window, Unit: policy.Unit}
	if open {
		usage.Remaining = max(policy.Limit-used, 0)
	}
	if next > now {
		usage.Wait = fromMicros(next - now)
		usage.NextAt = time.UnixMicro(next).UTC()
	}
	return result{done: int(values[0]), usage: usage, unit: unitstats.Update{At: now, Ends: unitstats.Ends(values[5:replySize])}}
}

// unavailable converts the error of a failed step. It drops the texts of Redis and the network.
func unavailable(err error) *canonical.Error {
	var typed *canonical.Error
	if errors.As(err, &typed) {
		return typed
	}
	return canonical.NewError(canonical.CounterUnavailable, "the counter of unattended calls cannot be reached")
}
