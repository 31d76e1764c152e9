package unattended

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
)

// A Reservation holds slots that were taken before their calls. In Redis they are ordinary slots: if
// the gateway crashes, they stay counted until they expire. It is safe for concurrent use.
type Reservation struct {
	counter *Counter
	timeout time.Duration // of a call

	mu    sync.Mutex
	units map[counterKey]*reservedUnit
}

// reservedUnit has the reserved slots of one unit.
type reservedUnit struct {
	unused []reservedSlot
	usage  Usage // after the last step
}

// reservedSlot is a slot that no call has used yet.
type reservedSlot struct {
	Slot
	at     time.Time // before it was taken, by the process's clock
	blocks int64     // calls of Block before it was taken
	usage  Usage
}

// NewReservation returns an empty reservation for the calls of one source. timeout is that of a call:
// a reserved slot may be used until timeout after its reservation.
func (c *Counter) NewReservation(timeout time.Duration) *Reservation {
	return &Reservation{counter: c, timeout: timeout, units: map[counterKey]*reservedUnit{}}
}

type reservationKey struct{}

// WithReservation returns a context in which Take uses the slots of the reservation.
func WithReservation(ctx context.Context, r *Reservation) context.Context {
	return context.WithValue(ctx, reservationKey{}, r)
}

// reservationOf returns the reservation of ctx; nil if it has none.
func reservationOf(ctx context.Context) *Reservation {
	r, _ := ctx.Value(reservationKey{}).(*Reservation)
	return r
}

// UnitID returns a text that is equal for calls that one unit counts.
func (c *Counter) UnitID(call Call) string { return c.key(call).prefix }

// ByUnit returns the indexes of the calls that each unit counts, in the order of their first calls.
func (c *Counter) ByUnit(calls []Call) (units [][]int) {
	known := map[counterKey]int{}
	for i, call := range calls {
		key := c.key(call)
		n, ok := known[key]
		if !ok {
			n = len(units)
			known[key], units = n, append(units, nil)
		}
		units[n] = append(units[n], i)
	}
	return units
}

// Reserved returns how many reserved slots of the call's unit ctx has that no call has used.
func (c *Counter) Reserved(ctx context.Context, call Call) int {
	return reservationOf(ctx).unused(c.key(call))
}

// Reserve takes a slot for each of the calls, of which there is at least one: those of one unit in one atomic step, all or none. If
// one unit refuses, it releases the slots that it has taken in the others. With partial, it takes as
// many as are left, for the first calls first, and releases none. It returns which calls have a slot,
// and the usage of the first call's unit; nil if that could not be read.
//
// If a call has no slot, Reserve returns why: UnattendedLimit with the slots that a unit needs and
// those that remain, and the time until they are free, 0 if they exceed the limit; or
// CounterUnavailable.
func (r *Reservation) Reserve(ctx context.Context, calls []Call, partial bool) (granted []bool, usage *Usage, failure *canonical.Error) {
	granted = make([]bool, len(calls))
	taken, first := map[counterKey][]string{}, r.counter.key(calls[0])
	for _, ofUnit := range r.counter.ByUnit(calls) {
		key := r.counter.key(calls[ofUnit[0]])
		ids, after, refusal := r.reserve(ctx, key, len(ofUnit), partial)
		for n := range ids {
			granted[ofUnit[n]] = true
		}
		if taken[key] = ids; key == first {
			usage = after
		}
		if refusal == nil {
			continue
		}
		if failure == nil || refusal.Kind == canonical.CounterUnavailable {
			failure = refusal
		}
		if !partial || refusal.Kind == canonical.CounterUnavailable {
			break
		}
	}
	if failure == nil || partial {
		return granted, usage, failure
	}
	for key, ids := range taken {
		if after := r.release(ctx, key, r.withdraw(key, ids)); key == first && after != nil {
			usage = after
		}
	}
	return make([]bool, len(calls)), usage, failure
}

