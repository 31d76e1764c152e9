// Package unattended counts the calls that are made without the user present, in Redis and for all gateways
// together, and refuses one before an ASPSP's limit is exceeded. Whatever goes wrong, it fails closed: a call
// that could not be counted is not made. internal/providers/upstream takes slots from it, at the wire;
// internal/gateway reads how many are left.
package unattended

import (
	"context"
	_ "embed"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/store"
)

// stepTimeout is how long one step in Redis may take before the counter counts as unreachable. Within sets another bound.
const stepTimeout = time.Second

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
	replicas int           // that must have a step before it counts as made
	within   time.Duration // of one step
	policies map[string]config.Unattended
	pending  *pending
	units    *UnitStats // nil where nobody is told
}

// New makes a counter of the ASPSPs in policies, by id. The client should not retry commands by itself
// (MaxRetries: -1): whoever waits for a step has little time.
func New(rdb redis.UniversalClient, policies map[string]config.Unattended) *Counter {
	return &Counter{rdb: rdb, policies: policies, within: stepTimeout, pending: newPending(stepTimeout)}
}

// AwaitReplicas lets a slot count as taken only when n replicas of Redis have it; fewer are CounterUnavailable. It is
// called before the counter is used.
func (c *Counter) WithReplicas(n int) *Counter {
	c.replicas = n
	return c
}

// Within bounds each step in Redis by d instead of one second: tests are patient with a busy machine. It is called before the
// counter is used.
func (c *Counter) Within(d time.Duration) *Counter {
	c.within, c.pending = d, newPending(d)
	return c
}

// A Call is an unattended call as far as counting goes.
type Call struct {
	ASPSP   string
	Consent string
	Account string // whose balances are read; "" for the account list
}

// State says where a unit of counting stands.
type Usage struct {
	Limit     int
	Used      int // calls in the window
	Remaining int // what the next calls would get; 0 while the unit is closed, whatever was used
	Window    time.Duration
	Unit      config.Unit
	Wait      time.Duration // until Remaining grows; 0 if nothing is used, and always with a limit of 0
	NextAt    time.Time     // now plus Wait on Redis's clock, zero without Wait
}

// A Slot is one counted call.
type Slot struct {
	Left    int // slots of the unit that were left when it was taken
	counter *Counter
	unit    unit
	id      string
}

// Take counts a call before it is made. The call may leave up to timeout from now, never later. It fails with
// UnattendedLimit and the wait until a slot opens, or with CounterUnavailable; in both cases the call must not
// be made. The context's end does not stop a step that was begun.
func (c *Counter) Take(ctx context.Context, call Call, timeout time.Duration) (Slot, error) {
	slot := Slot{counter: c, unit: c.unit(call), id: uuid.NewString()}
	ok, state, err := c.step(ctx, slot.unit, slot.id, timeout)
	if err != nil {
		if !store.NotExecuted(c.rdb, err) {
			c.releaseLater(slot) // Redis may have taken the step all the same, or take it later
		}
		return Slot{}, unavailable(err)
	}
	track(ctx, state, true)
	slot.Left = state.Remaining
	if state.Remaining <= 1 {
		c.units.note(slot.unit)
	}
	if !ok {
		return Slot{}, LimitError(state)
	}
	return slot, nil
}

// Exhausted is the refusal that follows from a state with nothing remaining.
func LimitError(s Usage) *canonical.Error {
	refusal := canonical.NewError(canonical.UnattendedLimit, "the unattended calls that the ASPSP allows are used up")
	refusal.RetryAfter = s.Wait
	return refusal
}

// State reads where the call's unit stands, and costs nothing. It fails with CounterUnavailable.
func (c *Counter) Usage(ctx context.Context, call Call) (Usage, error) {
	_, state, err := c.step(ctx, c.unit(call), "", 0)
	if err != nil {
		return Usage{}, unavailable(err)
	}
	return state, nil
}

// GiveBack releases the slot of a call that surely was not sent. Where it fails it is tried again in the background, for
// some 13 s and as long as the process lives.
func (s Slot) Release(ctx context.Context) error {
	_, state, err := s.remove(ctx)
	if err != nil {
		s.counter.releaseLater(s)
		return err
	}
	_, blocked := s.counter.pending.blocked(s.unit.blockKey())
	track(ctx, state, blocked == 0) // of a block that Redis does not know, its usage says nothing
	s.counter.units.note(s.unit)
	return nil
}

// release removes a slot, and reports whether it was there. No replica is waited for: one that does not have this step
// counts a slot too many.
func (s Slot) remove(ctx context.Context) (found bool, _ Usage, _ error) {
	c := s.counter
	ctx, cancel := c.detached(ctx)
	defer cancel()
	args := append(c.policy(s.unit), s.id)
	return c.read(s.unit, releaseScript.Run(ctx, c.rdb, s.unit.keys(), args...))
}

// Close closes the call's unit because the ASPSP said that its limit is used up: for wait, at least one second
// and at most one window, or for a whole window where wait is 0. It returns how long no call will be let through, which
// is longer where the unit was closed for longer before, and where no slot opens as soon. Where Redis cannot be told, it
// fails with CounterUnavailable; this gateway then keeps to the ASPSP's word by itself, and goes on trying.
func (c *Counter) Block(ctx context.Context, call Call, wait time.Duration) (time.Duration, error) {
	wait = c.ClampRetryAfter(call.ASPSP, wait)
	if wait == 0 {
		return 0, nil
	}
	unit := c.unit(call)
	state, err := c.block(ctx, unit, wait)
	track(ctx, state, err == nil)
	if err != nil {
		c.blockLater(unit, wait)
		return wait, unavailable(err)
	}
	return state.Wait, nil
}

