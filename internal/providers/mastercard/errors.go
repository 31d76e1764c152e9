package mastercard

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"

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

// Bounds of what is read of an error: its words are looked through many times.
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
	reason string   // the ReasonCode, or its beginning if it ends in "_"; "" for any that has no row of its own
	says   []string // words in lower case, all of which must stand in the error; none for whatever it says
	absent bool     // it means this only where the user was not there
	kind   canonical.Kind
}

// causes are read from the top; the first row that fits is the error's cause. What fits none is left to the
// HTTP status. Sources: the feature specific error codes of OBC's pages, and Berlin Group's codes, of which OBC
// names some directly since its release 1.64.
var causes = []cause{
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
	{says: []string{"account is invalid"}, kind: canonical.AccountUnknown},
	{says: []string{"account", "unlinked"}, kind: canonical.AccountUnknown},
	{says: []string{"consent", "revoked"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent is invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"consent id", "invalid"}, kind: canonical.ConsentInvalid},
	{says: []string{"token", "revoked"}, kind: canonical.ConsentInvalid},
	{says: []string{"unattended", "limit"}, kind: canonical.UnattendedLimit},
	{says: []string{"unattended", "exceeded"}, kind: canonical.UnattendedLimit},
	{says: []string{"access exceeded"}, kind: canonical.UnattendedLimit},
	{says: []string{"psu ip address"}, absent: true, kind: canonical.UnattendedLimit},
	{says: []string{"psuipaddress"}, absent: true, kind: canonical.UnattendedLimit},
}

// quotas are what a 429 says, one of them, that means the ASPSP's limit of unattended calls; all words of a row must
// stand in the error, in lower case.
var quotas = [][]string{
	{"quota"}, {"quotas"}, {"access limit"}, {"daily limit"}, {"times", "24 hours"}, {"times a day"}, {"times daily"}, {"per day"},
}

// throttles are what a 429 says that is about the provider's own rate limit, whatever it says of quotas.
var throttles = [][]string{
	{"per second"}, {"per minute"}, {"per hour"}, {"rate limit"}, {"too many requests"}, {"api key"},
}

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
	for _, e := range errs {
		found := causeOf(e, a.Status, q.Attended())
		if rank := slices.Index(telling, found); rank >= 0 && rank < best {
			best, kind, decisive = rank, found, e
		}
	}
	switch {
	case kind != "":
	case a.Status == http.StatusNotFound && len(errs) == 0 && r.Account != "":
		kind = canonical.AccountUnknown
	default:
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

// causeOf is the kind that one error names, "" for none.
func causeOf(e wireError, status int, attended bool) canonical.Kind {
	for _, c := range causes {
		if c.matches(e, attended) {
			return c.kind
		}
	}
	if status == http.StatusTooManyRequests && !e.fromGateway() &&
		!slices.ContainsFunc(throttles, e.says) && slices.ContainsFunc(quotas, e.says) {
		return canonical.UnattendedLimit
	}
	return ""
}

// matches reports whether an error fits a row. What the API gateway says in words is about the gateway's own
// tokens and limits, whose words are the same.
func (c cause) matches(e wireError, attended bool) bool {
	reason, own := fold(string(e.ReasonCode)), fold(c.reason)
	fits := own == reason || strings.HasSuffix(own, "_") && strings.HasPrefix(reason, own)
	if own == "" {
		fits = !e.fromGateway()
	}
	return fits && !(c.absent && attended) && e.says(c.says)
}

// says reports whether all words stand in the error.
func (e wireError) says(words []string) bool {
	text := e.words()
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, " "+w+" ") })
}

func (e wireError) fromGateway() bool { return fold(string(e.Source)) == gateway }

// words are the error's reason and description in lower case with one space around each word, so that " sca " is
// found in "New SCA required." and not in "cascade".
func (e wireError) words() string {
	split := func(s lenient) []string {
		return strings.FieldsFunc(strings.ToLower(string(s)), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	// The bar keeps a phrase from beginning in the reason and ending in the description.
	return " " + strings.Join(append(append(split(e.ReasonCode), "|"), split(e.Description)...), " ") + " "
}

// kindOf is what an answer means that names no cause. e is its first error, zero if none can be read.
func kindOf(status int, e wireError) canonical.Kind {
	source, reason := fold(string(e.Source)), fold(string(e.ReasonCode))
	switch {
	case status < http.StatusBadRequest:
		return canonical.ProviderInvalidResponse
	case status == http.StatusTooManyRequests:
		return canonical.ProviderThrottled
	case status == http.StatusServiceUnavailable:
		return canonical.ProviderUnavailable
	case status == http.StatusGatewayTimeout:
		return canonical.ProviderTimeout
	case status >= http.StatusInternalServerError, source == "aspsp":
		return canonical.ProviderError
	case source == gateway:
		return canonical.ProviderRejected
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		if source != "" && reason == "provider_error" {
			return canonical.ProviderError
		}
		return canonical.ProviderRejected
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
			RequestID any `json:"xRequestId"`
		} `json:"originalRequestInfo"`
	}
	if upstream.Decode(body, &w) != nil || w.Echo.RequestID == nil {
		return false
	}
	id, _ := w.Echo.RequestID.(string)
	return !upstream.SameRequest(id, sent)
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