// reserve takes n slots of one unit, all or none, or with partial as many as are left. It returns
// their ids, the usage after the step, and why there are fewer than n.
func (r *Reservation) reserve(ctx context.Context, key counterKey, n int, partial bool) (ids []string, usage *Usage, failure *canonical.Error) {
	step := take{ids: make([]string, n), needed: n, partial: partial, timeout: r.timeout}
	for i := range step.ids {
		step.ids[i] = uuid.NewString()
	}
	at := time.Now() //nolint:forbidigo // by which the deadline of a call is measured
	blocks := r.counter.blocks.Load()
	reply, err := r.counter.step(ctx, key, step)
	if err != nil {
		r.counter.undo(key, step, err)
		return nil, nil, unavailable(err)
	}
	r.counter.units.Update(key.unit(), reply.unit)
	ids = step.ids[:reply.done]
	r.mu.Lock()
	defer r.mu.Unlock()
	unit := r.units[key]
	if unit == nil {
		unit = &reservedUnit{}
		r.units[key] = unit
	}
	for _, id := range ids {
		slot := Slot{counter: r.counter, key: key, id: id, SendUntil: at.Add(r.timeout)}
		unit.unused = append(unit.unused, reservedSlot{Slot: slot, at: at, blocks: blocks})
	}
	if unit.usage = reply.usage; len(ids) == n {
		return ids, &reply.usage, nil
	}
	need := canonical.SlotNeed{Needed: n, Remaining: reply.usage.Remaining + len(ids)}
	return ids, &reply.usage, NotEnough(need, reply.usage.Limit, reply.free)
}

// renewAfter is the part of a call's timeout after which a reserved slot is renewed: a call takes a new
// slot in its place, so that its time to be sent and answered is not shortened by more.
const renewAfter = 10

// next returns an unused slot of a unit, which is then used; nil if there is none. renews means that
// the call needs a new slot in its place: because of its age, or because an ASPSP has refused
// a call of this gateway since, so that the unit may be blocked.
func (r *Reservation) next(key counterKey) (slot *reservedSlot, renews bool) {
	if r == nil {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	unit := r.units[key]
	if unit == nil || len(unit.unused) == 0 {
		return nil, false
	}
	first := unit.unused[0]
	unit.unused = unit.unused[1:]
	first.Left, first.usage = unit.usage.Remaining+len(unit.unused), unit.usage
	now := time.Now() //nolint:forbidigo // as above
	// Both clocks count: the monotonic clock may not advance while a machine is suspended.
	age := max(now.Sub(first.at), now.Round(0).Sub(first.at.Round(0)))
	return &first, age > r.timeout/renewAfter || first.blocks != r.counter.blocks.Load()
}

// unused returns how many slots of a unit no call has used; 0 without a reservation.
func (r *Reservation) unused(key counterKey) int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if unit := r.units[key]; unit != nil {
		return len(unit.unused)
	}
	return 0
}

// withdraw returns those of the slots that no call has used, and keeps calls from using them.
func (r *Reservation) withdraw(key counterKey, ids []string) (unused []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unit := r.units[key]
	if unit == nil {
		return nil
	}
	unit.unused = slices.DeleteFunc(unit.unused, func(s reservedSlot) bool {
		if !slices.Contains(ids, s.id) {
			return false
		}
		unused = append(unused, s.id)
		return true
	})
	return unused
}

// Release releases all slots that no call has used. It returns how many these are, and the usage of
// the unit of call; nil if no slot of it was released, if Redis has not confirmed a block, or if it did
// not respond. Then the release is retried for about 13 s. ctx should have no deadline.
func (r *Reservation) Release(ctx context.Context, call Call) (released int, usage *Usage) {
	unused := map[counterKey][]string{}
	r.mu.Lock()
	for key, unit := range r.units {
		for _, s := range unit.unused {
			unused[key] = append(unused[key], s.id)
		}
		unit.unused = nil // from now on, a late call takes a slot of its own
	}
	r.mu.Unlock()
	down := false
	for key, ids := range unused {
		released += len(ids)
		if down { // each step would wait as long
			r.counter.releaseLater(key, ids...)
			continue
		}
		after := r.release(ctx, key, ids)
		if down = after == nil; key == r.counter.key(call) {
			usage = after
		}
	}
	return released, usage
}

// release releases slots of one unit, and returns the usage after that; nil if Redis did not respond,
// or has not confirmed a block.
func (r *Reservation) release(ctx context.Context, key counterKey, ids []string) *Usage {
	if len(ids) == 0 {
		return nil
	}
	reply, err := r.counter.remove(ctx, key, ids)
	if err != nil {
		r.counter.releaseLater(key, ids...)
		return nil
	}
	if _, blocked := r.counter.pending.blocked(key.block()); blocked > 0 {
		return nil
	}
	return &reply.usage
}
