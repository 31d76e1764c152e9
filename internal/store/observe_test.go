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

// recorder is an Observer that records commands until drain.
type recorder struct {
	mu  sync.Mutex
	all map[string]time.Duration // by name and kind of error
}

func (o *recorder) Command(_ context.Context, name, fault string, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]time.Duration{}
	}
	o.all[name+" "+fault] = took
}

// require drains the recorder and returns the duration of the command. The test fails if it was not
// recorded. Commands that set up connections may have been recorded too.
func (o *recorder) require(t *testing.T, want string) time.Duration {
	t.Helper()
	all := o.drain()
	took, ok := all[want]
	if !ok {
		t.Errorf("recorded %v, not %q", all, want)
	}
	return took
}

func (o *recorder) drain() map[string]time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.all = nil }()
	return o.all
}

func TestObserver(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := &recorder{}
	s, err := store.Open(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, rdb := t.Context(), s.Counter
	write := redis.NewScript("return redis.call('SET', KEYS[1], 1)")
	rdb.Ping(ctx)
	o.require(t, "PING ")
	rdb.Get(ctx, "nothing")
	o.require(t, "GET ")
	write.EvalSha(ctx, rdb, []string{"k"})
	o.require(t, "EVALSHA noscript")
	write.Run(ctx, rdb, []string{"k"})
	o.require(t, "EVAL ")
	_, _ = s.Cache.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Get(ctx, "nothing")
		return p.Set(ctx, "k", 1, 0).Err()
	})
	o.require(t, "PIPELINE ")
	_, _ = s.Cache.Pipelined(ctx, func(p redis.Pipeliner) error { // as a batch of scripts
		write.Eval(ctx, p, []string{"k"})
		return write.EvalSha(ctx, p, []string{"k"}).Err()
	})
	all := o.drain()
	for _, want := range []string{"EVAL ", "EVALSHA "} {
		if _, ok := all[want]; !ok {
			t.Errorf("recorded %v of a batch, not %q", all, want)
		}
	}
	for _, tt := range []struct{ breaks, mends, want string }{
		{"CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "EVALSHA oom"},
		{"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "EVALSHA readonly"},
		{"CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "EVALSHA noreplicas"},
		{"ACL SETUSER default -evalsha", "ACL SETUSER default +evalsha", "EVALSHA noperm"},
	} {
		server.Do(words(tt.breaks)...)
		write.EvalSha(ctx, rdb, []string{"k"})
		o.require(t, tt.want)
		server.Do(words(tt.mends)...)
	}
	rdb.LPush(ctx, "k", 1)
	o.require(t, "LPUSH other")
	server.Restart() // all connections are dead: the command is retried and reported once
	o.drain()
	if err := rdb.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if all := o.drain(); len(all) == 0 || all["PING unreachable"] != 0 {
		t.Errorf("recorded %v", all)
	}
	server.Pause()
	rdb.Ping(ctx)
	if took := o.require(t, "PING timeout"); took < time.Second/2 { // the client's timeout is one second
		t.Errorf("a second of silence took %v", took)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	rdb.Ping(gone)
	o.require(t, "PING canceled")
	server.Resume()
	server.Stop()
	rdb.Ping(ctx)
	o.require(t, "PING unreachable")
}

// In a cluster every command is reported, including commands that are sent to a specific node.
func TestClusterObserver(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	o := &recorder{}
	s, err := store.Open(config.Redis{Mode: config.Cluster, Addresses: cluster.Addrs}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Counter.Set(t.Context(), "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	o.require(t, "SET ")
	node, err := s.Counter.(*redis.ClusterClient).MasterForKey(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	node.Get(t.Context(), "a")
	o.require(t, "GET ")
}

func words(command string) []any {
	var all []any
	for _, w := range strings.Fields(command) {
		all = append(all, w)
	}
	return all
}
