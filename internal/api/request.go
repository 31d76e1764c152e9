package api

import (
	"slices"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/api/ask"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
)

// A call is what a route demands of a request.
type call struct {
	scope        string // "" for any client
	consent      bool   // Consent-ID is required
	asks         bool   // the provider may be asked, so that it must be given all that it needs
	counted      bool   // unattended requests stand under the limit
	accountQuery bool   // takes accountId in the query
}

// A request is one that is well-formed, and whose client may make it.
type request struct {
	*exchange
	client string            // Client.ID
	aspsp  gateway.ASPSPInfo // zero where the route names none
	query  canonical.Query
	wants  gateway.CacheControl
}

// call is the way of all requests under /v1. A fault of the credentials' headers stands before the question who
// calls; who calls, how often, and whether he may, before everything else that may be wrong: ill-formed requests of
// his count too.
func (s *server) call(k call, answer func(*gin.Context, *request) error) gin.HandlerFunc {
	return s.door(s.bounded(func(c *gin.Context, x *exchange) error {
		text, bearer, ill := ask.Credential(c.Request.Header)
		x.needs, x.shown = k, text != ""
		r, faults := s.read(c, x, k)
		if ill != nil {
			return formatError(append(ill, faults...))
		}
		who, err := s.Callers.Authenticate(c.Request.Context(), auth.Credential{Text: text, Bearer: bearer})
		if err != nil {
			return err
		}
		s.Authenticated(c.Request.Context())
		r.client, x.Client, x.IdentifiedBy, x.Issuer = who.ID, who.Name, who.By, who.Issuer
		if err := s.Callers.AllowRate(who); err != nil {
			return err
		}
		if !s.each.TryAcquire(r.client) {
			return s.overloaded(c.Request.Context(), x, bulkhead.Client, "too many requests of your client are in progress")
		}
		defer s.each.Release(r.client)
		found := true
		if _, asked := c.Params.Get("aspspId"); asked {
			if r.aspsp, found = s.Gateway.ASPSP(x.RequestedASPSP); found {
				x.ASPSP, x.Provider, x.policy = r.aspsp.ID, r.aspsp.Provider, r.aspsp.Unattended
			}
		}
		if !who.May(k.scope) {
			return canonical.NewError(canonical.Forbidden, "")
		}
		if found && k.consent {
			faults = merge(faults, s.Gateway.Check(r.query), k)
		}
		switch {
		case faults != nil:
			return formatError(faults)
		case !found:
			return canonical.NewError(canonical.ASPSPUnknown, "")
		}
		if k.counted {
			attended := r.query.Attended()
			x.Attended, x.Read = &attended, k.asks
		}
		return answer(c, r)
	}))
}

// read reads all of a request but who makes it, and names everything that is wrong with it.
func (s *server) read(c *gin.Context, x *exchange, k call) (*request, []canonical.FieldError) {
	r := &request{exchange: x}
	var ofPath, ofQuery []canonical.FieldError
	if segment, asked := c.Params.Get("aspspId"); asked {
		x.RequestedASPSP, ofPath = ask.ASPSP(segment)
	}
	if segment, asked := c.Params.Get("accountId"); asked {
		var faults []canonical.FieldError
		x.account, faults = ask.Account(segment)
		ofPath = append(ofPath, faults...)
	}
	if k.accountQuery {
		x.account, ofQuery = ask.AccountQuery(c.Request.URL.RawQuery)
	}
	query, wants, ofHeaders := ask.Headers(c.Request.Header, k.consent, s.AllowPrivateIP)
	r.query, r.wants = query, wants
	r.query.ASPSP, r.query.RequestID = x.RequestedASPSP, x.RequestID
	x.Consent = canonical.Secret(query.Consent)
	return r, slices.Concat(x.faults, ofPath, ofQuery, ofHeaders)
}

// merge adds what the provider would miss, unless it is named already. A call that never asks the provider needs
// no token for it: a consent is often forgotten when the token is already gone.
func merge(faults, missed []canonical.FieldError, k call) []canonical.FieldError {
	named := map[string]bool{}
	for _, f := range faults {
		named[f.In+" "+f.Name] = true
	}
	for _, f := range missed {
		if named[f.In+" "+f.Name] || f.Name == "Provider-Authorization" && !k.asks {
			continue
		}
		faults = append(faults, f)
	}
	return faults
}

func formatError(faults []canonical.FieldError) error {
	return &canonical.Error{Kind: canonical.FormatError, Origin: canonical.OriginGateway, Faults: faults}
}

func refuse(k canonical.Kind) handler {
	return func(*gin.Context, *exchange) error { return canonical.NewError(k, "") }
}
