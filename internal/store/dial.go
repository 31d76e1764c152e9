package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxUnproven is how many connections in a row may end unproven before connecting is spaced: more than are opened in the
	// background.
	maxUnproven = 2 * readyConns
	// dialPause is the time from one attempt to the next one then.
	dialPause = 100 * time.Millisecond
	// proof is how long a connection with a reply must have lived to be no sign of a Redis that ends connections at once.
	proof = time.Second
)

var (
	// errSpaced says that a connection was not attempted, since those before ended at once. Nothing was sent.
	errSpaced = errors.New("redis closes connections immediately: waiting before the next attempt")
	// errFull says that Redis has as many clients as its maxclients allows. No command was carried out.
	errFull = errors.New("redis has reached its maxclients")
)

// fullReply is the beginning of the reply of a Redis that accepts no more clients. It sends the reply before any command.
const fullReply = "-ERR max number of clients"

// replies are what the replies of Redis that are no errors begin with.
const replies = "+:$*_,#(=%~>"

// connections watches the connections of one client, or of one node of a cluster. Redis, or a proxy before it, may accept
// connections and end them at once: connecting is then spaced. And once one connection that worked is found dead, those that
// are as old are not used again, since most likely all are: after a restart of Redis, say.
type connections struct {
	mu       sync.Mutex
	age      int       // of the connections that are opened now
	unproven int       // connections that ended unproven since the last one was proven
	refusal  refusal   // of the last connection that ended unproven
	dialed   time.Time // the last attempt
}

// A refusal is the code of the error reply after which the gateway closed a connection, such as WRONGPASS; "" for none.
// It is an error of Redis.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError implements redis.Error.
func (refusal) RedisError() {}

func (c *connections) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *connections) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *connections) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		now := time.Now()
		age, err := c.mayDial(now)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w := &watched{Conn: conn, of: c, age: age, opened: now}
		if raw, ok := conn.(syscall.Conn); ok {
			return &watchedTCP{watched: w, raw: raw}, nil
		}
		w.worked = true
		return &watchedTCP{watched: w, raw: unchecked{}}, nil
	}
}

// mayDial returns the age of a connection that is opened now, or the error of one that must not be opened yet: the last
// refusal, so that the cause stays visible.
func (c *connections) mayDial(now time.Time) (age int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unproven >= maxUnproven && now.Sub(c.dialed) < dialPause {
		if c.refusal != "" {
			return 0, c.refusal
		}
		return 0, errSpaced
	}
	c.dialed = now
	return c.age, nil
}

// proved notes that a connection was proven.
func (c *connections) proved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unproven = 0
}

// failed notes that a connection ended unproven.
func (c *connections) failed(r refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unproven++
	c.refusal = r
}

// aged notes that a connection of an age that had worked was found dead.
func (c *connections) aged(age int) {
	c.mu.Lock()
	defer c.mu.Unlock()
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

// watched is a connection whose end is noted. It is proven by a complete reply to a command beyond the handshake that is no
// error. An error reply to the handshake proves nothing: an old Redis refuses HELLO, and so does what is no Redis.
type watched struct {
	net.Conn
	of     *connections
	age    int
	opened time.Time

	mu      sync.Mutex
	asked   bool    // a command beyond the handshake was written
	unread  bool    // nothing of the reply to the last command was read
	refused bool    // the reply to the last command is an error, or none of Redis's protocol
	refusal refusal // the code of the error
	worked  bool    // Redis replied to something, or there was a TLS handshake
	full    bool    // Redis sent that
	proven  bool
	gone    bool // its end is noted
}

func (w *watched) Read(p []byte) (int, error) {
	if w.isFull() {
		return 0, errFull
	}
	n, err := w.Conn.Read(p)
	if n > 0 && w.read(p[:n]) {
		return 0, errFull
	}
	w.end(err)
	return n, err
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.asked = w.asked || !isHandshake(p)
	w.unread, w.refused, w.refusal = true, false, ""
	w.mu.Unlock()
	n, err := w.Conn.Write(p)
	w.end(err)
	return n, err
}

func (w *watched) Close() error {
	w.mu.Lock()
	ours := w.asked && (w.unread || w.refusal != "") // the client closes it: a reply came too late, or is a refusal
	unproven := !w.gone && !ours && !w.established()
	w.gone = true
	r := w.refusal
	w.mu.Unlock()
	if unproven {
		w.of.failed(r)
	}
	return w.Conn.Close()
}

// isFull reports whether Redis said that it accepts no more clients. The client reads on after such an error.
func (w *watched) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// read notes a part of a reply, and reports whether Redis accepts no more clients.
func (w *watched) read(p []byte) (isFull bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked && bytes.HasPrefix(p, []byte(fullReply)) {
		w.full = true
		return true
	}
	w.worked = true
	if w.unread {
		w.unread, w.refused = false, !strings.ContainsRune(replies, rune(p[0]))
		code, _, _ := bytes.Cut(p[1:], []byte(" "))
		if p[0] == '-' && slices.Contains(refusals, string(code)) {
			w.refusal = refusal(code)
		}
	}
	if !w.proven && w.asked && !w.refused && bytes.HasSuffix(p, []byte("\r\n")) {
		w.proven = true
		w.of.proved()
	}
	return false
}

// established reports whether a connection is proven, or worked and has lived long enough.
func (w *watched) established() bool {
	return w.proven || w.worked && time.Since(w.opened) >= proof
}

// end notes the end of a connection that the other side ended.
func (w *watched) end(err error) {
	if !dead(err) || errors.Is(err, net.ErrClosed) {
		return
	}
	w.mu.Lock()
	first, worked, established := !w.gone, w.worked, w.established()
	w.gone = true
	w.mu.Unlock()
	if !first {
		return
	}
	if worked {
		w.of.aged(w.age)
	}
	if !established {
		w.of.failed("")
	}
}

// isHandshake reports whether the client writes a command of the setting up of a connection.
func isHandshake(p []byte) bool {
	parts := bytes.SplitN(p, []byte("\r\n"), 4) // *2 $5 hello ...
	return len(parts) > 3 && (bytes.EqualFold(parts[2], []byte("hello")) || bytes.EqualFold(parts[2], []byte("auth")))
}

// watchedTCP lets go-redis look at a connection before it uses it, as it does at any other.
type watchedTCP struct {
	*watched
	raw syscall.Conn
}

// SyscallConn implements syscall.Conn. It fails for connections that must not be used again.
func (w *watchedTCP) SyscallConn() (syscall.RawConn, error) {
	if w.of.old(w.age) {
		w.mu.Lock()
		w.gone = true // the end of another connection is why the client closes this one
		w.mu.Unlock()
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
