package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/answer"
	"ais-gateway/internal/canonical"
)

// problem writes what went wrong. A caller who has gone, or has closed its side of the connection, gets no response.
func (s *server) problem(c *gin.Context, x *exchange, err error) {
	e := x.failure(c.Request.Context(), err)
	x.Code = string(e.Kind)
	if e.Kind == canonical.Canceled {
		x.Status = answer.StatusGone
		panic(http.ErrAbortHandler)
	}
	p := answer.Failure(e, x.subject(s.Observer.TraceID(c.Request.Context()), s.Now))
	if p.RetryAfter > 0 {
		c.Header("Retry-After", strconv.FormatInt(p.RetryAfter, 10))
	}
	if challenge := x.challenge(e.Kind); challenge != "" {
		c.Header("WWW-Authenticate", challenge)
	}
	body, err := answer.Encode(p)
	if err != nil { // strings, numbers and booleans always encode
		panic("api: a problem does not encode")
	}
	write(c, p.Status, "application/problem+json", body)
}

// subject is the request as its problem describes it.
func (x *exchange) subject(traceID string, now func() time.Time) answer.Subject {
	return answer.Subject{
		RequestID: x.RequestID, TraceID: traceID, ASPSP: x.RequestedASPSP, Provider: x.Provider,
		Scope: x.needs.scope, Access: x.needs.counted && !x.needs.asks, Account: x.account != "",
		Policy: x.policy, Usage: x.usage, Now: now,
	}
}

// challenge is WWW-Authenticate (RFC 6750, section 3). Without credentials of the scheme it has no error code.
func (x *exchange) challenge(k canonical.Kind) string {
	const realm = `Bearer realm="ais-gateway"`
	switch {
	case k == canonical.Unauthenticated && x.shown:
		return realm + `, error="invalid_token"`
	case k == canonical.Unauthenticated:
		return realm
	case k == canonical.Forbidden:
		return realm + `, error="insufficient_scope", scope="` + x.needs.scope + `"`
	}
	return ""
}

// failure is the canonical error in err. An error of another make is a fault of the gateway, unless the caller
// has gone; a caller who has not gone is never told so.
func (x *exchange) failure(ctx context.Context, err error) *canonical.Error {
	gone := ctx.Err() != nil
	var e *canonical.Error
	switch {
	case errors.As(err, &e) && (e.Kind != canonical.Canceled || gone):
	case gone && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return canonical.NewError(canonical.Canceled, "")
	default:
		x.Cause = fmt.Sprintf("%T", err) // its text may hold anything
		return canonical.NewError(canonical.InternalError, "")
	}
	switch {
	case x.Cause != "":
	case e.Kind == canonical.InternalError:
		x.Cause = e.Error()
	default:
		x.Cause = e.Detail
	}
	return e
}
