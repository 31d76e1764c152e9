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
	masterName    = "ais"
	replicas      = 2
	watchers      = 3
	quorum        = 2
	settledWithin = 2 * time.Minute // a failover that did not come about is tried again after 2 s
)

// Times of the sentinels, in ms.
const (
	downAfter       = 2000 // of a busy machine less would be taken for lost
	failoverTimeout = 1000
)

// haste makes sentinels do every 100 or 200 ms what they do every 1 to 10 s elsewhere. The times are in ms.
var haste = []any{
	"SENTINEL", "DEBUG", "info-period", 100, "ping-period", 200, "ask-period", 100, "publish-period", 100,
	"tilt-period", 1000, "min-link-reconnect-period", 1000,
}

// Sentinels are three sentinels over one primary and two replicas. They take the primary for lost once it has been
// silent for 2 s; two of them are enough for that, and for the failover.
type Sentinels struct {
	Addrs      []string  // of the sentinels, host:port
	MasterName string    // as the sentinels know the primary
	Watchers   []*Server // the sentinels themselves

	t    testing.TB
	data []*Server
}

// StartSentinel runs them like Start, and waits until a failover would succeed: the replicas hold what the primary
// holds, the sentinels know them and one another. args are settings of the primary and the replicas.
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
	for range watchers {
		watcher := startConfigured(t, config, setup{args: []string{"--sentinel"}, told: haste})
		s.Watchers, s.Addrs = append(s.Watchers, watcher), append(s.Addrs, watcher.Addr)
	}
	s.AwaitReplicas()
	return s
}

// startConfigured runs a server with a configuration file, in which it notes what it was told to be.
func startConfigured(t testing.TB, text string, s setup) *Server {
	t.Helper()
	s.dir = t.TempDir()
	s.config = filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, s)
}

func (s *Sentinels) must(answer *redis.Cmd) {
	s.t.Helper()
	if err := answer.Err(); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
}

// Primary is the server that the running sentinels name. While they disagree, it waits.
func (s *Sentinels) Primary() *Server {
	s.t.Helper()
	var primary *Server
	err := await(settledWithin, func() (err error) {
		primary, err = s.named()
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return primary
}

// Replicas are the servers other than the primary, whether they run or not.
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

// AwaitPrimary returns the new primary once a failover is over: all running sentinels name another than old, and it
// accepts writes. It may be called before the failover begins.
func (s *Sentinels) AwaitPrimary(old *Server) *Server {
	s.t.Helper()
	primary, err := s.awaitPrimary(old, settledWithin)
	if err != nil {
		s.t.Fatal(err)
	}
	return primary
}

func (s *Sentinels) awaitPrimary(old *Server, within time.Duration) (primary *Server, err error) {
	err = await(within, func() error {
		named, err := s.named()
		if err != nil {
			return err
		}
		if named == old {
			return errors.New("the sentinels still name " + old.Addr)
		}
		primary = named
		client := redis.NewClient(named.options(askWithin))
		defer client.Close()
		return client.Del(context.Background(), "redistest: a write that changes nothing").Err()
	})
	return primary, err
}

// AwaitReplicas returns once every data server that runs, but for the primary, follows it and has all that it had,
// and the sentinels know so: the next failover can begin. After the restart of a former primary it is a replica.
func (s *Sentinels) AwaitReplicas() {
	s.t.Helper()
	if err := await(settledWithin, s.settled); err != nil {
		s.t.Fatal(err)
	}
}

// named is the primary by the word of all sentinels that run.
func (s *Sentinels) named() (*Server, error) {
	var word string
	for _, watcher := range running(s.Watchers) {
		client := redis.NewSentinelClient(watcher.options(askWithin))
		named, err := client.GetMasterAddrByName(context.Background(), masterName).Result()
		_ = client.Close()
		if err != nil {
			return nil, err
		}
		addr := net.JoinHostPort(named[0], named[1])
		if word != "" && addr != word {
			return nil, fmt.Errorf("one sentinel names %s, another %s", word, addr)
		}
		word = addr
	}
	for _, server := range s.data {
		if server.Addr == word {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the sentinels name %q", word)
}

func running(servers []*Server) []*Server {
	var run []*Server
	for _, server := range servers {
		if server.run != nil {
			run = append(run, server)
		}
	}
	return run
}

func (s *Sentinels) settled() error {
	primary, err := s.named()
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
		if err := follows(follower, primary); err != nil {
			return err
		}
	}
	for _, watcher := range running(s.Watchers) {
		if err := s.sees(watcher, followers); err != nil {
			return err
		}
	}
	return feeds(primary, len(followers))
}

// follows reports why a server does not follow the primary yet.
func follows(server, primary *Server) error {
	client := redis.NewClient(server.options(askWithin))
	defer client.Close()
	info := client.InfoMap(context.Background(), "replication")
	if err := info.Err(); err != nil {
		return err
	}
	of := net.JoinHostPort(info.Item("Replication", "master_host"), info.Item("Replication", "master_port"))
	if of != primary.Addr || info.Item("Replication", "master_link_status") != "up" {
		return fmt.Errorf("%s does not follow %s yet: %v", server.Addr, primary.Addr, info.Val())
	}
	return nil
}

// feeds reports whether a primary has that many replicas with all that it had.
func feeds(primary *Server, followers int) error {
	client := redis.NewClient(primary.options(askWithin))
	defer client.Close()
	info, err := client.Info(context.Background(), "replication").Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, "role:master") || strings.Count(info, "state=online") != followers {
		return fmt.Errorf("%s does not feed %d replicas yet:\n%s", primary.Addr, followers, info)
	}
	return nil
}

// sees reports what a sentinel does not know yet.
func (s *Sentinels) sees(watcher *Server, followers []*Server) error {
	ctx := context.Background()
	client := redis.NewSentinelClient(watcher.options(askWithin))
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
