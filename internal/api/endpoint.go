package api

import (
	"slices"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api/parse"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
)

// endpoint describes what a route requires of a request.
type endpoint struct {
	scope         string // "" for any client
	consent       bool   // Consent-ID is required
	read          bool   // reads accounts or balances, so that the provider's requirements apply
	limited       bool   // the unattended limit applies
	resourceQuery bool   // has the query parameters accountId and allBalances
	aggregates    bool   // has the body of an aggregation, which names the ASPSPs and consents
}

// request is a valid request of an authenticated client.
type request struct {
	*requestState
	client       string            // auth.Client.ID
	aspsp        gateway.ASPSPInfo // zero if the route names no ASPSP
	query        canonical.Query
	cacheControl gateway.CacheControl

	// Of an aggregation.
	preferences parse.AggregationHeader
	key         string
	aggregation aggregation.Request
}

// endpoint returns the handler of a route under /v1. It authenticates the client, applies the
// limits, checks the request and then calls h. Checks run in this order: malformed credential
// headers, authentication, rate limit, concurrency limit, scope, all other faults. So malformed
// requests count for the rate limit too. A body is read before the rate limit, which depends on it,
// but only within the concurrency limit, which bounds the memory for bodies.
func (s *server) endpoint(e endpoint, h func(*gin.Context, *request) error) handler {
	return s.limitInFlight(func(c *gin.Context, st *requestState) error {
		text, bearer, malformed := parse.Credential(c.Request.Header)
		st.endpoint, st.credentialSent = e, text != ""
		r, faults := s.parse(c, st)
		if malformed != nil {
			return formatError(append(malformed, faults...))
		}
		client, err := s.authenticate(c, auth.Credential{Text: text, Bearer: bearer})
		if err != nil {
			return err
		}
		r.client, st.Client, st.IdentifiedBy, st.Issuer = client.ID, client.Name, client.By, client.Issuer
		admitted, tokens := s.perClient.TryAcquire(r.client), 1
		if admitted {
			defer s.perClient.Release(r.client)
		}
		if admitted && e.aggregates {
			faults = append(faults, s.parseBody(c, r)...)
			tokens = max(1, len(r.aggregation.Sources))
		}
		if err := s.Callers.AllowRate(client, tokens); err != nil {
			return err
		}
		if !admitted {
			return s.overloaded(c.Request.Context(), st, bulkhead.Client, "too many requests of your client are in progress")
		}
		found := s.findASPSP(c, r)
		if !client.May(e.scope) {
			return canonical.NewError(canonical.Forbidden, "")
		}
		if found && e.consent {
			faults = appendMissing(faults, s.Gateway.Check(r.query), e)
		}
		switch {
		case faults != nil:
			return formatError(faults)
		case !found:
			return canonical.NewError(canonical.ASPSPUnknown, "")
		case r.aggregation.Balances && !client.May(config.ScopeBalances):
			st.endpoint.scope = config.ScopeBalances
			return canonical.NewError(canonical.Forbidden, "")
		}
		if e.limited {
			st.attended = r.query.Attended()
			st.Attended, st.Read = &st.attended, e.read && !e.aggregates
		}
		return h(c, r)
	})
}

func (s *server) authenticate(c *gin.Context, credential auth.Credential) (auth.Client, error) {
	client, err := s.Callers.Authenticate(c.Request.Context(), credential)
	if err == nil {
		s.Authenticated(c.Request.Context())
	}
	return client, err
}

// findASPSP sets the ASPSP that the path names. It returns false if the ASPSP is not configured.
func (s *server) findASPSP(c *gin.Context, r *request) bool {
	if _, named := c.Params.Get("aspspId"); !named {
		return true
	}
	aspsp, found := s.Gateway.ASPSP(r.RequestedASPSP)
	if found {
		r.aspsp, r.ASPSP, r.Provider, r.policy = aspsp, aspsp.ID, aspsp.Provider, aspsp.Unattended
	}
	return found
}

// parse parses everything except the credentials and the body, and returns all faults of these.
func (s *server) parse(c *gin.Context, st *requestState) (*request, []canonical.FieldError) {
	r := &request{requestState: st}
	var inPath, inQuery []canonical.FieldError
	if segment, named := c.Params.Get("aspspId"); named {
		st.RequestedASPSP, inPath = parse.ASPSPID(segment)
	}
	if segment, named := c.Params.Get("accountId"); named {
		var faults []canonical.FieldError
		st.account, faults = parse.AccountID(segment)
		inPath = append(inPath, faults...)
	}
	if st.endpoint.resourceQuery {
		st.account, st.allBalances, inQuery = parse.ResourceQuery(c.Request.URL.RawQuery)
	}
	header, inHeaders := parse.Headers(c.Request.Header, st.endpoint.consent, s.AllowPrivateIP)
	r.query, r.cacheControl = header.Query, header.CacheControl
	r.query.ASPSP, r.query.RequestID = st.RequestedASPSP, st.RequestID
	st.Consent = canonical.Secret(header.Query.Consent)
	if st.endpoint.aggregates {
		var faults []canonical.FieldError
		r.preferences, faults = parse.AggregationHeaders(c.Request.Header)
		r.key, inHeaders = header.Key, append(inHeaders, faults...)
	}
	return r, slices.Concat(st.faults, inPath, inQuery, inHeaders)
}

// appendMissing appends the fields that the provider requires and the request lacks, unless faults
// has them already. An endpoint that makes no call to the provider does not require the user's
// token: a consent may be deleted when its token no longer exists.
func appendMissing(faults, missing []canonical.FieldError, e endpoint) []canonical.FieldError {
	have := map[string]bool{}
	for _, f := range faults {
		have[f.In+" "+f.Name] = true
	}
	for _, f := range missing {
		if have[f.In+" "+f.Name] || f.Name == "Provider-Authorization" && !e.read {
			continue
		}
		faults = append(faults, f)
	}
	return faults
}

func formatError(faults []canonical.FieldError) error {
	return &canonical.Error{Kind: canonical.FormatError, Origin: canonical.OriginGateway, Faults: faults}
}

// fail returns a handler that fails with k.
func fail(k canonical.Kind) handler {
	return func(*gin.Context, *requestState) error { return canonical.NewError(k, "") }
}
