package unattended_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
	"ais-gateway/internal/unattended/unitstats"
)

// A fleet is the counters of several gateways on one Redis.
type fleet struct {
	t        *testing.T
	redis    config.Redis
	rdb      redis.UniversalClient
	policies map[string]config.Unattended
}

func newFleet(t *testing.T, c config.Redis, p config.Unattended) fleet {
	t.Helper()
	return fleet{t, c, open(t, c), map[string]config.Unattended{aspsp: p}}
}

// newFleetOnServer returns a fleet and its Redis, which no other test uses.
func newFleetOnServer(t *testing.T, p config.Unattended) (*redistest.Server, fleet) {
	t.Helper()
	server := redistest.Start(t)
	return server, newFleet(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, p)
}

func standalone(t *testing.T) config.Redis {
	t.Helper()
	return config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}}
}

// gateway returns the counter of one gateway, which writes updates without a long delay. The hooks
// see the commands of its statistics.
func (f fleet) gateway(hooks ...redis.Hook) *unattended.Counter {
	f.t.Helper()
	return f.counter(f.stats(hooks...).ExchangeEvery(10 * time.Millisecond))
}

func (f fleet) counter(u *unitstats.Stats) *unattended.Counter {
	return unattended.New(f.rdb, f.policies).Within(redistest.CommandTimeout).WithUnitStats(u)
}

// stats returns the statistics of one gateway.
func (f fleet) stats(hooks ...redis.Hook) *unitstats.Stats {
	f.t.Helper()
	rdb := f.rdb
	if len(hooks) > 0 {
		rdb = open(f.t, f.redis)
	}
	for _, hook := range hooks {
		rdb.AddHook(hook)
	}
	return unitstats.New(rdb, f.policies).Within(redistest.CommandTimeout)
}

// counts returns the counts of a gateway that has just started.
func (f fleet) counts() map[string]map[string]int64 {
	return f.stats().Count(f.t.Context())
}

func states(usedUp, last, blocked int64) map[string]map[string]int64 {
	return map[string]map[string]int64{aspsp: {"used_up": usedUp, "last": last, "closed": blocked}}
}

// becomes waits until the counts are these.
func (f fleet) becomes(when string, usedUp, last, blocked int64) {
	f.t.Helper()
	diff := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(states(usedUp, last, blocked), f.counts()); diff == "" {
			return
		}
	}
	f.t.Fatalf("%s (-want +got):\n%s", when, diff)
}

// exchanges is a hook that runs before the statistics send a pipeline. An error that it returns is
// the pipeline's result.
type exchanges func() error

func (exchanges) DialHook(next redis.DialHook) redis.DialHook { return next }

func (exchanges) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (e exchanges) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if strings.HasPrefix(cmds[0].Name(), "eval") { // not what sets up a connection
			if err := e(); err != nil {
				for _, cmd := range cmds {
					cmd.SetErr(err)
				}
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// hold returns a hook that stops the first exchange, a channel that is closed when that happens,
// and a function that lets it continue, or fail with an error.
func hold() (hook exchanges, held <-chan struct{}, release func(error)) {
	stopped, released := make(chan struct{}), make(chan error, 1)
	var first sync.Once
	return func() (err error) {
		first.Do(func() { close(stopped); err = <-released })
		return err
	}, stopped, func(err error) { released <- err }
}

// TestUnitStatsOfAllGateways: the counts cover the calls of all gateways, and are the same on a
// gateway that has just started.
func TestUnitStatsOfAllGateways(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) config.Redis{
		"redis-server": standalone,
		"embedded":     func(*testing.T) config.Redis { return config.Redis{Mode: config.Embedded} },
		"cluster": func(t *testing.T) config.Redis {
			t.Helper()
			return config.Redis{Mode: config.Cluster, Addresses: redistest.StartCluster(t).Addrs}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, start(t), daily(4, config.UnitConsent))
			f.becomes("at first", 0, 0, 0)
			a, b := f.gateway(), f.gateway()
			first, second, third := list(), list(), list()
			mustTake(t, a, first, 2)
			mustTake(t, b, first, 1)
			f.becomes("with one call left", 0, 1, 0)
			mustTake(t, a, first, 1)
			f.becomes("with no call left", 1, 0, 0)
			refused(t, take(t, b, first))
			mustTake(t, b, second, 2)
			slot, err := b.Take(t.Context(), second, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			f.becomes("with two units", 1, 1, 0)
			if err := slot.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.becomes("after a release", 1, 0, 0)
			if _, err := a.Block(t.Context(), third, time.Hour); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Block(t.Context(), first, 0); err != nil {
				t.Fatal(err)
			}
			f.becomes("with one unit blocked, and one blocked and used up", 1, 0, 2)
			mustTake(t, f.gateway(), second, 2)
			f.becomes("after a restart", 2, 0, 2)
		})
	}
}

