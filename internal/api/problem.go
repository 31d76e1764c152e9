package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/answer"
	"ais-gateway/internal/canonical"
)

// problem answers with what went wrong.
func (s *server) problem(c *gin.Context, x *exchange, err error) {
	e := x.failure(c.Request.Context(), err)
	x.Code = string(e.Kind)
	p := answer.Failure(e, answer.Subject{RequestID: x.requestID, ASPSP: x.aspsp, Provider: x.Provider})
	if e.Kind == canonical.Canceled {
		c.Status(p.Status)
		c.Writer.WriteHeaderNow()
		return
	}
	if seconds := answer.RetryAfter(e); seconds != "" {
		c.Header("Retry-After", seconds)
	}
	if e.Kind == canonical.Unauthenticated {
		c.Header("WWW-Authenticate", `Bearer realm="ais-gateway"`)
	}
	body, err := answer.Encode(p)
	if err != nil { // strings, numbers and booleans always encode
		panic("api: a problem does not encode")
	}
	write(c, p.Status, "application/problem+json", body)
}

// failure is the canonical error in err. An error of another make is a fault of the gateway, unless the caller
// has gone; a caller who has not gone is never told so.
func (x *exchange) failure(ctx context.Context, err error) *canonical.Error {
	gone := ctx.Err() != nil
	var e *canonical.Error
	switch {
	case errors.As(err, &e) && (e.Kind != canonical.Canceled || gone):
	case gone && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return canonical.Fail(canonical.Canceled, "")
	default:
		x.cause = fmt.Sprintf("%T", err) // its text may hold anything
		return canonical.Fail(canonical.InternalError, "")
	}
	if e.Kind == canonical.InternalError && x.cause == "" {
		x.cause = e.Error()
	}
	return e
}
