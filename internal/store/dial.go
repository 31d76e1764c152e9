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

	"ais-gateway/internal/store/send"
)

const (
	// maxUnproven is the number of consecutive unproven connections after which new ones are
	// delayed. It is above the number that are opened in the background.
	maxUnproven = 2 * ReadyConns
	// dialPause is the minimum time between two attempts while they are delayed.
	dialPause = 100 * time.Millisecond
	// minLifetime is the time after which a connection with a reply does not count as closed
	// immediately.
	minLifetime = time.Second
)

var (
	// errDelayed means that no connection was attempted, because the previous ones were closed
	// immediately.
	errDelayed = errors.New("redis closes connections immediately: waiting before the next attempt")
	// errFull means that Redis has reached its maxclients. No command was executed.
	errFull = errors.New("redis has reached its maxclients")
)

// fullReply starts the error with which Redis refuses a connection above its maxclients. Redis
// sends it before it receives any command.
const fullReply = "-ERR max number of clients"

// replyTypes are the first bytes of all replies of Redis except errors.
const replyTypes = "+:$*_,#(=%~>"

// connections tracks the connections of one client, or of one node of a cluster. It has two
// purposes. If Redis or a proxy accepts connections and closes them immediately, new ones are
// delayed. If a connection that worked is lost, older connections are not used again, because they
// are probably lost too, for example after a restart of Redis.
type connections struct {
	mu         sync.Mutex
	generation int       // of connections that are opened now
	unproven   int       // connections that ended unproven since the last proven one
	refusal    replyCode // of the last connection that ended unproven
	dialed     time.Time // the last attempt
}

// replyCode is the code of the error reply after which the client closed a connection, for example
// WRONGPASS; "" if there was none. It implements redis.Error.
type replyCode string

func (c replyCode) Error() string { return string(c) }

// RedisError implements redis.Error.
func (replyCode) RedisError() {}

func (c *connections) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *connections) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *connections) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		now := time.Now()
		generation, err := c.startDial(now)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t := &trackedConn{Conn: conn, all: c, generation: generation, opened: now}
		if raw, ok := conn.(syscall.Conn); ok {
			return &checkableConn{trackedConn: t, raw: raw}, nil
		}
		t.worked = true
		return &checkableConn{trackedConn: t, raw: noCheck{}}, nil
	}
}

// startDial returns the generation of a connection that is opened now. If it must not be opened
// yet, the error is the last refusal, so that the cause stays visible, or errDelayed.
func (c *connections) startDial(now time.Time) (generation int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unproven >= maxUnproven && now.Sub(c.dialed) < dialPause {
		if c.refusal != "" {
			return 0, c.refusal
		}
		return 0, errDelayed
	}
	c.dialed = now
	return c.generation, nil
}

// connProven records that a connection was proven.
func (c *connections) connProven() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unproven = 0
}

// endedUnproven records that a connection ended unproven.
func (c *connections) endedUnproven(code replyCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unproven++
	c.refusal = code
}

// endedUnused records that the client closed a connection, opened at a time, without writing to it.
// The client library opens such connections to find out whether Redis accepts any. The next attempt
// is not delayed by it: the library would count a delay as a failure, and hold back connections
// again.
func (c *connections) endedUnused(opened time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialed.Equal(opened) {
		c.dialed = time.Time{}
	}
}

// lost records that a connection of a generation that had worked was lost.
func (c *connections) lost(generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation == c.generation {
		c.generation++
	}
}

// outdated reports whether a connection of the generation, or of a later one, was lost.
func (c *connections) outdated(generation int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return generation < c.generation
}

// trackedConn records the end of a connection. The connection is proven by a complete reply that is
// not an error, to a command after the handshake. An error reply to the handshake proves nothing:
// an old Redis refuses HELLO, as does a server that is not Redis.
type trackedConn struct {
	net.Conn
	all        *connections
	generation int
	opened     time.Time

	mu       sync.Mutex
	written  bool      // the handshake or a command was written
	used     bool      // a command after the handshake was written
	unread   bool      // the reply to the last command has not arrived
	refused  bool      // the reply to the last command is an error, or not a reply of Redis's protocol
	refusal  replyCode // the code of the error
	worked   bool      // Redis sent any reply, or there was a TLS handshake
	full     bool      // Redis sent fullReply
	proven   bool
	recorded bool // its end is recorded
}

