package dialect

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

// codes maps the Berlin Group message codes to kinds.
var codes = map[string]canonical.Kind{
	"CONSENT_EXPIRED":         canonical.ConsentExpired,
	"TOKEN_EXPIRED":           canonical.ConsentExpired,
	"CONSENT_INVALID":         canonical.ConsentInvalid,
	"CONSENT_UNKNOWN":         canonical.ConsentInvalid,
	"TOKEN_UNKNOWN":           canonical.ConsentInvalid,
	"TOKEN_INVALID":           canonical.ConsentInvalid,
	"PSU_CREDENTIALS_INVALID": canonical.ConsentInvalid,
	"RESOURCE_UNKNOWN":        canonical.AccountUnknown,
	"RESOURCE_EXPIRED":        canonical.AccountUnknown,
	"ACCESS_EXCEEDED":         canonical.UnattendedLimit,
	"FORMAT_ERROR":            canonical.ProviderRejected,
	"SERVICE_UNAVAILABLE":     canonical.ProviderUnavailable,
	"SERVICE_BLOCKED":         canonical.ProviderError,
	"INTERNAL_SERVER_ERROR":   canonical.ProviderError,
}

// gatewayCodes are the prefixes of codes about what the gateway itself sent: CERTIFICATE_INVALID,
// _EXPIRED, _BLOCKED, _REVOKED and _MISSING, SIGNATURE_INVALID and _MISSING.
var gatewayCodes = []string{"CERTIFICATE_", "SIGNATURE_"}

// Phrases in lower case.
var (
	// accountWords mean that a 404 is about the account.
	accountWords = []string{
		"account not found", "account was not found", "account could not be found", "account does not exist", "account unknown",
		"account is unknown", "unknown account", "no such account", "no account", "account is invalid", "invalid account",
	}
	// routeWords mean that a 404 comes from a proxy or router in front of the provider's API.
	routeWords = []string{
		"route", "routes", "page", "page not found", "cannot get", "url", "uri", "endpoint", "handler", "path", "proxy", "backend", "upstream",
		"host", "virtual host", "no static resource", "application not found", "service not found", "api",
	}

	phrases = adapter.NewPhrases(accountWords, routeWords)
)

// Limits of what is read of an error response.
const (
	maxTexts  = 200    // strings
	maxTokens = 20_000 // of JSON
)

// errorBody is the parsed body of an error response.
type errorBody struct {
	codes   []string // known codes, in capitals
	code    string   // the code of the first error, as received
	words   adapter.Words
	empty   bool // the body contains no text
	fromAPI bool // the body has the form of the provider's API
}

// parseErrorBody parses the body of an error response: Berlin Group's tppMessages, a problem (RFC
// 9457) with Berlin Group's code and additionalErrors, code and description as Bulgarian banks send
// them, and any other JSON or text. Texts of the request and HTML pages are ignored.
func (c Classifier) parseErrorBody(q canonical.Query, r providers.Request, body []byte) errorBody {
	var w wireError
	wording := adapter.NewWording(q, r)
	if adapter.Decode(body, &w) != nil {
		if adapter.IsMarkup(body) {
			return errorBody{}
		}
		return errorBody{words: wording.Words(string(body)), empty: len(bytes.TrimSpace(body)) == 0}
	}
	parsed := errorBody{code: w.firstCode(), fromAPI: w.fromAPI()}
	texts := stringsOf(body)
	for _, text := range texts {
		end := adapter.LastSegment(text)
		code := strings.ToUpper(strings.TrimSpace(end))
		if _, known := c.kindOfCode(code); known && !wording.EndsInRequestText(text, end) {
			parsed.codes = append(parsed.codes, code)
		}
		// The reason phrase of the status, which problems repeat as their title, adds nothing to
		// the status.
		if end != http.StatusText(http.StatusTooManyRequests) {
			parsed.words = append(parsed.words, wording.EndWords(text, end)...)
		}
	}
	parsed.empty = len(texts) == 0
	return parsed
}

// kindOfCode returns the kind of a code in capitals, and whether it is known.
func (c Classifier) kindOfCode(code string) (kind canonical.Kind, known bool) {
	if kind, known = c.Codes[code]; known {
		return kind, true
	}
	ofGateway := func(prefix string) bool { return strings.HasPrefix(code, prefix) }
	if slices.ContainsFunc(gatewayCodes, ofGateway) && !strings.Contains(code, " ") {
		return canonical.ProviderRejected, true
	}
	kind, known = codes[code]
	return kind, known
}

// stringsOf returns the strings of a valid JSON document in order, without member names,
// categories, and messages of the category WARNING.
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

// container is an open list or object of a JSON document.
type container struct {
	firstText int // the index of its first string
	isObject  bool
	name      string // of the member whose value is next
	hasName   bool
	warning   bool
}

// consume reports whether a string of the container is the name of a member or its category.
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

// wireError contains the members of an error in the form of the provider's API.
type wireError struct {
	wireMessage
	TPPMessages      wireMessages `json:"tppMessages"`
	AdditionalErrors wireMessages `json:"additionalErrors"`
}

// wireMessages is a list of messages. Any other JSON value is read as an empty list.
type wireMessages []wireMessage

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (l *wireMessages) UnmarshalJSON(raw []byte) error {
	var list []wireMessage
	if json.Unmarshal(raw, &list) == nil {
		*l = list
	}
	return nil
}

type wireMessage struct {
	Category adapter.LenientString `json:"category"`
	Code     adapter.LenientString `json:"code"`
	Text     adapter.LenientString `json:"text"`
}

func (m wireMessage) isWarning() bool { return strings.EqualFold(string(m.Category), "WARNING") }

// messages returns the error messages, without warnings.
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

// fromAPI reports whether an error has a form that only the provider's API sends, not a proxy in
// front of it.
func (w wireError) fromAPI() bool {
	w.wireMessage = wireMessage{}
	return len(w.messages()) > 0
}
