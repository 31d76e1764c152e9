package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/ask"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

const exchangeKey = "exchange"

// An exchange is one request and its answer, as far as problems and the log tell of them.
type exchange struct {
	event.Request
	faults  []canonical.FieldError // of X-Request-ID
	unkept  bool                   // no audit record is kept, because there was no room for one
	shown   bool                   // credentials were sent
	needs   call
	account string            // whose balances are meant; "" for none
	policy  config.Unattended // of the ASPSP
	usage   *unattended.Usage // of the unit; nil if it was not read
}

// A handler answers a request, or returns why it cannot.
type handler func(c *gin.Context, x *exchange) error

// record stands around every request, whatever its route: it sets what every answer carries, and tells the
// observer and the log what became of it.
func (s *server) record(c *gin.Context) {
	x := &exchange{Request: event.Request{Start: s.Now(), Route: template(c.FullPath()), Method: verb(c.Request.Method)}}
	x.RequestID, x.faults = ask.RequestID(c.Request.Header)
	ctx, done := s.Observer.Request(c.Request.Context(), c.Request.Method, c.Request.Header)
	c.Request = c.Request.WithContext(event.WithTotals(ctx))
	c.Set(exchangeKey, x)
	c.Header("X-Request-ID", x.RequestID)
	c.Header("Cache-Control", "no-store")
	c.Header("X-Content-Type-Options", "nosniff")
	defer func() { // deferred, so that an aborted request is told of too
		if c.Writer.Written() {
			x.Status = c.Writer.Status()
		}
		x.Duration = s.Now().Sub(x.Start)
		x.Slots, x.Waited = event.Totals(c.Request.Context())
		s.tell(c, x)
		done(x.Request)
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
		recovery.Log(c.Request.Context(), s.Logger, p, slog.String("request_id", x.RequestID))
		err = canonical.NewError(canonical.InternalError, "")
		x.Cause = "panic"
	}()
	return h(c, x)
}

// recorded reports whether a request has an audit record.
func recorded(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }

// tell keeps the audit record of a request under /v1, and logs every request. Where the record is the log line, too, the
// logger of recorded requests does not write a second one.
func (s *server) tell(c *gin.Context, x *exchange) {
	logger := s.Logger
	if recorded(c.Request) && !x.unkept {
		s.Auditor.Write(c.Request.Context(), x.Request)
		logger = s.RecordedLogger
	}
	logger.LogAttrs(c.Request.Context(), x.Level(), "request", x.Attrs()...)
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
