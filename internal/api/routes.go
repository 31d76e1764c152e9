package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/answer"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/unattended"
)

func (s *server) contract(c *gin.Context, x *exchange) error {
	if x.faults != nil {
		return formatError(x.faults)
	}
	write(c, http.StatusOK, "application/yaml", s.Contract)
	return nil
}

func (s *server) aspsps(c *gin.Context, _ *request) error {
	return send(c, answer.ASPSPs(s.Gateway.ASPSPs()))
}

func (s *server) aspsp(c *gin.Context, r *request) error { return send(c, answer.ASPSP(r.aspsp)) }

func (s *server) accounts(c *gin.Context, r *request) error {
	list, err := s.Gateway.Accounts(c.Request.Context(), r.client, r.query, r.wants)
	rateLimit(c, r, list.Usage)
	if err != nil {
		return err
	}
	r.Cache, r.StaleByLimit = answer.CacheOutcome(list), answer.Refused(list)
	c.Header("Cache-Status", answer.CacheStatus(list))
	if age := answer.Age(list.Freshness); age != "" {
		c.Header("Age", age)
	}
	return send(c, answer.Accounts(r.aspsp, list))
}

func (s *server) balances(c *gin.Context, r *request) error {
	sheet, err := s.Gateway.Balances(c.Request.Context(), r.client, r.query, r.account)
	rateLimit(c, r, sheet.Usage)
	if err != nil {
		return err
	}
	return send(c, answer.Balances(r.aspsp, r.account, sheet))
}

func (s *server) unattendedAccess(c *gin.Context, r *request) error {
	state, err := s.Gateway.UnattendedAccess(c.Request.Context(), r.query, r.account)
	var readable *unattended.Usage
	if err == nil {
		readable = &state
	}
	rateLimit(c, r, readable)
	if err != nil {
		return err
	}
	return send(c, answer.Access(state))
}

func (s *server) forget(c *gin.Context, r *request) error {
	if err := s.Gateway.Forget(c.Request.Context(), r.client, r.query); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
	return nil
}

// rateLimit tells an unattended request where its unit stands; nil where that could not be read.
func rateLimit(c *gin.Context, r *request, state *unattended.Usage) {
	r.usage = state
	if r.query.Attended() {
		return
	}
	policy, limit := answer.RateLimit(r.aspsp.Unattended, state)
	c.Header("RateLimit-Policy", policy)
	c.Header("RateLimit", limit)
}

// send writes an answer of 200. It is encoded before its first byte leaves.
func send(c *gin.Context, v any) error {
	body, err := answer.Encode(v)
	if err != nil {
		return canonical.NewError(canonical.InternalError, "the answer cannot be written as JSON")
	}
	write(c, http.StatusOK, "application/json", body)
	return nil
}

func write(c *gin.Context, status int, contentType string, body []byte) {
	c.Header("Content-Type", contentType)
	c.Status(status)
	_, _ = c.Writer.Write(body) // fails only where the caller has gone, and then nobody is left to tell
}
