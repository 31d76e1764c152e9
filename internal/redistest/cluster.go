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
	clusterWithin = 30 * time.Second
)

// A Cluster is three primaries without replicas that share the slots. A node that is down for more than 1 s makes
// the others answer CLUSTERDOWN, as Redis does by default.
type Cluster struct {
	Addrs []string  // of the nodes, host:port
	Nodes []*Server // in the order of their slots

	t testing.TB
}

// StartCluster runs the nodes like Start, and waits until each serves all slots: Redis takes 2 s for that. args are
// settings of every node.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	settings := append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", nodeTimeout}, args...)
	for range nodes {
		node := start(t, setup{dir: t.TempDir(), args: settings, cluster: true})
		c.Nodes, c.Addrs = append(c.Nodes, node), append(c.Addrs, node.Addr)
	}
	for i, node := range c.Nodes {
		first, last := share(i)
		c.must(node.Do("CLUSTER", "ADDSLOTSRANGE", first, last))
		c.must(node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)) // of their own, so that they need not settle whose is whose
	}
	for _, node := range c.Nodes {
		for _, addr := range c.Addrs {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			c.must(node.Do("CLUSTER", "MEET", host, port))
		}
	}
	c.Await()
	return c
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

// NodeOf is the node that has the slot of a key, whether it runs or not.
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
