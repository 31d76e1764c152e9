package obie

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// An errorRule maps errors to a kind.
type errorRule struct {
	statuses []int    // with which the rule applies; none means any from 400
	code     string   // the ErrorCode in lower case and without UK.OBIE. before it; "" for any
	words    []string // phrases in lower case that the error's texts must all contain
	kind     canonical.Kind
	token    bool // only the token was rejected, and the consent may still be valid
}

// errorRules are judged: the standard has few codes that name a cause, and banks use them with other
// statuses. For one error the first matching rule decides; of several errors the most specific kind.
// If no error matches, the status decides.
var errorRules = []errorRule{
	{code: "reauthenticate", kind: canonical.ConsentExpired},
	{code: "resource.invalidconsentstatus", kind: canonical.ConsentInvalid},
	{statuses: []int{http.StatusBadRequest, http.StatusNotFound}, code: "resource.notfound", kind: canonical.AccountUnknown},

	{statuses: rejections, words: []string{"certificate"}, kind: canonical.ProviderRejected},
	{statuses: rejections, words: []string{"revoked"}, kind: canonical.ConsentInvalid},
	{statuses: rejections, words: []string{"consent", "not authorised"}, kind: canonical.ConsentInvalid},
	{statuses: rejections, words: []string{"consent", "expired"}, kind: canonical.ConsentExpired},
	{statuses: []int{http.StatusUnauthorized}, words: []string{"expired"}, kind: canonical.ConsentExpired, token: true},
}

// rejections are the statuses with which a text about consent, token or certificate is believed.
var rejections = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}

// customerAddress are words for the user's IP address, beyond those that all adapters know.
var customerAddress = []string{"customer ip address"}

// phrases are the phrases of all rules.
var phrases = func() adapter.Phrases {
	all := [][]string{customerAddress}
	for _, r := range errorRules {
		all = append(all, r.words)
	}
	return adapter.NewPhrases(all...)
}()

// maxErrors is the maximum number of errors that are read of one response.
const maxErrors = 100

// wireError is one error, or an envelope with errors: {Code, Message, Errors} of version 3, {Errors}
// of version 4, and {code, message}, {Data: {code, message}} and {"error-json": …} as banks send
// them. The names of members have any case.
type wireError struct {
	Code      adapter.LenientString `json:"Code"`
	ErrorCode adapter.LenientString `json:"ErrorCode"`
	Message   adapter.LenientString `json:"Message"`
	Path      adapter.LenientString `json:"Path"`
	Errors    wireErrors            `json:"Errors"`
	Data      wireErrors            `json:"Data"`
	ErrorJSON wireErrors            `json:"error-json"`
}

// wireErrors is a list of errors, a single error, or a text in place of one. Any other JSON value is
// read as no error.
type wireErrors []wireError

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (w *wireErrors) UnmarshalJSON(raw []byte) error {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, item := range list {
		var one wireError
		if json.Unmarshal(item, &one) != nil {
			_ = json.Unmarshal(item, &one.Message) // a LenientString never fails
		}
		*w = append(*w, one)
	}
	return nil
}

// all returns the errors and those within them, the innermost first, because they are more specific.
func (w wireErrors) all() []wireError {
	var found []wireError
	for _, e := range w {
		found = append(found, slices.Concat(e.Errors, e.Data, e.ErrorJSON).all()...)
		found = append(found, e)
	}
	return found
}

// code returns the code of the error as received.
func (w wireError) code() string { return string(cmp.Or(w.ErrorCode, w.Code)) }

// readErrors returns the errors of a body, at most maxErrors. A text that is not JSON is the message
// of one error; an HTML page is none.
func readErrors(body []byte) []wireError {
	var w wireErrors
	if adapter.Decode(body, &w) == nil {
		all := w.all()
		return all[:min(len(all), maxErrors)]
	}
	if adapter.IsMarkup(body) || json.Valid(body) {
		return nil
	}
	return []wireError{{Message: adapter.LenientString(body)}}
}

// classification is what an error response means.
type classification struct {
	kind   canonical.Kind
	code   string // the code that decided, or the first one
	token  bool   // only the token was rejected
	detail string
}

