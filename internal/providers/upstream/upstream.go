// Package upstream makes the HTTP calls of every adapter. Calls are bounded in time and size,
// unattended calls take a slot directly before they are sent, and nothing of their content is
// logged. cmd creates one Transport for each provider; an adapter gets it as a providers.Client,
// its only access to the network.
package upstream

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

const maxBody = 1 << 20 // bytes of a response's body, about 3,000 accounts. Handling a success needs ten times as much memory

// Config configures the Transport of one provider.
type Config struct {
	Provider string
	Timeout  time.Duration       // of one read, all its pages together
	Counter  *unattended.Counter // if nil, unattended calls are refused
	Observer Observer            // optional
	Roots    *x509.CertPool      // the CAs that the provider's certificate may be from; nil for the system's
	Routes   func(...string)     // receives the route templates of each client; optional
	Now      func() time.Time    // default time.Now

	// OutOfFiles is called for each call that could not be made because no file descriptor was
	// available. Optional.
	OutOfFiles func(ctx context.Context, aspsp string)

	Proxy func(*url.URL) (*url.URL, error) // returns the proxy for a URL; nil for no proxy
}

// An Observer is notified of calls and slots, never of their content.
type Observer interface {
	// Call is called before a call is made. It returns the context of the call, and end, which is
	// called after the call with the status, 0 without a response, and the kind of the error, ""
	// for a success.
	Call(ctx context.Context, c Call) (observed context.Context, end func(status int, failure canonical.Kind))
	// Slot is called for each event of a slot of an unattended call.
	Slot(ctx context.Context, aspsp string, e SlotEvent)
}

// Call describes a call to an Observer.
type Call struct {
	Provider, ASPSP, Method, Route, Host string
	Attended                             bool
	Resend                               int // how many times the same call was sent before
}

// SlotEvent is an event of a slot of the unattended limit.
type SlotEvent string

// The events of slots.
const (
	SlotTaken       SlotEvent = "taken"       // the call was counted
	SlotRefused     SlotEvent = "refused"     // no slot was left, and the call was not made
	SlotReleased    SlotEvent = "given_back"  // the call was certainly not sent
	SlotBlocked     SlotEvent = "closed"      // the ASPSP reported that its limit is used up
	SlotUnavailable SlotEvent = "unavailable" // the counter was unavailable, and the call was not made
)

// A Transport makes the HTTP calls to one provider.
type Transport struct {
	cfg       Config
	allowance *resendAllowance
	keepAlive []*http.Transport // the HTTP transports that keep idle connections
}

