// Package upstream makes the HTTP calls of every adapter: bounded in time and size, counted at the wire, and
// silent about content. It is the only way from an adapter to the network. An adapter gets it as a
// providers.Client; cmd makes one Wire for each provider.
package upstream

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
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
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

const maxBody = 1 << 20 // bytes of an answer's body: some 3,000 accounts. A success takes ten times as much while it is answered

// Config says how one provider is called.
type Config struct {
	Provider string
	Timeout  time.Duration       // of one call; the adapter bounds its whole read by the same
	Counter  *unattended.Counter // without one, no unattended call is made
	Observer Observer            // nil for none
	Roots    *x509.CertPool      // who may vouch for the provider; nil for the system's
	Routes   func(...string)     // is told the templates of all paths that are read; nil for nobody
	Now      func() time.Time    // for Retry-After given as a date; nil for time.Now

	// OutOfFiles is told the ASPSP of each call that was not made because no file could be opened; nil for nobody.
	OutOfFiles func(ctx context.Context, aspsp string)

	Proxy func(*url.URL) (*url.URL, error) // through which proxy a URL is called; nil for none
}

// An Observer is told of calls and slots, never of their content.
type Observer interface {
	// Call begins the observation of one call; end is told the status (0 where no answer came) and the failure.
	Call(ctx context.Context, c Call) (observed context.Context, end func(status int, failure canonical.Kind))
	// Slot is told what became of an unattended call's slot.
	Slot(ctx context.Context, aspsp string, e SlotEvent)
}

// Call is what may be known of a call.
type Call struct {
	Provider, ASPSP, Method, Route, Host string
	Attended                             bool
	Resend                               int // how often the same call was sent before
}

// SlotEvent is what happens to slots of the unattended limit.
type SlotEvent string

// What may become of a slot.
const (
	SlotTaken       SlotEvent = "taken"       // the call was counted
	SlotRefused     SlotEvent = "refused"     // none was left: the call was not made
	SlotGivenBack   SlotEvent = "given_back"  // the call surely was not sent
	SlotClosed      SlotEvent = "closed"      // the ASPSP said that none is left
	SlotUnavailable SlotEvent = "unavailable" // the counter could not be reached: the call was not made
)

// A Wire is the way to one provider.
type Transport struct {
	cfg    Config
	budget *budget
	kept   []*http.Transport // those that keep connections
}

