package main

import (
	"net"
	"net/http"
	"sync"
)

// idlers are the connections on which nothing is under way. Only so many are kept: whoever opens one after the other and
// does nothing more with them must not take all that there may be.
type idlers struct {
	mu   sync.Mutex
	most int
	kept map[net.Conn]bool
}

func newIdlers(most int) *idlers { return &idlers{most: most, kept: map[net.Conn]bool{}} }

// state is an http.Server's ConnState. A connection that there is no room for ends with the answer that it has just had.
func (i *idlers) state(c net.Conn, s http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s != http.StateIdle {
		delete(i.kept, c)
		return
	}
	if len(i.kept) >= i.most {
		_ = c.Close()
		return
	}
	i.kept[c] = true
}
