package unattended_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/store/send"
	"ais-gateway/internal/unattended"
)

// reservedFor is the timeout of the calls of a reservation, long enough that no slot is renewed
// unless the test makes it older.
const reservedFor = time.Hour

// reserve reserves slots for n calls of the same unit. It returns how many of them have one, which
// are the first ones.
func reserve(t *testing.T, r *unattended.Reservation, call unattended.Call, n int, partial bool) (got int, usage *unattended.Usage, failure *canonical.Error) {
	t.Helper()
	granted, usage, failure := r.Reserve(t.Context(), slices.Repeat([]unattended.Call{call}, n), partial)
	for got < n && granted[got] {
		got++
	}
	if len(granted) != n || slices.Contains(granted[got:], true) {
		t.Fatalf("granted %v of %d calls", granted, n)
	}
	return got, usage, failure
}

func mustReserve(t *testing.T, r *unattended.Reservation, call unattended.Call, n int) {
	t.Helper()
	if got, _, failure := reserve(t, r, call, n, false); got != n || failure != nil {
		t.Fatalf("reserved %d of %d: %v", got, n, failure)
	}
}

// lacks fails the test unless a refusal names these slots and a time until they are free that is
// at most a minute shorter than wait.
func lacks(t *testing.T, failure *canonical.Error, needed, remaining int, wait time.Duration) {
	t.Helper()
	if failure == nil || failure.Kind != canonical.UnattendedLimit || failure.Slots == nil {
		t.Fatalf("got %v, want a refusal with slots", failure)
	}
	if diff := cmp.Diff(canonical.SlotNeed{Needed: needed, Remaining: remaining}, *failure.Slots); diff != "" {
		t.Error(diff)
	}
	if got := failure.RetryAfter; got > wait || got < max(wait-time.Minute, 0) {
		t.Errorf("wait %v, want %v", got, wait)
	}
}

// usedNow fails the test unless this many slots of a unit are taken.
func usedNow(t *testing.T, c *unattended.Counter, call unattended.Call, want int) {
	t.Helper()
	if u, err := c.Usage(t.Context(), call); err != nil || u.Used != want {
		t.Errorf("used %d, %v, want %d", u.Used, err, want)
	}
}

// TestReserveIsAllOrNone: a reservation takes all slots in one step, or none. A refusal says when
// as many as are needed are free.
func TestReserveIsAllOrNone(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(5, config.UnitConsent)), list()
			for _, timeout := range []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
				if _, err := c.Take(t.Context(), call, timeout); err != nil {
					t.Fatal(err)
				}
			}
			var most atomic.Int64 // slots after a script
			rdb.AddHook(redistest.Hook{Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
				err := next(ctx, cmd)
				if send.IsScript(cmd) {
					most.Store(max(most.Load(), rdb.ZCard(ctx, store.Prefix("unattended", aspsp, call.Consent)+"slots").Val()))
				}
				return err
			}})
			r := c.NewReservation(reservedFor)
			got, usage, failure := reserve(t, r, call, 4, false)
			lacks(t, failure, 4, 2, 24*time.Hour+20*time.Minute) // two calls must leave the window
			if got != 0 || usage == nil || usage.Used != 3 || usage.Remaining != 2 {
				t.Errorf("reserved %d, %+v", got, usage)
			}
			usedNow(t, c, call, 3)
			if most.Load() != 3 {
				t.Errorf("%d slots were taken, and released after the refusal", most.Load())
			}

			got, usage, failure = reserve(t, r, call, 2, false)
			if got != 2 || failure != nil || usage == nil || usage.Used != 5 || usage.Remaining != 0 {
				t.Fatalf("reserved %d, %+v, %v", got, usage, failure)
			}
			refused(t, take(t, c, call)) // without the reservation
			ctx := unattended.WithReservation(t.Context(), r)
			for range 2 {
				if slot, err := c.Take(ctx, call, time.Second); err != nil || slot.SendUntil.IsZero() {
					t.Fatalf("%+v, %v, want a reserved slot", slot, err)
				}
			}
			usedNow(t, c, call, 5)
			_, err := c.Take(ctx, call, time.Second)
			refused(t, err)
		})
	}
}

