package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/render"
	"ais-gateway/internal/canonical"
)

// problem writes the problem for err. If the caller has closed the connection, or its side of it,
// no response is sent.
func (s *server) problem(c *gin.Context, st *requestState, err error) {
	e := st.canonicalError(c.Request.Context(), err)
	st.Code = string(e.Kind)
	if e.Kind == canonical.Canceled {
		st.Status = render.StatusCanceled
		panic(http.ErrAbortHandler)
	}
	p := render.NewProblem(e, st.problemContext(s.Observer.TraceID(c.Request.Context()), s.Now))
	if challenge := st.challenge(e.Kind); challenge != "" {
		c.Header("WWW-Authenticate", challenge)
	}
	body, err := render.JSON(p)
	if err != nil { // strings, numbers and booleans always encode
		panic("api: a problem does not encode")
	}
	writeProblem(c, st, p, body)
}

// writeProblem writes a problem with its body.
func writeProblem(c *gin.Context, st *requestState, p render.Problem, body []byte) {
	if p.RetryAfter > 0 {
		c.Header("Retry-After", strconv.FormatInt(p.RetryAfter, 10))
	}
	write(c, st, p.Status, "application/problem+json", body)
}

// problemContext returns what a problem shows of the request.
func (st *requestState) problemContext(traceID string, now func() time.Time) render.ProblemContext {
	return render.ProblemContext{
		RequestID: st.RequestID, TraceID: traceID, ASPSP: st.RequestedASPSP, Provider: st.Provider,
		Scope: st.endpoint.scope, ReadsUsage: st.endpoint.limited && !st.endpoint.read, HasAccount: st.account != "",
		Policy: st.policy, Usage: st.usage, Now: now,
	}
}

// challenge returns WWW-Authenticate (RFC 6750, section 3), or "" if k has none. It has an error
// code only if credentials were sent.
func (st *requestState) challenge(k canonical.Kind) string {
	const realm = `Bearer realm="ais-gateway"`
	switch {
	case k == canonical.Unauthenticated && st.credentialSent:
		return realm + `, error="invalid_token"`
	case k == canonical.Unauthenticated:
		return realm
	case k == canonical.Forbidden:
		return realm + `, error="insufficient_scope", scope="` + st.endpoint.scope + `"`
	}
	return ""
}

// canonicalError returns the canonical error in err, and sets the event's cause. Any other error,
// and one of an unknown kind, is InternalError, or Canceled if the caller has gone. If the caller
// has not gone, the result is never Canceled.
func (st *requestState) canonicalError(ctx context.Context, err error) *canonical.Error {
	gone := ctx.Err() != nil
	var e *canonical.Error
	switch {
	case errors.As(err, &e) && e.Kind.Known() && (e.Kind != canonical.Canceled || gone):
	case gone && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return canonical.NewError(canonical.Canceled, "")
	default:
		st.Cause = fmt.Sprintf("%T", err) // only the type, because the text may contain anything
		return canonical.NewError(canonical.InternalError, "")
	}
	switch {
	case st.Cause != "":
	case e.Kind == canonical.InternalError:
		st.Cause = e.Error()
	default:
		st.Cause = e.Detail
	}
	return e
}
