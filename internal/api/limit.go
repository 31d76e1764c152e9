package api

import (
	"context"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
)

// limitInFlight limits the number of requests in progress, and reserves space for the audit record.
// It runs before all other work, so that a refused request costs little.
func (s *server) limitInFlight(h handler) handler {
	return func(c *gin.Context, st *requestState) error {
		if !s.inFlight.TryAcquire() {
			return s.overloaded(c.Request.Context(), st, bulkhead.InFlight, "too many requests are in progress in total")
		}
		defer s.inFlight.Release()
		if st.AuditReserved = s.Auditor.Reserve(1); !st.AuditReserved {
			st.unrecorded = true
			return s.overloaded(c.Request.Context(), st, bulkhead.Audit, "the audit record of the request cannot be kept at the moment")
		}
		return h(c, st)
	}
}

// overloaded returns an Overloaded error with detail, and reports the limit that refused the
// request.
func (s *server) overloaded(ctx context.Context, st *requestState, by bulkhead.Refusal, detail string) error {
	s.Observer.Refused(ctx, st.RequestedASPSP, by)
	return canonical.NewError(canonical.Overloaded, detail)
}
