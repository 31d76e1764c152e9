package crashproxy

import (
	"bytes"
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
	passTimeout = 30 * time.Second // for writing a chunk to a side that does not read
)

// Proxy forwards connections from an address of its own to a server. Its methods are safe for
// concurrent use.
type Proxy struct {
	Addr string // host:port, to be used by the process in place of the server's address

	process  *Process
	target   string
	reserved int // a socket that keeps the port while the proxy does not listen

	opening    sync.Mutex       // held by Open and Refuse
	listener   *net.TCPListener // nil while connections are refused
	acceptDone chan struct{}    // closed when the listener is closed

	mu       sync.Mutex
	pairs    map[*pair]bool
	accepted int
	delay    time.Duration
	released chan struct{}                                 // closed when held data may be forwarded; nil if nothing is held back
	onSend   func(chunk []byte) (released <-chan struct{}) // see OnSend; nil for nothing
	holding  int                                           // number of connections with data that is held back
	losing   string                                        // see LoseReply; "" for nothing
	muted    *pair                                         // whose data from the server is lost
	lost     bool
}

// loopbackHosts are the addresses of proxies in the order of preference. No other program uses the
// ports of the first, which some systems do not have.
var loopbackHosts = [][4]byte{{127, 0, 0, 2}, {127, 0, 0, 1}}

// reserve binds a socket to a free port without listening: connections to it are refused, no other
// program gets the port, and a listener can share it.
func (px *Proxy) reserve() (err error) {
	for _, host := range loopbackHosts {
		if px.reserved, px.Addr, err = reservePort(host); err == nil {
			return nil
		}
	}
	return err
}

func reservePort(host [4]byte) (fd int, address string, err error) {
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

// release frees the port.
func (px *Proxy) release() { _ = syscall.Close(px.reserved) }

// Open accepts connections again after Refuse. A new Proxy is open. Open does nothing after a
// crash.
func (px *Proxy) Open() {
	px.process.t.Helper()
	px.opening.Lock()
	defer px.opening.Unlock()
	if px.listener != nil || px.process.Crashed() {
		return
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", px.Addr)
	if err != nil {
		px.process.t.Fatal(err)
	}
	gone := make(chan struct{})
	px.listener, px.acceptDone = l.(*net.TCPListener), gone // because of tcp4
	px.process.tasks.Go(func() {
		defer close(gone)
		px.accept(l)
	})
}

// Refuse refuses new connections until Open is called. Existing connections stay open.
func (px *Proxy) Refuse() {
	px.opening.Lock()
	defer px.opening.Unlock()
	if px.listener == nil {
		return
	}
	// A child process that is being started shares the listener until it executes its program. If
	// the listener were only closed, the kernel would accept connections until then.
	stopListening(px.listener)
	_ = px.listener.Close()
	<-px.acceptDone
	px.listener = nil
}

func stopListening(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
	}
}

// Cut resets all existing connections. The server still receives what was forwarded before.
func (px *Proxy) Cut() {
	px.mu.Lock()
	defer px.mu.Unlock()
	for p := range px.pairs {
		p.cut()
	}
}

// Delay delays what the process sends from now on by d. Data that is delayed when its connection is
// reset is lost.
func (px *Proxy) Delay(d time.Duration) {
	px.mu.Lock()
	defer px.mu.Unlock()
	px.delay = d
}

// Hold holds back what the process sends from now on until release is called. Data that is held
// when its connection is reset is lost.
func (px *Proxy) Hold() (release func()) {
	px.mu.Lock()
	defer px.mu.Unlock()
	held := make(chan struct{})
	px.released = held
	return sync.OnceFunc(func() {
		px.mu.Lock()
		defer px.mu.Unlock()
		if px.released == held {
			px.released = nil
		}
		close(held)
	})
}

// OnSend calls f with each chunk that the process sends from now on, and holds the chunk back until
// the channel that f returns is closed; not at all if it is nil. What the process sends on the same
// connection until then belongs to the chunk, and f does not get it. f must not call the proxy's
// methods. There are no calls while Hold or Delay hold data back.
func (px *Proxy) OnSend(f func(chunk []byte) (released <-chan struct{})) {
	px.mu.Lock()
	defer px.mu.Unlock()
	px.onSend = f
}

// Holding returns the number of connections with delayed or held data.
func (px *Proxy) Holding() int {
	px.mu.Lock()
	defer px.mu.Unlock()
	return px.holding
}

// Accepted returns the number of connections that were accepted so far.
func (px *Proxy) Accepted() int {
	px.mu.Lock()
	defer px.mu.Unlock()
	return px.accepted
}

// LoseReply loses the reply to the next data of the process that contains a text, and all later data
// from the server on the same connection, until Cut resets it.
func (px *Proxy) LoseReply(text string) {
	px.mu.Lock()
	defer px.mu.Unlock()
	px.losing, px.muted, px.lost = text, nil, false
}

// Lost reports whether data was lost since LoseReply.
func (px *Proxy) Lost() bool {
	px.mu.Lock()
	defer px.mu.Unlock()
	return px.lost
}

// loses reports whether a chunk is lost.
func (px *Proxy) loses(p *pair, chunk []byte, fromServer bool) bool {
	px.mu.Lock()
	defer px.mu.Unlock()
	if !fromServer {
		if px.losing != "" && bytes.Contains(chunk, []byte(px.losing)) {
			px.losing, px.muted = "", p
		}
		return false
	}
	px.lost = px.lost || px.muted == p
	return px.muted == p
}

// hold returns a channel that is closed when a chunk that has just arrived may be forwarded, or nil
// if it need not wait. After a wait, passed must be called.
func (px *Proxy) hold(chunk []byte) (released <-chan struct{}) {
	px.mu.Lock()
	defer px.mu.Unlock()
	switch {
	case px.released != nil:
		released = px.released
	case px.delay > 0:
		over := make(chan struct{})
		time.AfterFunc(px.delay, func() { close(over) })
		released = over
	case px.onSend != nil:
		released = px.onSend(chunk)
	}
	if released != nil {
		px.holding++
	}
	return released
}

func (px *Proxy) passed() {
	px.mu.Lock()
	defer px.mu.Unlock()
	px.holding--
}

func (px *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		near := conn.(*net.TCPConn) // because of tcp4
		px.mu.Lock()
		px.accepted++
		px.mu.Unlock()
		px.process.tasks.Go(func() { px.serve(near) })
	}
}

