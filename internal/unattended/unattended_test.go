package unattended_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"golang.org/x/text/unicode/norm"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/store/send"
	"ais-gateway/internal/unattended"
)

const aspsp = "4f1e2d3c-0000-4000-8000-000000000001"

// redises returns clients of a real and of the embedded Redis. The counter must behave the same on
// both.
func redises(t *testing.T) map[string]redis.UniversalClient {
	t.Helper()
	return map[string]redis.UniversalClient{
		"redis-server": open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}),
		"embedded":     open(t, config.Redis{Mode: config.Embedded}),
	}
}

func open(t *testing.T, c config.Redis) redis.UniversalClient {
	t.Helper()
	return redistest.Open(t, c).Counter
}

func counter(rdb redis.UniversalClient, p config.Unattended) *unattended.Counter {
	return unattended.New(rdb, map[string]config.Unattended{aspsp: p}).Within(redistest.CommandTimeout)
}

// list returns a call for the account list of a new consent.
func list() unattended.Call { return unattended.Call{ASPSP: aspsp, Consent: uuid.NewString()} }

func daily(limit int, unit config.Unit) config.Unattended {
	return config.Unattended{Limit: limit, Window: 24 * time.Hour, Unit: unit}
}

func take(t *testing.T, c *unattended.Counter, call unattended.Call) error {
	t.Helper()
	_, err := c.Take(t.Context(), call, 10*time.Second)
	return err
}

func mustTake(t *testing.T, c *unattended.Counter, call unattended.Call, n int) {
	t.Helper()
	for i := range n {
		if err := take(t, c, call); err != nil {
			t.Fatalf("call %d of %d: %v", i+1, n, err)
		}
	}
}

// refused fails the test unless err is a refusal by the gateway because the limit is used up. It
// returns the time to wait.
func refused(t *testing.T, err error) time.Duration {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) || failure.Kind != canonical.UnattendedLimit || failure.Origin != canonical.OriginGateway {
		t.Fatalf("got %v, want a refusal by the gateway", err)
	}
	return failure.RetryAfter
}

func TestFifthCallIsRefused(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(4, config.UnitConsent)), list()
			mustTake(t, c, call, 4)
			wait := refused(t, take(t, c, call))
			// The first call may be sent up to 10 s after its slot was taken.
			if want := 24*time.Hour + 10*time.Second; wait > want || wait < want-time.Minute {
				t.Errorf("wait %v, want just under %v", wait, want)
			}
			mustTake(t, c, list(), 1) // another consent is another unit
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(4, config.UnitConsent)), list()
			for used := range 5 {
				got, err := c.Usage(t.Context(), call)
				if err != nil {
					t.Fatal(err)
				}
				if (got.Wait > 0) != (used > 0) || got.NextAt.IsZero() != (used == 0) {
					t.Errorf("used %d: wait %v, next at %v", used, got.Wait, got.NextAt)
				}
				got.Wait, got.NextAt = 0, time.Time{}
				want := unattended.Usage{Limit: 4, Used: used, Remaining: 4 - used, Window: 24 * time.Hour, Unit: config.UnitConsent}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if used < 4 {
					mustTake(t, c, call, 1)
				}
			}
		})
	}
}

// pass makes the keys of a consent's unit older, as if time had passed.
func pass(t testing.TB, rdb redis.UniversalClient, call unattended.Call, d time.Duration) {
	t.Helper()
	prefix := store.Prefix("unattended", call.ASPSP, canonical.NormalizeID(call.Consent))
	age(t, rdb, prefix+"slots", d)
	age(t, rdb, prefix+"closed", d)
}

