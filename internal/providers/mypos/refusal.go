package mypos

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// codes are Berlin Group's message codes, by their cause.
var codes = map[string]canonical.Kind{
	"CONSENT_EXPIRED":       canonical.ConsentExpired,
	"TOKEN_EXPIRED":         canonical.ConsentExpired,
	"CONSENT_INVALID":       canonical.ConsentInvalid,
	"CONSENT_UNKNOWN":       canonical.ConsentInvalid,
	"TOKEN_UNKNOWN":         canonical.ConsentInvalid,
	"TOKEN_INVALID":         canonical.ConsentInvalid,
	"RESOURCE_UNKNOWN":      canonical.AccountUnknown,
	"RESOURCE_EXPIRED":      canonical.AccountUnknown,
	"ACCESS_EXCEEDED":       canonical.UnattendedLimit,
	"FORMAT_ERROR":          canonical.ProviderRejected,
	"SERVICE_UNAVAILABLE":   canonical.ProviderUnavailable,
	"SERVICE_BLOCKED":       canonical.ProviderError,
	"INTERNAL_SERVER_ERROR": canonical.ProviderError,
}

// certificateCodes begin like this: CERTIFICATE_INVALID, _EXPIRED, _BLOCKED, _REVOKED, _MISSING.
const certificateCodes = "CERTIFICATE_"

// telling are the causes that a code or wording can name, the most telling first: the consent's fate before
// the account's, and a cause before the mere fact that something failed.
var kindPriority = []canonical.Kind{
	canonical.ConsentExpired,
	canonical.ConsentInvalid,
	canonical.AccountUnknown,
	canonical.UnattendedLimit,
	canonical.ProviderRejected,
	canonical.ProviderUnavailable,
	canonical.ProviderError,
}

// Wording, in lower case, each word apart.
var (
	// accountWords say of a 404 that it is the account that was not found.
	accountWords = []string{
		"account not found", "account was not found", "account could not be found", "account does not exist", "account unknown",
		"account is unknown", "unknown account", "no such account", "no account", "account is invalid", "invalid account",
	}
	// routeWords say of a 404 that the way to the provider's API is wrong.
	routeWords = []string{
		"route", "routes", "page", "page not found", "cannot get", "url", "uri", "endpoint", "handler", "path", "proxy", "backend", "upstream",
		"host", "virtual host", "no static resource", "application not found", "service not found", "api",
	}

	phrases = adapter.NewPhrases(accountWords, routeWords)
)

// Bounds of what is read of an error.
const (
	maxErrorText = 2048   // bytes of a code
	maxTexts     = 200    // strings
	maxTokens    = 20_000 // of JSON
)

// A reading is what the body of a refusal says.
type errorBody struct {
	codes   []string // texts that may be codes, in capitals
	code    string   // of the first error, as it is written
	words   adapter.Words
	empty   bool // there is not one word
	fromAPI bool // its form is that of the provider's API
}

// read reads a body in every form in which an error is looked for: Berlin Group's tppMessages, a problem (RFC 9457)
// with Berlin Group's code and additionalErrors, code with description as Bulgarian banks send it, and any other JSON or
// text. What the request contained says nothing, nor does a page for people.
func parseErrorBody(q canonical.Query, r providers.Request, body []byte) errorBody {
	var w wireError
	wording := adapter.NewWording(q, r)
	if adapter.Decode(body, &w) != nil {
		if adapter.IsMarkup(body) {
			return errorBody{}
		}
		return errorBody{words: wording.Words(string(body)), empty: len(bytes.TrimSpace(body)) == 0}
	}
	said := errorBody{code: w.firstCode(), fromAPI: w.fromAPI()}
	texts := stringsOf(body)
	for _, text := range texts {
		end := adapter.LastSegment(text)
		code := strings.ToUpper(strings.TrimSpace(end))
		if _, known := kindOfCode(code); known && !wording.EndsInRequestText(text, end) {
			said.codes = append(said.codes, code)
		}
		// The status' reason phrase, which problems repeat as their title, says no more than the status.
		if end != http.StatusText(http.StatusTooManyRequests) {
			said.words = append(said.words, wording.EndWords(text, end)...)
		}
	}
	said.empty = len(texts) == 0
	return said
}

// kindOf is the cause that a code names, in capitals.
func kindOfCode(code string) (kind canonical.Kind, known bool) {
	if strings.HasPrefix(code, certificateCodes) && !strings.Contains(code, " ") {
		return canonical.ProviderRejected, true
	}
	kind, known = codes[code]
	return kind, known
}

