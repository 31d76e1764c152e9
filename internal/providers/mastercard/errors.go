package mastercard

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// wireError is one error of OBC's envelope. A member that is missing or not a string is "".
type wireError struct {
	Source      adapter.LenientString `json:"Source"`
	ReasonCode  adapter.LenientString `json:"ReasonCode"`
	Description adapter.LenientString `json:"Description"`
}

// maxErrors is the maximum number of errors that are read of one response.
const maxErrors = 100

// An errorRule maps errors to a kind.
type errorRule struct {
	reason      string   // the ReasonCode, or its prefix if it ends in "_"; "" for a code without a rule
	containsAll []string // phrases in lower case that the error must contain; may be empty
	address     bool     // the rule applies only to unattended calls, to errors that mention the user's IP address
	kind        canonical.Kind
}

// errorRules are applied in order; the first match decides. An error without a match is classified
// by its HTTP status. Sources: the feature specific error codes in OBC's documentation, and the
// Berlin Group codes, of which OBC has returned some directly since its release 1.64.
var errorRules = []errorRule{
	// OBC's validation of the gateway's request: the address is missing in an attended call.
	{reason: "FORMAT_ERROR", containsAll: []string{"when is live psu request"}, kind: canonical.ProviderRejected},
	{reason: "FORMAT_ERROR", address: true, kind: canonical.UnattendedLimit},
	{reason: "FORMAT_ERROR", kind: canonical.ProviderRejected},
	{reason: "INVALID_TOKEN", containsAll: []string{"expired"}, kind: canonical.ConsentExpired},
	{reason: "INVALID_TOKEN", kind: canonical.ConsentInvalid},
	{reason: "AUTHENTICATION_FAILED", kind: canonical.ProviderRejected},

	{reason: "CONSENT_EXPIRED", kind: canonical.ConsentExpired},
	{reason: "TOKEN_EXPIRED", kind: canonical.ConsentExpired},
	{reason: "CONSENT_INVALID", kind: canonical.ConsentInvalid},
	{reason: "CONSENT_UNKNOWN", kind: canonical.ConsentInvalid},
	{reason: "TOKEN_INVALID", kind: canonical.ConsentInvalid},
	{reason: "TOKEN_UNKNOWN", kind: canonical.ConsentInvalid},
	{reason: "RESOURCE_UNKNOWN", kind: canonical.AccountUnknown},
	{reason: "ACCESS_EXCEEDED", kind: canonical.UnattendedLimit},
	{reason: "CERTIFICATE_", kind: canonical.ProviderRejected},
	{reason: "SERVICE_UNAVAILABLE", kind: canonical.ProviderUnavailable},

	// PROVIDER_ERROR and unknown codes, by their wording.
	{containsAll: []string{"sca", "required"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"sca", "expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"strong customer authentication", "required"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"strong customer authentication", "needed"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"strong customer authentication", "expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"consent", "expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"token", "expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"access has expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"access is expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"access expired"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"reauthenticate"}, kind: canonical.ConsentExpired},
	{containsAll: []string{"account is invalid"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account", "unlinked"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account not found"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account was not found"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account could not be found"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account does not exist"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account unknown"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"account is unknown"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"unknown account"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"no such account"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"resource unknown"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"resource not found"}, kind: canonical.AccountUnknown},
	{containsAll: []string{"consent", "revoked"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"consent is invalid"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"consent id", "invalid"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"consent invalid"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"consent unknown"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"consent not found"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"invalid consent"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"token", "revoked"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"token invalid"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"token is invalid"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"token unknown"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"access", "revoked"}, kind: canonical.ConsentInvalid},
	{containsAll: []string{"unattended", "limit"}, kind: canonical.UnattendedLimit},
	{containsAll: []string{"unattended", "exceeded"}, kind: canonical.UnattendedLimit},
	{containsAll: []string{"access exceeded"}, kind: canonical.UnattendedLimit},
	{address: true, kind: canonical.UnattendedLimit},
}

// phrases are the phrases of all rules.
var phrases = func() adapter.Phrases {
	var all [][]string
	for _, c := range errorRules {
		all = append(all, c.containsAll)
	}
	return adapter.NewPhrases(all...)
}()

// sourceGateway is the Source of errors of the API gateway in front of OBC, which has no connection
// to a bank.
const sourceGateway = "gateway"

// classifyError returns the error of a response with a status other than 200: by errorRules,
// otherwise by its status.
func classifyError(q canonical.Query, r providers.Request, a providers.Response) *canonical.Error {
	if wrongRequestID(a.Body, q.RequestID) {
		return adapter.WrongRequest(a.Status)
	}
	errs := readErrors(a.Body)
	var decisive wireError
	if len(errs) > 0 {
		decisive = errs[0]
	}
	var kind canonical.Kind
	wording := adapter.NewWording(q, r)
	for _, e := range errs {
		found := parseError(e, wording).kind(a.Status, q.Attended())
		if adapter.MoreSpecific(found, kind) {
			kind, decisive = found, e
		}
	}
	switch {
	case a.Unreadable:
		kind = adapter.KindByStatus(a.Status)
	case kind == "", kind == canonical.ProviderUnavailable && statusIsSpecific(a.Status):
		kind = kindOfStatus(a.Status, decisive)
	}
	origin := canonical.OriginProvider
	if kind == canonical.UnattendedLimit || normalize(string(decisive.Source)) == "aspsp" {
		origin = canonical.OriginASPSP
	}
	return &canonical.Error{
		Kind: kind, Origin: origin,
		Upstream: canonical.NewUpstreamError(a.Status, string(decisive.Source), string(decisive.ReasonCode)),
	}
}

