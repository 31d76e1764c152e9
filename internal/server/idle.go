package server

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// idleLimiter limits the number of idle connections. If there are too many, the oldest one on which
// no client was authenticated is closed, so that callers without credentials cannot displace
// clients.
type idleLimiter struct {
	mu            sync.Mutex
	max           int
	reserved      int        // connections that will be kept after the response that has begun
	authenticated *list.List // of idle *conn, the oldest first: those on which a client was authenticated
	anonymous     *list.List // of idle *conn, the oldest first: the others
}

// idleState is the state of a connection in its idleLimiter.
type idleState struct {
	authenticated bool       // a client was authenticated on the connection
	reserved      bool       // counted in idleLimiter.reserved
	list          *list.List // nil unless the connection is idle
	element       *list.Element
}

// newIdleLimiter returns a limiter that keeps at most limit connections idle.
func newIdleLimiter(limit int) *idleLimiter {
	return &idleLimiter{max: limit, authenticated: list.New(), anonymous: list.New()}
}

// MarkAuthenticated records that a client was authenticated on the connection of a request with
// context ctx. Such idle connections are not closed to make room for others.
func MarkAuthenticated(ctx context.Context) {
	if c := connOf(ctx); c != nil {
		c.idle.mu.Lock()
		defer c.idle.mu.Unlock()
		c.idleState.authenticated = true
	}
}

// reserve reports whether the connection can be kept after the response that begins now, and
// reserves its place.
func (l *idleLimiter) reserve(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.idleState.reserved && l.makeRoom() {
		c.idleState.reserved = true
		l.reserved++
	}
	return c.idleState.reserved
}

// makeRoom reports whether one more connection can be kept. If the limit is reached, it closes the
// oldest idle connection without authentication.
func (l *idleLimiter) makeRoom() bool {
	if l.reserved+l.authenticated.Len()+l.anonymous.Len() < l.max {
		return true
	}
	oldest := l.anonymous.Front()
	if oldest == nil {
		return false
	}
	c := oldest.Value.(*conn)
	l.remove(c)
	go c.Close() // with TLS, Close writes, and a caller that does not read must not delay others
	return true
}

// connState implements http.Server.ConnState.
func (l *idleLimiter) connState(nc net.Conn, s http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != http.StateIdle {
		l.remove(c)
		if c.idleState.reserved && s != http.StateActive {
			l.release(c)
		}
		return
	}
	if c.idleState.reserved {
		l.release(c)
	} else if !l.makeRoom() { // an empty response reserves nothing
		go c.Close()
		return
	}
	c.idleState.list = l.anonymous
	if c.idleState.authenticated {
		c.idleState.list = l.authenticated
	}
	c.idleState.element = c.idleState.list.PushBack(c)
}

// release frees the place that reserve has reserved.
func (l *idleLimiter) release(c *conn) {
	c.idleState.reserved = false
	l.reserved--
}

// remove takes a connection out of the list of idle ones.
func (l *idleLimiter) remove(c *conn) {
	if c.idleState.list != nil {
		c.idleState.list.Remove(c.idleState.element)
		c.idleState.list, c.idleState.element = nil, nil
	}
}
