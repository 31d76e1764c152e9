package mastercard

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// wireError is one error of OBC's envelope. A member that is missing, or is no string, is "".
type wireError struct {
	Source      lenient `json:"Source"`
	ReasonCode  lenient `json:"ReasonCode"`
	Description lenient `json:"Description"`
}

type lenient string

// Bounds of what is read of an error.
const (
	maxSaid   = 2048 // bytes of one member
	maxErrors = 100  // in one answer
)

// UnmarshalJSON takes a string's beginning, and anything else for "": an error is worth reading although one member is
// odd.
func (l *lenient) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*l = lenient(strings.Clone(s[:min(len(s), maxSaid)]))
	}
	return nil
}

// A cause is a row of the wording table: what an error must say to mean a kind.
type cause struct {
	reason  string   // the ReasonCode, or its beginning if it ends in "_"; "" for any that has no row of its own
	says    []string // phrases in lower case, all of which must stand in the error; none for whatever it says
	address bool     // it means this only if the error of an unattended call names the user's address
	kind    canonical.Kind
}

// causes are read from the top; the first row that fits is the error's cause. What fits none is left to the
// HTTP status. Sources: the feature specific error codes of OBC's pages, and Berlin Group's codes, of which OBC
// names some directly since its release 1.64.
var causes = []cause{
	// OBC's own check of what the gateway built: the address is missing in an attended call.
	{reason: "FORMAT_ERROR", says: []string{"when is live psu request"}, kind: canonical.ProviderRejected},
	{reason: "FORMAT_ERROR", address: true, kind: canonical.UnattendedLimit},
	{reason: "FORMAT_ERROR", kind: canonical.ProviderRejected},
	{reason: "INVALID_TOKEN", says: []string{"expired"}, kind: canonical.ConsentExpired},
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

	// PROVIDER_ERROR and what is unknown, by the words.
	{says: []string{"sca", "required"}, kind: canonical.ConsentExpired},
	{says: []string{"sca", "expired"}, kind: canonical.ConsentExpired},
	{says: []string{"strong customer authentication", "required"}, kind: canonical.ConsentExpired},
	{says: []string{"strong customer authentication", "needed"}, kind: canonical.ConsentExpired},
	{says: []string{"strong customer authentication", "expired"}, kind: canonical.ConsentExpired},
	{says: []string{"consent", "expired"}, kind: canonical.ConsentExpired},
	{says: []string{"token", "expired"}, kind: canonical.ConsentExpired},
	{says: []string{"access has expired"}, kind: canonical.ConsentExpired},
	{says: []string{"access is expired"}, kind: canonical.ConsentExpired},
	{says: []string{"access expired"}, kind: canonical.ConsentExpired},
	{says: []string{"reauthenticate"}, kind: canonical.ConsentExpired},
	{says: []string{"account is invalid"}, kind: canonical.AccountUnknown},
	{says: []string{"account", "unlinked"}, kind: canonical.AccountUnknown},
	{says: []string{"account not found"}, kind: canonical.AccountUnknown},
	{says: []string{"account was not found"}, kind: canonical.AccountUnknown},
	{says: []string{"account could not be found"}, kind: canonical.AccountUnknown},
	{says: []string{"account does not exist"}, kind: canonical.AccountUnknown},
	{says: []string{"account unknown"}, kind: canonical.AccountUnknown},
	{says: []string{"account is unknown"}, kind: canonical.AccountUnknown},
	{says: []string{"unknown account"}, kind: canonical.AccountUnknown},
	{says: []string{"no such account"}, kind: canonical.AccountUnknown},
	{says: []string{"resource unknown"}, kind: canonical.AccountUnknown},
	{says: []string{"resource not found"}, kind: canonical.AccountUnknown},
	{says: []string{"consent", "revoked"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent is invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent id", "invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent unknown"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent not found"}, kind: canonical.ConsentInvalid},
	{says: []string{"invalid consent"}, kind: canonical.ConsentInvalid},
	{says: []string{"token", "revoked"}, kind: canonical.ConsentInvalid},
	{says: []string{"token invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"token is invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"token unknown"}, kind: canonical.ConsentInvalid},
	{says: []string{"access", "revoked"}, kind: canonical.ConsentInvalid},
	{says: []string{"unattended", "limit"}, kind: canonical.UnattendedLimit},
	{says: []string{"unattended", "exceeded"}, kind: canonical.UnattendedLimit},
	{says: []string{"access exceeded"}, kind: canonical.UnattendedLimit},
	{address: true, kind: canonical.UnattendedLimit},
}

// phrases are those of all causes.
var phrases = func() upstream.Phrases {
	var all [][]string
	for _, c := range causes {
		all = append(all, c.says)
	}
	return upstream.NewPhrases(all...)
}()

// telling are the kinds of causes, the most telling first: of several errors in one answer it is the answer's.
var telling = []canonical.Kind{
	canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown,
	canonical.UnattendedLimit, canonical.ProviderRejected, canonical.ProviderUnavailable,
}

// gateway is the Source of errors that come from the API gateway in front of OBC, which knows no bank.
const gateway = "gateway"

