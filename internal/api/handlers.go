package api

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/render"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

func (s *server) contract(c *gin.Context, st *requestState) error {
	if st.faults != nil {
		return formatError(st.faults)
	}
	write(c, http.StatusOK, "application/yaml", s.Contract)
	return nil
}

func (s *server) aspsps(c *gin.Context, _ *request) error {
	return writeJSON(c, render.ASPSPs(s.Gateway.ASPSPs()))
}

func (s *server) aspsp(c *gin.Context, r *request) error { return writeJSON(c, render.ASPSP(r.aspsp)) }

func (s *server) accounts(c *gin.Context, r *request) error {
	list, err := s.Gateway.Accounts(c.Request.Context(), r.client, r.query, r.cacheControl)
	setRateLimit(c, r, list.Usage)
	if err != nil {
		return err
	}
	r.Cache, r.StaleByLimit = render.CacheResult(list), render.StaleByLimit(list)
	setHeader(c, "Cache-Status", render.CacheStatus(list))
	if age := render.Age(list.Freshness); age != "" {
		setHeader(c, "Age", age)
	}
	write(c, http.StatusOK, "application/json", render.Accounts(r.aspsp, list))
	return nil
}

func (s *server) balances(c *gin.Context, r *request) error {
	result, err := s.Gateway.Balances(c.Request.Context(), r.client, r.query, r.account)
	setRateLimit(c, r, result.Usage)
	if err != nil {
		return err
	}
	body, err := render.Balances(r.aspsp, r.account, result)
	if err != nil {
		return canonical.NewError(canonical.InternalError, "the balances cannot be written as JSON")
	}
	write(c, http.StatusOK, "application/json", body)
	return nil
}

func (s *server) unattendedAccess(c *gin.Context, r *request) error {
	usage, err := s.Gateway.UnattendedAccess(c.Request.Context(), r.query, r.account)
	if err != nil {
		setRateLimit(c, r, nil)
		return err
	}
	setRateLimit(c, r, &usage)
	return writeJSON(c, render.Usage(usage))
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
	setHeader(c, "Ratelimit-Policy", policy)
	setHeader(c, "Ratelimit", limit)
}

// writeJSON writes a response with status 200. v is encoded completely before the first byte is
// sent.
func writeJSON(c *gin.Context, v any) error {
	body, err := render.JSON(v)
	if err != nil {
		return canonical.NewError(canonical.InternalError, "the answer cannot be written as JSON")
	}
	write(c, http.StatusOK, "application/json", body)
	return nil
}

// write writes a response with a complete body. Without its length, net/http sends bodies above 2 KB
// in chunks.
func write(c *gin.Context, status int, contentType string, body []byte) {
	setHeader(c, "Content-Type", contentType)
	setHeader(c, "Content-Length", strconv.Itoa(len(body)))
	c.Status(status)
	_, _ = c.Writer.Write(body) // fails only if the caller has closed the connection
}
