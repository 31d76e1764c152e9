package deploy_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A balancer passes connections on to gateways in turn, and knows no more of them than Kubernetes' does: it sees no
// requests, and a connection stays with its gateway whatever becomes of that.
type balancer struct {
	address string // host:port

	mu       sync.Mutex
	gateways []string
	next     int
}

func startBalancer(t *testing.T) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{address: listener.Addr().String()}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { b.pass(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		passing.Wait()
	})
	return b
}

// add sends connections to a gateway too, http://HOST:PORT.
func (b *balancer) add(gateway string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gateways = append(b.gateways, strings.TrimPrefix(gateway, "http://"))
}

// remove sends no more connections to a gateway.
func (b *balancer) remove(gateway string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gateways = slices.DeleteFunc(b.gateways, func(g string) bool { return "http://"+g == gateway })
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.gateways[b.next%len(b.gateways)]
}

// pass carries bytes both ways until both sides have ended. A gateway that takes no connection is not tried again
// elsewhere: the caller sees what it would see.
func (b *balancer) pass(caller net.Conn) {
	defer caller.Close()
	gateway, err := net.Dial("tcp", b.pick())
	if err != nil {
		return
	}
	defer gateway.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{gateway, caller}, {caller, gateway}} {
		both.Go(func() {
			to, from := way[0].(*net.TCPConn), way[1].(*net.TCPConn)
			if _, err := io.Copy(to, from); err != nil {
				to.Close()
				from.Close()
				return
			}
			_ = to.CloseWrite()
		})
	}
	both.Wait()
}
