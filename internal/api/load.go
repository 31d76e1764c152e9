package api

import (
	"context"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
)

// bounded lets only so many requests in at once. It stands before everything that is done for one, so that what is
// too much costs next to nothing.
func (s *server) bounded(h handler) handler {
	return func(c *gin.Context, x *exchange) error {
		if !s.all.TryAcquire() {
			return s.overloaded(c.Request.Context(), x, bulkhead.InFlight, "too many requests are in progress in total")
		}
		defer s.all.Release()
		if x.AuditReserved = s.Auditor.Reserve(); !x.AuditReserved {
			x.unkept = true
			return s.overloaded(c.Request.Context(), x, bulkhead.Audit, "the audit record of the request cannot be kept at the moment")
		}
		return h(c, x)
	}
}

func (s *server) overloaded(ctx context.Context, x *exchange, by bulkhead.Refusal, detail string) error {
	s.Observer.Refused(ctx, x.RequestedASPSP, by)
	return canonical.NewError(canonical.Overloaded, detail)
}