// TestReservePart: with partial, a reservation takes the slots that are left.
func TestReservePart(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(4, config.UnitConsent)), list()
			mustTake(t, c, call, 2)
			r := c.NewReservation(reservedFor)
			got, usage, failure := reserve(t, r, call, 3, true)
			lacks(t, failure, 3, 2, 24*time.Hour+10*time.Second)
			if got != 2 || usage == nil || usage.Used != 4 {
				t.Errorf("reserved %d, %+v", got, usage)
			}
			got, _, failure = reserve(t, r, call, 3, true)
			lacks(t, failure, 3, 0, 24*time.Hour+reservedFor)
			if got != 0 {
				t.Errorf("reserved %d of none that are left", got)
			}
			usedNow(t, c, call, 4)
			if n, usage := r.Release(t.Context(), call); n != 2 || usage == nil || usage.Used != 2 {
				t.Errorf("released %d, %+v", n, usage)
			}
		})
	}
}

// TestRefusedReservation: a refusal has no time to wait if the slots can never be free.
func TestRefusedReservation(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(4, config.UnitConsent)), list()
			_, _, failure := reserve(t, c.NewReservation(reservedFor), call, 5, false)
			lacks(t, failure, 5, 4, 0)
			got, _, failure := reserve(t, c.NewReservation(reservedFor), call, 5, true)
			lacks(t, failure, 5, 4, 0)
			if got != 4 {
				t.Errorf("reserved %d of 4 that are left", got)
			}
			blocked := list()
			if _, err := c.Block(t.Context(), blocked, time.Hour); err != nil {
				t.Fatal(err)
			}
			for _, partial := range []bool{false, true} {
				got, usage, failure := reserve(t, c.NewReservation(reservedFor), blocked, 2, partial)
				lacks(t, failure, 2, 0, time.Hour)
				if got != 0 || usage == nil || usage.Used != 0 {
					t.Errorf("blocked: reserved %d, %+v", got, usage)
				}
			}
			never := counter(rdb, daily(0, config.UnitConsent))
			_, _, failure = reserve(t, never.NewReservation(reservedFor), call, 1, true)
			lacks(t, failure, 1, 0, 0)
		})
	}
}

// resources returns calls for the list and the balances of two accounts of a new consent. With the
// unit resource each has a unit of its own.
func resources() []unattended.Call {
	calls := slices.Repeat([]unattended.Call{list()}, 3)
	calls[1].Account, calls[2].Account = "a", "b"
	return calls
}

// TestReserveOfSeveralUnits: if one unit refuses, the slots of the others are released, unless a
// part is enough.
func TestReserveOfSeveralUnits(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		for refusing := range 3 {
			t.Run(fmt.Sprint(name, " ", refusing), func(t *testing.T) {
				c, calls := counter(rdb, daily(1, config.UnitResource)), resources()
				mustTake(t, c, calls[refusing], 1)
				r := c.NewReservation(reservedFor)
				granted, usage, failure := r.Reserve(t.Context(), calls, false)
				lacks(t, failure, 1, 0, 24*time.Hour+10*time.Second)
				if slices.Contains(granted, true) || len(granted) != 3 {
					t.Errorf("granted %v", granted)
				}
				taken := func(i int) int {
					if i == refusing {
						return 1
					}
					return 0
				}
				if usage == nil || usage.Used != taken(0) {
					t.Errorf("usage of the first unit %+v", usage)
				}
				for i, call := range calls {
					usedNow(t, c, call, taken(i))
				}
				if n, _ := r.Release(t.Context(), calls[0]); n != 0 {
					t.Errorf("%d slots were still reserved", n)
				}

				granted, _, failure = r.Reserve(t.Context(), calls, true)
				lacks(t, failure, 1, 0, 24*time.Hour+10*time.Second)
				for i, call := range calls {
					if granted[i] != (i != refusing) {
						t.Errorf("granted %v", granted)
					}
					usedNow(t, c, call, 1)
				}
			})
		}
	}
}

// A failingScript makes one script fail, whose reply is lost.
type failingScript struct {
	in       atomic.Int64 // 1: the next one
	executed bool
}

func (f *failingScript) hook() redis.Hook {
	return redistest.Hook{Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
		if !send.IsScript(cmd) || f.in.Add(-1) != 0 {
			return next(ctx, cmd)
		}
		if f.executed {
			_ = next(ctx, cmd)
		}
		err := errors.New("the reply is lost")
		cmd.SetErr(err)
		return err
	}}
}