// parsedError is one error of a response, prepared for matching.
type parsedError struct {
	reason          string // normalized
	fromGateway     bool   // it comes from the API gateway in front of OBC
	mentionsAddress bool   // it mentions the user's IP address
	words           adapter.Words
	found           map[string]bool // the phrases it contains
}

// parseError prepares one error for matching. Texts of the request are ignored.
func parseError(e wireError, wording *adapter.Wording) parsedError {
	s := parsedError{reason: normalize(string(e.ReasonCode)), fromGateway: e.fromGateway()}
	if wording.IsRequestText(s.reason) {
		s.reason = ""
	}
	s.words = wording.Words(string(e.ReasonCode), string(e.Description))
	s.found = phrases.Find(s.words)
	s.mentionsAddress = !s.fromGateway && adapter.MentionsPSUAddress(s.words)
	return s
}

// kind returns the kind of the error by its code and wording; "" if they are unknown.
func (s parsedError) kind(status int, attended bool) canonical.Kind {
	for _, c := range errorRules {
		if c.matches(s, attended) {
			return c.kind
		}
	}
	if !s.fromGateway && s.mentionsAccessLimit(status) {
		return canonical.UnattendedLimit
	}
	return ""
}

// mentionsAccessLimit reports whether a bank's wording means its limit of unattended calls.
func (s parsedError) mentionsAccessLimit(status int) bool {
	if status != http.StatusTooManyRequests {
		return adapter.ReportsAccessLimit(s.words)
	}
	limit := adapter.LimitFrom429(s.words)
	return limit != adapter.NoLimit && limit != adapter.RateLimit
}

// matches reports whether the rule applies to an error. Rules without a code do not apply to errors
// of the API gateway, whose wording is about its own tokens and limits.
func (c errorRule) matches(s parsedError, attended bool) bool {
	own := normalize(c.reason)
	fits := own == s.reason || strings.HasSuffix(own, "_") && strings.HasPrefix(s.reason, own)
	if own == "" {
		fits = !s.fromGateway
	}
	return fits && !(c.address && (attended || !s.mentionsAddress)) && !slices.ContainsFunc(c.containsAll, func(phrase string) bool { return !s.found[phrase] })
}

func (e wireError) fromGateway() bool { return normalize(string(e.Source)) == sourceGateway }

// statusIsSpecific reports whether a status is more specific than a code for an unavailable
// service.
func statusIsSpecific(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusGatewayTimeout
}

// kindOfStatus returns the kind of a response to which no rule applies. e is its first error, zero
// if it has none.
func kindOfStatus(status int, e wireError) canonical.Kind {
	source, reason := normalize(string(e.Source)), normalize(string(e.ReasonCode))
	byStatus := adapter.KindByStatus(status)
	switch {
	case byStatus != canonical.ProviderRejected:
		return byStatus
	case source == "aspsp":
		return canonical.ProviderError
	case source == sourceGateway:
		return canonical.ProviderRejected
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		if source != "" && reason == "provider_error" {
			return canonical.ProviderError
		}
	case reason == "provider_error", status == http.StatusBadRequest && e != (wireError{}):
		return canonical.ProviderError
	}
	return canonical.ProviderRejected
}

// wrongRequestID reports whether a body contains the id of another request. It is false for a body
// without a request id, and for one that cannot be read, which is classified by its status.
func wrongRequestID(body []byte, sent string) bool {
	var w struct {
		Echo struct {
			RequestID json.RawMessage `json:"xRequestId"`
		} `json:"originalRequestInfo"`
	}
	if adapter.Decode(body, &w) != nil || w.Echo.RequestID == nil {
		return false
	}
	var id adapter.Text
	return json.Unmarshal(w.Echo.RequestID, &id) != nil || !adapter.SameRequestID(string(id), sent)
}

// readErrors returns the errors of OBC's envelope {"Errors":{"Error":[…]}}. Member names may have
// any case, and parts of the envelope may be missing: it accepts a single error in place of the
// list, a list without the envelope, and a single error. Anything else is skipped.
func readErrors(body []byte) []wireError {
	var envelope struct {
		Errors json.RawMessage `json:"Errors"`
	}
	if adapter.Decode(body, &envelope) != nil {
		return nil
	}
	list := json.RawMessage(body)
	if envelope.Errors != nil {
		list = envelope.Errors
	}
	var wrapped struct {
		Error json.RawMessage `json:"Error"`
	}
	if json.Unmarshal(list, &wrapped) == nil && wrapped.Error != nil {
		list = wrapped.Error
	}
	var many []wireError
	if json.Unmarshal(list, &many) != nil && many == nil {
		var one wireError
		_ = json.Unmarshal(list, &one) // a value other than an object stays zero, and is dropped below
		many = append(many, one)
	}
	many = slices.DeleteFunc(many, func(e wireError) bool { return e == wireError{} })
	return many[:min(len(many), maxErrors)]
}