// New makes a wire. It connects to nothing yet.
func New(cfg Config) *Transport {
	if cfg.Observer == nil {
		cfg.Observer = unobserved{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Transport{cfg: cfg, budget: newBudget()}
}

// Client makes an adapter's client.
func (w *Transport) Client(c providers.ClientConfig) providers.Client {
	if w.cfg.Routes != nil {
		w.cfg.Routes(c.Routes...)
	}
	attended := attendedTransport(w.cfg, c)
	w.kept = append(w.kept, attended)
	return &client{
		ClientConfig: c, wire: w.cfg, budget: w.budget,
		attended: attended, unattended: unattendedTransport(w.cfg, c),
	}
}

// CloseIdle closes the connections that no call is on. It is for a wire that begins no new calls: what is under way ends as
// it would. It must not run beside Client.
func (w *Transport) CloseIdle() {
	for _, t := range w.kept {
		t.CloseIdleConnections()
	}
}

type client struct {
	providers.ClientConfig
	wire                 Config
	budget               *budget // of the wire's: for sending attended calls again
	attended, unattended http.RoundTripper
}

// Read implements providers.Client.
func (c *client) Read(ctx context.Context, q canonical.Query, r providers.Request) (providers.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.wire.Timeout)
	defer cancel()
	if ctx.Err() != nil {
		return providers.Answer{}, ended(ctx)
	}
	send := c.sendUnattended
	if q.Attended() {
		send = c.sendAttended
	}
	answer, failure := send(ctx, q, r)
	if failure != nil {
		return providers.Answer{}, failure
	}
	if q.Attended() {
		answer.SlotsLeft = math.MaxInt
	}
	providers.CallSucceeded(ctx)
	return answer, nil
}

// sendUnattended counts the call before it leaves. From then on it runs on a context of its own: whoever asked
// may go away, but what is counted is also finished.
func (c *client) sendUnattended(ctx context.Context, q canonical.Query, r providers.Request) (providers.Answer, *canonical.Error) {
	// No GetBody, with which net/http would send the body a second time: the reader's type hides it.
	req, failure := c.request(ctx, r, struct{ io.Reader }{bytes.NewReader(r.Body)})
	if failure != nil {
		return providers.Answer{}, failure
	}
	deadline, _ := ctx.Deadline()
	slot, failure := c.take(ctx, q, r)
	if failure != nil {
		return providers.Answer{}, failure
	}
	if failure = c.sign(req, r); failure == nil && replayable(req) {
		failure = canonical.NewError(canonical.InternalError, "the request to the provider could be sent twice")
	}
	if failure != nil {
		c.release(ctx, q, slot)
		return providers.Answer{}, failure
	}
	own, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	own = context.WithValue(own, departure{}, deadline)
	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
	answer.SlotsLeft = slot.Left
	if !went.connected() {
		c.release(ctx, q, slot)
	}
	return answer, failure
}

// release gives a slot back even if the read's own time has run out; where that fails, the call stays counted.
func (c *client) release(ctx context.Context, q canonical.Query, slot unattended.Slot) {
	if slot.Release(context.WithoutCancel(ctx)) == nil {
		c.wire.Observer.Slot(ctx, q.ASPSP, SlotGivenBack)
	}
}

// replayable reports whether a request has what net/http takes for leave to send it again.
func replayable(req *http.Request) bool {
	return req.GetBody != nil || req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != ""
}

// exchange makes one call under observation, and says what its answer means. resend is how often it was sent before.
func (c *client) exchange(ctx context.Context, t http.RoundTripper, req *http.Request, q canonical.Query, r providers.Request, resend int) (
	answer providers.Answer, went *way, failure *canonical.Error,
) {
	ctx, end := c.wire.Observer.Call(ctx, Call{
		Provider: c.wire.Provider, ASPSP: q.ASPSP, Method: r.Method, Route: r.Route, Host: r.URL.Host, Attended: q.Attended(),
		Resend: resend,
	})
	answer, went, failure = roundTrip(t, req.WithContext(ctx))
	if c.wire.OutOfFiles != nil && !went.connected() && OutOfFiles(went.err) {
		c.wire.OutOfFiles(ctx, q.ASPSP)
	}
	if failure == nil && answer.Status != http.StatusOK {
		failure = c.refusal(ctx, q, r, answer)
	}
	if failure != nil {
		end(answer.Status, failure.Kind)
		return answer, went, failure
	}
	end(answer.Status, "")
	return answer, went, nil
}

func (c *client) take(ctx context.Context, q canonical.Query, r providers.Request) (unattended.Slot, *canonical.Error) {
	if c.wire.Counter == nil {
		return unattended.Slot{}, canonical.NewError(canonical.CounterUnavailable, "there is no counter of unattended calls")
	}
	slot, err := c.wire.Counter.Take(ctx, counted(q, r), c.wire.Timeout)
	failure := asError(err)
	switch {
	case failure == nil:
		c.wire.Observer.Slot(ctx, q.ASPSP, SlotTaken)
	case failure.Kind == canonical.UnattendedLimit:
		c.wire.Observer.Slot(ctx, q.ASPSP, SlotRefused)
	default:
		c.wire.Observer.Slot(ctx, q.ASPSP, SlotUnavailable)
	}
	return slot, failure
}

// refusal is what an answer means that is no success. An ASPSP's word that the limit is used up closes the
// unit. Said of an attended call it closes nothing, and callers get no wait but the ASPSP's own.
func (c *client) refusal(ctx context.Context, q canonical.Query, r providers.Request, a providers.Answer) *canonical.Error {
	failure := c.ClassifyError(q, r, a)
	wait := retryAfter(a.Header, c.wire.Now())
	switch failure.Kind { //nolint:exhaustive // of all others it says nothing when to try again
	case canonical.ProviderThrottled, canonical.ProviderError, canonical.ProviderTimeout:
		failure.RetryAfter = wait
	case canonical.ProviderUnavailable:
		if failure.RetryAfter = wait; wait == 0 {
			failure.RetryAfter = defaultRetryAfter
		}
	case canonical.UnattendedLimit:
		failure.RetryAfter, failure.Attended = wait, q.Attended()
		if failure.Attended || c.wire.Counter == nil {
			break
		}
		failure.RetryAfter = c.wire.Counter.ClampRetryAfter(q.ASPSP, wait)
		// The closure is written even if the read's own time has run out.
		if left, err := c.wire.Counter.Block(context.WithoutCancel(ctx), counted(q, r), failure.RetryAfter); err == nil {
			failure.RetryAfter = left
		}
		c.wire.Observer.Slot(ctx, q.ASPSP, SlotClosed)
	}
	return failure
}

func counted(q canonical.Query, r providers.Request) unattended.Call {
	return unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent, Account: r.Account}
}

// request is the HTTP request that r describes, with no header but r's, not yet signed.
func (c *client) request(ctx context.Context, r providers.Request, body io.Reader) (*http.Request, *canonical.Error) {
	if r.Body == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL.String(), body)
	if err != nil {
		return nil, canonical.NewError(canonical.InternalError, "the request to the provider cannot be built")
	}
	req.URL = r.URL
	req.ContentLength = int64(len(r.Body))
	req.Header = r.Header.Clone()
	req.Header["User-Agent"] = []string{""} // net/http would name itself
	return req, nil
}

