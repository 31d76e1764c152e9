package parse

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api/jsonbody"
	"ais-gateway/internal/canonical"
)

// Limits of an aggregation.
const (
	maxSources    = 100
	maxAccountIDs = 50
	maxRef        = 64 // characters
	defaultWait   = 20 * time.Second
	maxWait       = time.Minute
)

// AggregationHeader is what the headers of an aggregation say beside those of Headers.
type AggregationHeader struct {
	Wait    time.Duration // until the response
	Waits   bool          // the request has a valid wait
	Stream  bool          // the caller accepts a stream of lines
	Encoded bool          // the body has a content coding, which is a fault
}

// AggregationHeaders parses Prefer, Accept, Content-Type and Content-Encoding.
func AggregationHeaders(h http.Header) (AggregationHeader, []canonical.FieldError) {
	a := AggregationHeader{Stream: accepts(h["Accept"], "application/x-ndjson")}
	var faults []canonical.FieldError
	switch types := h["Content-Type"]; {
	case len(types) > 1:
		faults = append(faults, headerFault("Content-Type", sentTwice))
	case len(types) == 0 || !isJSON(types[0]):
		faults = append(faults, headerFault("Content-Type", "must be application/json"))
	}
	a.Encoded = slices.ContainsFunc(h["Content-Encoding"], func(v string) bool { return !strings.EqualFold(v, "identity") })
	if a.Encoded {
		faults = append(faults, headerFault("Content-Encoding", "is not supported: send the body as it is"))
	}
	a.Wait, a.Waits = preferredWait(h["Prefer"])
	if !a.Waits {
		a.Wait = defaultWait
	}
	return a, faults
}

// isJSON reports whether a media type is JSON in UTF-8.
func isJSON(value string) bool {
	media, parameters, err := mime.ParseMediaType(value)
	charset, given := parameters["charset"]
	return err == nil && media == "application/json" &&
		(len(parameters) == 0 || len(parameters) == 1 && given && strings.EqualFold(charset, "utf-8"))
}

// accepts reports whether Accept (RFC 9110, section 12.5.1) lists a media type. Wildcards do not
// count.
func accepts(lines []string, want string) bool {
	for _, line := range lines {
		ranges, _ := splitList(line)
		for _, r := range ranges {
			media, parameters, err := mime.ParseMediaType(r)
			q, weighted := parameters["q"]
			if err == nil && media == want && !(weighted && strings.Trim(q, "0.") == "") {
				return true
			}
		}
	}
	return false
}

