package unattended_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

// A fleet is gateways, as far as they count calls, on one Redis.
type fleet struct {
	t        *testing.T
	rdb      redis.UniversalClient
	policies map[string]config.Unattended
}

func fleetOn(t *testing.T, c config.Redis, p config.Unattended) fleet {
	return fleet{t, open(t, c), map[string]config.Unattended{aspsp: p}}
}

// A member is one gateway.
type member struct {
	*unattended.Counter
	units *unattended.UnitStats
}

// join starts a gateway; the function ends it.
func (f fleet) join() (member, func()) {
	u := unattended.NewUnitStats(f.rdb, f.policies).Within(redistest.CommandTimeout)
	ctx, end := context.WithCancel(f.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); u.Run(ctx) }()
	stop := func() { end(); <-ended }
	f.t.Cleanup(stop)
	return member{unattended.New(f.rdb, f.policies).Within(redistest.CommandTimeout).WithUnitStats(u), u}, stop
}

// counts is what a gateway that has just started says.
func (f fleet) counts() map[string]map[string]int64 {
	return unattended.NewUnitStats(f.rdb, f.policies).Within(redistest.CommandTimeout).Count(f.t.Context())
}

// becomes waits until the fleet's numbers are these.
func (f fleet) becomes(when string, usedUp, last, closed int64) {
	f.t.Helper()
	want := map[string]map[string]int64{aspsp: {"used_up": usedUp, "last": last, "closed": closed}}
	diff := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(want, f.counts()); diff == "" {
			return
		}
	}
	f.t.Fatalf("%s (-want +got):\n%s", when, diff)
}

func everywhere(t *testing.T, test func(t *testing.T, c config.Redis)) {
	t.Helper()
	t.Run("redis-server", func(t *testing.T) {
		test(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}})
	})
	t.Run("embedded", func(t *testing.T) { test(t, config.Redis{Mode: config.Embedded}) })
	t.Run("cluster", func(t *testing.T) {
		test(t, config.Redis{Mode: config.Cluster, Addresses: redistest.StartCluster(t).Addrs})
	})
}

// Whichever gateway made a call: all say the same, and one that is started anew too.
func TestUnitsAreTheFleets(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c config.Redis) {
		f := fleetOn(t, c, daily(4, config.UnitConsent))
		f.becomes("at first", 0, 0, 0)
		a, stopA := f.join()
		b, _ := f.join()
		first, second, third := list(), list(), list()
		mustTake(t, a.Counter, first, 2)
		mustTake(t, b.Counter, first, 1)
		f.becomes("with one left", 0, 1, 0)
		mustTake(t, a.Counter, first, 1)
		f.becomes("with none left", 1, 0, 0)
		refused(t, take(t, b.Counter, first))
		mustTake(t, b.Counter, second, 2)
		slot, err := b.Take(t.Context(), second, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f.becomes("with two units", 1, 1, 0)
		if err := slot.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.becomes("after a slot was given back", 1, 0, 0)
		if _, err := a.Block(t.Context(), third, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Block(t.Context(), first, 0); err != nil {
			t.Fatal(err)
		}
		f.becomes("with one closed, and one closed and used up", 1, 0, 2)
		stopA() // and the next has nothing but what stands in Redis
		again, _ := f.join()
		if diff := cmp.Diff(f.counts(), again.units.Count(t.Context())); diff != "" {
			t.Error(diff)
		}
		mustTake(t, again.Counter, second, 2)
		f.becomes("after a restart", 2, 0, 2)
	})
}

