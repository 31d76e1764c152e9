package mypos

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
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
var telling = []canonical.Kind{
	canonical.ConsentExpired,
	canonical.ConsentInvalid,
	canonical.AccountUnknown,
	canonical.UnattendedLimit,
	canonical.ProviderRejected,
	canonical.ProviderUnavailable,
	canonical.ProviderError,
}

// statuses are the answers whose status says the cause, where no code does. What the table does not hold goes
// by its class.
var (
	statuses = map[int]canonical.Kind{
		http.StatusUnauthorized:       canonical.ConsentInvalid,
		http.StatusTooManyRequests:    canonical.ProviderThrottled,
		http.StatusServiceUnavailable: canonical.ProviderUnavailable,
		http.StatusGatewayTimeout:     canonical.ProviderTimeout,
	}
	classes = map[int]canonical.Kind{
		4: canonical.ProviderRejected,
		5: canonical.ProviderError,
	}
)

// Wording, in lower case, with spaces for dashes and underscores.
var (
	// quotaWords say that a 429 is the bank's limit for calls without the user.
	quotaWords = []string{
		"quota", "access limit", "limit of access", "accesses per day", "accesses a day", "number of accesses",
		"number of allowed accesses", "access exceeded", "unattended", "without psu", "without the psu", "psu not present",
		"psu is not present", "psu absent", "not initiated by the psu", "not initiated by psu", "frequency per day",
		"frequencyperday", "daily limit", "daily access", "24 hours", "24h", "four times", "4 times",
	}
	// throttleWords say that it is the provider's limit for us, whatever else is said.
	throttleWords = []string{
		"per second", "per minute", "per hour", "a second", "a minute", "rate limit", "rate exceeded", "api key", "apikey",
		"api quota", "api call", "subscription", "your application", "client id", "concurrent", "throttl",
	}
	// addressWords say that the bank wants the user's address.
	addressWords = []string{"psu ip", "psuip", "user's ip", "user ip", "ip address of the psu", "ip address of the user"}
)

// wireError holds every form in which an error is looked for: Berlin Group's tppMessages, a problem (RFC 9457)
// with Berlin Group's code and additionalErrors, and code with description as Bulgarian banks send it.
type wireError struct {
	wireMessage
	TPPMessages      []wireMessage `json:"tppMessages"`
	AdditionalErrors []wireMessage `json:"additionalErrors"`
}

type wireMessage struct {
	Category    word `json:"category"`
	Code        word `json:"code"`
	Path        word `json:"path"`
	Text        word `json:"text"`
	Type        word `json:"type"`
	Title       word `json:"title"`
	Detail      word `json:"detail"`
	Description word `json:"description"`
	Message     word `json:"message"`
}

// A word is a JSON string's beginning; whatever else stands in its place says nothing.
type word string

// Bounds of what is read of an error.
const (
	maxSaid     = 2048     // bytes of one member
	maxMessages = 100      // in one answer
	maxText     = 64 << 10 // bytes of a body that is no JSON
)

// UnmarshalJSON never fails.
func (w *word) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		s = strings.TrimSpace(s)
		*w = word(strings.Clone(s[:min(len(s), maxSaid)]))
	}
	return nil
}

// refusal says what an answer means whose status is not 200. The status decides, unless a code or a wording of
// the body names the cause. An answer to another request means nothing.
func refusal(q canonical.Query, r providers.Request, a providers.Answer) *canonical.Error {
	if failure := stray(q, a); failure != nil {
		return failure
	}
	byStatus := statusKind(a.Status, r.Account != "")
	kind, code := byStatus, ""
	if a.Status >= http.StatusBadRequest {
		messages := messagesOf(a.Body)
		kind, code = codeKind(messages)
		if limitSaid(a, q.Attended(), messages) && before(canonical.UnattendedLimit, kind) {
			kind = canonical.UnattendedLimit
		}
		generic := kind == canonical.ProviderError || kind == canonical.ProviderUnavailable
		if kind == "" || generic && saysMore(a.Status) {
			kind = byStatus
		}
	}
	e := &canonical.Error{Kind: kind, Origin: canonical.OriginProvider, Upstream: canonical.NewUpstreamError(a.Status, "", code)}
	switch kind { //nolint:exhaustive // of all others there is no more to say
	case canonical.UnattendedLimit:
		e.Origin = canonical.OriginASPSP
	case canonical.ConsentExpired, canonical.ConsentInvalid:
		e.TokenRejected = !consentNamed(a.Body)
	}
	return e
}