// New returns a Transport. It opens no connections.
func New(cfg Config) *Transport {
	if cfg.Observer == nil {
		cfg.Observer = nopObserver{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Transport{cfg: cfg, allowance: newResendAllowance()}
}

// Client returns a client for an adapter.
func (t *Transport) Client(c providers.ClientConfig) providers.Client {
	if t.cfg.Routes != nil {
		t.cfg.Routes(c.Routes...)
	}
	attended := attendedTransport(t.cfg, c)
	t.keepAlive = append(t.keepAlive, attended)
	return &client{
		ClientConfig: c, cfg: t.cfg, allowance: t.allowance,
		reusing: attended, oneShot: unattendedTransport(t.cfg, c),
	}
}

// CloseIdle closes the connections that are idle. Call it when the Transport makes no new calls;
// calls in progress are not affected. It must not run concurrently with Client.
func (t *Transport) CloseIdle() {
	for _, kept := range t.keepAlive {
		kept.CloseIdleConnections()
	}
}

type client struct {
	providers.ClientConfig
	cfg       Config
	allowance *resendAllowance  // the Transport's; for sending attended calls again
	reusing   http.RoundTripper // for attended calls
	oneShot   http.RoundTripper // for unattended calls, and to send an attended call again: one connection for each
}

// Read implements providers.Client. It is the only place that applies the timeout of a read.
func (c *client) Read(ctx context.Context, q canonical.Query, r providers.Request) (providers.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	for {
		page, failure := c.call(ctx, q, r)
		if failure != nil {
			return providers.Response{}, failure
		}
		if r.Next == nil {
			return page, nil
		}
		next, err := r.Next(page)
		if err != nil {
			return providers.Response{}, err
		}
		if next == nil {
			return page, nil
		}
		r.URL = next
	}
}

// call makes one call of a read.
func (c *client) call(ctx context.Context, q canonical.Query, r providers.Request) (providers.Response, *canonical.Error) {
	if ctx.Err() != nil {
		return providers.Response{}, contextError(ctx)
	}
	if providers.BodyBudgetSpent(ctx) {
		return providers.Response{}, canonical.NewError(canonical.Overloaded, bodiesTooLarge)
	}
	send := c.sendUnattended
	if q.Attended() {
		send = c.sendAttended
	}
	resp, failure := send(ctx, q, r)
	if failure != nil {
		return providers.Response{}, failure
	}
	if q.Attended() {
		resp.SlotsLeft = math.MaxInt
	}
	providers.CallSucceeded(ctx)
	return resp, nil
}

// sendUnattended takes a slot and then sends the call. Once the slot is taken the call no longer
// depends on the caller's context, so that a counted call is always completed.
func (c *client) sendUnattended(ctx context.Context, q canonical.Query, r providers.Request) (providers.Response, *canonical.Error) {
	req := c.request(r)
	deadline, _ := ctx.Deadline()
	slot, failure := c.take(ctx, q, r)
	if failure != nil {
		return providers.Response{}, failure
	}
	if failure = c.sign(req, r); failure == nil && replayable(req) {
		failure = canonical.NewError(canonical.InternalError, "the request to the provider could be sent twice")
	}
	if failure != nil {
		c.release(ctx, q, slot)
		return providers.Response{}, failure
	}
	if reserved := slot.SendUntil; !reserved.IsZero() && reserved.Before(deadline) {
		deadline = reserved // the end of the context also discards what the kernel has not sent
	}
	own, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	own = context.WithValue(own, sendDeadlineKey{}, deadline)
	response, att, failure := c.doObserved(own, c.oneShot, req, q, r, 0)
	response.SlotsLeft = slot.Left
	if !att.connected() {
		c.release(ctx, q, slot)
	}
	return response, failure
}

// release releases a slot, even after the read's timeout. If Redis does not confirm it, the counter
// retries it for 13 s.
func (c *client) release(ctx context.Context, q canonical.Query, slot unattended.Slot) {
	if slot.Release(context.WithoutCancel(ctx)) == nil {
		event.AddSlots(ctx, -1)
		c.cfg.Observer.Slot(ctx, q.ASPSP, SlotReleased)
	}
}

// replayable reports whether net/http would consider it safe to send the request again.
func replayable(req *http.Request) bool {
	return req.GetBody != nil || req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != ""
}

// doObserved makes one call, notifies the observer, and classifies a response that is not a
// success. resend is how many times the call was sent before.
func (c *client) doObserved(ctx context.Context, t http.RoundTripper, req *http.Request, q canonical.Query, r providers.Request, resend int) (
	response providers.Response, att *attempt, failure *canonical.Error,
) {
	ctx, end := c.cfg.Observer.Call(ctx, Call{
		Provider: c.cfg.Provider, ASPSP: q.ASPSP, Method: r.Method, Route: r.Route, Host: r.URL.Host, Attended: q.Attended(),
		Resend: resend,
	})
	response, att, failure = roundTrip(ctx, t, req)
	if c.cfg.OutOfFiles != nil && !att.connected() && OutOfFiles(att.err) {
		c.cfg.OutOfFiles(ctx, q.ASPSP)
	}
	if failure == nil && response.Status != http.StatusOK {
		failure = c.classify(ctx, q, r, response)
	}
	if failure != nil {
		end(response.Status, failure.Kind)
		return response, att, failure
	}
	end(response.Status, "")
	return response, att, nil
}

// take takes the slot of a call. It fails with UnattendedLimit if no slot is left, and with
// CounterUnavailable.
func (c *client) take(ctx context.Context, q canonical.Query, r providers.Request) (unattended.Slot, *canonical.Error) {
	if c.cfg.Counter == nil {
		return unattended.Slot{}, canonical.NewError(canonical.CounterUnavailable, "there is no counter of unattended calls")
	}
	slot, err := c.cfg.Counter.Take(ctx, counterCall(q, r), c.cfg.Timeout)
	failure := toCanonical(err)
	switch {
	case failure == nil:
		event.AddSlots(ctx, 1)
		c.cfg.Observer.Slot(ctx, q.ASPSP, SlotTaken)
	case failure.Kind == canonical.UnattendedLimit:
		c.cfg.Observer.Slot(ctx, q.ASPSP, SlotRefused)
	default:
		c.cfg.Observer.Slot(ctx, q.ASPSP, SlotUnavailable)
	}
	return slot, failure
}

// classify returns the error of a response that is not a success, with its RetryAfter. If the ASPSP
// reports that its limit is used up, the call's unit is blocked, unless the call was attended: then
// only the ASPSP's own Retry-After applies.
func (c *client) classify(ctx context.Context, q canonical.Query, r providers.Request, a providers.Response) *canonical.Error {
	failure := c.ClassifyError(q, r, a)
	wait := retryAfter(a.Header, c.cfg.Now())
	switch failure.Kind {
	case canonical.ProviderThrottled, canonical.ProviderError, canonical.ProviderTimeout:
		failure.RetryAfter = wait
	case canonical.ProviderUnavailable:
		if failure.RetryAfter = wait; wait == 0 {
			failure.RetryAfter = defaultRetryAfter
		}
	case canonical.UnattendedLimit:
		failure.RetryAfter, failure.Attended = wait, q.Attended()
		if failure.Attended || c.cfg.Counter == nil {
			break
		}
		failure.RetryAfter = c.cfg.Counter.ClampRetryAfter(q.ASPSP, wait)
		// The block is written even after the read's timeout.
		if left, err := c.cfg.Counter.Block(context.WithoutCancel(ctx), counterCall(q, r), failure.RetryAfter); err == nil {
			failure.RetryAfter = left
		}
		c.cfg.Observer.Slot(ctx, q.ASPSP, SlotBlocked)
	case canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.ProviderRejected,
		canonical.ProviderInvalidResponse:
		// To wait does not help.
	case canonical.FormatError, canonical.PSUAddressRequired, canonical.Unauthenticated, canonical.Forbidden, canonical.ASPSPUnknown, canonical.NotFound,
		canonical.MethodNotAllowed, canonical.RateLimited, canonical.InternalError, canonical.CounterUnavailable, canonical.Overloaded,
		canonical.DeletionUnconfirmed, canonical.NotCached, canonical.NotInTime, canonical.AggregationFailed, canonical.Canceled:
		// No response of a provider means them.
	}
	return failure
}

func counterCall(q canonical.Query, r providers.Request) unattended.Call {
	return unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent, Account: r.Account, AllBalances: r.AllBalances}
}

// request returns the HTTP request for r, with r's header only, not yet signed. It has no GetBody,
// with which net/http could send the body a second time.
func (c *client) request(r providers.Request) *http.Request {
	req := &http.Request{
		Method: r.Method, URL: r.URL, Header: maps.Clone(r.Header), // the caller's stays as it is
		Host: strings.TrimSuffix(r.URL.Host, ":"), // without an empty port, as net/http sends it
	}
	req.Header["User-Agent"] = noUserAgent
	if r.Body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.Body)), int64(len(r.Body))
	}
	return req
}