// textsOf are the strings of a valid JSON document, in its order. Messages that are warnings (Berlin Group, category)
// are left out.
func stringsOf(body []byte) []string {
	var (
		texts []string
		open  []container
	)
	in := json.NewDecoder(bytes.NewReader(body))
	for range maxTokens {
		token, err := in.Token()
		if err != nil || len(texts) == maxTexts {
			break
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			open = append(open, container{firstText: len(texts), isObject: token == json.Delim('{')})
			continue
		case json.Delim('}'), json.Delim(']'):
			if last := open[len(open)-1]; last.warning {
				texts = texts[:last.firstText]
			}
			open = open[:len(open)-1]
			if len(open) > 0 {
				open[len(open)-1].hasName = false
			}
			continue
		}
		text, _ := token.(string)
		if len(open) > 0 && open[len(open)-1].consume(text) {
			continue
		}
		if strings.TrimSpace(text) != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// A container is a list or an object of a document that is being read.
type container struct {
	firstText int // its first text
	isObject  bool
	name      string // of the member whose value comes next
	hasName   bool
	warning   bool
}

// takes reports whether a text that stands in a container is the name of a member, or says what the container is.
func (c *container) consume(text string) bool {
	if c.isObject && !c.hasName {
		c.name, c.hasName = text, true
		return true
	}
	c.hasName = false
	if strings.EqualFold(c.name, "category") {
		c.warning = c.warning || strings.EqualFold(strings.TrimSpace(text), "WARNING")
		return true
	}
	return false
}

// wireError is the part of an error whose form is the provider API's.
type wireError struct {
	wireMessage
	TPPMessages      []wireMessage `json:"tppMessages"`
	AdditionalErrors []wireMessage `json:"additionalErrors"`
}

type wireMessage struct {
	Category lenientString `json:"category"`
	Code     lenientString `json:"code"`
	Text     lenientString `json:"text"`
}

func (m wireMessage) isWarning() bool { return strings.EqualFold(string(m.Category), "WARNING") }

// A word is a JSON string's beginning; whatever else stands in its place says nothing.
type lenientString string

// UnmarshalJSON never fails.
func (w *lenientString) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		s = strings.TrimSpace(s)
		*w = lenientString(strings.Clone(s[:min(len(s), maxErrorText)]))
	}
	return nil
}

// messages are the errors that are named; warnings are none.
func (w wireError) messages() []wireMessage {
	return slices.DeleteFunc(slices.Concat(w.TPPMessages, []wireMessage{w.wireMessage}, w.AdditionalErrors), func(m wireMessage) bool {
		return m == wireMessage{} || m.isWarning()
	})
}

func (w wireError) firstCode() string {
	if all := w.messages(); len(all) > 0 {
		return string(all[0].Code)
	}
	return ""
}

// ofTheAPI reports whether an error has a form that only the provider's API has, not what stands before it.
func (w wireError) fromAPI() bool {
	w.wireMessage = wireMessage{}
	return len(w.messages()) > 0
}

// refusal says what an answer means whose status is not 200. The status decides, unless a code or a wording of
// the body names the cause. An answer to another request means nothing.
func classifyError(q canonical.Query, r providers.Request, a providers.Response) *canonical.Error {
	if failure := wrongRequestID(q, a); failure != nil {
		return failure
	}
	kind, code, token := adapter.KindByStatus(a.Status), "", false
	if a.Status >= http.StatusBadRequest && !a.Unreadable {
		said := parseErrorBody(q, r, a.Body)
		kind, code = said.kind(a.Status, q.Attended(), r.Account != "")
		token = !slices.ContainsFunc(said.codes, func(code string) bool { return strings.HasPrefix(code, "CONSENT_") })
	}
	e := &canonical.Error{Kind: kind, Origin: canonical.OriginProvider, Upstream: canonical.NewUpstreamError(a.Status, "", code)}
	switch kind { //nolint:exhaustive // of all others there is no more to say
	case canonical.UnattendedLimit:
		e.Origin = canonical.OriginASPSP
	case canonical.ConsentExpired, canonical.ConsentInvalid:
		// Where no code names the consent, the user's token was rejected: TOKEN_… says so, and so does 401, which is
		// about the Authorization header.
		e.TokenRejected = token
	}
	return e
}

// cause is what a refusal means, and the code that says so. The status decides where nothing else does.
func (s errorBody) kind(status int, attended, ofAccount bool) (kind canonical.Kind, code string) {
	kind, code = s.codeKind()
	if s.mentionsAccessLimit(status, attended) && moreSpecific(canonical.UnattendedLimit, kind) {
		kind = canonical.UnattendedLimit
	}
	generic := kind == canonical.ProviderError || kind == canonical.ProviderUnavailable
	if kind == "" || generic && statusIsSpecific(status) {
		kind = s.statusKind(status, ofAccount)
	}
	return kind, code
}

// statusKind is the cause as far as the status tells it, and the form of the body.
func (s errorBody) statusKind(status int, ofAccount bool) canonical.Kind {
	switch {
	case status == http.StatusUnauthorized:
		return canonical.ConsentInvalid
	case status == http.StatusNotFound && ofAccount && s.isAboutAccount():
		return canonical.AccountUnknown
	}
	return adapter.KindByStatus(status)
}

// isOfAccount reports whether a 404 is an answer of the provider's API about the account in the path. A page, or the
// words of a router, say that the way to the API is wrong.
func (s errorBody) isAboutAccount() bool {
	found := phrases.Find(s.words)
	switch {
	case s.empty, adapter.ContainsAny(accountWords, found):
		return true
	}
	return s.fromAPI && !adapter.ContainsAny(routeWords, found)
}

// saysMore reports whether a status tells more than a code for "something failed".
func statusIsSpecific(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// codeKind is the most telling cause that a code names, with that code; "" and the first code where none is
// known.
func (s errorBody) codeKind() (kind canonical.Kind, code string) {
	code = s.code
	for _, c := range s.codes {
		if k, _ := kindOfCode(c); moreSpecific(k, kind) {
			kind, code = k, c
		}
	}
	return kind, code
}

// before reports whether a tells more than b, which may be "".
func moreSpecific(a, b canonical.Kind) bool {
	at := slices.Index(kindPriority, b)
	return at < 0 || slices.Index(kindPriority, a) < at
}

// saysLimit reports whether the wording says that no more can be read without the user.
func (s errorBody) mentionsAccessLimit(status int, attended bool) bool {
	switch status {
	case http.StatusTooManyRequests:
		limit := adapter.LimitFrom429(s.words)
		return limit != adapter.NoLimit && limit != adapter.RateLimit
	case http.StatusBadRequest:
		return !attended && adapter.MentionsPSUAddress(s.words)
	}
	return false
}
