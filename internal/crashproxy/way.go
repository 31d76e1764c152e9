package crashproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	chunkSize   = 16 << 10
	dialTimeout = 30 * time.Second
	passTimeout = 30 * time.Second // for a chunk that the other side does not take
)

// A Way leads from an address of its own to a server. Its methods are safe for concurrent use.
type Proxy struct {
	Addr string // host:port, where the process finds the server

	process  *Process
	target   string
	reserved int // a socket that keeps the port while nobody listens on it

	gate     sync.Mutex       // whoever holds it opens or refuses
	listener *net.TCPListener // nil while connections are refused
	gone     chan struct{}    // closed when nobody listens any more

	mu       sync.Mutex
	pairs    map[*pair]bool
	accepted int
	late     time.Duration
	held     chan struct{} // closed when what is held may go on; nil if nothing is to be held
	holding  int           // connections whose data is held back
}

// hosts are where ways begin: where the system has it at an address that nobody else uses, so that many ways take
// nobody's port.
var hosts = [][4]byte{{127, 0, 0, 2}, {127, 0, 0, 1}}

// reserve takes a port and keeps it by a socket that is bound and does not listen: connections to it are refused,
// nobody else gets it, and a listener may share it.
func (w *Proxy) reserve() (err error) {
	for _, host := range hosts {
		if w.reserved, w.Addr, err = bound(host); err == nil {
			return nil
		}
	}
	return err
}

func bound(host [4]byte) (fd int, address string, err error) {
	syscall.ForkLock.RLock()
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, "", err
	}
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: host})
	}
	if err == nil {
		var name syscall.Sockaddr
		if name, err = syscall.Getsockname(fd); err == nil {
			port := name.(*syscall.SockaddrInet4).Port // the socket is an IPv4 one
			return fd, netip.AddrPortFrom(netip.AddrFrom4(host), uint16(port)).String(), nil
		}
	}
	return 0, "", errors.Join(err, syscall.Close(fd))
}

func (w *Proxy) release() { _ = syscall.Close(w.reserved) }

// Open takes connections, as a new way does; after a crash it does nothing.
func (w *Proxy) Open() {
	w.process.t.Helper()
	w.gate.Lock()
	defer w.gate.Unlock()
	if w.listener != nil || w.process.Crashed() {
		return
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", w.Addr)
	if err != nil {
		w.process.t.Fatal(err)
	}
	gone := make(chan struct{})
	w.listener, w.gone = l.(*net.TCPListener), gone // it was told tcp4
	w.process.tasks.Go(func() {
		defer close(gone)
		w.accept(l)
	})
}

// Refuse lets new connections be refused until Open. Those that stand are not touched.
func (w *Proxy) Refuse() {
	w.gate.Lock()
	defer w.gate.Unlock()
	if w.listener == nil {
		return
	}
	// A child that is being started has the listener open too until it runs its program. Closing alone would leave
	// the kernel listening until then.
	stopListening(w.listener)
	_ = w.listener.Close()
	<-w.gone
	w.listener = nil
}

func stopListening(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
	}
}

// Cut resets all connections that stand. The server still gets what was passed on before.
func (w *Proxy) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.pairs {
		p.cut()
	}
}

// Delay holds what the process sends from now on back for d. What is under way when its connection is reset is lost.
func (w *Proxy) Delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = d
}

// Hold holds what the process sends from now on back until release is called. What is held when its connection is
// reset is lost.
func (w *Proxy) Hold() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := make(chan struct{})
	w.held = held
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.held == held {
			w.held = nil
		}
		close(held)
	})
}

// Holding is on how many connections data is held back at the moment.
func (w *Proxy) Holding() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holding
}

// Accepted is how many connections were made.
func (w *Proxy) Accepted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accepted
}

// hold returns the channel that is closed when a chunk that has just arrived may pass, nil if it may at once. Where
// there is a channel, passed is called afterwards.
func (w *Proxy) hold() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	released := w.held
	switch {
	case released != nil:
	case w.late > 0:
		released = make(chan struct{})
		time.AfterFunc(w.late, func() { close(released) })
	default:
		return nil
	}
	w.holding++
	return released
}

func (w *Proxy) passed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding--
}

func (w *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		near := conn.(*net.TCPConn) // Listen was told tcp4
		w.mu.Lock()
		w.accepted++
		w.mu.Unlock()
		w.process.tasks.Go(func() { w.serve(near) })
	}
}

// serve joins a connection with one to the target until both are at their end. Where there is no target, the
// connection is reset.
func (w *Proxy) serve(near *net.TCPConn) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp4", w.target)
	if err != nil {
		reset(near)
		return
	}
	p := &pair{way: w, near: near, far: conn.(*net.TCPConn)} // as above
	if !w.add(p) {
		p.cut()
	}
	var ends sync.WaitGroup
	ends.Go(func() { p.pump(false) })
	ends.Go(func() { p.pump(true) })
	ends.Wait()
	w.mu.Lock()
	delete(w.pairs, p)
	w.mu.Unlock()
	_ = p.near.Close()
	_ = p.far.Close()
}

// add is false if the process died while the connection was made.
func (w *Proxy) add(p *pair) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pairs[p] = true
	return !w.process.Crashed()
}

// A pair is a connection of the process and the one that continues it.
type pair struct {
	way       *Proxy
	near, far *net.TCPConn
}

// cut ends a connection as the kernel ends those of a process that was killed: it sends what was written, and then
// the end, and a reset where something was not read.
func (p *pair) cut() {
	reset(p.near)
	_ = p.far.Close()
}

func (p *pair) reset() {
	reset(p.near)
	reset(p.far)
}

// reset ends a connection without a farewell, and drops what was not sent.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// pump passes on what one side sends until its end, which it passes on too.
func (p *pair) pump(back bool) {
	from, to := p.near, p.far
	if back {
		from, to = to, from
	}
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !back {
			if released := p.way.hold(); released != nil {
				n, err = p.hold(buffer, n, released)
				p.way.passed()
			}
		}
		if n > 0 && (err == nil || errors.Is(err, io.EOF)) {
			_ = to.SetWriteDeadline(time.Now().Add(passTimeout)) // fails on a closed connection only, as does what follows
			if failed := p.way.process.pass(to, buffer[:n], Step{Way: p.way, Back: back}); failed != nil {
				err = failed
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		case err != nil:
			p.reset()
			return
		}
	}
}

// hold waits until the n bytes in the buffer are released, and adds what follows them meanwhile. It returns how many
// there are then, and how the connection ended, if it did: after a reset they are lost.
func (p *pair) hold(buffer []byte, n int, released <-chan struct{}) (int, error) {
	read := make(chan struct{})
	var wake sync.WaitGroup
	wake.Go(func() {
		select {
		case <-released:
			_ = p.near.SetReadDeadline(time.Unix(1, 0)) // ends the read that waits for more
		case <-read:
		}
	})
	var err error
	for err == nil && n < len(buffer) {
		var more int
		more, err = p.near.Read(buffer[n:])
		n += more
	}
	close(read)
	wake.Wait()
	if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
		return 0, err
	}
	select {
	case <-released:
	case <-p.way.process.ended:
	}
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, p.near.SetReadDeadline(time.Time{})
}