// sign is the last step before a request is sent: a signature costs milliseconds, which a call that is not made must
// not cost.
func (c *client) sign(req *http.Request, r providers.Request) *canonical.Error {
	if c.Sign != nil && c.Sign(req, r.Body) != nil {
		return canonical.NewError(canonical.InternalError, "the request to the provider cannot be signed")
	}
	return nil
}

// A way is what is known of how a call went. The transport may still be dialling when it has given up waiting.
type way struct {
	conns    atomic.Int32 // connections that it was given; more than one: net/http has sent it again
	answered atomic.Bool  // the first byte of an answer has come
	err      error        // net/http's, where there was no answer

	on      atomic.Pointer[keptConn] // the last connection, if it is one that is kept and not of HTTP/2
	headers atomic.Bool              // the request's were written there
	again   atomic.Bool              // net/http was about to send the call once more
}

// connected is false if no connection was obtained, so that surely nothing was sent.
func (w *way) connected() bool { return w.conns.Load() > 0 }

// trace watches the connections of a call. net/http may go over to another one while nothing of the call was written, and
// not afterwards: it would send the call as often as used connections break, past every budget.
func (w *way) trace(ctx context.Context, giveUp func()) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			again := w.conns.Load() > 0 && w.sent()
			w.conns.Add(1)
			w.headers.Store(false)
			w.on.Store(settled(ctx, info))
			if !again {
				return
			}
			w.again.Store(true)
			giveUp()
			if k := w.on.Load(); k != nil { // net/http writes before it looks whether it should
				_ = k.Close()
			}
		},
		WroteHeaders:         func() { w.headers.Store(true) },
		GotFirstResponseByte: func() { w.answered.Store(true) },
	}
}

// roundTrip sends a request and reads its answer to the end.
func roundTrip(t http.RoundTripper, req *http.Request) (a providers.Answer, went *way, failure *canonical.Error) {
	went = new(way)
	own, giveUp := context.WithCancel(req.Context())
	defer giveUp()
	ctx := req.Context()
	resp, err := t.RoundTrip(req.WithContext(httptrace.WithClientTrace(own, went.trace(ctx, giveUp))))
	if err != nil && went.again.Load() {
		err = errSent
	}
	if err != nil {
		went.err = err
		return a, went, broken(ctx, went.connected(), err)
	}
	defer resp.Body.Close()
	a = providers.Answer{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode < http.StatusOK || resp.StatusCode > 599 {
		// After 101 net/http hands the bare connection over, on which no deadline stands any more.
		return a, went, canonical.InvalidResponse("the answer has a status that no answer has")
	}
	a, failure = receive(ctx, resp)
	return a, went, failure
}

// broken says why a call has no answer.
func broken(ctx context.Context, connected bool, err error) *canonical.Error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ended(ctx)
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
		return ended(ctx)
	case unreadable(err):
		return canonical.InvalidResponse("the answer is no readable HTTP")
	}
	return &canonical.Error{Kind: canonical.ProviderError, Origin: canonical.OriginProvider, Detail: "the connection was lost after sending"}
}

// OutOfFiles reports whether an error is that the process, or the machine, can open no more files: that is the gateway's
// own limit, and says nothing of the other side.
func OutOfFiles(err error) bool {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return true
	}
	var name *net.DNSError // keeps the text of its cause alone
	return errors.As(err, &name) && strings.Contains(name.Err, syscall.EMFILE.Error())
}

// ended says which way a context ended.
func ended(ctx context.Context) *canonical.Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return canonical.NewError(canonical.Canceled, "")
	}
	return &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no answer in time"}
}

// unreadable tells an answer that is no HTTP, or too much of it, from a connection that broke. net/http has no
// types for these errors; their texts are part of its tests.
func unreadable(err error) bool {
	text := err.Error()
	for _, part := range unreadableTexts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

var unreadableTexts = []string{
	"malformed", "server response headers exceeded", "transfer encoding", "Content-Length",
	"chunk", "invalid byte", "empty hex number", "line too long", "railer key", "long trailer", "message too large", // bodies in chunks
	"header list", "too many 1xx", "END_STREAM", "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "COMPRESSION_ERROR", "FLOW_CONTROL_ERROR", // HTTP/2
}

func asError(err error) *canonical.Error {
	if err == nil {
		return nil
	}
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure
	}
	return canonical.NewError(canonical.InternalError, "")
}

type unobserved struct{}

func (unobserved) Call(ctx context.Context, _ Call) (context.Context, func(int, canonical.Kind)) {
	return ctx, func(int, canonical.Kind) {}
}
func (unobserved) Slot(context.Context, string, SlotEvent) {}