// A unit that is used up has one call left once its oldest slot leaves the window, and two after the next.
func TestUnitsPass(t *testing.T) {
	t.Parallel()
	const window = time.Hour
	f := fleetOn(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}},
		config.Unattended{Limit: 2, Window: window, Unit: config.UnitConsent})
	a, _ := f.join()
	call, closed := list(), list()
	taken := func() {
		t.Helper()
		if _, err := a.Take(t.Context(), call, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(d time.Duration) {
		t.Helper()
		a.units.Flush(t.Context())
		for _, key := range f.rdb.Keys(t.Context(), "*").Val() {
			age(t, f.rdb, key, d)
		}
	}
	taken()
	f.becomes("with one of two", 0, 1, 0)
	pass(window / 2)
	taken()
	f.becomes("with none", 1, 0, 0)
	pass(window/2 + time.Minute)
	f.becomes("once the first has left", 0, 1, 0)
	pass(window / 2)
	f.becomes("once both have", 0, 0, 0)
	if _, err := a.Block(t.Context(), closed, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	f.becomes("while it is closed", 0, 0, 1)
	pass(11 * time.Minute)
	f.becomes("once it is not", 0, 0, 0)
	if keys := f.rdb.Keys(t.Context(), "ais:1:units:*").Val(); len(keys) != 0 {
		t.Errorf("what is past is kept in %v", keys)
	}
}

func TestUnitsByLimit(t *testing.T) {
	t.Parallel()
	addr := redistest.Start(t).Addr
	f := fleetOn(t, config.Redis{Mode: config.Standalone, Addresses: []string{addr}}, daily(1, config.UnitConsent))
	one, _ := f.join()
	call := list()
	slot, err := one.Take(t.Context(), call, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	f.becomes("of one call", 1, 0, 0)
	if err := slot.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.becomes("given back", 0, 0, 0)
	mustTake(t, one.Counter, call, 1)
	f.becomes("taken again", 1, 0, 0)

	f.policies = map[string]config.Unattended{aspsp: daily(3, config.UnitConsent)}
	raised, _ := f.join()
	f.becomes("under another policy", 0, 0, 0)
	mustTake(t, raised.Counter, call, 1)
	f.becomes("and after its first call", 0, 1, 0)

	f.policies = map[string]config.Unattended{aspsp: daily(2, config.UnitConsent)}
	lowered, _ := f.join()
	refused(t, take(t, lowered.Counter, call)) // of a unit that was used up before
	f.becomes("lowered", 1, 0, 0)

	f.policies = map[string]config.Unattended{aspsp: daily(0, config.UnitConsent)}
	none, _ := f.join()
	refused(t, take(t, none.Counter, call))
	if _, err := none.Block(t.Context(), call, 0); err != nil {
		t.Fatal(err)
	}
	none.units.Flush(t.Context())
	if got := f.counts(); len(got) != 0 {
		t.Errorf("where no call is allowed: %v", got)
	}
	if n := len(f.rdb.Keys(t.Context(), "ais:1:units:*").Val()); n > 2+2+2 {
		t.Errorf("%d sets", n)
	}
}

// No call waits for what is told of units, and what is not known is not told.
func TestUnitsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	policies := map[string]config.Unattended{aspsp: daily(1, config.UnitConsent)}
	rdb := open(t, standalone(t))
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	var first sync.Once
	rdb.AddHook(watch(func(context.Context, []redis.Cmder) error {
		first.Do(func() { close(begun) })
		<-release // whatever the time that it has
		return nil
	}))
	u := unattended.NewUnitStats(rdb, policies).Within(redistest.CommandTimeout)
	go u.Run(t.Context())
	c := unattended.New(open(t, standalone(t)), policies).Within(redistest.CommandTimeout).WithUnitStats(u)
	mustTake(t, c, list(), 1)
	<-begun
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

// A scrape waits for 200 ms at most, and no longer for what the scrape before it waited for.
func TestUnitsHoldNoScrapeUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
		defer rdb.Close()
		rdb.AddHook(silence{})
		u := unattended.NewUnitStats(rdb, map[string]config.Unattended{aspsp: daily(1, config.UnitConsent)})
		for _, want := range []time.Duration{200 * time.Millisecond, 0} {
			began := time.Now()
			if got := u.Count(t.Context()); len(got) > 0 {
				t.Errorf("Redis says nothing, and it says %v", got)
			}
			if took := time.Since(began); took != want {
				t.Errorf("a scrape waits %v, want %v", took, want)
			}
		}
	})
}

// Units are told of without a consent, an account or an ASPSP in clear.
func TestUnitsAreHashed(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}}, daily(1, config.UnitResource))
	a, _ := f.join()
	call := unattended.Call{ASPSP: aspsp, Consent: uuid.NewString(), Account: "DE02120300000000202051"}
	mustTake(t, a.Counter, call, 1)
	f.becomes("taken", 1, 0, 0)
	all := ""
	for _, key := range f.rdb.Keys(t.Context(), "*").Val() {
		all += key + "\n"
		if strings.HasPrefix(key, "ais:1:units:") {
			all += fmt.Sprintln(f.rdb.ZRange(t.Context(), key, 0, -1).Val())
			if ttl := f.rdb.PTTL(t.Context(), key).Val(); ttl < 24*time.Hour || ttl > 49*time.Hour {
				t.Errorf("%s is kept for %v", key, ttl)
			}
		}
	}
	for _, plain := range []string{call.ASPSP, call.Consent, call.Account} {
		if strings.Contains(all, plain) {
			t.Errorf("%s stands in Redis:\n%s", plain, all)
		}
	}
}

// What waits to be told is bounded, however long Redis says nothing, and of a million units that are told of Redis alone
// knows.
func TestManyUnits(t *testing.T) {
	server := redistest.Start(t)
	f := fleetOn(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, daily(4, config.UnitConsent))
	u := unattended.NewUnitStats(f.rdb, f.policies).Within(redistest.CommandTimeout)
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
	before := heap()
	for range 1_000_000 {
		unattended.Note(u, unattended.Call{ASPSP: aspsp, Consent: canonical.NormalizeID(uuid.NewString())})
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("a million units that cannot be told cost %d bytes", grown)
	}
	u.Flush(t.Context())
	used, n := memory(), int64(20_000)
	f.fill(n)
	f.becomes("with many units", n, 0, 0)
	if each := (memory() - used) / n; each > 400 {
		t.Errorf("each unit costs Redis %d bytes", each)
	} else {
		t.Logf("a unit that is used up costs Redis %d bytes", each)
	}
}

// fill has so many units used up, without their slots.
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