// age makes a key older whose scores or value are times in microseconds.
func age(t testing.TB, rdb redis.UniversalClient, key string, d time.Duration) {
	t.Helper()
	ctx := context.Background()
	life := rdb.PTTL(ctx, key).Val() - d
	if life <= 0 {
		rdb.Del(ctx, key)
		return
	}
	back := -float64(d.Microseconds())
	if rdb.Type(ctx, key).Val() == "zset" {
		for _, member := range rdb.ZRange(ctx, key, 0, -1).Val() {
			rdb.ZIncrBy(ctx, key, back, member)
		}
	} else if at, err := rdb.Get(ctx, key).Float64(); err != nil {
		t.Fatal(err)
	} else {
		rdb.Set(ctx, key, strconv.FormatFloat(at+back, 'f', 0, 64), 0)
	}
	if ok, err := rdb.PExpire(ctx, key, life).Result(); err != nil || !ok {
		t.Fatal(ok, err)
	}
}

// TestWindowRolls: a call at 23:59 still counts at 00:01.
func TestWindowRolls(t *testing.T) {
	t.Parallel()
	const window, timeout = time.Hour, time.Millisecond
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, config.Unattended{Limit: 2, Window: window, Unit: config.UnitConsent}), list()
			takeNow := func() error { _, err := c.Take(t.Context(), call, timeout); return err }
			if err := takeNow(); err != nil {
				t.Fatal(err)
			}
			pass(t, rdb, call, window/2)
			if err := takeNow(); err != nil {
				t.Fatal(err)
			}
			wait := refused(t, takeNow())
			if wait > window/2+timeout {
				t.Errorf("wait %v although the first call leaves the window after %v", wait, window/2)
			}
			pass(t, rdb, call, wait-time.Minute)
			refused(t, takeNow())
			pass(t, rdb, call, time.Minute)
			if err := takeNow(); err != nil {
				t.Errorf("after the returned wait: %v", err)
			}
			refused(t, takeNow())
		})
	}
}

// TestSlotCountsFromTheLatestSend: a slot counts until a window has passed since the latest time at which its call may be sent.
func TestSlotCountsFromTheLatestSend(t *testing.T) {
	t.Parallel()
	const window, timeout = time.Hour, time.Hour / 2
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, config.Unattended{Limit: 1, Window: window, Unit: config.UnitConsent}), list()
			takeNow := func() error { _, err := c.Take(t.Context(), call, timeout); return err }
			if err := takeNow(); err != nil {
				t.Fatal(err)
			}
			pass(t, rdb, call, window+timeout/2)
			refused(t, takeNow())
			pass(t, rdb, call, timeout/2)
			if err := takeNow(); err != nil {
				t.Errorf("after window and timeout: %v", err)
			}
		})
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	balances := func(c unattended.Call, account string) unattended.Call { c.Account = account; return c }
	for _, tt := range []struct {
		name                             string
		unit                             config.Unit
		sharesAccount, sharesOtherAccess bool
	}{
		{"consent counts list and balances together", config.UnitConsent, true, false},
		{"resource counts each alone", config.UnitResource, false, false},
		{"aspsp counts all consents together", config.UnitASPSP, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rdb := open(t, config.Redis{Mode: config.Embedded})
			c, one, other := counter(rdb, daily(1, tt.unit)), list(), list()
			mustTake(t, c, one, 1)
			refused(t, take(t, c, one))
			if err := take(t, c, balances(one, "a")); (err != nil) != tt.sharesAccount {
				t.Errorf("balances of the same consent: %v", err)
			}
			if err := take(t, c, balances(one, "b")); (err != nil) != tt.sharesAccount {
				t.Errorf("balances of another account: %v", err)
			}
			if err := take(t, c, other); (err != nil) != tt.sharesOtherAccess {
				t.Errorf("another consent: %v", err)
			}
		})
	}
}

func TestLimitZeroIsNever(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{"127.0.0.1:0"}}) // no server listens there: a limit of 0 needs no Redis
	c, call := counter(rdb, daily(0, config.UnitConsent)), list()
	if wait := refused(t, take(t, c, call)); wait != 0 {
		t.Errorf("wait %v, want none: it never opens", wait)
	}
	s, err := c.Usage(t.Context(), call)
	if err != nil || s.Remaining != 0 || s.Wait != 0 {
		t.Errorf("usage %+v, %v", s, err)
	}
}

