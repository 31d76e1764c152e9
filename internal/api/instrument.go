package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/parse"
	"ais-gateway/internal/api/progress"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

// requestState is what is known of a request so far: its event, and what its problem needs.
type requestState struct {
	event.Request
	endpoint       endpoint
	faults         []canonical.FieldError // of X-Request-ID
	unrecorded     bool                   // there was no space for the audit record
	credentialSent bool
	account        string            // the account id in the path or query; "" if none
	allBalances    bool              // the query is about the balances of all accounts in one call
	policy         config.Unattended // of the ASPSP
	usage          *unattended.Usage // of the unit; nil if it was not read
	totals         event.Totals
	attended       bool
	progress       *progress.Progress // of an aggregation that has begun
	values         []string           // of headers of the response
}

// handler writes the response to a request, or returns an error that becomes a problem.
type handler func(c *gin.Context, st *requestState) error

// handle returns the handler of a route. It sets the headers of every response, calls h, writes a
// problem for the error that h returns or for its panic, and writes log line, audit record and
// telemetry at the end of the request. route is the path template of the contract, "" if no route
// matched.
func (s *server) handle(route string, h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		st := &requestState{
			Request: event.Request{Start: s.Now(), Route: route, Method: methodLabel(c.Request.Method)},
			values:  make([]string, 0, maxHeaders),
		}
		st.RequestID, st.faults = parse.RequestID(c.Request.Header)
		ctx, done := s.Observer.Request(c.Request.Context(), c.Request.Method, c.Request.Header)
		ctx = event.WithTotals(ctx, &st.totals)
		c.Request = c.Request.WithContext(ctx)
		st.setHeader(c, "X-Request-Id", st.RequestID)
		header := c.Writer.Header()
		header["Cache-Control"], header["X-Content-Type-Options"] = noStore, noSniff
		defer func() { // deferred, so that aborted requests are observed too
			if c.Writer.Written() {
				st.Status = c.Writer.Status()
			}
			st.Duration = s.Now().Sub(st.Start)
			st.Slots, st.Waited = st.totals.Slots(), st.totals.Waited()
			s.log(c, st)
			done(st.Request)
		}()
		if fault, misframed := ctx.Value(misframedKey{}).(canonical.FieldError); misframed {
			c.Header("Connection", "close")
			s.problem(c, st, formatError([]canonical.FieldError{fault}))
			return
		}
		if err := s.recoverPanic(c, st, h); err != nil {
			if !c.Writer.Written() {
				s.problem(c, st, err)
			} else if !s.endStream(c, st, err) {
				panic(http.ErrAbortHandler) // a partial response must not look complete
			}
		}
	}
}

// maxHeaders is how many headers setHeader sets for a response.
const maxHeaders = 7

// noStore and noSniff are the values of headers that every response has. They are shared by all
// responses.
var noStore, noSniff = []string{"no-store"}, []string{"nosniff"}

// setHeader sets a header of the response. key is the name as net/http stores it.
func (st *requestState) setHeader(c *gin.Context, key, value string) {
	st.values = append(st.values, value)
	n := len(st.values)
	c.Writer.Header()[key] = st.values[n-1 : n : n]
}

// misframedKey is the context key of the fault that Misframed sets.
type misframedKey struct{}

// Misframed returns the context of a request whose end is ambiguous, for example because it has
// both Content-Length and Transfer-Encoding. The API refuses the request with fault and closes the
// connection.
func Misframed(ctx context.Context, fault canonical.FieldError) context.Context {
	return context.WithValue(ctx, misframedKey{}, fault)
}

// recoverPanic calls h, and returns InternalError if it panics.
func (s *server) recoverPanic(c *gin.Context, st *requestState, h handler) (err error) {
	defer func() {
		p := recover()
		switch p {
		case nil:
			return
		case http.ErrAbortHandler:
			panic(p)
		}
		recovery.Log(c.Request.Context(), s.Logger, p, slog.String("request_id", st.RequestID))
		err = canonical.NewError(canonical.InternalError, "")
		st.Cause = "panic"
	}()
	return h(c, st)
}

// log writes the audit records of a request under /v1, and the log line of every request.
// RecordedLogger writes no line if the audit record is the log line.
func (s *server) log(c *gin.Context, st *requestState) {
	logger := s.Logger
	if strings.HasPrefix(c.Request.URL.Path, "/v1/") && !st.unrecorded {
		s.Auditor.Write(c.Request.Context(), st.Request)
		for _, source := range st.progress.End(st.Request) {
			s.Auditor.Write(c.Request.Context(), source)
		}
		logger = s.RecordedLogger
	}
	if ctx, level := c.Request.Context(), st.Level(); logger.Enabled(ctx, level) {
		logger.LogAttrs(ctx, level, "request", st.Attrs()...)
	}
}

// methodLabel returns a known HTTP method as it is, and OTHER for any other text.
func methodLabel(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "OTHER"
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}
