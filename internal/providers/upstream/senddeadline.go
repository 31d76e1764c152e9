package upstream

import (
	"context"
	"net"
	"os"
	"time"
)

// sendDeadlineKey is the context key of the time after which nothing of an unattended call may be
// sent: its slot counts the call up to that time.
type sendDeadlineKey struct{}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// withSendDeadline returns a dial function whose connections refuse to write after the send
// deadline of their context. The context's own deadline is not enough: it depends on timers, and a
// process that was stopped or a machine that was suspended may write before its timers fire.
func withSendDeadline(dial dialFunc, now func() time.Time) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		last, ok := ctx.Value(sendDeadlineKey{}).(time.Time)
		if err != nil || !ok {
			return conn, err
		}
		return &deadlineConn{Conn: conn, deadline: last, now: now}, nil
	}
}

type deadlineConn struct {
	net.Conn
	deadline time.Time
	now      func() time.Time
}

// Close discards unsent data if the deadline has passed. Otherwise the kernel would continue to
// send it for minutes.
func (p *deadlineConn) Close() error {
	if tcp, ok := p.Conn.(*net.TCPConn); ok && !p.now().Before(p.deadline) {
		_ = tcp.SetLinger(0)
	}
	return p.Conn.Close()
}

// Write returns os.ErrDeadlineExceeded after the deadline. It compares both clocks: the monotonic
// clock may not advance while a machine is suspended, and the wall clock may be set back.
func (p *deadlineConn) Write(b []byte) (int, error) {
	now := p.now()
	if now.After(p.deadline) || now.Round(0).After(p.deadline.Round(0)) {
		return 0, os.ErrDeadlineExceeded
	}
	return p.Conn.Write(b)
}