func TestChangedPolicyAppliesImmediately(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			call := list()
			with := func(limit int, window time.Duration) *unattended.Counter {
				return counter(rdb, config.Unattended{Limit: limit, Window: window, Unit: config.UnitConsent})
			}
			long := func(c *unattended.Counter) error { _, err := c.Take(t.Context(), call, 30*time.Minute); return err }
			for range 4 {
				if err := long(with(4, time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, take(t, with(2, time.Hour), call))
			if err := long(with(5, time.Hour)); err != nil {
				t.Fatal(err)
			}
			refused(t, take(t, with(5, time.Hour), call))
			s, err := with(2, time.Hour).Usage(t.Context(), call)
			if err != nil || s.Used != 5 || s.Remaining != 0 {
				t.Errorf("limit lowered below the used calls: %+v, %v", s, err)
			}
			pass(t, rdb, call, time.Minute)
			// The calls above may be sent up to half an hour after they were counted, so even a
			// window of a second still counts them.
			refused(t, take(t, with(1, time.Second), call))
			refused(t, take(t, with(5, 48*time.Hour), call))
		})
	}
}

func TestGrowingWindowStillCounts(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			call := list()
			c := counter(rdb, config.Unattended{Limit: 1, Window: time.Hour, Unit: config.UnitConsent})
			for range 2 {
				if _, err := c.Take(t.Context(), call, 0); err != nil {
					t.Fatal(err)
				}
				pass(t, rdb, call, time.Hour+time.Minute)
			}
			grown := counter(rdb, config.Unattended{Limit: 2, Window: 24 * time.Hour, Unit: config.UnitConsent})
			refused(t, take(t, grown, call))
		})
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(1, config.UnitConsent)), list()
			slot, err := c.Take(t.Context(), call, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if err := slot.Release(gone); err != nil { // the caller may have disconnected
				t.Fatal(err)
			}
			mustTake(t, c, call, 1)
			if err := slot.Release(t.Context()); err != nil { // a second release changes nothing
				t.Fatal(err)
			}
			refused(t, take(t, c, call))
		})
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		for _, tt := range []struct {
			name             string
			retryAfter, want time.Duration
		}{
			{"for the Retry-After of the ASPSP", time.Hour, time.Hour},
			{"for a window without a Retry-After", 0, 24 * time.Hour},
			{"for a window at most", 100 * time.Hour, 24 * time.Hour},
			{"for a second at least", time.Millisecond, time.Second},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				c, call := counter(rdb, daily(4, config.UnitConsent)), list()
				mustTake(t, c, call, 1)
				if left, err := c.Block(t.Context(), call, tt.retryAfter); err != nil || left != tt.want {
					t.Fatalf("blocked for %v, %v, want %v", left, err, tt.want)
				}
				if tt.want == time.Second {
					return // it may be over before the next call
				}
				if wait := refused(t, take(t, c, call)); wait > tt.want || wait < tt.want-time.Minute {
					t.Errorf("wait %v, want just under %v", wait, tt.want)
				}
				s, err := c.Usage(t.Context(), call)
				if err != nil || s.Used != 1 || s.Remaining != 0 || s.NextAt.IsZero() {
					t.Errorf("usage %+v, %v", s, err)
				}
			})
		}
	}
}

// TestBlockOfAUsedUpUnit: if no slot is left, the end of a short block allows no call.
func TestBlockOfAUsedUpUnit(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(2, config.UnitConsent)), list()
			mustTake(t, c, call, 2)
			left, err := c.Block(t.Context(), call, time.Minute)
			if wait := refused(t, take(t, c, call)); err != nil || left < 23*time.Hour || (left-wait).Abs() > time.Minute {
				t.Errorf("blocked for %v, %v, and refused for %v", left, err, wait)
			}
		})
	}
}