// serve forwards a connection to the target until both directions are closed. If the target cannot
// be reached, the connection is reset.
func (px *Proxy) serve(near *net.TCPConn) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp4", px.target)
	if err != nil {
		reset(near)
		return
	}
	p := &pair{proxy: px, client: near, server: conn.(*net.TCPConn)} // as above
	if !px.add(p) {
		p.cut()
	}
	var ends sync.WaitGroup
	ends.Go(func() { p.pump(false) })
	ends.Go(func() { p.pump(true) })
	ends.Wait()
	px.mu.Lock()
	delete(px.pairs, p)
	px.mu.Unlock()
	_ = p.client.Close()
	_ = p.server.Close()
}

// add registers a pair. It returns false if the process has crashed in the meantime.
func (px *Proxy) add(p *pair) bool {
	px.mu.Lock()
	defer px.mu.Unlock()
	px.pairs[p] = true
	return !px.process.Crashed()
}

// pair is a connection of the process and the proxy's connection to the target.
type pair struct {
	proxy          *Proxy
	client, server *net.TCPConn
}

// cut closes the connections as the kernel does for a process that was killed: the server receives
// what was written, then the end of the stream or, if the process had unread data, a reset.
func (p *pair) cut() {
	reset(p.client)
	_ = p.server.Close()
}

func (p *pair) reset() {
	reset(p.client)
	reset(p.server)
}

// reset closes a connection with a TCP reset, and drops unsent data.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// pump forwards one direction of a pair including the end of the stream.
func (p *pair) pump(back bool) {
	from, to := p.client, p.server
	if back {
		from, to = to, from
	}
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !back {
			if released := p.proxy.hold(buffer[:n]); released != nil {
				n, err = p.hold(buffer, n, released)
				p.proxy.passed()
			}
		}
		if n > 0 && p.proxy.loses(p, buffer[:n], back) {
			continue
		}
		if n > 0 && (err == nil || errors.Is(err, io.EOF)) {
			_ = to.SetWriteDeadline(time.Now().Add(passTimeout)) // fails on a closed connection only, as does what follows
			if failed := p.proxy.process.pass(to, buffer[:n], Step{Proxy: p.proxy, FromServer: back}); failed != nil {
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

// hold waits until the n bytes in the buffer are released, and appends data that arrives in the
// meantime. It returns the number of bytes and the error of the connection, if it has ended:
// io.EOF, or a reset, after which the number is 0.
func (p *pair) hold(buffer []byte, n int, released <-chan struct{}) (int, error) {
	read := make(chan struct{})
	var wake sync.WaitGroup
	wake.Go(func() {
		select {
		case <-released:
			_ = p.client.SetReadDeadline(time.Unix(1, 0)) // ends the pending read
		case <-read:
		}
	})
	var err error
	for err == nil && n < len(buffer) {
		var more int
		more, err = p.client.Read(buffer[n:])
		n += more
	}
	close(read)
	wake.Wait()
	if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
		return 0, err
	}
	select {
	case <-released:
	case <-p.proxy.process.crashDone:
	}
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, p.client.SetReadDeadline(time.Time{})
}
