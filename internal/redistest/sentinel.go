package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	masterName   = "ais"
	replicas     = 2
	sentinels    = 3
	quorum       = 2
	failoverWait = 2 * time.Minute // a failover that did not succeed is tried again after 2 s
)

// Settings of the sentinels, in ms.
const (
	downAfter       = 2000 // with less, a server on a slow machine would be regarded as down
	failoverTimeout = 1000
)

// fastSentinel is the command that sets the intervals of a sentinel to 100 or 200 ms; the defaults
// are 1 to 10 s. The times are in ms.
var fastSentinel = []any{
	"SENTINEL", "DEBUG", "info-period", 100, "ping-period", 200, "ask-period", 100, "publish-period", 100,
	"tilt-period", 1000, "min-link-reconnect-period", 1000,
}

// Sentinels is a primary with two replicas and three sentinels. The sentinels regard the primary as
// down after 2 s without a response; two of them can decide that and start the failover.
type Sentinels struct {
	Addrs      []string  // addresses of the sentinels, host:port
	MasterName string    // the primary's name in the sentinels' configuration
	Watchers   []*Server // the sentinels

	t    testing.TB
	data []*Server
}

// StartSentinel runs the servers until the test ends, and waits until a failover can succeed: the
// replicas have the primary's data, and the sentinels know the replicas and each other. args are
// settings of the primary and the replicas.
func StartSentinel(t testing.TB, args ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{MasterName: masterName, t: t}
	for range 1 + replicas {
		s.data = append(s.data, startConfigured(t, "", setup{args: append([]string{"--repl-diskless-sync-delay", "0"}, args...)}))
	}
	host, port, err := net.SplitHostPort(s.data[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, replica := range s.data[1:] {
		s.must(replica.Do("REPLICAOF", host, port))
		s.must(replica.Do("CONFIG", "REWRITE"))
	}
	config := fmt.Sprintf(`sentinel monitor %[1]s %[2]s %[3]s %[4]d
sentinel down-after-milliseconds %[1]s %[5]d
sentinel failover-timeout %[1]s %[6]d
sentinel parallel-syncs %[1]s %[7]d
`, masterName, host, port, quorum, downAfter, failoverTimeout, replicas)
	for range sentinels {
		watcher := startConfigured(t, config, setup{args: []string{"--sentinel"}, onStarted: fastSentinel})
		s.Watchers, s.Addrs = append(s.Watchers, watcher), append(s.Addrs, watcher.Addr)
	}
	s.AwaitReplicas()
	return s
}

// startConfigured runs a server with a configuration file, in which the server keeps its role.
func startConfigured(t testing.TB, text string, s setup) *Server {
	t.Helper()
	s.dir = t.TempDir()
	s.config = filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, s)
}

func (s *Sentinels) must(result *redis.Cmd) {
	s.t.Helper()
	if err := result.Err(); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
}

// Primary returns the server that all running sentinels name as the primary. It waits while they
// disagree.
func (s *Sentinels) Primary() *Server {
	s.t.Helper()
	var primary *Server
	err := await(failoverWait, func() (err error) {
		primary, err = s.agreedPrimary()
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return primary
}

// Replicas returns the servers other than the primary, whether they run or not.
func (s *Sentinels) Replicas() []*Server {
	s.t.Helper()
	primary := s.Primary()
	var others []*Server
	for _, server := range s.data {
		if server != primary {
			others = append(others, server)
		}
	}
	return others
}

// AwaitPrimary waits for the end of a failover and returns the new primary: all running sentinels
// name another server than old, and it accepts writes. It may be called before the failover begins.
func (s *Sentinels) AwaitPrimary(old *Server) *Server {
	s.t.Helper()
	primary, err := s.awaitPrimary(old, failoverWait)
	if err != nil {
		s.t.Fatal(err)
	}
	return primary
}

func (s *Sentinels) awaitPrimary(old *Server, timeout time.Duration) (primary *Server, err error) {
	err = await(timeout, func() error {
		named, err := s.agreedPrimary()
		if err != nil {
			return err
		}
		if named == old {
			return errors.New("the sentinels still name " + old.Addr)
		}
		primary = named
		client := redis.NewClient(named.options(pingTimeout))
		defer client.Close()
		return client.Del(context.Background(), "redistest: a write that changes nothing").Err()
	})
	return primary, err
}

// AwaitReplicas waits until the next failover can begin: every running server other than the
// primary is its replica and has all its data, and the sentinels know that. A former primary
// becomes a replica after its restart.
func (s *Sentinels) AwaitReplicas() {
	s.t.Helper()
	if err := await(failoverWait, s.ready); err != nil {
		s.t.Fatal(err)
	}
}

// agreedPrimary returns the server that all running sentinels name as the primary, or an error if
// they disagree.
func (s *Sentinels) agreedPrimary() (*Server, error) {
	var agreed string
	for _, watcher := range running(s.Watchers) {
		client := redis.NewSentinelClient(watcher.options(pingTimeout))
		named, err := client.GetMasterAddrByName(context.Background(), masterName).Result()
		_ = client.Close()
		if err != nil {
			return nil, err
		}
		addr := net.JoinHostPort(named[0], named[1])
		if agreed != "" && addr != agreed {
			return nil, fmt.Errorf("one sentinel names %s, another %s", agreed, addr)
		}
		agreed = addr
	}
	for _, server := range s.data {
		if server.Addr == agreed {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the sentinels name %q", agreed)
}

// running returns the servers that are not stopped.
func running(servers []*Server) []*Server {
	var run []*Server
	for _, server := range servers {
		if server.process != nil {
			run = append(run, server)
		}
	}
	return run
}

// ready returns an error until the next failover can begin.
func (s *Sentinels) ready() error {
	primary, err := s.agreedPrimary()
	if err != nil {
		return err
	}
	var followers []*Server
	for _, server := range running(s.data) {
		if server != primary {
			followers = append(followers, server)
		}
	}
	for _, follower := range followers {
		if err := checkReplica(follower, primary); err != nil {
			return err
		}
	}
	for _, watcher := range running(s.Watchers) {
		if err := s.checkSentinel(watcher, followers); err != nil {
			return err
		}
	}
	return checkPrimary(primary, len(followers))
}

// checkReplica returns an error until a server is a connected replica of the primary.
func checkReplica(server, primary *Server) error {
	client := redis.NewClient(server.options(pingTimeout))
	defer client.Close()
	info := client.InfoMap(context.Background(), "replication")
	if err := info.Err(); err != nil {
		return err
	}
	of := net.JoinHostPort(info.Item("Replication", "master_host"), info.Item("Replication", "master_port"))
	if of != primary.Addr || info.Item("Replication", "master_link_status") != "up" {
		return fmt.Errorf("%s is not a replica of %s yet: %v", server.Addr, primary.Addr, info.Val())
	}
	return nil
}

// checkPrimary returns an error until a primary has that many replicas with all its data.
func checkPrimary(primary *Server, followers int) error {
	client := redis.NewClient(primary.options(pingTimeout))
	defer client.Close()
	info, err := client.Info(context.Background(), "replication").Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, "role:master") || strings.Count(info, "state=online") != followers {
		return fmt.Errorf("%s does not have %d replicas yet:\n%s", primary.Addr, followers, info)
	}
	return nil
}

// checkSentinel returns an error until a sentinel knows the other sentinels and the followers.
func (s *Sentinels) checkSentinel(watcher *Server, followers []*Server) error {
	ctx := context.Background()
	client := redis.NewSentinelClient(watcher.options(pingTimeout))
	defer client.Close()
	primary, err := client.Master(ctx, masterName).Result()
	if err != nil {
		return err
	}
	if primary["flags"] != "master" {
		return errors.New("the primary is " + primary["flags"])
	}
	others, err := client.Sentinels(ctx, masterName).Result()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, other := range others {
		known[net.JoinHostPort(other["ip"], other["port"])] = other["flags"] == "sentinel"
	}
	data, err := client.Replicas(ctx, masterName).Result()
	if err != nil {
		return err
	}
	for _, replica := range data {
		known[net.JoinHostPort(replica["ip"], replica["port"])] = replica["flags"] == "slave" && replica["master-link-status"] == "ok"
	}
	for _, server := range append(running(s.Watchers), followers...) {
		if server != watcher && !known[server.Addr] {
			return fmt.Errorf("sentinel %s does not know %s yet: %v, %v", watcher.Addr, server.Addr, others, data)
		}
	}
	return nil
}
