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

// An attended call whose connection broke before the first byte of an answer is made once more: nobody counts it, and
// the user waits. An unattended call never is.

const (
	// How long is waited before: by chance, so that calls which broke together do not come back together.
	pauseLeast, pauseMost = 20 * time.Millisecond, 100 * time.Millisecond

	// Of attended calls one in ten may be made again, in tenths: what a call earns, what a second one costs, what there
	// is at first, and how much may be saved up. A provider that fails is not called twice as often for it.
	earned, cost, atFirst, saved = 1, 10, 10, 100
)

func (c *client) sendAttended(ctx context.Context, q canonical.Query, r providers.Request) (providers.Answer, *canonical.Error) {
	c.budget.earn()
	answer, went, failure := c.attend(ctx, c.attended, q, r, 0)
	if failure == nil || !went.broke() || !c.budget.spend() {
		return answer, failure
	}
	pause := time.NewTimer(pauseLeast + rand.N(pauseMost-pauseLeast)) //nolint:gosec // chance spreads calls here, and guards nothing
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			failure = ended(ctx)
		}
		return answer, failure
	}
	// On a connection of its own: on a used one that broke, net/http might send it a third time.
	answer, _, failure = c.attend(ctx, c.unattended, q, r, 1)
	return answer, failure
}

// attend sends an attended call once, signed for this sending alone: a provider refuses a signature that it has seen.
func (c *client) attend(ctx context.Context, t http.RoundTripper, q canonical.Query, r providers.Request, resend int) (providers.Answer, *way, *canonical.Error) {
	req, failure := c.request(ctx, r, bytes.NewReader(r.Body))
	if failure == nil {
		failure = c.sign(req, r)
	}
	if failure != nil {
		return providers.Answer{}, new(way), failure
	}
	return c.exchange(ctx, t, req, q, r, resend)
}

// errSent is that a call may not be sent again on another connection, since it was sent on one.
var errSent = errors.New("upstream: sent before")

// sent reports whether anything of the call was written on the connection that it was given last.
func (w *way) sent() bool {
	if k := w.on.Load(); k != nil {
		return k.hasSent()
	}
	return w.headers.Load()
}

// broke reports that no connection could be made, or that it broke before an answer began. What ran out of time did not
// break, nor did what was answered or refused in whatever way.
func (w *way) broke() bool {
	if w.err == nil || w.answered.Load() {
		return false
	}
	if dialFailed(w.err) {
		return !OutOfFiles(w.err)
	}
	for _, cause := range []error{errSent, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(w.err, cause) {
			return true
		}
	}
	return strings.Contains(w.err.Error(), "server closed idle connection") // net/http has no type for it
}

// dialFailed reports that no connection could be made, to the provider or to the proxy before it. A TLS handshake that
// failed is none of that: a provider that is not the right one stays the wrong one.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || dialFailed(op.Err))
}

// A budget bounds how many calls to a provider may be made again.
type budget struct {
	mu   sync.Mutex
	left int // in tenths of a call
}

func newBudget() *budget { return &budget{left: atFirst} }

func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+earned, saved)
}

func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < cost {
		return false
	}
	b.left -= cost
	return true
}
