package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

// An attended call whose connection was lost before the first byte of a response is sent once more,
// because it is not counted and a user is waiting. An unattended call is never sent again.

const (
	// The delay before a call is sent again is random, so that calls that failed together are not
	// repeated together.
	minResendDelay, maxResendDelay = 20 * time.Millisecond, 100 * time.Millisecond

	// One in ten attended calls may be sent again, so that a failing provider does not get twice as
	// many calls. The credit is in tenths of a call.
	creditPerCall, creditPerResend, initialCredit, maxCredit = 1, 10, 10, 100
)

func (c *client) sendAttended(ctx context.Context, q canonical.Query, r providers.Request) (providers.Response, *canonical.Error) {
	c.allowance.earn()
	response, att, failure := c.sendOnce(ctx, c.reusing, q, r, 0)
	if failure == nil || !att.connectionLost() || !c.allowance.spend() {
		return response, failure
	}
	pause := time.NewTimer(minResendDelay + rand.N(maxResendDelay-minResendDelay)) //nolint:gosec // not used for security
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			failure = contextError(ctx)
		}
		return response, failure
	}
	// On a new connection: net/http might send it a third time if a reused connection breaks.
	response, _, failure = c.sendOnce(ctx, c.oneShot, q, r, 1)
	return response, failure
}

// sendOnce sends an attended call once. Each time the call is signed again, because providers
// refuse a repeated signature.
func (c *client) sendOnce(ctx context.Context, t http.RoundTripper, q canonical.Query, r providers.Request, resend int) (providers.Response, *attempt, *canonical.Error) {
	req := c.request(r)
	if req.Body != nil {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
	}
	if failure := c.sign(req, r); failure != nil {
		return providers.Response{}, new(attempt), failure
	}
	return c.doObserved(ctx, t, req, q, r, resend)
}

// errAlreadySent means that net/http tried to send a call again on another connection after parts
// of it were sent.
var errAlreadySent = errors.New("upstream: sent before")

// bytesSent reports whether anything of the call was written to the last connection it got.
func (a *attempt) bytesSent() bool {
	if k := a.conn.Load(); k != nil {
		return k.hasSentBytes()
	}
	return a.wroteHeaders.Load()
}

// connectionLost reports whether no connection could be made, or the connection was lost before a
// response began. It is false after a timeout and after any response.
func (a *attempt) connectionLost() bool {
	if a.err == nil || a.responded.Load() {
		return false
	}
	if dialFailed(a.err) {
		return !OutOfFiles(a.err)
	}
	for _, cause := range []error{errAlreadySent, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(a.err, cause) {
			return true
		}
	}
	return strings.Contains(a.err.Error(), "server closed idle connection") // net/http has no type for this error
}

// dialFailed reports whether no connection could be made, to the provider or to the proxy in front
// of it. A failed TLS handshake does not count, because it would fail again.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || dialFailed(op.Err))
}

// A resendAllowance limits how many calls to a provider are sent again. It is safe for concurrent
// use.
type resendAllowance struct {
	mu     sync.Mutex
	credit int // in tenths of a call
}

func newResendAllowance() *resendAllowance { return &resendAllowance{credit: initialCredit} }

func (r *resendAllowance) earn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.credit = min(r.credit+creditPerCall, maxCredit)
}

func (r *resendAllowance) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.credit < creditPerResend {
		return false
	}
	r.credit -= creditPerResend
	return true
}
