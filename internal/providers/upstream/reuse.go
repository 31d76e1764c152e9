package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
)

// A connection that is used again must hold nothing of the answer before: net/http would now and then take what a
// provider sent too much for the answer to the next request, which may be another client's. It looks for such bytes
// when a connection has become idle, but gives it out before it has looked.

// kept makes connections that can be used again safely: settled knows them.
func kept(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		k := &keptConn{Conn: conn}
		k.turned.L = &k.mu
		return k, nil
	}
}

type keptConn struct {
	net.Conn
	mu      sync.Mutex
	turned  sync.Cond
	reading bool // somebody waits for the next byte, so that all before it were taken
	closed  bool
	quiet   bool // nothing may come: it was given out, and nothing has been written yet
	sent    bool // something has been written since it was given out
}

var errTooEarly = errors.New("an answer before its request")

func (k *keptConn) Read(b []byte) (int, error) {
	k.set(func() { k.reading = true })
	n, err := k.Conn.Read(b)
	early := false
	k.set(func() { k.reading, early = false, k.quiet && n > 0 })
	if early {
		return 0, errTooEarly
	}
	return n, err
}

func (k *keptConn) Write(b []byte) (int, error) {
	k.set(func() { k.quiet = false })
	n, err := k.Conn.Write(b)
	k.set(func() { k.sent = k.sent || n > 0 })
	return n, err
}

func (k *keptConn) Close() error {
	k.set(func() { k.closed = true })
	return k.Conn.Close()
}

func (k *keptConn) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	k.turned.Broadcast()
}

// settled waits, before a request is written on a used connection, until net/http has looked for what came too much,
// and has closed it if there was something: the request then goes over another one. It is the connection, or nil for
// HTTP/2, which names each answer's request.
func settled(ctx context.Context, got httptrace.GotConnInfo) *keptConn {
	conn := got.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			return nil
		}
		conn = secure.NetConn()
	}
	k, ok := conn.(*keptConn)
	if !ok {
		return nil
	}
	k.set(func() { k.sent = false })
	if !got.Reused {
		return k
	}
	defer context.AfterFunc(ctx, func() { k.set(func() {}) })()
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.reading && !k.closed && ctx.Err() == nil {
		k.turned.Wait()
	}
	k.quiet = true
	return k
}

func (k *keptConn) hasSent() (sent bool) {
	k.set(func() { sent = k.sent })
	return sent
}
