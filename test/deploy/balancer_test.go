package deploy_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// balancer forwards TCP connections to gateways in turn. Like that of Kubernetes it does not see
// requests, and a connection stays with its gateway.
type balancer struct {
	address string // host:port

	mu       sync.Mutex
	gateways []string
	next     int
}

// startBalancer starts a balancer without gateways.
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

// add adds a gateway, http://HOST:PORT.
func (b *balancer) add(gateway string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gateways = append(b.gateways, strings.TrimPrefix(gateway, "http://"))
}

// remove removes a gateway. Its open connections stay.
func (b *balancer) remove(gateway string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gateways = slices.DeleteFunc(b.gateways, func(g string) bool { return "http://"+g == gateway })
}

// pick returns the address of the next gateway.
func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.gateways[b.next%len(b.gateways)]
}

// pass copies bytes in both directions until both sides have closed. If the gateway accepts no
// connection, pass does not try another one, so that the caller sees the failure.
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