func (c *Counter) block(ctx context.Context, u unit, wait time.Duration) (Usage, error) {
	ctx, cancel := c.detached(ctx)
	defer cancel()
	said, err := c.run(ctx, blockScript, u.keys(), append(c.policy(u), wait.Microseconds())...)
	if err != nil {
		return Usage{}, err
	}
	c.units.note(u)
	_, state, err := c.read(u, said)
	return state, err
}

// Clamp is how long an ASPSP's own refusal holds when it asks for a wait: between one second and one window,
// and one window where it asks for none. With a limit of 0 there is nothing to wait for.
func (c *Counter) ClampRetryAfter(aspsp string, wait time.Duration) time.Duration {
	switch policy := c.policies[aspsp]; {
	case policy.Limit == 0:
		return 0
	case wait <= 0:
		return policy.Window
	default:
		return min(max(wait, time.Second), policy.Window)
	}
}

// step takes a slot under an id if one is left; without an id it only reads the usage.
func (c *Counter) step(ctx context.Context, u unit, id string, timeout time.Duration) (taken bool, _ Usage, _ error) {
	policy, known := c.policies[u.aspsp]
	if !known {
		return false, Usage{}, canonical.NewError(canonical.InternalError, "an ASPSP without a policy was to be called")
	}
	if policy.Limit == 0 {
		return false, Usage{Window: policy.Window, Unit: policy.Unit}, nil
	}
	ctx, cancel := c.detached(ctx)
	defer cancel()
	if err := c.storeBlock(ctx, u); err != nil {
		return false, Usage{}, err
	}
	said, err := c.run(ctx, takeScript, u.keys(), append(c.policy(u), timeout.Microseconds(), id, c.replicas > 0)...)
	if err != nil {
		return false, Usage{}, err
	}
	return c.read(u, said)
}

// policy returns a unit's policy as the scripts take it.
func (c *Counter) policy(u unit) []any {
	policy := c.policies[u.aspsp]
	var closedUntil int64
	if !policy.ClosedUntil.IsZero() {
		closedUntil = policy.ClosedUntil.UnixMicro()
	}
	return []any{policy.Limit, policy.Window.Microseconds(), closedUntil}
}

// read reads what a script returned: whether it did what it is for, and the unit's usage after it.
func (c *Counter) read(u unit, said *redis.Cmd) (done bool, _ Usage, _ error) {
	if said.Err() != nil {
		return false, Usage{}, said.Err()
	}
	r, err := said.Int64Slice()
	if err != nil || len(r) != 5 {
		return false, Usage{}, errUnreadable
	}
	return r[0] == 1, c.usage(u, r), nil
}

// usage is a unit's usage as a script returned it: done, used, open, when Remaining grows, now.
func (c *Counter) usage(u unit, r []int64) Usage {
	policy := c.policies[u.aspsp]
	used, isOpen, next, now := int(r[1]), r[2] == 1, r[3], r[4]
	state := Usage{Limit: policy.Limit, Used: used, Window: policy.Window, Unit: policy.Unit}
	if isOpen {
		state.Remaining = max(policy.Limit-used, 0)
	}
	if next > now {
		state.Wait = micros(next - now)
		state.NextAt = time.UnixMicro(next).UTC()
	}
	return state
}

// A unit is what calls are counted by, as the beginning of its keys' names.
type unit struct{ aspsp, prefix string }

// slots and closed are the names of a unit's slots and of its closure, which one step reads together.
func (u unit) slots() string    { return u.prefix + "slots" }
func (u unit) blockKey() string { return u.prefix + "closed" }

// keys returns the names of all keys that a script may touch.
func (u unit) keys() []string { return []string{u.slots(), u.blockKey(), u.prefix + "looked"} }

func (c *Counter) unit(call Call) unit {
	owner := []string{call.ASPSP}
	switch c.policies[call.ASPSP].Unit {
	case config.UnitASPSP:
	case config.UnitConsent:
		owner = append(owner, canonical.CountedID(call.Consent))
	case config.UnitResource:
		owner = append(owner, canonical.CountedID(call.Consent), "account", canonical.CountedID(call.Account))
	}
	return unit{aspsp: call.ASPSP, prefix: store.Prefix("unattended", owner...)}
}

// detached is a context of the step's own: it outlives the caller's, and is bounded by the counter's own bound and by the
// caller's deadline.
func (c *Counter) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.within)
	if deadline, ok := ctx.Deadline(); ok {
		bounded, stop := context.WithDeadline(own, deadline)
		return bounded, func() { stop(); cancel() }
	}
	return own, cancel
}

// micros is n microseconds, or the longest duration there is.
func micros(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Microsecond
}

// unavailable is what a failed step means to callers. What Redis or the network said is not passed on.
func unavailable(err error) *canonical.Error {
	var ours *canonical.Error
	if errors.As(err, &ours) {
		return ours
	}
	return canonical.NewError(canonical.CounterUnavailable, "the counter of unattended calls cannot be reached")
}
