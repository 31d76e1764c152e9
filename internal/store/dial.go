package store

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxUnproven is how many connections in a row may end without a byte from Redis before connecting is spaced: more
	// than are opened in the background.
	maxUnproven = 2 * readyConns
	// dialPause is how long after one attempt the next one is made then.
	dialPause = 100 * time.Millisecond
)

// errSpaced says that a connection was not attempted, since those before ended at once. Nothing was sent.
var errSpaced = errors.New("redis closes connections immediately: waiting before the next attempt")

// connections watches the connections of one client, or of one node of a cluster. Something between gateway and Redis may
// accept connections and end them at once: it is not stormed. And once one connection that worked is found dead, those that
// are as old are not used again, since most likely all are: after a restart of Redis, say.
type connections struct {
	mu       sync.Mutex
	age      int       // of the connections that are opened now
	unproven int       // connections in a row that ended without a byte from Redis
	dialed   time.Time // the last attempt
}

func (c *connections) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *connections) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *connections) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		age, ok := c.mayDial(time.Now())
		if !ok {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errSpaced}
		}
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w := &watched{Conn: conn, of: c, age: age}
		if raw, ok := conn.(syscall.Conn); ok {
			return &watchedTCP{watched: w, raw: raw}, nil
		}
		return &watchedTCP{watched: w, raw: unchecked{}}, nil
	}
}

func (c *connections) mayDial(now time.Time) (age int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unproven >= maxUnproven && now.Sub(c.dialed) < dialPause {
		return 0, false
	}
	c.dialed = now
	return c.age, true
}

// proved notes that Redis sent something.
func (c *connections) proved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unproven = 0
}

// ended notes that a connection ended: without a byte from Redis, or found dead after it had worked.
func (c *connections) ended(age int, proven bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !proven {
		c.unproven++
	}
	if age == c.age {
		c.age++
	}
}

// old reports whether a connection is as old as one that was found dead.
func (c *connections) old(age int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return age < c.age
}

// watched is a connection whose end is noted.
type watched struct {
	net.Conn
	of     *connections
	age    int
	mu     sync.Mutex
	proven bool // Redis sent something
	gone   bool // its end is noted
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.prove()
	}
	w.end(err)
	return n, err
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.end(err)
	return n, err
}

func (w *watched) Close() error {
	w.mu.Lock()
	unproven := !w.proven && !w.gone
	w.gone = true
	w.mu.Unlock()
	if unproven {
		w.of.ended(-1, false)
	}
	return w.Conn.Close()
}

func (w *watched) prove() {
	w.mu.Lock()
	first := !w.proven
	w.proven = true
	w.mu.Unlock()
	if first {
		w.of.proved()
	}
}

// end notes the end of a connection that the other side ended.
func (w *watched) end(err error) {
	if !dead(err) || errors.Is(err, net.ErrClosed) {
		return
	}
	w.mu.Lock()
	first, proven := !w.gone, w.proven
	w.gone = true
	w.mu.Unlock()
	if first {
		w.of.ended(w.age, proven)
	}
}

// watchedTCP lets go-redis look at a connection before it uses it, as it does at any other.
type watchedTCP struct {
	*watched
	raw syscall.Conn
}

// SyscallConn implements syscall.Conn. It fails for connections that must not be used again.
func (w *watchedTCP) SyscallConn() (syscall.RawConn, error) {
	if w.of.old(w.age) {
		return nil, io.EOF
	}
	return w.raw.SyscallConn()
}

// unchecked stands for what cannot be looked at without reading: a TLS connection.
type unchecked struct{}

func (unchecked) SyscallConn() (syscall.RawConn, error) { return unchecked{}, nil }
func (unchecked) Control(func(uintptr)) error           { return nil }
func (unchecked) Read(func(uintptr) bool) error         { return nil }
func (unchecked) Write(func(uintptr) bool) error        { return nil }