// TestReserveWithoutCounter: if Redis does not respond for one unit, the calls of the others have a
// slot only if a part is enough.
func TestReserveWithoutCounter(t *testing.T) {
	t.Parallel()
	for _, partial := range []bool{false, true} {
		t.Run(fmt.Sprintf("partial %t", partial), func(t *testing.T) {
			rdb, fails := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}), &failingScript{executed: true}
			rdb.AddHook(fails.hook())
			c, calls := counter(rdb, daily(1, config.UnitResource)), resources()
			mustTake(t, c, resources()[0], 1) // loads the script
			fails.in.Store(2)
			granted, _, failure := c.NewReservation(reservedFor).Reserve(t.Context(), calls, partial)
			if failure == nil || failure.Kind != canonical.CounterUnavailable {
				t.Errorf("got %v", failure)
			}
			if diff := cmp.Diff([]bool{partial, false, false}, granted); diff != "" {
				t.Error(diff)
			}
			if err := c.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			for i, call := range calls {
				want := 0
				if granted[i] {
					want = 1
				}
				usedNow(t, c, call, want)
			}
		})
	}
}

// members returns the ids of a consent's slots.
func members(t *testing.T, rdb redis.UniversalClient, call unattended.Call) []string {
	t.Helper()
	ids, err := rdb.ZRange(t.Context(), store.Prefix("unattended", aspsp, call.Consent)+"slots", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

// TestRenewal: a call that uses its slot after a tenth of the timeout gets a new one in its place,
// also if no other slot is left.
func TestRenewal(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(3, config.UnitConsent)), list()
			r := c.NewReservation(reservedFor)
			ctx := unattended.WithReservation(t.Context(), r)
			mustReserve(t, r, call, 3)
			before := members(t, rdb, call)
			r.Age(reservedFor/10 - 5*time.Minute)
			slot, err := c.Take(ctx, call, time.Second)
			if left := time.Until(slot.SendUntil); err != nil || left > reservedFor*9/10+5*time.Minute || slot.Left != 2 {
				t.Fatalf("%+v, %v: may be sent for %v", slot, err, left)
			}
			if diff := cmp.Diff(before, members(t, rdb, call)); diff != "" {
				t.Errorf("before a tenth of the timeout: %s", diff)
			}
			r.Age(11 * time.Minute)
			slot, err = c.Take(ctx, call, time.Second)
			if err != nil || !slot.SendUntil.IsZero() || slot.Left != 1 {
				t.Fatalf("%+v, %v, want a new slot", slot, err)
			}
			after := members(t, rdb, call)
			kept := slices.DeleteFunc(slices.Clone(after), func(id string) bool { return !slices.Contains(before, id) })
			if len(after) != 3 || len(kept) != 2 {
				t.Errorf("%q before, %q after", before, after)
			}
			if err := slot.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			usedNow(t, c, call, 2)
		})
	}
}

// TestRefusedRenewal: a call whose slot cannot be renewed is refused, and has no slot.
func TestRefusedRenewal(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(3, config.UnitConsent)), list()
			r := c.NewReservation(reservedFor)
			ctx := unattended.WithReservation(t.Context(), r)
			mustReserve(t, r, call, 2)
			if _, err := counter(rdb, daily(3, config.UnitConsent)).Block(t.Context(), call, time.Hour); err != nil {
				t.Fatal(err)
			}
			r.Age(reservedFor)
			_, err := c.Take(ctx, call, time.Second)
			if wait := refused(t, err); wait > time.Hour || wait < time.Hour-time.Minute {
				t.Errorf("wait %v, want that of the block", wait)
			}
			usedNow(t, c, call, 1)
			if n, usage := r.Release(t.Context(), call); n != 1 || usage == nil || usage.Used != 0 {
				t.Errorf("released %d, %+v", n, usage)
			}
		})
	}
}

// TestRefusedRenewalInUnitStats: the statistics know that a refused renewal has removed a slot.
func TestRefusedRenewalInUnitStats(t *testing.T) {
	t.Parallel()
	_, f := newFleetOnServer(t, daily(3, config.UnitConsent))
	c, call := f.gateway(), list()
	r := c.NewReservation(reservedFor)
	mustReserve(t, r, call, 2)
	f.becomes("two of three slots are reserved", 0, 1, 0)
	if _, err := f.gateway().Block(t.Context(), call, time.Hour); err != nil {
		t.Fatal(err)
	}
	f.becomes("the unit is blocked", 0, 1, 1)
	r.Age(reservedFor)
	_, err := c.Take(unattended.WithReservation(t.Context(), r), call, time.Second)
	refused(t, err)
	f.becomes("one slot is left of the reservation", 0, 0, 1)
}

