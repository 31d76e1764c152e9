package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/upstream"
)

// secure is how the API speaks TLS: with what the files hold now. nil is plain HTTP.
type secure struct {
	now atomic.Pointer[tls.Config]
	all *tls.Config // of new connections: what now holds
}

// A handshake is what a connection was, or will at the latest be, judged by.
type handshake struct{}

// secured makes a server speak TLS, if the configuration says so. It speaks HTTP/1.1 alone: of its connections it is known
// what a slow caller can do on them, and the server's time for headers is theirs and not a stream's.
func secured(server *http.Server, t config.ServerTLS) *secure {
	first := t.Server()
	if first == nil {
		return nil
	}
	s := &secure{}
	s.now.Store(first)
	s.all = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load(), nil },
	}
	plain := server.ConnContext
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(plain(ctx, c), handshake{}, s.now.Load())
	}
	server.Handler = s.upToDate(server.Handler)
	return s
}

// upToDate ends connections from before a renewal with their next answer: whoever goes on calling is judged anew.
func (s *secure) upToDate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(handshake{}) != s.now.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// renew takes over certificates without fault.
func (s *secure) renew(t config.ServerTLS) error {
	s.now.Store(t.Server())
	return nil
}

// notAfter is when the first certificate that is shown to callers is valid no longer; zero for plain HTTP.
func (s *secure) notAfter() (first time.Time) {
	if s != nil {
		for _, c := range s.now.Load().Certificates {
			first = upstream.EarliestExpiry(c.Certificate)
		}
	}
	return first
}

func (s *secure) serve(server *http.Server, on net.Listener) error {
	accepted := connectionListener{Listener: on}
	if s != nil {
		accepted.tls, accepted.failed = s.all, func() { server.ErrorLog.Print("TLS handshake") }
	}
	return server.Serve(accepted)
}
