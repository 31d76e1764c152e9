package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// slots is the number of slots of every cluster:
	// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
	slots = 16384
	nodes = 3
	// nodeTimeout is in ms: the other nodes regard a node as failed that does not respond for
	// longer.
	nodeTimeout = "1000"
	// clusterTimeout is for a node to join its cluster again, which takes at least 2 s.
	clusterTimeout = 2 * time.Minute
)

// Cluster is three primaries that share the slots. They have no replicas until Replicate is called.
// If a node is down for more than 1 s and no replica takes over, the others respond with
// CLUSTERDOWN, which is Redis's default.
type Cluster struct {
	Addrs    []string  // addresses of Nodes, host:port
	Nodes    []*Server // the primaries, in the order of their slots
	Replicas []*Server // one of each node, in the same order

	t        testing.TB
	settings []string
}

// StartCluster runs a cluster until the test ends, and waits until its nodes agree on all slots,
// which takes 2 s. args are settings of every node, as redis-server takes them.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, settings: append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", nodeTimeout, "--repl-diskless-sync-delay", "0",
	}, args...)}
	for range nodes {
		node := c.start()
		c.Nodes, c.Addrs = append(c.Nodes, node), append(c.Addrs, node.Addr)
	}
	for i, node := range c.Nodes {
		first, last := slotRange(i)
		c.must(node.Do("CLUSTER", "ADDSLOTSRANGE", first, last))
		c.must(node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)) // different ones, so that the nodes need not resolve a conflict
	}
	for _, node := range c.Nodes {
		for _, other := range c.Nodes {
			c.meet(node, other)
		}
	}
	c.Await()
	return c
}

// Replicate adds a replica of each node, and waits until the replicas have all data. A replica
// takes over about 2 s after its node went down.
func (c *Cluster) Replicate() {
	c.t.Helper()
	for _, node := range c.Nodes {
		replica := c.start()
		c.meet(replica, node)
		id, err := node.Do("CLUSTER", "MYID").Text()
		if err != nil {
			c.t.Fatal(err)
		}
		// Redis refuses the command until the replica knows the node; each accepted one starts the
		// replication again.
		joins := func() error { return replica.Do("CLUSTER", "REPLICATE", id).Err() }
		follows := func() error {
			if info := replica.Do("INFO", "replication").String(); !strings.Contains(info, "master_link_status:up") {
				return errors.New("the replica is not connected to its primary:\n" + info)
			}
			return nil
		}
		for _, step := range []func() error{joins, follows} {
			if err := await(clusterTimeout, step); err != nil {
				c.t.Fatal(err)
			}
		}
		c.Replicas = append(c.Replicas, replica)
	}
	if err := await(clusterTimeout, c.nodesKnown); err != nil {
		c.t.Fatal(err)
	}
}

// nodesKnown returns an error until every node knows all nodes and replicas: only then can it vote
// for a new primary.
func (c *Cluster) nodesKnown() error {
	for _, node := range append(c.Nodes[:nodes:nodes], c.Replicas...) {
		list := node.Do("CLUSTER", "NODES").String()
		if strings.Count(list, "slave ") != nodes || strings.Count(list, " connected") != 2*nodes || strings.Contains(list, "fail") {
			return errors.New("a node does not know all others:\n" + list)
		}
	}
	return c.ready()
}

func (c *Cluster) start() *Server {
	c.t.Helper()
	return start(c.t, setup{dir: c.t.TempDir(), args: c.settings, cluster: true})
}

func (c *Cluster) meet(node, other *Server) {
	c.t.Helper()
	host, port, err := net.SplitHostPort(other.Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.must(node.Do("CLUSTER", "MEET", host, port))
}

func (c *Cluster) must(result *redis.Cmd) {
	c.t.Helper()
	if err := result.Err(); err != nil {
		c.t.Fatalf("redis-server: %v", err)
	}
}

// Await waits until all nodes run and report that the cluster is healthy. After the restart of a
// node this takes 2 s or more.
func (c *Cluster) Await() {
	c.t.Helper()
	if err := await(clusterTimeout, c.ready); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Cluster) ready() error {
	for _, node := range c.Nodes {
		client := redis.NewClient(node.options(pingTimeout))
		info, err := client.ClusterInfo(context.Background()).Result()
		_ = client.Close()
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", slots)) {
			return errors.New("the cluster is not healthy:\n" + info)
		}
	}
	return nil
}

// NodeOf returns the node that had the slot of a key when the cluster was started, whether it runs
// or not.
func (c *Cluster) NodeOf(key string) *Server {
	for i, node := range c.Nodes {
		if _, last := slotRange(i); slot(key) <= last {
			return node
		}
	}
	c.t.Fatalf("no node has slot %d", slot(key))
	return nil
}

// slotRange returns the first and the last slot of a node.
func slotRange(node int) (first, last int) { return node * slots / nodes, (node+1)*slots/nodes - 1 }

// slot returns the slot of a key: the CRC-16 (XMODEM) of the key or, if it has one, of its hash
// tag, the text in its first braces.
func slot(key string) int {
	if _, after, found := strings.Cut(key, "{"); found {
		if tag, _, found := strings.Cut(after, "}"); found && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % slots
}
