package server

import (
	"net/http"
	"time"
)

// waitForBalancers serves for the drain period, in which load balancers notice that the gateway is
// about to stop: new connections are accepted, and every response closes its connection. An idle
// connection is not closed, because a request may be on its way on it, which would get no response.
// It returns nil after the period, or the error with which a server failed.
func (s *Server) waitForBalancers(failed <-chan error) error {
	s.draining.Store(true)
	select {
	case <-time.After(s.cfg.DrainFor):
		return nil
	case err := <-failed:
		return err
	}
}

// closeOnDrain sets `Connection: close` in responses that begin while the gateway drains, and in
// those whose connection the idle limit does not allow to keep.
func (s *Server) closeOnDrain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(drainWriter{w, s, connOf(r.Context())}, r)
	})
}

// drainWriter decides when a response begins, which may be long after its request came in.
type drainWriter struct {
	http.ResponseWriter
	server *Server
	conn   *conn // nil outside of a server
}

// WriteHeader begins the response.
func (w drainWriter) WriteHeader(status int) {
	w.setConnection()
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the response if WriteHeader was not called.
func (w drainWriter) Write(p []byte) (int, error) {
	w.setConnection()
	return w.ResponseWriter.Write(p)
}

// Flush begins the response if nothing began it, and sends what was written. gin requires it.
func (w drainWriter) Flush() {
	w.setConnection()
	_ = http.NewResponseController(w.ResponseWriter).Flush() // fails only if the caller has closed the connection
}

// Unwrap is for http.ResponseController.
func (w drainWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// setConnection closes the connection after the response while the gateway drains, or if too many
// connections are idle.
func (w drainWriter) setConnection() {
	full := func() bool { return w.conn != nil && !w.conn.idle.reserve(w.conn) }
	if w.server.draining.Load() || w.Header().Get("Connection") != "close" && full() {
		w.Header().Set("Connection", "close")
	}
}