// TestUnitStatsExpire: a unit that is used up has one call left after its oldest slot has left the
// window, and two after the next one.
func TestUnitStatsExpire(t *testing.T) {
	t.Parallel()
	const window = time.Hour
	f := newFleet(t, standalone(t), config.Unattended{Limit: 2, Window: window, Unit: config.UnitConsent})
	a, call := f.gateway(), list()
	takeNow := func() {
		t.Helper()
		if _, err := a.Take(t.Context(), call, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	passAll := func(d time.Duration) {
		t.Helper()
		for _, key := range f.rdb.Keys(t.Context(), "*").Val() {
			age(t, f.rdb, key, d)
		}
	}
	takeNow()
	f.becomes("with one of two calls left", 0, 1, 0)
	passAll(window / 2)
	takeNow()
	f.becomes("with no call left", 1, 0, 0)
	passAll(window/2 + time.Minute)
	f.becomes("after the first slot has left", 0, 1, 0)
	passAll(window / 2)
	f.becomes("after both have left", 0, 0, 0)
	if _, err := a.Block(t.Context(), list(), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	f.becomes("while a unit is blocked", 0, 0, 1)
	passAll(11 * time.Minute)
	f.becomes("after the block", 0, 0, 0)
	if keys := f.rdb.Keys(t.Context(), "ais:1:units:*").Val(); len(keys) != 0 {
		t.Errorf("expired units are kept in %v", keys)
	}
}

func TestUnitStatsByLimit(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	one, call := f.gateway(), list()
	slot, err := one.Take(t.Context(), call, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	f.becomes("with a limit of 1", 1, 0, 0)
	if err := slot.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.becomes("released", 0, 0, 0)
	mustTake(t, one, call, 1)
	f.becomes("taken again", 1, 0, 0)

	f.policies = map[string]config.Unattended{aspsp: daily(3, config.UnitConsent)}
	f.becomes("with a higher limit", 0, 0, 0)
	mustTake(t, f.gateway(), call, 1)
	f.becomes("after its first call", 0, 1, 0)

	f.policies = map[string]config.Unattended{aspsp: daily(2, config.UnitConsent)}
	refused(t, take(t, f.gateway(), call)) // used up by earlier calls
	f.becomes("with a lower limit", 1, 0, 0)

	f.policies = map[string]config.Unattended{aspsp: daily(0, config.UnitConsent)}
	never := f.gateway()
	refused(t, take(t, never, call))
	if _, err := never.Block(t.Context(), call, 0); err != nil {
		t.Fatal(err)
	}
	if err := never.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.counts(); len(got) != 0 {
		t.Errorf("with a limit of 0: %v", got)
	}
	if n := len(f.rdb.Keys(t.Context(), "ais:1:units:*").Val()); n > 2+2+2 {
		t.Errorf("%d sets", n)
	}
}

// TestUnitStatsCostNoRoundTrip: takes near the limit, refusals, releases and blocks run one script
// each. All their updates together run one more.
func TestUnitStatsCostNoRoundTrip(t *testing.T) {
	t.Parallel()
	server, f := newFleetOnServer(t, daily(4, config.UnitConsent))
	step := func(c *unattended.Counter, call unattended.Call) { // four scripts
		t.Helper()
		slot, err := c.Take(t.Context(), call, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := slot.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Block(t.Context(), call, 0); err != nil {
			t.Fatal(err)
		}
		refused(t, take(t, c, call))
	}
	loads := f.gateway()
	step(loads, list())
	if err := loads.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.becomes("after the scripts are loaded", 0, 0, 1)

	var pipelines atomic.Int64
	c := f.counter(f.stats(exchanges(func() error { pipelines.Add(1); return nil })).ExchangeEvery(time.Hour))
	before, want := server.Calls("evalsha"), 0
	for range 20 {
		call := list()
		mustTake(t, c, call, 4)
		refused(t, take(t, c, call))
		if _, err := c.Usage(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		want += 6
	}
	for range 3 {
		call := list()
		mustTake(t, c, call, 3)
		step(c, call)
		want += 3 + 4
	}
	if n := server.Calls("evalsha") - before; n != want || pipelines.Load() != 0 {
		t.Errorf("%d scripts and %d pipelines, want %d and 0", n, pipelines.Load(), want)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := server.Calls("evalsha") - before; n != want+1 || pipelines.Load() != 1 {
		t.Errorf("at the end: %d scripts and %d pipelines, want %d and 1", n, pipelines.Load(), want+1)
	}
	if diff := cmp.Diff(states(20, 3, 1+3), f.counts()); diff != "" {
		t.Error(diff)
	}
}

// TestUnitStatsAreWrittenTogether: a gateway exchanges updates and counts with Redis at most every
// 5 s, and only while updates wait or counts are read.
func TestUnitStatsAreWrittenTogether(t *testing.T) {
	t.Parallel()
	r := standalone(t)
	synctest.Test(t, func(t *testing.T) { // a real Redis takes no time in the bubble
		defer time.Sleep(2 * time.Hour) // idle workers end
		f := newFleet(t, r, daily(1, config.UnitConsent))
		f.becomes("at first", 0, 0, 0) // loads the script
		var mu sync.Mutex
		var at []int
		began := time.Now()
		u := f.stats(exchanges(func() error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, int(time.Since(began).Seconds()))
			return nil
		}))
		c := f.counter(u)
		exchangedAt := func(seconds ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(seconds, at); diff != "" {
				t.Error("exchanges (-want +got):", diff)
			}
		}
		counts := func(want int64) {
			t.Helper()
			if diff := cmp.Diff(states(want, 0, 0), u.Count(t.Context())); diff != "" {
				t.Error(diff)
			}
		}
		for range 8 { // at 0 to 7 s
			mustTake(t, c, list(), 1)
			time.Sleep(time.Second)
		}
		counts(8) // writes what waits since the write at 5 s
		mustTake(t, c, list(), 1)
		time.Sleep(4 * time.Second)
		counts(8) // as at 8 s
		exchangedAt(5, 8)
		time.Sleep(2 * time.Second)
		counts(9)
		time.Sleep(time.Hour)
		exchangedAt(5, 8, 13, 14)
		mustTake(t, c, list(), 1)
		if err := c.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		exchangedAt(5, 8, 13, 14, 3614)
		counts(10)
	})
}

// TestUnitStatsKeepTheNewestState: of the steps of a unit on one gateway the latest by Redis's
// clock decides, in whatever order they return, and whether or not a write in between fails.
func TestUnitStatsKeepTheNewestState(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	now := time.Now()
	later, past, future := now.Add(time.Second), now.Add(-time.Hour), now.Add(time.Hour)
	type addStep func(at, end time.Time, released bool)
	usedUp := int64(0)
	for _, tt := range []struct {
		name        string
		first, then func(addStep) // then runs while the first update is being written
		failure     error         // of that write
		want        int64         // units that are used up
	}{
		{
			"a take that returns after the later release", func(add addStep) { add(now, future, false) },
			func(add addStep) { add(later, time.Time{}, true); add(now, future, false) }, nil, 0,
		},
		{
			"a release after a take that was written", func(add addStep) { add(now, future, false) },
			func(add addStep) { add(later, time.Time{}, true) }, nil, 0,
		},
		{
			"a release after a take that was not written", func(add addStep) { add(now, future, false) },
			func(add addStep) { add(later, time.Time{}, true) }, errors.New("no connection"), 0,
		},
		{
			"a step with an earlier end after a release", func(add addStep) { add(now, future, false) },
			func(add addStep) { add(now, time.Time{}, true); add(later, past, false) }, nil, 0,
		},
		{
			"a take after a release that was not written", func(add addStep) { add(now, time.Time{}, true) },
			func(add addStep) { add(later, future, false) }, errors.New("no connection"), 1,
		},
	} {
		hook, held, release := hold()
		u, call := f.stats(hook).ExchangeEvery(time.Millisecond), list()
		add := func(at, end time.Time, released bool) { unattended.AddStep(u, call, at, end, released) }
		tt.first(add)
		<-held
		tt.then(add)
		release(tt.failure)
		if err := f.counter(u).Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		usedUp += tt.want
		if diff := cmp.Diff(states(usedUp, 0, 0), f.counts()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestUnitStatsInBatches: one script updates at most 256 units, and all scripts are sent together.
func TestUnitStatsInBatches(t *testing.T) {
	t.Parallel()
	server, f := newFleetOnServer(t, daily(1, config.UnitConsent))
	const units, batches = 1000, 4
	for i, pipelines := range []int64{2, 1} { // first Redis does not have the script
		var sent atomic.Int64
		u := f.stats(exchanges(func() error { sent.Add(1); return nil })).ExchangeEvery(time.Hour)
		for range units {
			unattended.AddStep(u, list(), time.Now(), time.Now().Add(time.Hour), false)
		}
		before := server.Calls("evalsha")
		if err := f.counter(u).Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, scripts := sent.Load(), server.Calls("evalsha")-before; n != pipelines || scripts != batches {
			t.Errorf("%d scripts in %d pipelines, want %d in %d", scripts, n, batches, pipelines)
		}
		if diff := cmp.Diff(states(int64(i+1)*units, 0, 0), f.counts()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestUnitStatsDoNotDelayCalls: calls continue while a write of updates hangs.
func TestUnitStatsDoNotDelayCalls(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	released := make(chan struct{})
	defer close(released)
	c := f.gateway(exchanges(func() error { <-released; return errors.New("lost") }))
	for range 30 {
		slot, err := c.Take(t.Context(), list(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := slot.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnitStatsDoNotDelayScrapes: if Redis does not respond, a scrape waits for 200 ms, also while
// updates are written, and the next one does not wait.
func TestUnitStatsDoNotDelayScrapes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
		defer rdb.Close()
		rdb.AddHook(silence{})
		policies := map[string]config.Unattended{aspsp: daily(1, config.UnitConsent)}
		u := unitstats.New(rdb, policies)
		scrapes := []struct{ after, want time.Duration }{{0, 200 * time.Millisecond}, {0, 0}, {5 * time.Second, 200 * time.Millisecond}}
		for _, scrape := range scrapes {
			unattended.AddUpdate(u, list())
			time.Sleep(scrape.after)
			synctest.Wait() // a write of updates that have waited for 5 s hangs now
			began := time.Now()
			if got := u.Count(t.Context()); len(got) > 0 {
				t.Errorf("counts %v without Redis", got)
			}
			if took := time.Since(began); took != scrape.want {
				t.Errorf("a scrape waits %v, want %v", took, scrape.want)
			}
		}
		if err := unattended.New(rdb, policies).WithUnitStats(u).Drain(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // until the last attempt has ended
	})
}

// TestUnitStatsAreWrittenAtTheEnd: Drain waits for the updates that are being written, and writes
// those that wait.
func TestUnitStatsAreWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	hook, held, release := hold()
	a := f.gateway(hook)
	mustTake(t, a, list(), 1)
	<-held
	for range 2 {
		mustTake(t, a, list(), 1)
	}
	drained := make(chan error)
	go func() { drained <- a.Drain(t.Context()) }()
	release(nil)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(states(3, 0, 0), f.counts()); diff != "" {
		t.Error(diff)
	}
}

// TestUnitStatsEndWithoutRedis: Drain does not fail, and waits at most a second for updates.
func TestUnitStatsEndWithoutRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
		defer rdb.Close()
		rdb.AddHook(silence{})
		policies := map[string]config.Unattended{aspsp: daily(1, config.UnitConsent)}
		u := unitstats.New(rdb, policies)
		for range 100 {
			unattended.AddUpdate(u, list())
		}
		began := time.Now()
		if err := unattended.New(rdb, policies).WithUnitStats(u).Drain(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute) // until the last attempts have ended
	})
}

// TestUnitStatsAreRetried: a write that fails is repeated without another call.
func TestUnitStatsAreRetried(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	var failed atomic.Bool
	a := f.gateway(exchanges(func() error {
		if failed.CompareAndSwap(false, true) {
			return errors.New("no connection")
		}
		return nil
	}))
	mustTake(t, a, list(), 1)
	f.becomes("after the retry", 1, 0, 0)
}

// TestUnitStatsInAnyOrder: the update of an earlier call that is written after that of a later call
// changes nothing.
func TestUnitStatsInAnyOrder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(2, config.UnitConsent))
	hook, held, release := hold()
	a, b, call := f.gateway(hook), f.gateway(), list()
	mustTake(t, a, call, 1)
	<-held
	mustTake(t, b, call, 1)
	f.becomes("after the later call", 1, 0, 0)
	release(nil)
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(states(1, 0, 0), f.counts()); diff != "" {
		t.Error(diff)
	}
	for _, key := range f.rdb.Keys(t.Context(), "*").Val() {
		age(t, f.rdb, key, 24*time.Hour-time.Minute)
	}
	f.becomes("shortly before the slots leave", 1, 0, 0)
}

// TestUnitStatsAreHashed: Redis stores no consent, account or ASPSP in clear, and the sets expire.
func TestUnitStatsAreHashed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitResource))
	call := unattended.Call{ASPSP: aspsp, Consent: uuid.NewString(), Account: "DE02120300000000202051"}
	mustTake(t, f.gateway(), call, 1)
	f.becomes("taken", 1, 0, 0)
	all := ""
	for _, key := range f.rdb.Keys(t.Context(), "*").Val() {
		all += key + "\n"
		if strings.HasPrefix(key, "ais:1:units:") {
			all += fmt.Sprintln(f.rdb.ZRange(t.Context(), key, 0, -1).Val())
			if ttl := f.rdb.PTTL(t.Context(), key).Val(); ttl < 24*time.Hour || ttl > 49*time.Hour {
				t.Errorf("%s expires in %v", key, ttl)
			}
		}
	}
	for _, plain := range []string{call.ASPSP, call.Consent, call.Account} {
		if strings.Contains(all, plain) {
			t.Errorf("%s is in Redis:\n%s", plain, all)
		}
	}
}

// TestMemoryOfUnitStats: waiting updates are bounded, and a unit costs little memory in Redis.
func TestMemoryOfUnitStats(t *testing.T) {
	server, f := newFleetOnServer(t, daily(4, config.UnitConsent))
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	released := make(chan struct{})
	defer close(released)
	hung := open(t, f.redis)
	hung.AddHook(exchanges(func() error { <-released; return errors.New("lost") }))
	u := unitstats.New(hung, f.policies).Within(redistest.CommandTimeout)
	before := heap()
	for range 100_000 {
		unattended.AddUpdate(u, list())
	}
	if grown := heap() - before; grown > 4<<20 { // those that wait and those that are being written
		t.Errorf("updates of 100,000 units need %d bytes", grown)
	} else {
		t.Logf("updates of 100,000 units need %d bytes", grown)
	}
	runtime.KeepAlive(u)
	used, n := server.UsedMemory(), 20_000
	f.fill(int64(n))
	f.becomes("with many units", int64(n), 0, 0)
	if each := (server.UsedMemory() - used) / n; each > 400 {
		t.Errorf("each unit needs %d bytes in Redis", each)
	} else {
		t.Logf("a unit that is used up needs %d bytes in Redis", each)
	}
}

// fill adds n units that are used up to the sets, without their slots.
func (f fleet) fill(n int64) {
	f.t.Helper()
	end := float64(time.Now().Add(time.Hour).UnixMicro())
	prefix := store.Prefix("units", aspsp, "4", "24h0m0s", "consent")
	for ; n > 0; n -= 500 {
		var all []redis.Z
		for range min(n, 500) {
			member := strings.SplitN(store.Prefix("unattended", aspsp, uuid.NewString()), "{", 2)[1][:22]
			all = append(all, redis.Z{Score: end, Member: member})
		}
		for _, state := range []string{"used_up", "last"} {
			if err := f.rdb.ZAdd(f.t.Context(), prefix+state, all...).Err(); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}