func TestBlockEndsAndIsNotShortened(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, config.Unattended{Limit: 4, Window: time.Hour, Unit: config.UnitConsent}), list()
			if _, err := c.Block(t.Context(), call, time.Second); err != nil {
				t.Fatal(err)
			}
			pass(t, rdb, call, 2*time.Second)
			mustTake(t, c, call, 1)
			if _, err := c.Block(t.Context(), call, 30*time.Minute); err != nil {
				t.Fatal(err)
			}
			left, err := c.Block(t.Context(), call, time.Second)
			if err != nil || left < 29*time.Minute {
				t.Errorf("the second refusal shortened the block to %v, %v", left, err)
			}
		})
	}
}

// TestBlockOutlivesItsValue: the time in a block's value decides, never the expiry of its key.
func TestBlockOutlivesItsValue(t *testing.T) {
	script := redis.NewScript(`local ttl = redis.call('PTTL', KEYS[1])
		local now = redis.call('TIME')
		return {redis.call('GET', KEYS[1]), now[1], now[2], ttl}`)
	for name, rdb := range redises(t) {
		for _, wait := range []time.Duration{time.Minute, time.Hour, 0} {
			t.Run(fmt.Sprint(name, " ", wait), func(t *testing.T) {
				c, call := counter(rdb, daily(4, config.UnitConsent)), list()
				if _, err := c.Block(t.Context(), call, wait); err != nil {
					t.Fatal(err)
				}
				key := store.Prefix("unattended", aspsp, call.Consent) + "closed"
				got, err := script.Run(t.Context(), rdb, []string{key}).Int64Slice() // until when (µs), now (s, µs), TTL (ms)
				if err != nil {
					t.Fatal(err)
				}
				left := time.Duration(got[0]-got[1]*1_000_000-got[2]) * time.Microsecond
				if after := time.Duration(got[3])*time.Millisecond - left; after < 990*time.Millisecond || after > time.Minute {
					t.Errorf("the key outlives its value by %v, want at least a second", after)
				}
			})
		}
	}
}

func TestClosedUntil(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	policy := daily(4, config.UnitConsent)
	policy.ClosedUntil = time.Now().Add(time.Hour)
	if wait := refused(t, take(t, counter(rdb, policy), list())); wait > time.Hour || wait < time.Hour-time.Minute {
		t.Errorf("wait %v, want an hour", wait)
	}
	policy.ClosedUntil = time.Now().Add(-time.Second)
	mustTake(t, counter(rdb, policy), list(), 1)
}

// TestStepSentTwiceCountsOnce: the client library may resend a step whose response was lost. It
// counts once.
func TestStepSentTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			rdb.AddHook(twice(&sent))
			c, call := counter(rdb, daily(2, config.UnitConsent)), list()
			mustTake(t, c, call, 2)
			refused(t, take(t, c, call))
			if sent.Load() < 4 {
				t.Fatalf("only %d scripts were sent: none was sent twice", sent.Load())
			}
			s, err := c.Usage(t.Context(), call)
			if err != nil || s.Used != 2 {
				t.Errorf("used %d, %v", s.Used, err)
			}
		})
	}
}

// twice returns a hook that sends every script twice, drops the first response, and counts the
// commands.
func twice(sent *atomic.Int64) redis.Hook {
	return redistest.Hook{Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
		if send.IsScript(cmd) {
			sent.Add(1)
			_ = next(ctx, cmd)
		}
		sent.Add(1)
		return next(ctx, cmd)
	}}
}

