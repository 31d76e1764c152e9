package unattended_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

// A watch sees several commands that are about to be sent at once, and may say that they failed instead.
type watch func(ctx context.Context, cmds []redis.Cmder) error

func (watch) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (watch) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (w watch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := w(ctx, cmds); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// watched is a gateway whose commands that tell of units are seen; it tells of none by itself.
func (f fleet) watched(c config.Redis, w watch) member {
	telling := open(f.t, c)
	telling.AddHook(w)
	u := unattended.NewUnits(telling, f.policies)
	return member{unattended.New(f.rdb, f.policies).Tell(u), u}
}

func writes(cmds []redis.Cmder) bool {
	return slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Name() == "zadd" || c.Name() == "zrem" })
}

func standalone(t *testing.T) config.Redis {
	t.Helper()
	return config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}}
}

// What Run is telling of when it is ended is told of by the Flush after it.
func TestUnitsAtTheEnd(t *testing.T) {
	for _, step := range []string{"reading", "writing"} {
		t.Run(step, func(t *testing.T) {
			c := standalone(t)
			f := fleetOn(t, c, daily(1, config.UnitConsent))
			ctx, end := context.WithCancel(t.Context())
			begun := make(chan struct{})
			var first sync.Once
			a := f.watched(c, func(ctx context.Context, cmds []redis.Cmder) (err error) {
				if writes(cmds) == (step == "writing") {
					first.Do(func() {
						close(begun)
						<-ctx.Done()
						time.Sleep(50 * time.Millisecond) // as one that is slow to find out
						err = ctx.Err()
					})
				}
				return err
			})
			go a.units.Run(ctx)
			for range 3 {
				mustTake(t, a.Counter, list(), 1)
			}
			<-begun
			end()
			a.units.Flush(t.Context())
			f.becomes("once it has ended", 3, 0, 0)
		})
	}
}

// What could not be told of is told of later, without another call.
func TestUnitsWaitForRedis(t *testing.T) {
	c := standalone(t)
	f := fleetOn(t, c, daily(1, config.UnitConsent))
	var mu sync.Mutex
	failures := map[bool]int{}
	a := f.watched(c, func(_ context.Context, cmds []redis.Cmder) error {
		mu.Lock()
		defer mu.Unlock()
		if failures[writes(cmds)]++; failures[writes(cmds)] == 1 {
			return errors.New("away")
		}
		return nil
	})
	go a.units.Run(t.Context())
	mustTake(t, a.Counter, list(), 1)
	f.becomes("once Redis is there", 1, 0, 0)
}

// A gateway that has read before another wrote does not have the last word.
func TestUnitsAreNotOvertaken(t *testing.T) {
	c := standalone(t)
	f := fleetOn(t, c, daily(2, config.UnitConsent))
	b, call := f.watched(c, func(context.Context, []redis.Cmder) error { return nil }), list()
	var first sync.Once
	a := f.watched(c, func(_ context.Context, cmds []redis.Cmder) error {
		if writes(cmds) {
			first.Do(func() {
				mustTake(t, b.Counter, call, 1)
				b.units.Flush(t.Context())
				f.becomes("as the other says", 1, 0, 0)
			})
		}
		return nil
	})
	mustTake(t, a.Counter, call, 1)
	a.units.Flush(t.Context())
	f.becomes("after both have told", 1, 0, 0)
}

// Each unit is left alone for as long, whenever others are told of.
func TestUnitsSettle(t *testing.T) {
	c := standalone(t)
	f := fleetOn(t, c, daily(1, config.UnitConsent))
	const settling = 100 * time.Millisecond
	var mu sync.Mutex
	var noted []time.Time // before each was
	var soonest time.Duration
	read := map[string]bool{}
	a := f.watched(c, func(_ context.Context, cmds []redis.Cmder) error {
		if writes(cmds) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		var anew int
		for _, cmd := range cmds {
			if key := cmd.Args()[1].(string); strings.HasSuffix(key, ":closed") && !read[key] {
				read[key] = true
				anew++
			}
		}
		if anew > 0 { // they were noted in this order, and the last of these no later than that
			if alone := time.Since(noted[len(read)-1]); soonest == 0 || alone < soonest {
				soonest = alone
			}
		}
		return nil
	})
	go a.units.Run(t.Context())
	for range 40 {
		mu.Lock()
		noted = append(noted, time.Now())
		mu.Unlock()
		unattended.Note(a.units, list())
		time.Sleep(10 * time.Millisecond)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		n, least := len(read), soonest
		mu.Unlock()
		if n == 40 {
			if least < settling {
				t.Errorf("a unit is read after %v", least)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 40 are read", n)
		}
	}
}