func (w *trackedConn) Read(p []byte) (int, error) {
	if w.isFull() {
		return 0, errFull
	}
	n, err := w.Conn.Read(p)
	if n > 0 && w.received(p[:n]) {
		return 0, errFull
	}
	w.recordEnd(err)
	return n, err
}

func (w *trackedConn) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.written = true
	w.used = w.used || !isHandshake(p)
	w.unread, w.refused, w.refusal = true, false, ""
	w.mu.Unlock()
	n, err := w.Conn.Write(p)
	w.recordEnd(err)
	return n, err
}

func (w *trackedConn) Close() error {
	w.mu.Lock()
	byClient := w.used && (w.unread || w.refusal != "") // after a timeout or a refusal
	unproven := !w.recorded && !byClient && !w.established()
	unused := !w.written
	w.recorded = true
	r := w.refusal
	w.mu.Unlock()
	switch {
	case unused:
		w.all.endedUnused(w.opened)
	case unproven:
		w.all.endedUnproven(r)
	}
	return w.Conn.Close()
}

// isFull reports whether Redis sent fullReply. The client continues to read after that error.
func (w *trackedConn) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// received records a part of a reply, and reports whether it is fullReply.
func (w *trackedConn) received(p []byte) (isFull bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.used && bytes.HasPrefix(p, []byte(fullReply)) {
		w.full = true
		return true
	}
	w.worked = true
	if w.unread {
		w.unread, w.refused = false, !strings.ContainsRune(replyTypes, rune(p[0]))
		code, _, _ := bytes.Cut(p[1:], []byte(" "))
		if p[0] == '-' && slices.Contains(refusalPrefixes, string(code)) {
			w.refusal = replyCode(code)
		}
	}
	if !w.proven && w.used && !w.refused && bytes.HasSuffix(p, []byte("\r\n")) {
		w.proven = true
		w.all.connProven()
	}
	return false
}

// established reports whether the connection is proven, or worked for at least minLifetime.
func (w *trackedConn) established() bool {
	return w.proven || w.worked && time.Since(w.opened) >= minLifetime
}

// recordEnd records the end of the connection if err shows that the other side closed it.
func (w *trackedConn) recordEnd(err error) {
	if !send.ConnLost(err) || errors.Is(err, net.ErrClosed) {
		return
	}
	w.mu.Lock()
	first, worked, established := !w.recorded, w.worked, w.established()
	w.recorded = true
	w.mu.Unlock()
	if !first {
		return
	}
	if worked {
		w.all.lost(w.generation)
	}
	if !established {
		w.all.endedUnproven("")
	}
}

// isHandshake reports whether p starts with a command with which the client sets up a connection.
func isHandshake(p []byte) bool {
	parts := bytes.SplitN(p, []byte("\r\n"), 4) // *2 $5 hello ...
	return len(parts) > 3 && (bytes.EqualFold(parts[2], []byte("hello")) || bytes.EqualFold(parts[2], []byte("auth")))
}

// checkableConn lets go-redis check a connection before it is used.
type checkableConn struct {
	*trackedConn
	raw syscall.Conn
}

// SyscallConn implements syscall.Conn. It fails for connections that must not be used again.
func (w *checkableConn) SyscallConn() (syscall.RawConn, error) {
	if w.all.outdated(w.generation) {
		w.mu.Lock()
		w.recorded = true // the client closes it because another connection was lost
		w.mu.Unlock()
		return nil, io.EOF
	}
	return w.raw.SyscallConn()
}

// noCheck is used for TLS connections, which cannot be checked without reading.
type noCheck struct{}

func (noCheck) SyscallConn() (syscall.RawConn, error) { return noCheck{}, nil }
func (noCheck) Control(func(uintptr)) error           { return nil }
func (noCheck) Read(func(uintptr) bool) error         { return nil }
func (noCheck) Write(func(uintptr) bool) error        { return nil }
