package server

import (
	"crypto/tls"
	"net/http"
	"sync/atomic"
)

// tlsReloader is the TLS of the API, whose configuration can be replaced. A nil *tlsReloader is
// plain HTTP. Only HTTP/1.1 is offered: with HTTP/2, one connection could have many slow requests,
// and the header timeout would be the connection's and not the request's.
type tlsReloader struct {
	current atomic.Pointer[tls.Config]
	config  *tls.Config // of every connection: takes the current configuration at the handshake
}

// newTLSReloader returns nil if first is nil.
func newTLSReloader(first *tls.Config) *tlsReloader {
	if first == nil {
		return nil
	}
	t := &tlsReloader{}
	t.current.Store(first)
	t.config = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.current.Load(), nil },
	}
	return t
}

// closeStaleConns closes connections that were accepted before a reload after their next response,
// so that their clients are verified again.
func (t *tlsReloader) closeStaleConns(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connOf(r.Context()); c == nil || c.acceptedWith != t.current.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