// consentNamed reports whether a code of the body names the consent. Where none does, a rejection is one of the user's
// token: its code begins with TOKEN_, or the status is 401, which is about the Authorization header.
func consentNamed(body []byte) bool {
	return slices.ContainsFunc(messagesOf(body), func(m wireMessage) bool {
		return slices.ContainsFunc(m.codes(), func(code string) bool {
			_, known := codes[code]
			return known && strings.HasPrefix(code, "CONSENT_")
		})
	})
}

// statusKind is the cause as far as the status tells it.
func statusKind(status int, ofAccount bool) canonical.Kind {
	if status == http.StatusNotFound && ofAccount {
		return canonical.AccountUnknown
	}
	if kind, ok := statuses[status]; ok {
		return kind
	}
	if kind, ok := classes[status/100]; ok {
		return kind
	}
	return canonical.ProviderInvalidResponse
}

// saysMore reports whether a status tells more than a code for "something failed".
func saysMore(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// codeKind is the most telling cause that a code names, with that code; "" and the first code where none is
// known.
func codeKind(messages []wireMessage) (kind canonical.Kind, code string) {
	for _, m := range messages {
		for _, c := range m.codes() {
			k, known := codes[c]
			if strings.HasPrefix(c, certificateCodes) {
				k, known = canonical.ProviderRejected, true
			}
			if known && before(k, kind) {
				kind, code = k, c
			}
		}
	}
	if kind == "" && len(messages) > 0 {
		code = string(messages[0].Code)
	}
	return kind, code
}

// codes are the texts of a message that may be its code, in capitals.
func (m wireMessage) codes() []string {
	return []string{
		strings.ToUpper(string(m.Code)), strings.ToUpper(lastSegment(string(m.Type))), strings.ToUpper(string(m.Title)),
	}
}

// before reports whether a tells more than b, which may be "".
func before(a, b canonical.Kind) bool {
	at := slices.Index(telling, b)
	return at < 0 || slices.Index(telling, a) < at
}

// limitSaid reports whether the answer's wording says that no more can be read without the user.
func limitSaid(a providers.Answer, attended bool, messages []wireMessage) bool {
	var said []string
	for _, m := range messages {
		for _, w := range []word{m.Path, m.Text, m.Title, m.Detail, m.Description, m.Message} {
			said = append(said, string(w))
		}
	}
	text := normal(strings.Join(said, " "))
	if text == "" {
		text = normal(string(a.Body[:min(len(a.Body), maxText)]))
	}
	switch a.Status {
	case http.StatusTooManyRequests:
		return contains(text, quotaWords) && !contains(text, throttleWords)
	case http.StatusBadRequest:
		return !attended && contains(text, addressWords)
	}
	return false
}

// messagesOf are the errors that a body names; warnings are none (Berlin Group, category).
func messagesOf(body []byte) []wireMessage {
	var w wireError
	// An error may have any body. What cannot be read says nothing, and the status decides.
	if err := upstream.Decode(body, &w); err != nil {
		return nil
	}
	messages := slices.Concat(w.TPPMessages, []wireMessage{w.wireMessage}, w.AdditionalErrors)
	messages = slices.DeleteFunc(messages, func(m wireMessage) bool {
		return m == wireMessage{} || strings.EqualFold(string(m.Category), "WARNING")
	})
	return messages[:min(len(messages), maxMessages)]
}

func lastSegment(uri string) string { return uri[strings.LastIndexAny(uri, "/:#")+1:] }

func normal(text string) string {
	text = strings.NewReplacer("-", " ", "_", " ", "’", "'").Replace(strings.ToLower(text))
	return strings.Join(strings.Fields(text), " ")
}

func contains(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}
