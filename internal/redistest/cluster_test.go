package redistest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, "--appendonly", "yes", "--appendfsync", "always")
	if len(c.Nodes) != nodes || len(c.Addrs) != nodes {
		t.Fatalf("%d nodes on %v", len(c.Nodes), c.Addrs)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs[:1]})
	defer client.Close()
	keys := map[*Server]string{}
	for i := 0; len(keys) < nodes; i++ {
		key := fmt.Sprintf("k%d", i)
		keys[c.NodeOf(key)] = key
	}
	for node, key := range keys {
		says(t, node, "OK", "SET", key, key)
		if got, err := client.Get(t.Context(), key).Result(); got != key || err != nil {
			t.Errorf("by way of the cluster: %q, %v", got, err)
		}
		for _, other := range c.Nodes {
			if err := other.Do("GET", key).Err(); other != node && !redis.HasErrorPrefix(err, "MOVED") {
				t.Errorf("another node answers %v", err)
			}
		}
	}

	lost, other := c.Nodes[1], c.Nodes[2]
	lost.Stop()
	began := time.Now()
	err := await(clusterTimeout, func() error {
		if err := other.Do("GET", keys[other]).Err(); !redis.HasErrorPrefix(err, "CLUSTERDOWN") {
			return fmt.Errorf("got %w, want CLUSTERDOWN", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the others refused after %v", time.Since(began))
	if c.ready() == nil {
		t.Error("a cluster without one of its nodes is taken for whole")
	}

	lost.Restart()
	began = time.Now()
	c.Await()
	t.Logf("in order %v after the restart", time.Since(began))
	for node, key := range keys {
		says(t, node, key, "GET", key)
	}
}

func TestSlot(t *testing.T) {
	t.Parallel()
	s := Start(t, "--cluster-enabled", "yes")
	for _, key := range []string{
		"", "k", "123456789", "é", "{k}x", "x{k}", "{}k", "{k", "k}", "}{k}", "{{k}}", "{k}{x}", "a{}{k}",
		strings.Repeat("long", 100), "\x00\xff",
	} {
		if want, err := s.Do("CLUSTER", "KEYSLOT", key).Int(); err != nil || slot(key) != want {
			t.Errorf("%q: got %d, want %d, %v", key, slot(key), want, err)
		}
	}
}

func TestBusPort(t *testing.T) {
	if isFree(65536) {
		t.Error("there is no such port")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if isFree(l.Addr().(*net.TCPAddr).Port) {
		t.Error("somebody listens there")
	}
	for range 50 {
		addr, err := freeAddr(true)
		if err != nil {
			t.Fatal(err)
		}
		if port := netip.MustParseAddrPort(addr).Port(); port > 65535-busOffset {
			t.Fatalf("%s leaves no room for the bus", addr)
		}
	}
}

func TestClusterFailsOver(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	c.Replicate()
	node, replica := c.Nodes[1], c.Replicas[1]
	host, port, _ := strings.Cut(node.Addr, ":")
	if info := replica.Do("INFO", "replication").String(); !strings.Contains(info, "master_host:"+host) || !strings.Contains(info, "master_port:"+port) {
		t.Fatal(info)
	}
	node.Stop()
	for deadline := time.Now().Add(clusterTimeout); !strings.Contains(replica.Do("INFO", "replication").String(), "role:master"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the replica does not take over")
		}
	}
	node.Restart()
	c.Await()
}
