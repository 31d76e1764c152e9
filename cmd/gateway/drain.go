package main

import (
	"net/http"
	"sync/atomic"
	"time"
)

// linger goes on serving for as long as callers and their balancers may take to learn that the gateway is to end: new
// connections are taken, and each answer says that its connection ends with it. A connection that is closed
// while nothing is under way on it may meet a request that was just sent, which then has no answer; so callers are left
// to use theirs once more. Whatever fails meanwhile ends it.
func (p *program) linger(failed <-chan error) error {
	p.draining.Store(true)
	select {
	case <-time.After(p.drainFor):
		return nil
	case err := <-failed:
		return err
	}
}

// parting makes a server's responses say `Connection: close` from the time when the gateway is to end, and whenever idle
// does not keep their connection.
func (p *program) parting(next http.Handler, idle *idlers) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connectionOf(r.Context())
		full := func() bool { return c != nil && !idle.keeps(c) }
		next.ServeHTTP(lastWord{w, &p.draining, full}, r)
	})
}

// A lastWord looks at the time when an answer begins: its request may have come long before.
type lastWord struct {
	http.ResponseWriter
	leaving *atomic.Bool
	full    func() bool // reports whether there is no room for the connection once it is idle
}

// WriteHeader begins the answer.
func (w lastWord) WriteHeader(status int) {
	w.part()
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the answer where that was not done before.
func (w lastWord) Write(p []byte) (int, error) {
	w.part()
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w lastWord) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w lastWord) part() {
	if w.leaving.Load() || w.Header().Get("Connection") != "close" && w.full() {
		w.Header().Set("Connection", "close")
	}
}
