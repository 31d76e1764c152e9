package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

func TestPrefix(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for _, owner := range [][]string{
		{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"a:b"}, {"a\x00b"}, {"}", "{"}, {"{}"},
	} {
		for _, kind := range []string{"one", "two"} {
			name := store.Prefix(kind, owner...)
			if before, ok := seen[name]; ok {
				t.Errorf("%q and %q have one name", before, owner)
			}
			seen[name] = owner
			if !strings.HasPrefix(name, "ais:1:"+kind+":{") || !strings.HasSuffix(name, "}:") || strings.Count(name, "{") != 1 {
				t.Errorf("%q", name)
			}
		}
	}
}

// works opens Redis and runs commands like those of the counter and the cache.
func works(t *testing.T, c config.Redis) {
	t.Helper()
	s, err := store.OpenWithin(c, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if h := s.Health(t.Context()); h.State != store.Usable {
		t.Fatal(h)
	}
	prefix := store.Prefix("test", "x")
	script := redis.NewScript("redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return redis.call('GET', KEYS[2])")
	if err := s.Cache.Set(t.Context(), prefix+"b", "there", time.Minute).Err(); err != nil {
		t.Error(err)
	}
	if got, err := script.Run(t.Context(), s.Counter, []string{prefix + "a", prefix + "b"}, 1).Text(); got != "there" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := s.Cache.MGet(t.Context(), prefix+"a", prefix+"b").Result(); err != nil || len(got) != 2 || got[0] != "1" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) { works(t, config.Redis{Mode: config.Embedded}) })
	t.Run("standalone", func(t *testing.T) {
		works(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}})
	})
	t.Run("password", func(t *testing.T) {
		server := redistest.Start(t, "--requirepass", "open sesame")
		c := config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}, PasswordFile: config.InMemoryFile([]byte("open sesame\n"))}
		works(t, c)
		c.PasswordFile = config.InMemoryFile([]byte("open barley"))
		s, err := store.OpenWithin(c, redistest.CommandTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Health(t.Context()).State == store.Usable {
			t.Error("let in with a wrong password")
		}
	})
	t.Run("cluster", func(t *testing.T) {
		works(t, config.Redis{Mode: config.Cluster, Addresses: redistest.StartCluster(t).Addrs})
	})
	t.Run("sentinel", func(t *testing.T) {
		s := redistest.StartSentinel(t)
		works(t, config.Redis{Mode: config.Sentinel, Addresses: s.Addrs, MasterName: s.MasterName})
	})
}

// fileOf returns the File with which a configuration names path.
func fileOf(t *testing.T, path string) config.File {
	t.Helper()
	var f config.File
	if err := f.UnmarshalText([]byte(path)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, files := redistest.StartTLS(t)
	good := config.TLS{
		Enabled: true, CAFile: fileOf(t, files.CA), CertificateFile: fileOf(t, files.Certificate), KeyFile: fileOf(t, files.Key),
	}
	works(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}, TLS: good})
	for name, change := range map[string]func(*config.TLS){
		"no TLS":                           func(c *config.TLS) { c.Enabled = false },
		"an unknown certificate authority": func(c *config.TLS) { c.CAFile = config.File{} },
		"another server name":              func(c *config.TLS) { c.ServerName = "redis.example" },
		"no client certificate":            func(c *config.TLS) { c.CertificateFile, c.KeyFile = config.File{}, config.File{} },
	} {
		tls := good
		change(&tls)
		s, err := store.OpenWithin(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}, TLS: tls}, redistest.CommandTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if h := s.Health(t.Context()); h.State != store.Unreachable {
			t.Errorf("%s: %+v", name, h)
		}
		s.Close()
	}
}

// After a restart all idle connections are dead. Over TLS this is detected only when one is used.
func TestIdleConnectionsAfterRestart(t *testing.T) {
	t.Parallel()
	server, files := redistest.StartTLS(t)
	tls := config.TLS{Enabled: true, CAFile: fileOf(t, files.CA), CertificateFile: fileOf(t, files.Certificate), KeyFile: fileOf(t, files.Key)}
	s, err := store.OpenWithin(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}, TLS: tls}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var conns []*redis.Conn
	for range 20 {
		conn := s.Counter.(*redis.Client).Conn()
		if err := conn.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	if n := s.Counter.PoolStats().IdleConns; n < 10 {
		t.Fatalf("%d idle connections", n)
	}
	server.Restart()
	script := redis.NewScript("return redis.call('INCR', KEYS[1])")
	for i := range 100 {
		if err := script.Run(t.Context(), s.Counter, []string{"n"}).Err(); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	if n := s.Counter.Get(t.Context(), "n").Val(); n != "100" {
		t.Errorf("%s commands were carried out", n)
	}
}

// Each primary of a cluster is checked, and its number of replicas if redis.waitReplicas is set.
func TestHealth(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	s, err := store.OpenWithin(config.Redis{Mode: config.Cluster, Addresses: cluster.Addrs}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	is := func(s *store.Store, when string, want store.Health) {
		t.Helper()
		if h := s.Health(t.Context()); h != want {
			t.Errorf("%s: %+v, want %+v", when, h, want)
		}
	}
	well := store.Health{State: store.Usable, Policy: store.NoEviction}
	is(s, "at first", well)
	for i, node := range cluster.Nodes {
		node.Do("CONFIG", "SET", "maxmemory", "1")
		is(s, fmt.Sprintf("node %d without memory", i), store.Health{State: store.OutOfMemory, Policy: store.NoEviction})
		node.Do("CONFIG", "SET", "maxmemory", "0")
		node.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		is(s, fmt.Sprintf("node %d evicts", i), store.Health{State: store.Usable, Policy: "allkeys-lru"})
		node.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	}
	is(s, "at last", well)
	waiting, err := store.OpenWithin(config.Redis{Mode: config.Cluster, Addresses: cluster.Addrs, WaitReplicas: 1}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	is(waiting, "without replicas", store.Health{State: store.FewReplicas, Policy: store.NoEviction})
	cluster.Replicate()
	is(waiting, "with replicas", well)
	cluster.Nodes[2].Stop()
	if h := s.Health(t.Context()); h.State != store.Unreachable {
		t.Errorf("a node gone: %+v", h)
	}
}

// TestEmbeddedExpires checks that the TTL of a key never decreases faster than real time, and that
// a key expires.
func TestEmbeddedExpires(t *testing.T) {
	t.Parallel()
	s, err := store.OpenWithin(config.Redis{Mode: config.Embedded}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 30 {
		key, began := fmt.Sprint("k", i), time.Now()
		if err := s.Cache.Set(t.Context(), key, 1, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		for passed := time.Duration(0); passed < 60*time.Millisecond; {
			left, err := s.Counter.PTTL(t.Context(), key).Result()
			passed = time.Since(began)
			if aged := time.Hour - left; err != nil || aged > passed+time.Millisecond { // PTTL is in whole milliseconds
				t.Fatalf("aged by %v in %v, %v", aged, passed, err)
			}
			time.Sleep(time.Duration(i) * time.Millisecond / 4)
		}
	}
	if err := s.Cache.Set(t.Context(), "short", 1, time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); s.Counter.Exists(t.Context(), "short").Val() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a key does not expire")
		}
	}
}