func TestEveryKeyExpiresAndHidesTheConsent(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	c := counter(rdb, daily(4, config.UnitResource))
	call := unattended.Call{ASPSP: aspsp, Consent: "GFiTpF3:EBy5xGqQMatk", Account: "aa:q648383844dhhfHhTV"}
	mustTake(t, c, call, 3)
	if _, err := c.Block(t.Context(), call, 0); err != nil {
		t.Fatal(err)
	}
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %q, %v, want slots and block", keys, err)
	}
	for _, key := range keys {
		if strings.Contains(key, "GFiTpF3") || strings.Contains(key, "q648383844") || strings.Contains(key, aspsp) {
			t.Errorf("key %q contains an id", key)
		}
		ttl, err := rdb.PTTL(t.Context(), key).Result()
		if err != nil || ttl <= 0 || ttl > 48*time.Hour+10*time.Second {
			t.Errorf("key %q expires in %v, %v", key, ttl, err)
		}
	}
}

// TestNoTwoUnitsShareAKey: no characters in ids make two units share a counter.
func TestNoTwoUnitsShareAKey(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	c := counter(rdb, daily(1, config.UnitResource))
	for _, call := range []unattended.Call{
		{Consent: "a:b", Account: "c"},
		{Consent: "a", Account: "b:c"},
		{Consent: "a:b:c"},
		{Consent: "a", Account: "b"},
		{Consent: "ab"},
		{Consent: "a"},
		{Consent: "a-", Account: "b"},
		{Consent: "a", Account: "-b"},
		{Consent: "a", AllBalances: true},
		{Consent: "a", Account: "balances"},
		{Consent: "a:b", AllBalances: true},
	} {
		call.ASPSP = aspsp
		if err := take(t, c, call); err != nil {
			t.Errorf("%+v shares a counter: %v", call, err)
		}
	}
}

func TestManyCallersGetFourTogether(t *testing.T) {
	t.Parallel()
	addr := redistest.Shared(t)
	for range 20 {
		call, taken := list(), atomic.Int64{}
		var all sync.WaitGroup
		for range 3 { // three gateways, each with its own connections
			c := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{addr}}), daily(4, config.UnitConsent))
			for range 20 {
				all.Go(func() {
					if _, err := c.Take(context.Background(), call, time.Second); err == nil {
						taken.Add(1)
					}
				})
			}
		}
		all.Wait()
		if taken.Load() != 4 {
			t.Fatalf("%d calls were allowed, want 4", taken.Load())
		}
	}
}

func TestFailsClosed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, call := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), list()
	c, hasty := counter(rdb, daily(4, config.UnitConsent)), counter(rdb, daily(4, config.UnitConsent)).Within(time.Second)
	mustTake(t, c, call, 1)
	for _, tt := range []struct {
		name     string
		breaks   func()
		repairs  func()
		losesAll bool
	}{
		{name: "paused", breaks: server.Pause, repairs: server.Resume},
		{name: "stopped", breaks: server.Stop, repairs: server.Restart, losesAll: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.breaks()
			var failure *canonical.Error
			if err := take(t, hasty, call); !errors.As(err, &failure) || failure.Kind != canonical.CounterUnavailable {
				t.Errorf("take: %v", err)
			}
			if _, err := hasty.Usage(t.Context(), call); !errors.As(err, &failure) || failure.Kind != canonical.CounterUnavailable {
				t.Errorf("usage: %v", err)
			}
			tt.repairs()
			if tt.losesAll { // this server does not persist its data
				mustTake(t, c, call, 1)
			}
		})
	}
}