// TestLostRenewal: if the reply to a renewal is lost, the call has neither its old nor a new slot.
func TestLostRenewal(t *testing.T) {
	t.Parallel()
	for _, executed := range []bool{false, true} {
		t.Run(fmt.Sprintf("executed %t", executed), func(t *testing.T) {
			rdb, fails := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}), &failingScript{executed: executed}
			rdb.AddHook(fails.hook())
			c, call := counter(rdb, daily(3, config.UnitConsent)), list()
			r := c.NewReservation(reservedFor)
			mustReserve(t, r, call, 2)
			r.Age(reservedFor)
			fails.in.Store(1)
			_, err := c.Take(unattended.WithReservation(t.Context(), r), call, time.Second)
			if kind(err) != canonical.CounterUnavailable {
				t.Errorf("got %v", err)
			}
			used(t, c, call, 1)
		})
	}
}

// TestReleaseOfAReservation: only slots that no call has used are released. Later takes are
// ordinary.
func TestReleaseOfAReservation(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(4, config.UnitConsent)), list()
			r := c.NewReservation(reservedFor)
			ctx, end := context.WithCancel(unattended.WithReservation(t.Context(), r))
			mustReserve(t, r, call, 3)
			if _, err := c.Take(ctx, call, time.Second); err != nil {
				t.Fatal(err)
			}
			end() // the client may have left
			if n, usage := r.Release(ctx, call); n != 2 || usage == nil || usage.Used != 1 {
				t.Errorf("released %d, %+v", n, usage)
			}
			if n, usage := r.Release(ctx, call); n != 0 || usage != nil {
				t.Errorf("released %d again, %+v", n, usage)
			}
			for used := 2; used <= 4; used++ {
				slot, err := c.Take(ctx, call, time.Second)
				if err != nil || !slot.SendUntil.IsZero() || slot.Left != 4-used {
					t.Errorf("%+v, %v, want an ordinary slot", slot, err)
				}
				usedNow(t, c, call, used)
			}
			_, err := c.Take(ctx, call, time.Second)
			refused(t, err)
		})
	}
}

// TestReleaseOfSeveralUnits: the slots of all units are released, and the usage is that of the
// call's.
func TestReleaseOfSeveralUnits(t *testing.T) {
	t.Parallel()
	c, calls := counter(open(t, config.Redis{Mode: config.Embedded}), daily(2, config.UnitResource)), resources()
	mustTake(t, c, calls[1], 1)
	for range 10 { // the order of units is random
		r := c.NewReservation(reservedFor)
		if _, _, failure := r.Reserve(t.Context(), calls, false); failure != nil {
			t.Fatal(failure)
		}
		if n, usage := r.Release(t.Context(), calls[1]); n != 3 || usage == nil || usage.Used != 1 {
			t.Errorf("released %d, %+v", n, usage)
		}
		for i, call := range calls {
			usedNow(t, c, call, i%2)
		}
	}
}

// TestReleaseOfAReservationIsRetried: a release that Redis does not confirm is retried.
func TestReleaseOfAReservationIsRetried(t *testing.T) {
	t.Parallel()
	rdb, fails := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}), &failingScript{}
	rdb.AddHook(fails.hook())
	c, call := counter(rdb, daily(4, config.UnitConsent)), list()
	r := c.NewReservation(reservedFor)
	mustReserve(t, r, call, 3)
	fails.in.Store(1)
	if n, usage := r.Release(t.Context(), call); n != 3 || usage != nil {
		t.Errorf("released %d, %+v", n, usage)
	}
	used(t, c, call, 0)
}

// TestLateReservationIsReleased: a reservation that Redis executes after the timeout leaves no slot,
// whether its release is executed before or after it.
func TestLateReservationIsReleased(t *testing.T) {
	t.Parallel()
	for _, held := range []*heldScript{{before: true}, {after: true}, {before: true, after: true}} {
		t.Run(fmt.Sprintf("before %t, after %t", held.before, held.after), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb, call := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), list()
			held.pass, held.done = make(chan struct{}), make(chan struct{})
			rdb.AddHook(redistest.Hook{Command: held.command})
			c := counter(rdb, daily(4, config.UnitConsent)).Within(5 * time.Second)
			mustTake(t, c, call, 1)
			held.on.Store(true)
			r := c.NewReservation(reservedFor)
			if got, usage, failure := reserve(t, r, call, 3, false); got != 0 || usage != nil || failure == nil || failure.Kind != canonical.CounterUnavailable {
				t.Fatalf("reserved %d, %+v, %v", got, usage, failure)
			}
			if err := c.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			close(held.pass)
			<-held.done
			if n := slots(server, call); n != int64(1) {
				t.Errorf("%v slots, want that of the first call", n)
			}
			mustReserve(t, r, call, 3)
		})
	}
}

