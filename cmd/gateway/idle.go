package main

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// idlers are the connections on which nothing is in progress. Only so many are kept. The oldest one without credentials goes
// first, so that whoever opens many does not end the connections of clients.
type idlers struct {
	mu       sync.Mutex
	most     int
	promised int        // connections that will be kept after the response that has begun
	known    *list.List // of *connection, the oldest first: those on which a client was authenticated
	strange  *list.List // likewise: the others
}

// A place is a connection's among the idle ones.
type place struct {
	known    bool // a client was authenticated on the connection
	promised bool
	in       *list.List // nil while it is not idle
	element  *list.Element
}

func newIdlers(most int) *idlers {
	return &idlers{most: most, known: list.New(), strange: list.New()}
}

// authenticated notes that a client was authenticated on a request's connection.
func (i *idlers) authenticated(ctx context.Context) {
	if c := connectionOf(ctx); c != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		c.place.known = true
	}
}

// keeps reports whether the connection is kept after the response that begins now, and promises it.
func (i *idlers) keeps(c *connection) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !c.place.promised && i.room() {
		c.place.promised = true
		i.promised++
	}
	return c.place.promised
}

// room reports whether one more connection can be kept. If there is none, the oldest idle one without credentials ends.
func (i *idlers) room() bool {
	if i.promised+i.known.Len()+i.strange.Len() < i.most {
		return true
	}
	oldest := i.strange.Front()
	if oldest == nil {
		return false
	}
	c := oldest.Value.(*connection)
	i.remove(c)
	go c.Close() // with TLS it writes, and a caller who does not read must not hold up others
	return true
}

// state is an http.Server's ConnState.
func (i *idlers) state(conn net.Conn, s http.ConnState) {
	c, ok := conn.(*connection)
	if !ok {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if s != http.StateIdle {
		i.remove(c)
		if c.place.promised && s != http.StateActive {
			i.release(c)
		}
		return
	}
	if c.place.promised {
		i.release(c)
	} else if !i.room() { // the response was empty, and promised nothing
		go c.Close()
		return
	}
	c.place.in = i.strange
	if c.place.known {
		c.place.in = i.known
	}
	c.place.element = c.place.in.PushBack(c)
}

func (i *idlers) release(c *connection) {
	c.place.promised = false
	i.promised--
}

func (i *idlers) remove(c *connection) {
	if c.place.in != nil {
		c.place.in.Remove(c.place.element)
		c.place.in, c.place.element = nil, nil
	}
}