// TestBlockOutlivesAnOutage: a block that Redis does not confirm is enforced by its gateway, and by
// all gateways as soon as Redis responds. The longer one of two blocks applies.
func TestBlockOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	mine := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(4, config.UnitConsent))
	other := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(4, config.UnitConsent))
	next, retried := list(), list()
	server.Stop()
	var failure *canonical.Error
	for _, wait := range []time.Duration{time.Hour, time.Second} {
		for _, call := range []unattended.Call{next, retried} {
			if _, err := mine.Block(t.Context(), call, wait); !errors.As(err, &failure) || failure.Kind != canonical.CounterUnavailable {
				t.Fatal(err)
			}
		}
	}
	server.Restart()
	blocked := func(c *unattended.Counter, call unattended.Call) {
		t.Helper()
		if wait := refused(t, take(t, c, call)); wait > time.Hour || wait < time.Hour-time.Minute {
			t.Errorf("wait %v, want an hour", wait)
		}
	}
	blocked(mine, next) // without delay on this gateway
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if s, err := other.Usage(t.Context(), retried); err == nil && s.Remaining == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other gateway never blocks")
		}
	}
	blocked(other, retried)
}

// TestExpiryIsNotShortened: a call with a short timeout does not shorten the life of a slot with a
// longer one.
func TestExpiryIsNotShortened(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			call, c := list(), counter(rdb, config.Unattended{Limit: 2, Window: time.Hour, Unit: config.UnitConsent})
			for _, timeout := range []time.Duration{12 * time.Hour, 0} {
				if _, err := c.Take(t.Context(), call, timeout); err != nil {
					t.Fatal(err)
				}
			}
			pass(t, rdb, call, 4*time.Hour)
			if s, err := c.Usage(t.Context(), call); err != nil || s.Used != 1 {
				t.Errorf("%+v, %v, want the slot whose call may still be sent", s, err)
			}
		})
	}
}

// A heldScript executes a script before and after pass is closed, or at one of these times.
type heldScript struct {
	on            atomic.Bool
	before, after bool
	pass, done    chan struct{}
}

func (h *heldScript) command(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) (err error) {
	if !send.IsScript(cmd) || !h.on.CompareAndSwap(true, false) {
		return next(ctx, cmd)
	}
	defer close(h.done)
	if h.before {
		err = next(ctx, cmd)
	}
	if <-h.pass; h.after {
		err = next(ctx, cmd)
	}
	return err
}

// TestLateTakeIsReleased: a take that Redis executes after the timeout leaves no slot, whether its
// release is executed before or after it. It may be sent again because the connection was lost.
func TestLateTakeIsReleased(t *testing.T) {
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
			if err := take(t, c, call); err == nil {
				t.Fatal("taken from a Redis that does not respond")
			}
			if err := c.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			close(held.pass)
			<-held.done
			if n := slots(server, call); n != int64(1) {
				t.Errorf("%v slots, want the first one", n)
			}
			mustTake(t, c, call, 3)
		})
	}
}

// slots returns how many slots of a call's consent are in Redis.
func slots(server *redistest.Server, call unattended.Call) any {
	return server.Do("ZCARD", store.Prefix("unattended", aspsp, call.Consent)+"slots").Val()
}

// TestTakeThatWasExecutedBefore: the reply to a take is lost, when it is sent again Redis no longer
// knows the script, and its request has left by then. The slot is released.
func TestTakeThatWasExecutedBefore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	way := crashproxy.New(t).NewProxy(server.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: way.Addr, MaxRetries: -1, ContextTimeoutEnabled: true, ReadTimeout: patience})
	defer rdb.Close()
	hook, got, _ := redistest.HoldNoScript() // until the take's timeout
	rdb.AddHook(hook)                        // the counter gets NOSCRIPT after it
	send.Batch(rdb)
	send.Resend(rdb)
	policy, call := daily(4, config.UnitConsent), list()
	direct := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	mustTake(t, counter(direct, policy), list(), 1) // loads the script
	c := counter(rdb, policy).Within(10 * time.Second)
	way.LoseReply("slots")
	taken := make(chan error, 1)
	go func() { taken <- take(t, c, call) }()
	soon(t, "the reply is lost", way.Lost)
	if err := server.Do("SCRIPT", "FLUSH").Err(); err != nil {
		t.Fatal(err)
	}
	way.Cut()
	if err := <-taken; err == nil {
		t.Error("taken after the timeout")
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-got:
	default:
		t.Error("the take was not sent again")
	}
	if n := slots(server, call); n != int64(0) {
		t.Errorf("%v slots of a call that was not made", n)
	}
}