// refusal says what an answer means whose status is not 200: by its cause where it names one, else by status.
func refusal(q canonical.Query, r providers.Request, a providers.Answer) *canonical.Error {
	if foreign(a.Body, q.RequestID) {
		failure := canonical.InvalidResponse("the answer belongs to another request")
		failure.Upstream = canonical.NewUpstreamError(a.Status, "", "")
		return failure
	}
	errs := readErrors(a.Body)
	var decisive wireError
	if len(errs) > 0 {
		decisive = errs[0]
	}
	best := len(telling)
	var kind canonical.Kind
	wording := upstream.NewWording(q, r)
	for _, e := range errs {
		found := heard(e, wording).cause(a.Status, q.Attended())
		if rank := slices.Index(telling, found); rank >= 0 && rank < best {
			best, kind, decisive = rank, found, e
		}
	}
	switch {
	case a.Unreadable:
		kind = upstream.ByStatus(a.Status)
	case kind == "", kind == canonical.ProviderUnavailable && saysMore(a.Status):
		kind = kindOf(a.Status, decisive)
	}
	origin := canonical.OriginProvider
	if kind == canonical.UnattendedLimit || fold(string(decisive.Source)) == "aspsp" {
		origin = canonical.OriginASPSP
	}
	return &canonical.Error{
		Kind: kind, Origin: origin,
		Upstream: canonical.NewUpstreamError(a.Status, string(decisive.Source), string(decisive.ReasonCode)),
	}
}

// A said is what one error says.
type said struct {
	reason  string // folded
	gateway bool   // the API gateway says it
	address bool   // it names the user's address
	words   upstream.Words
	found   map[string]bool // phrases
}

// heard reads one error. What the request contained says nothing in it.
func heard(e wireError, wording *upstream.Wording) said {
	s := said{reason: fold(string(e.ReasonCode)), gateway: e.fromGateway()}
	if wording.Own(s.reason) {
		s.reason = ""
	}
	s.words = wording.Words(string(e.ReasonCode), string(e.Description))
	s.found = phrases.In(s.words)
	s.address = !s.gateway && upstream.NamesAddress(s.words)
	return s
}

// cause is the kind that an error names, "" for none.
func (s said) cause(status int, attended bool) canonical.Kind {
	for _, c := range causes {
		if c.matches(s, attended) {
			return c.kind
		}
	}
	if !s.gateway && s.saysLimit(status) {
		return canonical.UnattendedLimit
	}
	return ""
}

// saysLimit reports whether a bank's own wording means its limit of unattended calls.
func (s said) saysLimit(status int) bool {
	if status != http.StatusTooManyRequests {
		return upstream.SaysAccessesAreSpent(s.words)
	}
	limit := upstream.LimitOf429(s.words)
	return limit != upstream.NoLimit && limit != upstream.RateLimit
}

// matches reports whether an error fits a row. What the API gateway says in words is about the gateway's own
// tokens and limits, whose words are the same.
func (c cause) matches(s said, attended bool) bool {
	own := fold(c.reason)
	fits := own == s.reason || strings.HasSuffix(own, "_") && strings.HasPrefix(s.reason, own)
	if own == "" {
		fits = !s.gateway
	}
	return fits && !(c.address && (attended || !s.address)) && !slices.ContainsFunc(c.says, func(phrase string) bool { return !s.found[phrase] })
}

func (e wireError) fromGateway() bool { return fold(string(e.Source)) == gateway }

// saysMore reports whether a status tells more than a code for "out of order".
func saysMore(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusGatewayTimeout
}

// kindOf is what an answer means that names no cause. e is its first error, zero if none can be read.
func kindOf(status int, e wireError) canonical.Kind {
	source, reason := fold(string(e.Source)), fold(string(e.ReasonCode))
	byStatus := upstream.ByStatus(status)
	switch {
	case byStatus != canonical.ProviderRejected:
		return byStatus
	case source == "aspsp":
		return canonical.ProviderError
	case source == gateway:
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

// foreign reports whether an error's body holds the id of another request than the one sent, so that nothing of it
// counts. A body without one is accepted, and so is one that cannot be read, of which nothing counts anyway.
func foreign(body []byte, sent string) bool {
	var w struct {
		Echo struct {
			RequestID json.RawMessage `json:"xRequestId"`
		} `json:"originalRequestInfo"`
	}
	if upstream.Decode(body, &w) != nil || w.Echo.RequestID == nil {
		return false
	}
	var id upstream.Text
	return json.Unmarshal(w.Echo.RequestID, &id) != nil || !upstream.SameRequestID(string(id), sent)
}

// readErrors reads OBC's envelope {"Errors":{"Error":[…]}}, in whatever case and however much of it is there: one
// error in place of the list, the list without its wrapping, one error alone. What cannot be read is no error.
func readErrors(body []byte) []wireError {
	var envelope struct {
		Errors json.RawMessage `json:"Errors"`
	}
	if upstream.Decode(body, &envelope) != nil {
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
		_ = json.Unmarshal(list, &one) // what is no object stays zero, and is dropped with the rest
		many = append(many, one)
	}
	many = slices.DeleteFunc(many, func(e wireError) bool { return e == wireError{} })
	return many[:min(len(many), maxErrors)]
}
