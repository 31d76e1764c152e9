package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

// told is what an observer was told of.
type told struct {
	mu  sync.Mutex
	all map[string]time.Duration // since it was last asked, and how long it took
}

func (o *told) Command(_ context.Context, name, fault string, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]time.Duration{}
	}
	o.all[name+" "+fault] = took
}

// is fails the test unless it was told of a command, perhaps among those that set up connections, since it was last asked.
func (o *told) is(t *testing.T, want string) time.Duration {
	t.Helper()
	all := o.since()
	took, ok := all[want]
	if !ok {
		t.Errorf("told of %v, not of %q", all, want)
	}
	return took
}

func (o *told) since() map[string]time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.all = nil }()
	return o.all
}

func TestCommandsAreTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := &told{}
	s, err := store.Open(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, rdb := t.Context(), s.Counter
	write := redis.NewScript("return redis.call('SET', KEYS[1], 1)")
	rdb.Ping(ctx)
	o.is(t, "PING ")
	rdb.Get(ctx, "nothing")
	o.is(t, "GET ")
	write.EvalSha(ctx, rdb, []string{"k"})
	o.is(t, "EVALSHA noscript")
	write.Run(ctx, rdb, []string{"k"})
	o.is(t, "EVAL ")
	_, _ = s.Cache.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Get(ctx, "nothing")
		return p.Set(ctx, "k", 1, 0).Err()
	})
	o.is(t, "PIPELINE ")
	for _, tt := range []struct{ breaks, mends, want string }{
		{"CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "EVALSHA oom"},
		{"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "EVALSHA readonly"},
		{"CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "EVALSHA noreplicas"},
		{"ACL SETUSER default -evalsha", "ACL SETUSER default +evalsha", "EVALSHA noperm"},
	} {
		server.Do(words(tt.breaks)...)
		write.EvalSha(ctx, rdb, []string{"k"})
		o.is(t, tt.want)
		server.Do(words(tt.mends)...)
	}
	rdb.LPush(ctx, "k", 1)
	o.is(t, "LPUSH other")
	server.Restart() // every connection is dead: the command is sent again, and told of once
	o.since()
	if err := rdb.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if all := o.since(); len(all) == 0 || all["PING unreachable"] != 0 {
		t.Errorf("told of %v", all)
	}
	server.Pause()
	rdb.Ping(ctx)
	if took := o.is(t, "PING timeout"); took < time.Second/2 { // the client's own bound is a second
		t.Errorf("a second of silence took %v", took)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	rdb.Ping(gone)
	o.is(t, "PING canceled")
	server.Resume()
	server.Stop()
	rdb.Ping(ctx)
	o.is(t, "PING unreachable")
}

// In a cluster every command is told of, by whatever client it was sent.
func TestCommandsOfAClusterAreTold(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	o := &told{}
	s, err := store.Open(config.Redis{Mode: config.Cluster, Addresses: cluster.Addrs}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Counter.Set(t.Context(), "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	o.is(t, "SET ")
	node, err := s.Counter.(*redis.ClusterClient).MasterForKey(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	node.Get(t.Context(), "a")
	o.is(t, "GET ")
}

func words(command string) []any {
	var all []any
	for _, w := range strings.Fields(command) {
		all = append(all, w)
	}
	return all
}