// patience is how long a test waits for a condition.
const patience = time.Minute

// soon waits until a condition is true.
func soon(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: not true that %s", what)
		}
	}
}

// TestOneConsentInManySpellings: all spellings of a consent id or account id share one counter.
func TestOneConsentInManySpellings(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Embedded})
	for _, unit := range []config.Unit{config.UnitConsent, config.UnitResource} {
		for _, id := range []string{uuid.NewString(), "GFiTpF3:" + uuid.NewString() + "é"} {
			c, call := counter(rdb, daily(1, unit)), unattended.Call{ASPSP: aspsp, Consent: id, Account: "a" + id}
			mustTake(t, c, call, 1)
			for _, other := range []string{strings.ToUpper(id), " " + id, norm.NFD.String(id), strings.Join(strings.Split(id, ""), "\u200b")} {
				refused(t, take(t, c, unattended.Call{ASPSP: aspsp, Consent: other, Account: "A" + other}))
			}
			mustTake(t, c, unattended.Call{ASPSP: aspsp, Consent: id + "x", Account: call.Account}, 1)
		}
	}
}

func TestWaitAfterALoweredLimit(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			call := list()
			with := func(limit int) *unattended.Counter {
				return counter(rdb, config.Unattended{Limit: limit, Window: time.Hour, Unit: config.UnitConsent})
			}
			for _, timeout := range []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute} {
				if _, err := with(3).Take(t.Context(), call, timeout); err != nil {
					t.Fatal(err)
				}
			}
			for limit, want := range map[int]time.Duration{3: time.Minute, 2: 2 * time.Minute, 1: 3 * time.Minute} {
				if wait := refused(t, take(t, with(limit), call)); wait > time.Hour+want || wait < time.Hour+want-50*time.Second {
					t.Errorf("limit %d: wait %v, want just under %v", limit, wait, time.Hour+want)
				}
			}
		})
	}
}

// TestExpiredSlotsAreRemoved: a unit that is always in use does not grow without bound.
func TestExpiredSlotsAreRemoved(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			call := list()
			c := counter(rdb, config.Unattended{Limit: 1000, Window: time.Hour, Unit: config.UnitConsent})
			for range 60 {
				if _, err := c.Take(t.Context(), call, 0); err != nil {
					t.Fatal(err)
				}
				pass(t, rdb, call, 6*time.Minute)
			}
			key := store.Prefix("unattended", aspsp, call.Consent) + "slots"
			if n, err := rdb.ZCard(t.Context(), key).Result(); err != nil || n > 30 || n < 1 {
				t.Errorf("%d slots, %v", n, err)
			}
		})
	}
}

// TestMemory: a consent that is used up every day has the slots of two windows in Redis.
func TestMemory(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	for _, slots := range []int{4, 8} {
		c, call := counter(rdb, daily(slots, config.UnitConsent)), list()
		mustTake(t, c, call, slots)
		bytes, err := rdb.MemoryUsage(t.Context(), store.Prefix("unattended", aspsp, call.Consent)+"slots", 0).Result()
		if err != nil || bytes < 100 || bytes >= 1024 {
			t.Errorf("%d slots: %d bytes, %v", slots, bytes, err)
		}
		t.Logf("%d slots: %d bytes", slots, bytes)
	}
}