// TestReservationSentAgain: a reservation that is executed and then sent again, because its reply
// was lost, takes no slot twice.
func TestReservationSentAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	way := crashproxy.New(t).NewProxy(server.Addr)
	direct := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(4, config.UnitConsent))
	mustTake(t, direct, list(), 1) // loads the script
	c := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{way.Addr}}), daily(4, config.UnitConsent))
	for _, tt := range []struct {
		name        string
		taken, used int
		partial     bool
		want        []bool
		failure     canonical.Kind
	}{
		{name: "all", used: 2, want: []bool{true, true}},
		{name: "none", taken: 3, used: 3, want: []bool{false, false}, failure: canonical.UnattendedLimit},
		{name: "a part", taken: 3, used: 4, partial: true, want: []bool{true, false}, failure: canonical.UnattendedLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call := list()
			mustTake(t, direct, call, tt.taken)
			way.LoseReply("slots")
			var granted []bool
			var failure *canonical.Error
			done := make(chan struct{})
			go func() {
				defer close(done)
				calls := []unattended.Call{call, call}
				granted, _, failure = c.NewReservation(reservedFor).Reserve(t.Context(), calls, tt.partial)
			}()
			soon(t, "the reply is lost", way.Lost)
			way.Cut()
			<-done
			if !slices.Equal(granted, tt.want) || failure == nil != (tt.failure == "") || failure != nil && failure.Kind != tt.failure {
				t.Errorf("granted %v, %v", granted, failure)
			}
			usedNow(t, direct, call, tt.used)
		})
	}
}

// TestManyReservations: of many concurrent reservations of three slots, on four that are left, one
// gets all.
func TestManyReservations(t *testing.T) {
	t.Parallel()
	addr := redistest.Shared(t)
	for range 20 {
		call, all, other := list(), atomic.Int64{}, atomic.Int64{}
		var callers sync.WaitGroup
		var gateways []*unattended.Counter
		for range 3 {
			c := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{addr}}), daily(4, config.UnitConsent))
			gateways = append(gateways, c)
		}
		for i := range 20 {
			callers.Go(func() {
				granted, _, failure := gateways[i%3].NewReservation(reservedFor).Reserve(context.Background(), []unattended.Call{call, call, call}, false)
				switch {
				case !slices.Contains(granted, false) && failure == nil:
					all.Add(1)
				case slices.Contains(granted, true) || failure == nil || failure.Kind != canonical.UnattendedLimit:
					other.Add(1)
				}
			})
		}
		callers.Wait()
		if all.Load() != 1 || other.Load() != 0 {
			t.Fatalf("%d reservations have all slots, want 1; %d have a part", all.Load(), other.Load())
		}
		usedNow(t, gateways[0], call, 3)
	}
}

// TestSlotsLeftOfAReservation: the slots that are left include those that are reserved for the same
// source.
func TestSlotsLeftOfAReservation(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(5, config.UnitConsent)), list()
			r := c.NewReservation(reservedFor)
			mustTake(t, c, call, 1)
			mustReserve(t, r, call, 3)
			ctx, tracker := unattended.Track(unattended.WithReservation(t.Context(), r))
			for want := 3; want >= 0; want-- { // the last take is ordinary
				if want == 1 {
					r.Age(reservedFor)
				}
				slot, err := c.Take(ctx, call, time.Second)
				if err != nil || slot.Left != want {
					t.Errorf("%d slots left, %v, want %d", slot.Left, err, want)
				}
				if u := tracker.Usage(); u == nil || u.Remaining != min(want, 1) {
					t.Errorf("usage %+v", u) // of all sources
				}
			}
		})
	}
}

// TestReservationWaitsForReplicas: with replicas required, slots are reserved only if they confirm
// them.
func TestReservationWaitsForReplicas(t *testing.T) {
	t.Parallel()
	primary, replica := redistest.Start(t, "--repl-diskless-sync-delay", "0"), redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{primary.Addr}})
	policy, call := daily(4, config.UnitConsent), list()
	c, plain := counter(rdb, policy).WithReplicas(1), counter(rdb, policy)
	r := c.NewReservation(reservedFor)
	try := func() bool {
		got, _, failure := reserve(t, r, call, 3, false)
		if got == 3 && failure == nil {
			return true
		}
		if got != 0 || failure == nil || failure.Kind != canonical.CounterUnavailable {
			t.Fatalf("reserved %d, %v", got, failure)
		}
		used(t, plain, call, 0) // the slots are released
		return false
	}
	if try() {
		t.Fatal("reserved without a replica")
	}
	follow(t, replica, primary)
	soon(t, "the replica confirms the slots", try)
	if n := slots(replica, call); n != int64(3) {
		t.Errorf("the replica has %v slots", n)
	}
}