// preferredWait returns the preference wait (RFC 7240, section 4.3), at most maxWait; false if there
// is none, or if it is not valid. The first one counts (section 2).
func preferredWait(lines []string) (time.Duration, bool) {
	for _, line := range lines {
		preferences, ok := splitList(line)
		if !ok {
			continue
		}
		for _, p := range preferences {
			p, _, _ = strings.Cut(p, ";") // parameters
			name, value, _ := strings.Cut(p, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			wait, ok := seconds(strings.TrimSpace(value))
			return min(wait, maxWait), ok && wait > 0
		}
	}
	return 0, false
}

// Aggregation parses the body of an aggregation. q has what the headers say of every source, and
// requestID is the request's. The result has a source for each of the body, faulty ones too, and no
// client, cache control, wait or key.
func Aggregation(from io.Reader, q canonical.Query, requestID string) (aggregation.Request, []canonical.FieldError) {
	q.Consent, q.Token, q.RequestID = "", "", "" // each source has its own
	body, faults := jsonbody.Open(from, func(name string) bool { return parameterLabel(name) == name })
	if faults != nil {
		return aggregation.Request{}, faults
	}
	p := &aggregationParser{Reader: body, template: q}
	r := aggregation.Request{RequestID: requestID}
	p.Object("", map[string]func(string){
		"sources":      func(at string) { p.Array(at, 1, maxSources, p.source) },
		"include":      func(at string) { r.Balances = p.include(at) },
		"require":      func(at string) { r.RequireAll = p.Text(at, oneOf("any", "all")) == "all" },
		"allowPartial": func(at string) { r.AllowPartial = p.Boolean(at) },
		"dryRun":       func(at string) { r.DryRun = p.Boolean(at) },
	}, "sources")
	r.Fingerprint = fingerprint(r, p.sources, q.Attended())
	r.Sources = p.finish(requestID)
	return r, p.Faults()
}

// aggregationParser parses the sources of an aggregation.
type aggregationParser struct {
	*jsonbody.Reader
	template canonical.Query
	sources  []sourceOfBody
}

// sourceOfBody is a source as the body has it: Ref and Query.RequestID are "" if it does not have
// them.
type sourceOfBody struct {
	aggregation.Source
	hasRef bool
}

// oneOf returns a check that a text is one of the words.
func oneOf(words ...string) func(string) string {
	return func(s string) string {
		if !slices.Contains(words, s) {
			return "must be `" + strings.Join(words, "` or `") + "`"
		}
		return ""
	}
}

// include reads what is read beside the accounts, and reports whether the balances are.
func (p *aggregationParser) include(at string) (balances bool) {
	p.Array(at, 0, 1, func(at string) { balances = p.Text(at, oneOf("balances")) != "" })
	return balances
}

// source reads one source.
func (p *aggregationParser) source(at string) {
	h := headerParser{query: p.template}
	var s sourceOfBody
	has := p.Object(at, map[string]func(string){
		"ref":                   func(at string) { s.Ref = p.Text(at, upTo(maxRef, nil)) },
		"aspspId":               func(at string) { h.query.ASPSP = strings.ToLower(p.Text(at, checkUUID)) },
		"consentId":             func(at string) { p.Text(at, upTo(maxText, h.consent)) },
		"providerAuthorization": func(at string) { p.Text(at, upTo(maxToken, h.token)) },
		"accountIds":            func(at string) { s.AccountIDs = p.accountIDs(at) },
		"requestId":             func(at string) { h.query.RequestID = p.Text(at, checkUUID) },
	}, "aspspId", "consentId")
	s.Query, s.hasRef = h.query, has["ref"]
	p.sources = append(p.sources, s)
}

// upTo returns a check of texts of up to limit characters, followed by another check; nil for none.
func upTo(limit int, next func(string) string) func(string) string {
	return func(s string) string {
		if detail := checkText(s, limit); detail != "" || next == nil {
			return detail
		}
		return next(s)
	}
}

func checkUUID(s string) string {
	if !isUUID(s) {
		return notUUID
	}
	return ""
}

// accountIDs reads the selected accounts of a source.
func (p *aggregationParser) accountIDs(at string) (ids []string) {
	seen := map[string]bool{}
	p.Array(at, 1, maxAccountIDs, func(at string) {
		id := p.Text(at, checkAccountID)
		if key := canonical.NormalizeID(id); id != "" && seen[key] {
			p.Fault(at, "must differ from the others")
		} else {
			seen[key] = true
		}
		ids = append(ids, id)
	})
	return ids
}

// finish returns the sources with their defaults, and reports those that are not unique.
func (p *aggregationParser) finish(requestID string) []aggregation.Source {
	type identity struct{ aspsp, consent string }
	refs, consents := map[string]bool{}, map[identity]bool{}
	for i := range p.sources {
		if s := &p.sources[i]; !s.hasRef {
			s.Ref = strconv.Itoa(i)
			refs[s.Ref] = true
		}
	}
	all := make([]aggregation.Source, len(p.sources))
	for i, s := range p.sources {
		at := "/sources/" + strconv.Itoa(i)
		if s.hasRef && s.Ref != "" && refs[s.Ref] {
			p.Fault(at+"/ref", "must differ from the others; the default is the index")
		}
		refs[s.Ref] = true
		id := identity{s.Query.ASPSP, canonical.NormalizeID(s.Query.Consent)}
		if id.aspsp != "" && id.consent != "" && consents[id] {
			p.Fault(at, "must differ from the others in aspspId or consentId")
		}
		consents[id] = true
		if s.Query.RequestID == "" {
			s.Query.RequestID = aggregation.CallID(requestID, i, "accounts")
		}
		all[i] = s.Source
	}
	return all
}

// fingerprint identifies the content of a body and whether the request is attended. White space, the
// order of members, the case of ids and defaults make no difference.
func fingerprint(r aggregation.Request, sources []sourceOfBody, attended bool) string {
	content := struct {
		Attended, Balances, RequireAll, AllowPartial bool
		Sources                                      [][]string
	}{attended, r.Balances, r.RequireAll, r.AllowPartial, nil}
	for i, s := range sources {
		ref := s.Ref
		if !s.hasRef {
			ref = strconv.Itoa(i)
		}
		content.Sources = append(content.Sources, append([]string{
			ref, s.Query.ASPSP, s.Query.Consent, s.Query.Token.Reveal(), s.Query.RequestID,
		}, s.AccountIDs...))
	}
	text, _ := json.Marshal(content) // texts and booleans always encode
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
