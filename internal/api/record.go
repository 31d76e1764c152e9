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
	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

const exchangeKey = "exchange"

// An exchange is one request and its answer, as far as problems and the log tell of them.
type exchange struct {
	RequestOutcome
	requestID string                 // the caller's as it was written, or ours
	faults    []canonical.FieldError // of X-Request-ID
	aspsp     string                 // the id that was asked for, once it is known to be one
	cause     string                 // of a problem; fit for the log, and not for callers
	client    auth.Client            // who calls; zero before it is known
	room      bool                   // for the audit record, which was reserved
	unkept    bool                   // no audit record is kept, because there was no room for one
	consent   string                 // the consent's id, for the audit record alone
	used      usage
	shown     bool // credentials were sent
	needs     call
	account   string            // whose balances are meant; "" for none
	policy    config.Unattended // of the ASPSP
	usage     *unattended.Usage // of the unit; nil if it was not read
}

// A handler answers a request, or returns why it cannot.
type handler func(c *gin.Context, x *exchange) error

// record stands around every request, whatever its route: it sets what every answer carries, and tells the
// observer and the log what became of it.
func (s *server) record(c *gin.Context) {
	start := s.Now()
	x := &exchange{RequestOutcome: RequestOutcome{Route: template(c.FullPath()), Method: c.Request.Method}}
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
		s.tell(c, x, start)
		done(x.RequestOutcome)
	}()
	if fault, misframed := c.Request.Context().Value(misframedKey{}).(canonical.FieldError); misframed {
		c.Header("Connection", "close")
		s.problem(c, x, formatError([]canonical.FieldError{fault}))
		c.Abort()
		return
	}
	c.Next()
}

// misframedKey is the key of the fault of a request whose end is in doubt.
type misframedKey struct{}

// Misframed returns the context of a request whose end is in doubt, for example because it has both Content-Length and
// Transfer-Encoding. It is refused, whatever it is, and its connection is closed.
func Misframed(ctx context.Context, fault canonical.FieldError) context.Context {
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
		recovery.Log(c.Request.Context(), s.Logger, p, slog.String("request_id", x.requestID))
		err = canonical.NewError(canonical.InternalError, "")
		x.cause = "panic"
	}()
	return h(c, x)
}

// recorded reports whether a request has an audit record.
func recorded(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }

// tell keeps the audit record of a request under /v1, and logs every request. Where the record is the log line, too, the
// logger of recorded requests does not write a second one.
func (s *server) tell(c *gin.Context, x *exchange, start time.Time) {
	e := AuditEvent{
		RequestOutcome: x.RequestOutcome, At: start, RequestID: x.requestID, Asked: x.aspsp, Consent: x.consent,
		ClientBy: x.client.By, Issuer: x.client.Issuer, Reserved: x.room, Cause: x.cause,
	}
	e.Method = verb(e.Method)
	logger := s.Logger
	if recorded(c.Request) && !x.unkept {
		s.Auditor.Audit(c.Request.Context(), e)
		logger = s.RecordedLogger
	}
	level := slog.LevelInfo
	if e.Code == string(canonical.InternalError) {
		level = slog.LevelError
	}
	logger.LogAttrs(c.Request.Context(), level, "request", e.attrs()...)
}

// attrs are what the log says of a request. Nothing in it was written by the caller but the method and the request's id,
// which is a UUID; a method that is none is not repeated. What is unknown is left out.
func (e AuditEvent) attrs() []slog.Attr {
	attrs := slices.DeleteFunc([]slog.Attr{
		slog.String("method", e.Method),
		slog.String("route", e.Route),
		slog.Int("status", e.Status),
		slog.String("code", e.Code),
		slog.String("cause", e.Cause),
		slog.String("client", e.Client),
		slog.String("identified_by", e.ClientBy),
		slog.String("issuer", e.Issuer),
		slog.String("aspsp_id", e.ASPSP),
		slog.String("provider", e.Provider),
		slog.String("cache", e.Cache),
		slog.Int("slots", e.Slots),
		slog.Int64("duration_ms", e.Duration.Milliseconds()),
		slog.String("request_id", e.RequestID),
	}, func(a slog.Attr) bool { return a.Value.Equal(slog.StringValue("")) })
	if e.Attended != nil {
		attrs = append(attrs, slog.Bool("attended", *e.Attended))
	}
	return attrs
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
