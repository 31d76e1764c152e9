// Package crashproxy stands between a process and the servers that it calls, on loopback, so that a test decides what
// the outside world sees of the process: that it dies between two of its steps, that a connection of its is refused,
// cut or slow. What passes is passed on unchanged, chunk by chunk. Only tests import it: the model test of
// internal/gateway, where one Process stands for one gateway, and those about a slow Redis.
package crashproxy

import (
	"net"
	"sync"
)

// TB is what a relay needs of a test: testing.TB has it, and so has *rapid.T.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
}

// A Process is all ways on which one process goes out. Its methods are safe for concurrent use.
type Process struct {
	t     TB
	turn  sync.Mutex // whoever holds it passes one chunk on
	mu    sync.Mutex // of what follows
	ways  []*Proxy
	dead  bool
	last  Step
	left  int // chunks until do is called
	do    func()
	tasks sync.WaitGroup
	ended chan struct{} // closed by the crash
}

// A Step is the passing of one chunk.
type Step struct {
	Way  *Proxy
	Back bool // from the server to the process
}

// New makes a process without ways. Everything of it ends with the test.
func New(t TB) *Process {
	p := &Process{t: t, ended: make(chan struct{})}
	t.Cleanup(func() {
		p.Crash()
		p.tasks.Wait()
		for _, w := range p.ways {
			w.release()
		}
	})
	return p
}

// Way opens a way that leads to target, host:port.
func (p *Process) Way(target string) *Proxy {
	p.t.Helper()
	w := &Proxy{process: p, target: target, pairs: map[*pair]bool{}}
	if err := w.reserve(); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.ways = append(p.ways, w)
	p.mu.Unlock()
	w.Open()
	return w
}

// Crash ends the process as the world sees it: all of its connections end at once, nothing is passed on any more, in
// neither direction, and new connections are refused. Servers still get what was passed on before.
func (p *Process) Crash() {
	p.mu.Lock()
	if !p.dead {
		close(p.ended)
	}
	p.dead, p.do = true, nil
	ways := p.ways
	p.mu.Unlock()
	for _, w := range ways {
		w.Refuse()
		w.Cut()
	}
}

// CrashAfter lets the process crash once n more chunks, 1 or more, have been passed on, over all ways together and in
// either direction: what it would have done next it never does.
func (p *Process) CrashAfter(n int) { p.After(n, p.Crash) }

// After calls do once n more chunks, 1 or more, have been passed on; none is passed on meanwhile. It takes the place
// of what After and CrashAfter were told before, and is not called from one of their do. With a nil do nothing is called.
func (p *Process) After(n int, do func()) {
	p.turn.Lock() // a chunk that has arrived is also counted
	defer p.turn.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.do = n, do
}

// Crashed reports whether the process is dead.
func (p *Process) Crashed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Last is the last step that was made, the zero Step if there was none.
func (p *Process) Last() Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// pass sends a chunk on, if the process lives, and then does what After was told. Its turn lasts until that is done.
func (p *Process) pass(to *net.TCPConn, chunk []byte, s Step) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.Crashed() {
		return net.ErrClosed
	}
	if _, err := to.Write(chunk); err != nil {
		return err
	}
	if do := p.count(s); do != nil {
		do()
	}
	return nil
}

// count notes a step, and is what is to be done after it.
func (p *Process) count(s Step) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = s
	p.left--
	if p.do == nil || p.left > 0 {
		return nil
	}
	do := p.do
	p.do = nil
	return do
}
