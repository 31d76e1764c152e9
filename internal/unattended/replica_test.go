package unattended_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

// follow makes a server a replica of another, and waits until it is in sync.
func follow(t *testing.T, replica, primary *redistest.Server) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer rdb.Close()
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if info, err := rdb.Info(t.Context(), "replication").Result(); err == nil && strings.Contains(info, "master_link_status:up") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the replica is not in sync")
		}
	}
}

// TestWaitsForReplicas: with replicas required, a slot is taken only if they confirm it. Otherwise
// no call is made.
func TestWaitsForReplicas(t *testing.T) {
	t.Parallel()
	primary, replica := redistest.Start(t, "--repl-diskless-sync-delay", "0"), redistest.Start(t)
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{primary.Addr}})
	policy := daily(4, config.UnitConsent)
	c, plain := counter(rdb, policy).WithReplicas(1), counter(rdb, policy)
	call := list()
	unavailable := func(when string) {
		t.Helper()
		if _, err := c.Usage(t.Context(), call); kind(err) != canonical.CounterUnavailable {
			t.Errorf("%s, usage: %v", when, err)
		}
		if err := take(t, c, call); kind(err) != canonical.CounterUnavailable {
			t.Errorf("%s, take: %v", when, err)
		}
		if _, err := c.Block(t.Context(), list(), time.Minute); kind(err) != canonical.CounterUnavailable {
			t.Errorf("%s, block: %v", when, err)
		}
	}
	unavailable("without a replica")
	used(t, plain, call, 0)
	mustTake(t, plain, call, 1) // a counter that does not require replicas

	follow(t, replica, primary)
	if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := surely(t, c, plain, call); err != nil {
		t.Fatal(err)
	}
	there := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{replica.Addr}})
	if keys := there.Keys(t.Context(), "*:slots").Val(); len(keys) != 1 || there.ZCard(t.Context(), keys[0]).Val() != 2 {
		t.Errorf("the replica has %q", keys)
	}
	soon(t, "a block has reached the replica", func() bool { _, err := c.Block(t.Context(), list(), time.Minute); return err == nil })
	soon(t, "the replica has confirmed all writes", func() bool {
		var all, has int
		for line := range strings.Lines(primary.Do("INFO", "replication").String()) {
			_, _ = fmt.Sscanf(line, "master_repl_offset:%d", &all)
			if _, offset, ok := strings.Cut(line, ",offset="); ok {
				_, _ = fmt.Sscanf(offset, "%d", &has)
			}
		}
		return all > 0 && has == all
	})
	replica.Pause()
	unavailable("while the replica is connected and frozen")
	replica.Stop()
	unavailable("after the replica has stopped")
	used(t, plain, call, 2) // the slots of failed takes are released
}

// used waits until this many slots of a unit are taken. Some are released in the background.
func used(t *testing.T, c *unattended.Counter, call unattended.Call, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s, err := c.Usage(t.Context(), call)
		if err == nil && s.Used == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("used %d, %v, want %d", s.Used, err, want)
		}
	}
}

// surely takes a slot and repeats that while too few replicas confirm it, because they may be slow
// on a busy machine. plain is a counter that does not require replicas.
func surely(t *testing.T, c, plain *unattended.Counter, call unattended.Call) error {
	t.Helper()
	before, err := plain.Usage(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := take(t, c, call)
		if kind(err) != canonical.CounterUnavailable || time.Now().After(deadline) {
			return err
		}
		used(t, plain, call, before.Used)
	}
}

// TestWaitsForReplicasInACluster: in a cluster, WAIT is sent to the key's primary, and a replica
// that is promoted has every slot.
func TestWaitsForReplicasInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	cfg, policy := config.Redis{Mode: config.Cluster, Addresses: cluster.Addrs}, daily(4, config.UnitConsent)
	c, plain := counter(open(t, cfg), policy).WithReplicas(1), counter(open(t, cfg), policy)
	if err := take(t, c, list()); kind(err) != canonical.CounterUnavailable {
		t.Errorf("without replicas: %v", err)
	}
	cluster.Replicate()
	for range 30 { // to reach every node
		call := list()
		for i := range 4 {
			if err := surely(t, c, plain, call); err != nil {
				t.Fatalf("call %d of 4: %v", i+1, err)
			}
		}
		refused(t, surely(t, c, plain, call))
	}
	call := list()
	key := store.Prefix("unattended", call.ASPSP, call.Consent)
	for range 3 {
		if err := surely(t, c, plain, call); err != nil {
			t.Fatal(err)
		}
	}
	primary := cluster.NodeOf(key)
	primary.Stop()
	if err := take(t, c, call); kind(err) != canonical.CounterUnavailable {
		t.Errorf("without a primary: %v", err)
	}
	taken := time.Now()
	for ; ; time.Sleep(50 * time.Millisecond) {
		if s, err := plain.Usage(t.Context(), call); err == nil {
			if s.Used != 3 {
				t.Errorf("%d slots after the failover, want 3", s.Used)
			}
			break
		}
		if time.Since(taken) > patience {
			t.Fatal("no failover")
		}
	}
	if err := take(t, c, call); kind(err) != canonical.CounterUnavailable {
		t.Errorf("without a replica of the new primary: %v", err)
	}
	primary.Restart()
	cluster.Await()
	if err := surely(t, c, plain, call); err != nil {
		t.Fatalf("after the recovery: %v", err)
	}
	refused(t, surely(t, c, plain, call))
}
