package unattended_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	if err != nil {
		return canonical.Kind(err.Error())
	}
	return ""
}

// TestRedisThatCannotCount: while Redis cannot write, no call is allowed, and reading the usage
// fails as well. Afterwards both work again without a restart.
func TestRedisThatCannotCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		breaks, repairs []any
	}{
		{"out of memory", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		{"a read-only replica", []any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
		{"without its replicas", []any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		{"behind a lost permission", []any{"ACL", "SETUSER", "default", "-zadd"}, []any{"ACL", "SETUSER", "default", "+zadd"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := redistest.Start(t)
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
			defer rdb.Close()
			do := func(command []any) {
				if err := rdb.Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			c := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(4, config.UnitConsent))
			known, unknown := list(), list()
			mustTake(t, c, known, 2)
			do(tt.breaks)
			for _, call := range []unattended.Call{known, unknown} {
				if _, err := c.Usage(t.Context(), call); kind(err) != canonical.CounterUnavailable {
					t.Errorf("usage: %v", err)
				}
				if err := take(t, c, call); kind(err) != canonical.CounterUnavailable {
					t.Errorf("take: %v", err)
				}
			}
			do(tt.repairs)
			if s, err := c.Usage(t.Context(), known); err != nil || s.Used != 2 {
				t.Errorf("afterwards: %+v, %v", s, err)
			}
			mustTake(t, c, known, 2)
			refused(t, take(t, c, known))
			mustTake(t, c, unknown, 4)
		})
	}
}

// TestLostScriptsAreReloaded: Redis loses its scripts with SCRIPT FLUSH and with a restart.
func TestLostScriptsAreReloaded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	c, call := counter(rdb, daily(4, config.UnitConsent)), list()
	mustTake(t, c, call, 3)
	if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 20 {
		all.Go(func() {
			if _, err := c.Take(t.Context(), call, time.Second); err == nil {
				mu.Lock()
				defer mu.Unlock()
				taken++
			}
		})
	}
	all.Wait()
	if taken != 1 {
		t.Errorf("%d calls were allowed, want 1", taken)
	}
}

// TestReleaseIsRetried: a release that fails is repeated when Redis responds again.
func TestReleaseIsRetried(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c, call := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(1, config.UnitConsent)), list()
	slot, err := c.Take(t.Context(), call, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if slot.Release(t.Context()) == nil {
		t.Fatal("released in a stopped Redis")
	}
	server.Restart()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if s, err := c.Usage(t.Context(), call); err == nil && s.Used == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slot stays counted")
		}
	}
	mustTake(t, c, call, 1)
}

// TestUsageAgreesWithTheNextTake: in any state of a unit, the next take gets what the usage says.
func TestUsageAgreesWithTheNextTake(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(outer *testing.T) {
			rapid.Check(outer, func(t *rapid.T) {
				const window, timeout = time.Hour, 20 * time.Minute
				policy := config.Unattended{
					Limit: rapid.IntRange(0, 4).Draw(t, "limit"), Window: window,
					Unit: rapid.SampledFrom([]config.Unit{config.UnitASPSP, config.UnitConsent, config.UnitResource}).Draw(t, "unit"),
				}
				if rapid.Bool().Draw(t, "blocked by the operator") {
					policy.ClosedUntil = time.Now().Add(minutes(t, "for", -30, 60))
				}
				call := list()
				owner := []string{call.ASPSP, call.Consent}
				switch policy.Unit {
				case config.UnitASPSP:
					call.ASPSP = call.Consent
					owner = []string{call.ASPSP}
				case config.UnitResource:
					owner = append(owner, "account", "")
				case config.UnitConsent:
				}
				prefix := store.Prefix("unattended", owner...)
				with := func() *unattended.Counter {
					return unattended.New(rdb, map[string]config.Unattended{call.ASPSP: policy}).Within(redistest.CommandTimeout)
				}
				c := with()
				for range rapid.IntRange(1, 12).Draw(t, "steps") {
					switch rapid.IntRange(0, 5).Draw(t, "step") {
					case 0:
						usage, err := c.Usage(t.Context(), call)
						if err != nil {
							t.Fatal(err)
						}
						pause := minutes(t, "pause", 1, 40)
						if rapid.Bool().Draw(t, "until it opens") {
							pause = usage.Wait
						}
						age(outer, rdb, prefix+"slots", pause)
						age(outer, rdb, prefix+"closed", pause)
						policy.ClosedUntil = policy.ClosedUntil.Add(-pause)
						c = with()
					case 1:
						if _, err := c.Block(t.Context(), call, 0); err != nil {
							t.Fatal(err)
						}
					case 2:
						if slot, err := c.Take(t.Context(), call, timeout); err == nil && slot.Release(t.Context()) != nil {
							t.Fatal("not released")
						}
					default:
						agree(t, c, call, timeout)
					}
				}
			})
		})
	}
}

func minutes(t *rapid.T, label string, from, to int) time.Duration {
	return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Minute
}

// agree reads the usage, takes a slot, reads the usage again, and compares.
func agree(t *rapid.T, c *unattended.Counter, call unattended.Call, timeout time.Duration) {
	began := time.Now()
	before, err := c.Usage(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Take(t.Context(), call, timeout)
	after, usageErr := c.Usage(t.Context(), call)
	if usageErr != nil {
		t.Fatal(usageErr)
	}
	if before.Wait > 0 && before.Wait < time.Since(began)+time.Millisecond {
		return // the usage may have changed before the take
	}
	switch kind(err) {
	case "":
		if before.Remaining == 0 || after.Remaining > before.Remaining {
			t.Fatalf("allowed with %+v, then %+v", before, after)
		}
	case canonical.UnattendedLimit:
		var failure *canonical.Error
		errors.As(err, &failure)
		if before.Remaining > 0 || failure.RetryAfter > before.Wait || failure.RetryAfter < after.Wait {
			t.Fatalf("refused for %v with %+v, then %+v", failure.RetryAfter, before, after)
		}
	default:
		t.Fatal(err)
	}
}
