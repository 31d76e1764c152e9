// Package crashproxy forwards the TCP connections of a process under test to its servers, and
// simulates a crash of the process between two network steps, and refused, reset or delayed
// connections. Data is forwarded unchanged, chunk by chunk. Only tests import it: the model test of
// internal/gateway, where each Process is a gateway, and tests with a slow Redis or of round trips.
package crashproxy

import (
	"net"
	"sync"
)

// TB is the part of testing.TB that this package needs. *rapid.T implements it, too.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
}

// Process is the network of one process: the proxies for all its connections. Its methods are safe
// for concurrent use.
type Process struct {
	t         TB
	passing   sync.Mutex // held while a chunk is forwarded
	mu        sync.Mutex // guards the fields below
	proxies   []*Proxy
	crashed   bool
	lastStep  Step
	remaining int // chunks until do is called
	do        func()
	tasks     sync.WaitGroup
	crashDone chan struct{} // closed by Crash
}

// Step is the forwarding of one chunk.
type Step struct {
	Proxy      *Proxy
	FromServer bool // from the server to the process
}

// New returns a Process without proxies. It and its proxies are closed when the test ends.
func New(t TB) *Process {
	p := &Process{t: t, crashDone: make(chan struct{})}
	t.Cleanup(func() {
		p.Crash()
		p.tasks.Wait()
		for _, px := range p.proxies {
			px.release()
		}
	})
	return p
}

// NewProxy opens a proxy to a target, host:port. It fails the test if it cannot listen.
func (p *Process) NewProxy(target string) *Proxy {
	p.t.Helper()
	px := &Proxy{process: p, target: target, pairs: map[*pair]bool{}}
	if err := px.reserve(); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.proxies = append(p.proxies, px)
	p.mu.Unlock()
	px.Open()
	return px
}

// Crash simulates the end of the process: all its connections are closed, nothing is forwarded any
// more in either direction, and new connections are refused. Servers still receive what was
// forwarded before.
func (p *Process) Crash() {
	p.mu.Lock()
	if !p.crashed {
		close(p.crashDone)
	}
	p.crashed, p.do = true, nil
	ways := p.proxies
	p.mu.Unlock()
	for _, px := range ways {
		px.Refuse()
		px.Cut()
	}
}

// CrashAfter calls Crash after n more chunks, at least 1, over all proxies and in both directions.
func (p *Process) CrashAfter(n int) { p.After(n, p.Crash) }

// After calls do after n more chunks, at least 1. No chunk is forwarded while do runs. A call of
// After or CrashAfter replaces earlier ones; with nil it only removes them. It must not be called
// by do.
func (p *Process) After(n int, do func()) {
	p.passing.Lock() // the chunk that is being forwarded does not count
	defer p.passing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remaining, p.do = n, do
}

// Crashed reports whether Crash was called.
func (p *Process) Crashed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashed
}

// LastStep returns the last step, or the zero Step if there was none.
func (p *Process) LastStep() Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastStep
}

// pass forwards a chunk and then calls the function of After if it is due. It returns net.ErrClosed
// after a crash.
func (p *Process) pass(to *net.TCPConn, chunk []byte, s Step) error {
	p.passing.Lock()
	defer p.passing.Unlock()
	if p.Crashed() {
		return net.ErrClosed
	}
	if _, err := to.Write(chunk); err != nil {
		return err
	}
	if do := p.record(s); do != nil {
		do()
	}
	return nil
}

// record records a step, and returns the function of After if it is due, or nil.
func (p *Process) record(s Step) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastStep = s
	p.remaining--
	if p.do == nil || p.remaining > 0 {
		return nil
	}
	do := p.do
	p.do = nil
	return do
}