// classifyError returns the error of a response with a status other than 200: by the ASPSP's codes,
// errorRules and the wording about limits, otherwise by its status.
func (p *provider) classifyError(q canonical.Query, r providers.Request, resp providers.Response) *canonical.Error {
	if failure := checkInteractionID(q, resp); failure != nil {
		return failure
	}
	v := classification{kind: adapter.KindByStatus(resp.Status)}
	if resp.Status >= http.StatusBadRequest && !resp.Unreadable {
		v = p.aspsps[q.ASPSP].classifyBody(q, r, resp)
	}
	e := &canonical.Error{
		Kind: v.kind, Origin: canonical.OriginProvider, TokenRejected: v.token, Detail: v.detail,
		Upstream: canonical.NewUpstreamError(resp.Status, "", v.code),
	}
	if v.kind == canonical.UnattendedLimit {
		e.Origin = canonical.OriginASPSP
	}
	return e
}

// classifyBody returns what a readable response with a status from 400 means.
func (a *aspsp) classifyBody(q canonical.Query, r providers.Request, resp providers.Response) (v classification) {
	wording, entries := adapter.NewWording(q, r), readErrors(resp.Body)
	if own := a.ownCode(entries, wording); own.kind != "" {
		return own
	}
	for _, e := range entries {
		found := a.classifyEntry(e, wording, resp.Status, q.Attended())
		switch found.code = e.code(); {
		case adapter.MoreSpecific(found.kind, v.kind):
			v = found
		case v.code == "":
			v.code = found.code
		}
	}
	switch {
	case r.AllBalances && resp.Status == http.StatusNotFound:
		v.kind, v.token, v.detail = canonical.ProviderRejected, false, "the ASPSP does not offer the balances of all accounts in one call"
	case v.kind != "":
	case resp.Status == http.StatusUnauthorized:
		v.kind, v.token = canonical.ConsentInvalid, true
	default:
		v.kind = adapter.KindByStatus(resp.Status)
	}
	return v
}

// classifyEntry returns what one error means by its code and its texts; no kind if they say nothing.
func (a *aspsp) classifyEntry(e wireError, wording *adapter.Wording, status int, attended bool) classification {
	code := plainCode(e.code())
	if wording.IsRequestText(e.code()) {
		code = ""
	}
	words := wording.Words(e.code(), string(e.Message), string(e.Path))
	found := phrases.Find(words)
	for _, rule := range errorRules {
		if rule.matches(status, code, found) {
			return classification{kind: rule.kind, token: rule.token}
		}
	}
	limit := adapter.LimitFrom429(words)
	needsAddress := adapter.MentionsPSUAddress(words) || adapter.ContainsAny(customerAddress, found)
	if status == http.StatusTooManyRequests && (limit == adapter.AbsentLimit || limit == adapter.AccessLimit) ||
		status == http.StatusBadRequest && !attended && needsAddress {
		return classification{kind: canonical.UnattendedLimit}
	}
	return classification{}
}

// ownCode returns what the ASPSP's own codes among the errors mean, the most specific one; no kind if
// there are none. A code with TOKEN in it is about the token, not the consent.
func (a *aspsp) ownCode(entries []wireError, wording *adapter.Wording) (own classification) {
	for _, e := range entries {
		code := plainCode(e.code())
		if kind, ok := a.codes[code]; ok && !wording.IsRequestText(e.code()) && adapter.MoreSpecific(kind, own.kind) {
			own = classification{kind: kind, code: e.code(), token: strings.Contains(code, "token")}
		}
	}
	return own
}

// plainCode returns a code in the form of errorRules.
func plainCode(code string) string {
	return strings.TrimPrefix(strings.ToLower(strings.TrimSpace(code)), "uk.obie.")
}

// matches reports whether the rule applies to an error.
func (r errorRule) matches(status int, code string, found map[string]bool) bool {
	return (r.statuses == nil || slices.Contains(r.statuses, status)) && (r.code == "" || r.code == code) &&
		!slices.ContainsFunc(r.words, func(phrase string) bool { return !found[phrase] })
}
