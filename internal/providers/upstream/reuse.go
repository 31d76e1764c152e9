package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
)

// Surplus bytes that a provider sends after a response could be read as the response to the next
// request on the connection, possibly of another client. net/http checks idle connections for such
// bytes, but may hand out a connection before it has checked.

// reusable returns a dial function whose connections can be reused safely, with waitUntilIdle.
func reusable(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		k := &reusableConn{Conn: conn}
		k.cond.L = &k.mu
		return k, nil
	}
}

type reusableConn struct {
	net.Conn
	mu           sync.Mutex
	cond         sync.Cond
	reading      bool // a Read is waiting for the next byte: all earlier bytes have been read
	closed       bool
	expectNoData bool // the connection was handed out, and nothing has been written since
	bytesSent    bool // something has been written since the connection was handed out
}

var errUnexpectedData = errors.New("upstream: a response before its request")

func (k *reusableConn) Read(b []byte) (int, error) {
	k.update(func() { k.reading = true })
	n, err := k.Conn.Read(b)
	early := false
	k.update(func() { k.reading, early = false, k.expectNoData && n > 0 })
	if early {
		return 0, errUnexpectedData
	}
	return n, err
}

func (k *reusableConn) Write(b []byte) (int, error) {
	k.update(func() { k.expectNoData = false })
	n, err := k.Conn.Write(b)
	k.update(func() { k.bytesSent = k.bytesSent || n > 0 })
	return n, err
}

func (k *reusableConn) Close() error {
	k.update(func() { k.closed = true })
	return k.Conn.Close()
}

func (k *reusableConn) update(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	k.cond.Broadcast()
}

// waitUntilIdle waits, before a request is written to a reused connection, until net/http has
// checked it for surplus bytes. If there were any, net/http has closed it and uses another
// connection. waitUntilIdle returns the connection, or nil for HTTP/2, where each response belongs
// to a stream. It returns early if ctx ends.
func waitUntilIdle(ctx context.Context, got httptrace.GotConnInfo) *reusableConn {
	conn := got.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			return nil
		}
		conn = secure.NetConn()
	}
	k, ok := conn.(*reusableConn)
	if !ok {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bytesSent = false
	if !got.Reused {
		return k
	}
	if !k.reading && !k.closed {
		defer context.AfterFunc(ctx, func() { k.update(func() {}) })()
	}
	for !k.reading && !k.closed && ctx.Err() == nil {
		k.cond.Wait()
	}
	k.expectNoData = true
	return k
}

func (k *reusableConn) hasSentBytes() (sent bool) {
	k.update(func() { sent = k.bytesSent })
	return sent
}
