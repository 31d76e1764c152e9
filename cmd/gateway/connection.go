package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"ais-gateway/internal/canonical"
)

// A connection is one of a caller. It knows what net/http does not tell its handlers.
type connection struct {
	net.Conn
	framing framing

	secured *tls.Conn // nil for plain HTTP
	shaken  bool      // the handshake was made; only Read uses it
	failed  func()    // is called if it fails

	place place // among the idle connections; guarded by their mutex
}

// A connectionListener makes the connections of a server.
type connectionListener struct {
	net.Listener
	tls    *tls.Config // nil for plain HTTP
	failed func()
}

// Accept waits for the next connection.
func (l connectionListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, failed: l.failed}
	if l.tls != nil {
		c.secured = tls.Server(conn, l.tls)
		c.Conn = c.secured
	}
	return c, nil
}

// Read reads what the caller sends. The first Read makes the handshake; net/http has set its deadline.
func (c *connection) Read(p []byte) (int, error) {
	if c.secured != nil && !c.shaken {
		c.shaken = true
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.framing.follow(p[:n])
	return n, err
}

func (c *connection) handshake() error {
	_ = c.secured.SetWriteDeadline(time.Now().Add(headerTimeout))
	err := c.secured.HandshakeContext(context.Background())
	if err == nil {
		return c.secured.SetWriteDeadline(time.Time{})
	}
	c.failed()
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	return err
}

// connectionKey is the key of a request's *connection in its context.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// connectionOf returns the connection of a request; nil for a request that came in another way.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// A refusal responds to a request whose end is in doubt.
type refusal func(w http.ResponseWriter, r *http.Request, fault canonical.FieldError)

// framed lets refuse respond to requests whose end is in doubt, and ends the connections that must not be used again.
func framed(next http.Handler, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connectionOf(r.Context())
		if c == nil {
			next.ServeHTTP(w, r)
			return
		}
		fault, last := c.framing.judge()
		if last {
			w.Header().Set("Connection", "close")
		}
		if fault != nil {
			refuse(w, r, *fault)
			return
		}
		next.ServeHTTP(w, r)
	})
}
