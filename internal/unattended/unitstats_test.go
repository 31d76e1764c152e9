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

func standalone(t *testing.T) config.Redis {
	t.Helper()
	return config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}}
}

// gateway returns the counter of one gateway. The hooks see the commands of its statistics.
func (f fleet) gateway(hooks ...redis.Hook) *unattended.Counter {
	f.t.Helper()
	rdb := f.rdb
	if len(hooks) > 0 {
		rdb = open(f.t, f.redis)
	}
	for _, hook := range hooks {
		rdb.AddHook(hook)
	}
	stats := unattended.NewUnitStats(rdb, f.policies).Within(redistest.CommandTimeout)
	return unattended.New(f.rdb, f.policies).Within(redistest.CommandTimeout).WithUnitStats(stats)
}

// counts returns the counts of a gateway that has just started.
func (f fleet) counts() map[string]map[string]int64 {
	return unattended.NewUnitStats(f.rdb, f.policies).Within(redistest.CommandTimeout).Count(f.t.Context())
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

// updates sees the updates of the statistics before they are sent. An error that it returns is their result.
type updates func() error

func (updates) DialHook(next redis.DialHook) redis.DialHook { return next }

func (u updates) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") { // not what sets up a connection
			if err := u(); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func (updates) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// hold returns a hook that stops the first update, a channel that is closed when that happens, and a function that lets it
// continue.
func hold() (hook updates, held <-chan struct{}, release func()) {
	stopped, released := make(chan struct{}), make(chan struct{})
	var first sync.Once
	return func() error {
		first.Do(func() { close(stopped); <-released })
		return nil
	}, stopped, func() { close(released) }
}

// TestUnitStatsOfAllGateways: the counts cover the calls of all gateways, and are the same on a gateway that has just started.
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

// TestUnitStatsExpire: a unit that is used up has one call left after its oldest slot has left the window, and two after the
// next one.
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

// TestUnitStatsCostOneRoundTrip: a call that leaves at most one slot and a refusal cost one more round trip in the background.
// Other calls and reading the usage cost none.
func TestUnitStatsCostOneRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(4, config.UnitConsent))
	var sent atomic.Int64
	c := f.gateway(updates(func() error { sent.Add(1); return nil }))
	f.becomes("at first", 0, 0, 0) // loads the script of the statistics
	mustTake(t, c, list(), 4)      // loads the script of the counter
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted := &trips{}
	f.rdb.AddHook(counted)
	call := list()
	expect := func(what string, updates int64, do func() error) {
		t.Helper()
		trips, before := counted.n.Load(), sent.Load()
		if err := do(); err != nil {
			t.Fatal(what, err)
		}
		if n := counted.n.Load() - trips; n != 1 {
			t.Errorf("%s: %d round trips of the counter", what, n)
		}
		soon(t, what+" is written", func() bool { return sent.Load() >= before+updates })
		if n := sent.Load() - before; n != updates {
			t.Errorf("%s: %d updates, want %d", what, n, updates)
		}
	}
	takeOne := func() error { return take(t, c, call) }
	expect("the first call", 0, takeOne)
	expect("the second call", 0, takeOne)
	expect("a read of the usage", 0, func() error { _, err := c.Usage(t.Context(), call); return err })
	expect("the third call", 1, takeOne)
	expect("the fourth call", 1, takeOne)
	expect("a refusal", 1, func() error { refused(t, take(t, c, call)); return nil })
	expect("a read of the usage of a used-up unit", 0, func() error { _, err := c.Usage(t.Context(), call); return err })
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := sent.Load(); n != 2+3 {
		t.Errorf("%d updates, want 5", n)
	}
}

// TestUnitStatsDoNotDelayCalls: calls continue while updates hang.
func TestUnitStatsDoNotDelayCalls(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	released := make(chan struct{})
	defer close(released)
	c := f.gateway(updates(func() error { <-released; return errors.New("lost") }))
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

// TestUnitStatsDoNotDelayScrapes: if Redis does not respond, a scrape waits for 200 ms, and the next one does not wait.
func TestUnitStatsDoNotDelayScrapes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
		defer rdb.Close()
		rdb.AddHook(silence{})
		u := unattended.NewUnitStats(rdb, map[string]config.Unattended{aspsp: daily(1, config.UnitConsent)})
		for _, want := range []time.Duration{200 * time.Millisecond, 0} {
			began := time.Now()
			if got := u.Count(t.Context()); len(got) > 0 {
				t.Errorf("counts %v without Redis", got)
			}
			if took := time.Since(began); took != want {
				t.Errorf("a scrape waits %v, want %v", took, want)
			}
		}
	})
}

// TestUnitStatsAreWrittenAtTheEnd: Drain waits for the updates that are in progress or queued.
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
	release()
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
		u := unattended.NewUnitStats(rdb, policies)
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

// TestUnitStatsAreRetried: an update that failed is repeated without another call.
func TestUnitStatsAreRetried(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(1, config.UnitConsent))
	var failed atomic.Bool
	a := f.gateway(updates(func() error {
		if failed.CompareAndSwap(false, true) {
			return errors.New("no connection")
		}
		return nil
	}))
	mustTake(t, a, list(), 1)
	f.becomes("after the retry", 1, 0, 0)
}

// TestUnitStatsInAnyOrder: the update of an earlier call that is written after that of a later call changes nothing.
func TestUnitStatsInAnyOrder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, standalone(t), daily(2, config.UnitConsent))
	hook, held, release := hold()
	a, b, call := f.gateway(hook), f.gateway(), list()
	mustTake(t, a, call, 1)
	<-held
	mustTake(t, b, call, 1)
	f.becomes("after the later call", 1, 0, 0)
	release()
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

// TestMemoryOfUnitStats: pending updates are bounded, and a unit costs little memory in Redis.
func TestMemoryOfUnitStats(t *testing.T) {
	server := redistest.Start(t)
	f := newFleet(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, daily(4, config.UnitConsent))
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	memory := func() (n int64) {
		for line := range strings.Lines(server.Do("INFO", "memory").String()) {
			_, _ = fmt.Sscanf(line, "used_memory:%d", &n)
		}
		return n
	}
	released := make(chan struct{})
	defer close(released)
	hung := open(t, f.redis)
	hung.AddHook(updates(func() error { <-released; return errors.New("lost") }))
	u := unattended.NewUnitStats(hung, f.policies).Within(redistest.CommandTimeout)
	before := heap()
	for range 1_000_000 {
		unattended.AddUpdate(u, list())
	}
	if grown := heap() - before; grown > 16<<20 { // each has a goroutine during its first attempt
		t.Errorf("a million pending updates need %d bytes", grown)
	}
	runtime.KeepAlive(u)
	used, n := memory(), int64(20_000)
	f.fill(n)
	f.becomes("with many units", n, 0, 0)
	if each := (memory() - used) / n; each > 400 {
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
