package server

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

// conn is the connection of a caller, with the state that net/http does not pass to handlers.
type conn struct {
	net.Conn
	framing framing

	tls              *tls.Conn   // nil for plain HTTP
	acceptedWith     *tls.Config // the configuration when the connection was accepted; the handshake uses this or a later one
	handshakeDone    bool        // used by Read only
	onHandshakeError func()

	idle      *idleLimiter
	idleState idleState // guarded by idle.mu
}

// connListener makes a *conn of each connection that it accepts.
type connListener struct {
	net.Listener
	idle             *idleLimiter
	tls              *tlsReloader // nil for plain HTTP
	onHandshakeError func()
	onError          func(error) // nil ignores errors
}

// Accept waits for the next connection. net/http retries after a temporary error.
func (l *connListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		if l.onError != nil {
			l.onError(err)
		}
		return nil, err
	}
	c := &conn{Conn: accepted, idle: l.idle, onHandshakeError: l.onHandshakeError}
	if l.tls != nil {
		c.acceptedWith = l.tls.current.Load()
		c.tls = tls.Server(accepted, l.tls.config)
		c.Conn = c.tls
	}
	return c, nil
}

// Read reads what the caller sends. The first Read performs the TLS handshake, within the read
// deadline that net/http has set.
func (c *conn) Read(p []byte) (int, error) {
	if c.tls != nil && !c.handshakeDone {
		c.handshakeDone = true
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.framing.follow(p[:n])
	return n, err
}

// handshake performs the TLS handshake. A client that speaks plain HTTP gets a response in plain
// HTTP.
func (c *conn) handshake() error {
	_ = c.tls.SetWriteDeadline(time.Now().Add(headerTimeout))
	err := c.tls.HandshakeContext(context.Background())
	if err == nil {
		return c.tls.SetWriteDeadline(time.Time{})
	}
	c.onHandshakeError()
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	return err
}

// connKey is the context key of a request's *conn.
type connKey struct{}

// withConn returns the context of the requests on a connection; it implements
// http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a request, or nil if the request did not come through a Server.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// refuseFunc responds to a request whose end is ambiguous.
type refuseFunc = func(w http.ResponseWriter, r *http.Request, fault canonical.FieldError)

// checkFraming passes requests whose end is ambiguous to refuse instead of next, and closes
// connections that must not be reused after their request.
func checkFraming(next http.Handler, refuse refuseFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connOf(r.Context())
		if c == nil {
			next.ServeHTTP(w, r)
			return
		}
		fault, last := c.framing.next()
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