// noUserAgent keeps net/http from adding its own User-Agent.
var noUserAgent = []string{""}

// sign signs a request. It is the last step before the request is sent, because a signature costs
// milliseconds of CPU, which a refused call must not cost.
func (c *client) sign(req *http.Request, r providers.Request) *canonical.Error {
	if c.Sign != nil && c.Sign(req, r.Body) != nil {
		return canonical.NewError(canonical.InternalError, "the request to the provider cannot be signed")
	}
	return nil
}

// attempt records what happened to one HTTP exchange. The transport may still be dialling after it
// has returned.
type attempt struct {
	conns     atomic.Int32 // connections that the call got; more than one if net/http has sent it again
	responded atomic.Bool  // the first byte of a response has arrived
	err       error        // net/http's error if there was no response

	conn              atomic.Pointer[reusableConn] // the last connection, if it is reusable and not HTTP/2
	wroteHeaders      atomic.Bool                  // the request's header was written to the last connection
	resentByTransport atomic.Bool                  // net/http was about to send the call again
}

// connected reports whether the call got a connection. If not, nothing of it was sent.
func (a *attempt) connected() bool { return a.conns.Load() > 0 }

// trace returns a trace that records the connections of a call. net/http may switch to another
// connection only while nothing of the call has been written. Otherwise trace calls giveUp, because
// net/http would send the call again for each reused connection that breaks, without regard to the
// resend allowance.
func (a *attempt) trace(ctx context.Context, giveUp func()) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			again := a.conns.Load() > 0 && a.bytesSent()
			a.conns.Add(1)
			a.wroteHeaders.Store(false)
			a.conn.Store(waitUntilIdle(ctx, info))
			if !again {
				return
			}
			a.resentByTransport.Store(true)
			giveUp()
			if k := a.conn.Load(); k != nil { // net/http writes before it checks the context
				_ = k.Close()
			}
		},
		WroteHeaders:         func() { a.wroteHeaders.Store(true) },
		GotFirstResponseByte: func() { a.responded.Store(true) },
	}
}