func TestFarTimes(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	policy := daily(4, config.UnitConsent)
	policy.ClosedUntil = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	if wait := refused(t, take(t, counter(rdb, policy), list())); wait < 200*365*24*time.Hour {
		t.Errorf("wait %v", wait)
	}
	long := config.Unattended{Limit: 1, Window: 876000 * time.Hour, Unit: config.UnitConsent}
	for name, rdb := range redises(t) {
		c, call := counter(rdb, long), list()
		mustTake(t, c, call, 1)
		if wait := refused(t, take(t, c, call)); wait < 800000*time.Hour {
			t.Errorf("%s: wait %v", name, wait)
		}
	}
	short := counter(rdb, config.Unattended{Limit: 1, Window: time.Nanosecond, Unit: config.UnitConsent})
	if _, err := short.Block(t.Context(), list(), 0); err != nil {
		t.Errorf("a block of the shortest window: %v", err)
	}
	never := counter(rdb, daily(0, config.UnitConsent))
	if wait := never.ClampRetryAfter(aspsp, time.Hour); wait != 0 {
		t.Errorf("with a limit of 0: wait %v, want 0", wait)
	}
}

// TestSlotIsOneRoundTrip: a take is one round trip, also if it waits for replicas.
func TestSlotIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	primary, replica := redistest.Start(t, "--repl-diskless-sync-delay", "0"), redistest.Start(t)
	follow(t, replica, primary)
	for _, replicas := range []int{0, 1} {
		for deadline := time.Now().Add(patience); ; {
			// Each attempt has its own client, because the slot of a failed take is released in the
			// background.
			rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{primary.Addr}})
			sent := &trips{}
			rdb.AddHook(sent)
			mustTake(t, counter(rdb, daily(1000, config.UnitConsent)), list(), 1) // loads the script
			before := sent.n.Load()
			err := take(t, counter(rdb, daily(1000, config.UnitConsent)).WithReplicas(replicas), list())
			if n := sent.n.Load() - before; err == nil && n != 1 {
				t.Errorf("%d replicas: %d round trips", replicas, n)
			}
			if err == nil {
				break
			}
			if kind(err) != canonical.CounterUnavailable || time.Now().After(deadline) { // a replica may be slow on a busy machine
				t.Fatal(err)
			}
		}
	}
}

// trips counts round trips to Redis.
type trips struct{ n atomic.Int64 }

func (h *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.count(cmd)
		return next(ctx, cmd)
	}
}

func (h *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.count(cmds[0])
		return next(ctx, cmds)
	}
}

// count ignores commands that set up a connection.
func (h *trips) count(cmd redis.Cmder) {
	if name := cmd.Name(); name != "hello" && name != "client" {
		h.n.Add(1)
	}
}

// TestStepsAreBounded: if Redis does not respond, each step fails after one second.
func TestStepsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
		defer rdb.Close()
		rdb.AddHook(silence{})
		c, call := unattended.New(rdb, map[string]config.Unattended{aspsp: daily(4, config.UnitConsent)}), list()
		for name, step := range map[string]func() error{
			"take":  func() error { return take(t, c, call) },
			"usage": func() error { _, err := c.Usage(t.Context(), call); return err },
			"block": func() error { _, err := c.Block(t.Context(), list(), time.Minute); return err },
		} {
			began := time.Now()
			if err := step(); kind(err) != canonical.CounterUnavailable || time.Since(began) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
		}
		time.Sleep(2 * time.Hour) // until the retries and the idle workers have ended
	})
}

// silence is a Redis that never responds.
type silence struct{}

func (silence) DialHook(next redis.DialHook) redis.DialHook { return next }

func (silence) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		<-ctx.Done()
		cmd.SetErr(ctx.Err())
		return ctx.Err()
	}
}

func (silence) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		<-ctx.Done()
		for _, cmd := range cmds {
			cmd.SetErr(ctx.Err())
		}
		return ctx.Err()
	}
}

func TestUnknownASPSP(t *testing.T) {
	t.Parallel()
	c := counter(open(t, config.Redis{Mode: config.Embedded}), daily(4, config.UnitConsent))
	if err := take(t, c, unattended.Call{ASPSP: "other"}); err == nil || !strings.Contains(fmt.Sprint(err), "INTERNAL_ERROR") {
		t.Errorf("got %v", err)
	}
}
