package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/ask"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/rescue"
	"ais-gateway/internal/unattended"
)

const exchangeKey = "exchange"

// An exchange is one request and its answer, as far as problems and the log tell of them.
type exchange struct {
	Outcome
	requestID string            // the caller's as it was written, or ours
	faults    []canonical.Fault // of X-Request-ID
	aspsp     string            // the id that was asked for, once it is known to be one
	cause     string            // of a problem; fit for the log, and not for callers
	consent   string            // the consent's id, for the audit record alone
	used      usage
	shown     bool // credentials were sent
	needs     call
	account   string            // whose balances are meant; "" for none
	policy    config.Unattended // of the ASPSP
	usage     *unattended.State // of the unit; nil if it was not read
}

// A handler answers a request, or returns why it cannot.
type handler func(c *gin.Context, x *exchange) error

// record stands around every request, whatever its route: it sets what every answer carries, and tells the
// observer and the log what became of it.
func (s *server) record(c *gin.Context) {
	start := s.Now()
	x := &exchange{Outcome: Outcome{Route: template(c.FullPath()), Method: c.Request.Method}}
	x.requestID, x.faults = ask.RequestID(c.Request.Header)
	ctx, done := s.Observer.Request(c.Request.Context(), c.Request.Method, c.Request.Header)
	c.Request = c.Request.WithContext(withUsage(ctx, &x.used))
	c.Set(exchangeKey, x)
	c.Header("X-Request-ID", x.requestID)
	c.Header("Cache-Control", "no-store")
	c.Header("X-Content-Type-Options", "nosniff")
	defer func() { // deferred, so that an aborted request is told of too
		if c.Writer.Written() {
			x.Status = c.Writer.Status()
		}
		x.Duration, x.Waited, x.Slots = s.Now().Sub(start), time.Duration(x.used.waited.Load()), int(x.used.slots.Load())
		s.log(c, x)
		s.audit(c, x, start)
		done(x.Outcome)
	}()
	if fault, misframed := c.Request.Context().Value(misframedKey{}).(canonical.Fault); misframed {
		c.Header("Connection", "close")
		s.problem(c, x, formatError([]canonical.Fault{fault}))
		c.Abort()
		return
	}
	c.Next()
}

// misframedKey is the key of the fault of a request whose end is in doubt.
type misframedKey struct{}

// Misframed returns the context of a request whose end is in doubt, for example because it has both Content-Length and
// Transfer-Encoding. It is refused, whatever it is, and its connection is closed.
func Misframed(ctx context.Context, fault canonical.Fault) context.Context {
	return context.WithValue(ctx, misframedKey{}, fault)
}

// door is where every answer leaves: what a handler returns, or a panic of its, becomes a problem here.
func (s *server) door(h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		x := c.MustGet(exchangeKey).(*exchange)
		if err := s.guarded(c, x, h); err != nil {
			if c.Writer.Written() {
				panic(http.ErrAbortHandler) // half an answer must not look like a whole one
			}
			s.problem(c, x, err)
		}
	}
}

func (s *server) guarded(c *gin.Context, x *exchange, h handler) (err error) {
	defer func() {
		p := recover()
		switch p {
		case nil:
			return
		case http.ErrAbortHandler:
			panic(p)
		}
		rescue.Log(c.Request.Context(), s.Logger, p, slog.String("request_id", x.requestID))
		err = canonical.Fail(canonical.InternalError, "")
		x.cause = "panic"
	}()
	return h(c, x)
}

// log writes the one line of a request. Nothing in it was written by the caller but the method and the request's
// id, which is a UUID; a method that is none is not repeated.
func (s *server) log(c *gin.Context, x *exchange) {
	attrs := []slog.Attr{
		slog.String("method", verb(x.Method)),
		slog.String("route", x.Route),
		slog.Int("status", x.Status),
		slog.String("code", x.Code),
		slog.String("client", x.Client),
		slog.String("aspsp_id", x.ASPSP),
		slog.String("provider", x.Provider),
		slog.String("cache", x.Cache),
		slog.Int("slots", x.Slots),
		slog.Int64("duration_ms", x.Duration.Milliseconds()),
		slog.String("request_id", x.requestID),
	}
	if x.Attended != nil {
		attrs = append(attrs, slog.Bool("attended", *x.Attended))
	}
	if x.cause != "" {
		attrs = append(attrs, slog.String("cause", x.cause))
	}
	level := slog.LevelInfo
	if x.Code == string(canonical.InternalError) {
		level = slog.LevelError
	}
	s.Logger.LogAttrs(c.Request.Context(), level, "request", attrs...)
}

// audit keeps the record of a request under /v1.
func (s *server) audit(c *gin.Context, x *exchange, start time.Time) {
	if !strings.HasPrefix(c.Request.URL.Path, "/v1/") {
		return
	}
	e := Entry{Outcome: x.Outcome, At: start, RequestID: x.requestID, Asked: x.aspsp, Consent: x.consent}
	e.Method = verb(e.Method)
	s.Auditor.Audit(c.Request.Context(), e)
}

// verb is a method that everybody knows, or OTHER.
func verb(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "OTHER"
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// Templates are the paths of all routes, as the contract writes them.
func Templates() []string {
	var all []string
	for _, r := range newServer(Config{}).engine().Routes() {
		all = append(all, template(r.Path))
	}
	return all
}

// template writes gin's template as the contract does: {aspspId} for :aspspId.
func template(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if name, ok := strings.CutPrefix(s, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}
