package unattended_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
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
	u := unattended.NewUnitStats(telling, f.policies).Within(redistest.CommandTimeout)
	return member{unattended.New(f.rdb, f.policies).Within(redistest.CommandTimeout).WithUnitStats(u), u}
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	soon(t, "both have told", func() bool {
		a.units.Flush(t.Context()) // again on a machine that was too slow for the first
		return f.counts()[aspsp]["used_up"] == 1
	})
}

// Each unit is left alone for as long, whenever others are told of, and for no more than twice as long.
func TestUnitsSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const units, settling = 40, 100 * time.Millisecond
		noted, read := map[string]time.Time{}, map[string]time.Duration{}
		var mu sync.Mutex
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
		defer rdb.Close()
		rdb.AddHook(answer(func(cmds []redis.Cmder) {
			mu.Lock()
			defer mu.Unlock()
			for _, cmd := range cmds {
				key, _ := cmd.Args()[1].(string)
				if at, ok := noted[key]; ok && read[key] == 0 {
					read[key] = time.Since(at)
				}
			}
		}))
		u := unattended.NewUnitStats(rdb, map[string]config.Unattended{aspsp: daily(1, config.UnitConsent)})
		go u.Run(t.Context())
		for range units {
			call := list()
			mu.Lock()
			noted[store.Prefix("unattended", aspsp, call.Consent)+"closed"] = time.Now()
			mu.Unlock()
			unattended.Note(u, call)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(read) != units {
			t.Errorf("%d of %d are read", len(read), units)
		}
		for _, alone := range read {
			if alone < settling || alone > 2*settling {
				t.Errorf("a unit is read after %v", alone)
			}
		}
	})
}

// An answer stands for a Redis that is empty, and sees what it is asked in one go.
type answer func(cmds []redis.Cmder)

func (answer) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (answer) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (a answer) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error { a(cmds); return nil }
}
