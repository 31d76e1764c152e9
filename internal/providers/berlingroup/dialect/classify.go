package dialect

import (
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// A Classifier classifies the error responses of one ASPSP.
type Classifier struct {
	// Codes contains the kinds of the ASPSP's own codes, in capitals. One of them decides before any
	// other code, the wording and the status.
	Codes map[string]canonical.Kind
}

// Classify implements providers.ClientConfig.ClassifyError. The status decides, unless the body
// contains a known code or wording. A response to another request is ProviderInvalidResponse.
func (c Classifier) Classify(q canonical.Query, r providers.Request, resp providers.Response) *canonical.Error {
	if failure := CheckRequestID(q, resp); failure != nil {
		return failure
	}
	kind, code, token := adapter.KindByStatus(resp.Status), "", false
	if resp.Status >= http.StatusBadRequest && !resp.Unreadable {
		body := c.parseErrorBody(q, r, resp.Body)
		kind, code = c.kind(body, resp.Status, q, r)
		token = !slices.ContainsFunc(body.codes, c.isAboutConsent)
	}
	e := &canonical.Error{Kind: kind, Origin: canonical.OriginProvider, Upstream: canonical.NewUpstreamError(resp.Status, "", code)}
	switch kind { //nolint:exhaustive // no other kind has more details
	case canonical.UnattendedLimit:
		e.Origin = canonical.OriginASPSP
	case canonical.ConsentExpired, canonical.ConsentInvalid:
		// Without a code for the consent, only the user's token was rejected: by TOKEN_…, or by
		// 401, which is about the Authorization header.
		e.TokenRejected = token
	}
	return e
}

// kind returns the kind of an error response, and the code that decided it or the first code.
func (c Classifier) kind(b errorBody, status int, q canonical.Query, r providers.Request) (kind canonical.Kind, code string) {
	if kind, code := c.ownKind(b); kind != "" {
		return kind, code
	}
	kind, code = c.codeKind(b)
	if b.mentionsAccessLimit(status, q.Attended()) && adapter.MoreSpecific(canonical.UnattendedLimit, kind) {
		kind = canonical.UnattendedLimit
	}
	generic := kind == canonical.ProviderError || kind == canonical.ProviderUnavailable
	if kind == "" || generic && statusIsSpecific(status) {
		kind = b.statusKind(status, q, r)
	}
	return kind, code
}

// ownKind returns the most specific kind of the provider's own codes in the body, with its code; ""
// if there is none.
func (c Classifier) ownKind(b errorBody) (kind canonical.Kind, code string) {
	for _, known := range b.codes {
		if k, ok := c.Codes[known]; ok && adapter.MoreSpecific(k, kind) {
			kind, code = k, known
		}
	}
	return kind, code
}

// statusKind returns the kind of an error response by its status and the form of its body. A 401 is
// about the user's token, or, if none was sent, about the gateway's own credentials (RFC 9110, section
// 15.5.2).
func (b errorBody) statusKind(status int, q canonical.Query, r providers.Request) canonical.Kind {
	switch {
	case status == http.StatusNotFound && r.Account != "" && b.isAboutAccount():
		return canonical.AccountUnknown
	case status == http.StatusUnauthorized && q.Token != "":
		return canonical.ConsentInvalid
	}
	return adapter.KindByStatus(status)
}

// isAboutAccount reports whether a 404 comes from the provider's API and is about the account in
// the path. HTML, or the words of a router, mean that the route to the API is wrong.
func (b errorBody) isAboutAccount() bool {
	found := phrases.Find(b.words)
	switch {
	case b.empty, adapter.ContainsAny(accountWords, found):
		return true
	}
	return b.fromAPI && !adapter.ContainsAny(routeWords, found)
}

// statusIsSpecific reports whether a status is more specific than a code for a general failure.
func statusIsSpecific(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// codeKind returns the most specific kind of the body's codes, with its code; "" and the first code
// if no code is known.
func (c Classifier) codeKind(b errorBody) (kind canonical.Kind, code string) {
	code = b.code
	for _, found := range b.codes {
		if k, _ := c.kindOfCode(found); adapter.MoreSpecific(k, kind) {
			kind, code = k, found
		}
	}
	return kind, code
}

// isAboutConsent reports whether a code rejects the consent, not the user's token.
func (c Classifier) isAboutConsent(code string) bool {
	if own, ok := c.Codes[code]; ok {
		return (own == canonical.ConsentExpired || own == canonical.ConsentInvalid) && !strings.Contains(code, "TOKEN")
	}
	return strings.HasPrefix(code, "CONSENT_")
}

// mentionsAccessLimit reports whether the wording means that the unattended limit is used up, or
// that calls need the user's IP address.
func (b errorBody) mentionsAccessLimit(status int, attended bool) bool {
	switch status {
	case http.StatusTooManyRequests:
		limit := adapter.LimitFrom429(b.words)
		return limit != adapter.NoLimit && limit != adapter.RateLimit
	case http.StatusBadRequest:
		return !attended && adapter.MentionsPSUAddress(b.words)
	}
	return false
}
