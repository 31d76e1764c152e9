package api

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/render"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

func (s *server) contract(c *gin.Context, st *requestState) error {
	if st.faults != nil {
		return formatError(st.faults)
	}
	write(c, st, http.StatusOK, "application/yaml", s.Contract)
	return nil
}

func (s *server) aspsps(c *gin.Context, r *request) error {
	return writeJSON(c, r.requestState, render.ASPSPs(s.Gateway.ASPSPs()))
}

func (s *server) aspsp(c *gin.Context, r *request) error {
	return writeJSON(c, r.requestState, render.ASPSP(r.aspsp))
}

func (s *server) accounts(c *gin.Context, r *request) error {
	list, err := s.Gateway.Accounts(c.Request.Context(), r.client, r.query, r.cacheControl)
	setRateLimit(c, r, list.Usage)
	r.Cache, r.StaleByLimit = string(list.CacheResult), render.StaleByLimit(list)
	if err != nil {
		return err
	}
	r.setHeader(c, "Cache-Status", render.CacheStatus(list))
	if age := render.Age(list.Freshness); age != "" {
		r.setHeader(c, "Age", age)
	}
	return writeBody(c, r.requestState, func(b []byte) ([]byte, error) {
		return render.AppendAccounts(b, r.aspsp, list), nil
	})
}

func (s *server) balances(c *gin.Context, r *request) error {
	result, err := s.Gateway.Balances(c.Request.Context(), r.client, r.query, r.account)
	setRateLimit(c, r, result.Usage)
	if err != nil {
		return err
	}
	return writeBody(c, r.requestState, func(b []byte) ([]byte, error) {
		return render.AppendBalances(b, r.aspsp, r.account, result)
	})
}

// bodies has buffers for bodies up to maxPooledBody bytes.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

const maxPooledBody = 64 << 10

// errBody is the error of a body that cannot be encoded.
var errBody = canonical.NewError(canonical.InternalError, "the body cannot be written as JSON")

// writeBody writes a response with status 200 and the body that appendBody appends to a buffer.
func writeBody(c *gin.Context, st *requestState, appendBody func([]byte) ([]byte, error)) error {
	buffer := bodies.Get().(*[]byte)
	body, err := appendBody((*buffer)[:0])
	if cap(body) <= maxPooledBody {
		*buffer = body
		defer bodies.Put(buffer)
	}
	if err != nil {
		return errBody
	}
	write(c, st, http.StatusOK, "application/json", body)
	return nil
}

func (s *server) unattendedAccess(c *gin.Context, r *request) error {
	usage, err := s.Gateway.UnattendedAccess(c.Request.Context(), unattended.Call{
		ASPSP: r.query.ASPSP, Consent: r.query.Consent, Account: r.account, AllBalances: r.allBalances,
	})
	if err != nil {
		setRateLimit(c, r, nil)
		return err
	}
	setRateLimit(c, r, &usage)
	return writeJSON(c, r.requestState, render.Usage(usage))
}

func (s *server) deleteCachedData(c *gin.Context, r *request) error {
	if err := s.Gateway.DeleteCachedData(c.Request.Context(), r.client, r.query); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
	return nil
}

// setRateLimit sets the RateLimit headers of an unattended request. usage is nil if it could not be
// read.
func setRateLimit(c *gin.Context, r *request, usage *unattended.Usage) {
	r.usage = usage
	if r.query.Attended() {
		return
	}
	policy, limit := render.RateLimit(r.aspsp.Unattended, usage)
	r.setHeader(c, "Ratelimit-Policy", policy)
	r.setHeader(c, "Ratelimit", limit)
}

// writeJSON writes a response with status 200 and v as its body.
func writeJSON(c *gin.Context, st *requestState, v any) error {
	return writeBody(c, st, func(b []byte) ([]byte, error) {
		body, err := render.JSON(v)
		return append(b, body...), err
	})
}

// write writes a response with a complete body. Without its length, net/http sends bodies above 2 KB
// in chunks.
func write(c *gin.Context, st *requestState, status int, contentType string, body []byte) {
	st.setHeader(c, "Content-Type", contentType)
	st.setHeader(c, "Content-Length", strconv.Itoa(len(body)))
	c.Status(status)
	_, _ = c.Writer.Write(body) // fails only if the caller has closed the connection
}
