package upstream

import (
	"context"
	"net"
	"os"
	"time"
)

// departure is the context key of the moment after which an unattended call may no longer leave: it is counted
// up to that moment and no longer.
type departure struct{}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// punctually makes connections that write nothing after the departure. Contexts end by timers; a process that was
// stopped for an hour, or a machine that was suspended, may write before its timers have noticed.
func punctually(dial dialer, now func() time.Time) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		last, ok := ctx.Value(departure{}).(time.Time)
		if err != nil || !ok {
			return conn, err
		}
		return &punctual{Conn: conn, last: last, now: now}, nil
	}
}

type punctual struct {
	net.Conn
	last time.Time
	now  func() time.Time
}

// Close drops what the kernel has not sent yet, once the departure is over: it would go on sending for minutes.
func (p *punctual) Close() error {
	if tcp, ok := p.Conn.(*net.TCPConn); ok && !p.now().Before(p.last) {
		_ = tcp.SetLinger(0)
	}
	return p.Conn.Close()
}

// Write looks at both clocks: the monotonic one may stand still while a machine is suspended, and the other may be
// set back.
func (p *punctual) Write(b []byte) (int, error) {
	now := p.now()
	if now.After(p.last) || now.Round(0).After(p.last.Round(0)) {
		return 0, os.ErrDeadlineExceeded
	}
	return p.Conn.Write(b)
}