// roundTrip sends a request with a context and reads its response to the end.
func roundTrip(ctx context.Context, t http.RoundTripper, req *http.Request) (a providers.Response, att *attempt, failure *canonical.Error) {
	att = new(attempt)
	own, giveUp := context.WithCancel(ctx)
	defer giveUp()
	resp, err := t.RoundTrip(req.WithContext(httptrace.WithClientTrace(own, att.trace(ctx, giveUp))))
	if err != nil && att.resentByTransport.Load() {
		err = errAlreadySent
	}
	if err != nil {
		att.err = err
		return a, att, transportError(ctx, att.connected(), err)
	}
	defer resp.Body.Close()
	a = providers.Response{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode < http.StatusOK || resp.StatusCode > 599 {
		// After a 101 net/http returns the raw connection, which has no deadline.
		return a, att, canonical.InvalidResponse("the response has an invalid status")
	}
	a, failure = receive(ctx, resp)
	return a, att, failure
}

// transportError returns the error of a call without a complete response.
func transportError(ctx context.Context, connected bool, err error) *canonical.Error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return contextError(ctx)
	case !connected && OutOfFiles(err):
		failure := canonical.NewError(canonical.Overloaded, "the gateway has no file descriptor left for a call")
		failure.RetryAfter = time.Second
		return failure
	case !connected:
		return &canonical.Error{
			Kind: canonical.ProviderUnavailable, Origin: canonical.OriginProvider,
			Detail: "no connection to the provider", RetryAfter: defaultRetryAfter,
		}
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return contextError(ctx)
	case isMalformedHTTP(err):
		return canonical.InvalidResponse("the response is not valid HTTP")
	}
	return &canonical.Error{Kind: canonical.ProviderError, Origin: canonical.OriginProvider, Detail: "the connection was lost after sending"}
}

// OutOfFiles reports whether an error means that the process or the machine cannot open more files.
// That is a limit of the gateway, not a failure of the other side.
func OutOfFiles(err error) bool {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return true
	}
	var name *net.DNSError // contains only the text of its cause
	return errors.As(err, &name) && strings.Contains(name.Err, syscall.EMFILE.Error())
}

// contextError returns the error of a context that has ended: Canceled or ProviderTimeout.
func contextError(ctx context.Context) *canonical.Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return canonical.NewError(canonical.Canceled, "")
	}
	return &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no response in time"}
}

// isMalformedHTTP reports whether an error means that the response was invalid or oversized HTTP,
// not that the connection was lost. net/http has no types for these errors; their texts are part of
// its tests.
func isMalformedHTTP(err error) bool {
	text := err.Error()
	for _, part := range malformedHTTPTexts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

var malformedHTTPTexts = []string{
	"malformed", "server response headers exceeded", "transfer encoding", "Content-Length",
	"chunk", "invalid byte", "empty hex number", "line too long", "railer key", "long trailer", "message too large", // bodies in chunks
	"header list", "too many 1xx", "END_STREAM", "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "COMPRESSION_ERROR", "FLOW_CONTROL_ERROR", // HTTP/2
}

func toCanonical(err error) *canonical.Error {
	if err == nil {
		return nil
	}
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure
	}
	return canonical.NewError(canonical.InternalError, "")
}

type nopObserver struct{}

func (nopObserver) Call(ctx context.Context, _ Call) (context.Context, func(int, canonical.Kind)) {
	return ctx, func(int, canonical.Kind) {}
}
func (nopObserver) Slot(context.Context, string, SlotEvent) {}
