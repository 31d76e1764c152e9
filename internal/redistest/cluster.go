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
	// slots of every cluster: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
	slots = 16384
	nodes = 3
	// nodeTimeout in ms: a node that is silent for longer has failed in the eyes of the others.
	nodeTimeout = "1000"
	// clusterWithin is long enough for a node to find its cluster again, for which it takes 2 s at least.
	clusterWithin = 2 * time.Minute
)

// A Cluster is three primaries that share the slots, without replicas until Replicate. A node that is down for more
// than 1 s makes the others answer CLUSTERDOWN, as Redis does by default, unless a replica takes over.
type Cluster struct {
	Addrs    []string  // of the nodes, host:port
	Nodes    []*Server // in the order of their slots
	Replicas []*Server // of Nodes, in their order

	t        testing.TB
	settings []string
}

// StartCluster runs the nodes like Start, and waits until each serves all slots: Redis takes 2 s for that. args are
// settings of every node.
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
		first, last := share(i)
		c.must(node.Do("CLUSTER", "ADDSLOTSRANGE", first, last))
		c.must(node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)) // of their own, so that they need not settle whose is whose
	}
	for _, node := range c.Nodes {
		for _, other := range c.Nodes {
			c.meet(node, other)
		}
	}
	c.Await()
	return c
}

// Replicate gives each node a replica, and returns once they have all that the nodes have: each then takes over, some
// 2 s after its node is down.
func (c *Cluster) Replicate() {
	c.t.Helper()
	for _, node := range c.Nodes {
		replica := c.start()
		c.meet(replica, node)
		id, err := node.Do("CLUSTER", "MYID").Text()
		if err != nil {
			c.t.Fatal(err)
		}
		// It is refused until the replica has heard of the node, and begins anew each time that it is not.
		joins := func() error { return replica.Do("CLUSTER", "REPLICATE", id).Err() }
		follows := func() error {
			if info := replica.Do("INFO", "replication").String(); !strings.Contains(info, "master_link_status:up") {
				return errors.New("the replica does not follow:\n" + info)
			}
			return nil
		}
		for _, step := range []func() error{joins, follows} {
			if err := await(clusterWithin, step); err != nil {
				c.t.Fatal(err)
			}
		}
		c.Replicas = append(c.Replicas, replica)
	}
	if err := await(clusterWithin, c.known); err != nil {
		c.t.Fatal(err)
	}
}

// known is nil once every node knows whose replicas there are: only those who do vote for one.
func (c *Cluster) known() error {
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

func (c *Cluster) must(answer *redis.Cmd) {
	c.t.Helper()
	if err := answer.Err(); err != nil {
		c.t.Fatalf("redis-server: %v", err)
	}
}

// Await returns once all nodes run and say that the cluster is in order. After the restart of a node that takes 2 s
// or more.
func (c *Cluster) Await() {
	c.t.Helper()
	if err := await(clusterWithin, c.ready); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Cluster) ready() error {
	for _, node := range c.Nodes {
		client := redis.NewClient(node.options(askWithin))
		info, err := client.ClusterInfo(context.Background()).Result()
		_ = client.Close()
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", slots)) {
			return errors.New("the cluster is not in order:\n" + info)
		}
	}
	return nil
}

// NodeOf is the node that had the slot of a key when the cluster began, whether it runs or not.
func (c *Cluster) NodeOf(key string) *Server {
	for i, node := range c.Nodes {
		if _, last := share(i); slot(key) <= last {
			return node
		}
	}
	c.t.Fatalf("no node has slot %d", slot(key))
	return nil
}

// share is the first and the last slot of a node.
func share(node int) (first, last int) { return node * slots / nodes, (node+1)*slots/nodes - 1 }

// slot is the CRC-16 (XMODEM) of the key, or of what stands in its first braces unless that is nothing.
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
