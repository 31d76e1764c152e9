// Package parse parses requests of the API: headers, the ids in path and query, credentials, and the
// body of an aggregation. It returns every fault, and never the faulty value.
package parse

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
)

// Maximum lengths in characters.
const (
	maxText  = 256
	maxToken = 8192
	maxKey   = 64
)

// maxAge is the largest max-age (RFC 9111, section 1.2.2); larger values mean the same.
const maxAge = 1 << 31 * time.Second

// Details of faults. All details read as the rest of a sentence that starts with the field's name.
const (
	sentTwice = "must be sent only once"
	empty     = "must not be empty"
	notUUID   = "must be a UUID (36 characters)"
)

func tooLong(limit int) string { return "must not exceed " + strconv.Itoa(limit) + " characters" }

func headerFault(name, detail string) canonical.FieldError {
	return canonical.FieldError{In: "header", Name: name, Detail: detail}
}

// headerParser collects the values of a request's headers.
type headerParser struct {
	allowPrivateIP bool

	query    canonical.Query
	psu      canonical.PSU
	merchant canonical.Merchant
	cache    gateway.CacheControl
	key      string
}

// Headers as net/http stores their names. With these, a look-up does not make a copy of the name.
const (
	keyRequestID     = "X-Request-Id"
	keyAPIKey        = "X-Api-Key"
	keyAuthorization = "Authorization"
	keyConsent       = "Consent-Id"
	keyToken         = "Provider-Authorization"
	keyAddress       = "Psu-Ip-Address"
	keyPort          = "Psu-Ip-Port"
	keyUserAgent     = "Psu-User-Agent"
	keyDevice        = "Psu-Device-Id"
	keyLocation      = "Psu-Geo-Location"
	keyCustomer      = "Tpp-Customer-Id"
	keyMerchantID    = "Merchant-Id"
	keyMerchantName  = "Merchant-Name"
	keyCacheControl  = "Cache-Control"
	keyIdempotency   = "Idempotency-Key"
)

// field is a header of the contract. parse stores its value, or returns the detail of a fault.
type field struct {
	key   string // as net/http stores the name
	name  string // as the contract has it
	max   int    // length in characters
	parse func(p *headerParser, value string) string
}

// fields lists all headers except those with credentials, and X-Request-ID.
var fields = []field{
	{keyConsent, "Consent-ID", maxText, (*headerParser).consent},
	{keyToken, "Provider-Authorization", maxToken, (*headerParser).token},
	{keyAddress, "PSU-IP-Address", maxText, (*headerParser).address},
	{keyPort, "PSU-IP-Port", maxText, (*headerParser).port},
	{keyUserAgent, "PSU-User-Agent", maxText, func(p *headerParser, v string) string { p.psu.UserAgent = v; return "" }},
	{keyDevice, "PSU-Device-ID", maxText, (*headerParser).device},
	{keyLocation, "PSU-Geo-Location", maxText, func(p *headerParser, v string) string { p.psu.GeoLocation = v; return "" }},
	{keyCustomer, "TPP-Customer-ID", maxText, func(p *headerParser, v string) string { p.query.Customer = v; return "" }},
	{keyMerchantID, "Merchant-ID", maxText, func(p *headerParser, v string) string { p.merchant.ID = v; return "" }},
	{keyMerchantName, "Merchant-Name", maxText, func(p *headerParser, v string) string { p.merchant.Name = v; return "" }},
	{keyCacheControl, "Cache-Control", maxText, (*headerParser).cacheControl},
	{keyIdempotency, "Idempotency-Key", maxKey, (*headerParser).idempotencyKey},
}

// Header is what the headers of a request say.
type Header struct {
	Query        canonical.Query // without ASPSP and request id
	CacheControl gateway.CacheControl
	Key          string // Idempotency-Key; "" for none
}

// Headers parses all headers and returns every fault. consent makes Consent-ID required.
// allowPrivateIP accepts addresses that cannot be those of users on the internet, see public. A
// header with a faulty value is not reported as missing.
func Headers(h http.Header, consent, allowPrivateIP bool) (Header, []canonical.FieldError) {
	p := &headerParser{allowPrivateIP: allowPrivateIP}
	var faults []canonical.FieldError
	for _, f := range fields {
		value, sent, detail := singleValue(h[f.key], f.max)
		if sent && detail == "" {
			detail = f.parse(p, value)
		}
		if detail != "" {
			faults = append(faults, headerFault(f.name, detail))
		}
	}
	sent := func(key string) bool { return len(h[key]) > 0 }
	if !sent(keyCacheControl) && pragmaNoCache(h) {
		p.cache.NoCache = true
	}
	if sent(keyAddress) {
		p.query.PSU = &p.psu
	} else if sent(keyPort) || sent(keyUserAgent) || sent(keyDevice) || sent(keyLocation) {
		faults = append(faults, headerFault("PSU-IP-Address", "is required with any other PSU header"))
	}
	switch id, name := sent(keyMerchantID), sent(keyMerchantName); {
	case id && name:
		p.query.Merchant = &p.merchant
	case id:
		faults = append(faults, headerFault("Merchant-Name", "is required with Merchant-ID"))
	case name:
		faults = append(faults, headerFault("Merchant-ID", "is required with Merchant-Name"))
	}
	if consent && !sent(keyConsent) {
		faults = append(faults, headerFault("Consent-ID", "is required"))
	}
	return Header{p.query, p.cache, p.key}, faults
}

// singleValue returns the only one of a header's values, and the detail of a fault of its form.
func singleValue(values []string, limit int) (value string, sent bool, detail string) {
	switch len(values) {
	case 0:
		return "", false, ""
	case 1:
		return values[0], true, checkText(values[0], limit)
	}
	return "", true, sentTwice
}

// checkText returns why s is no valid text of up to limit characters, or "".
func checkText(s string, limit int) string {
	switch {
	case s == "":
		return empty
	case !utf8.ValidString(s):
		return "must be valid UTF-8"
	case utf8.RuneCountInString(s) > limit:
		return tooLong(limit)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// RequestID returns X-Request-ID as the caller wrote it. If it is missing or faulty, it returns a
// new UUID.
func RequestID(h http.Header) (string, []canonical.FieldError) {
	value, sent, detail := singleValue(h[keyRequestID], maxText)
	if sent && detail == "" && !isUUID(value) {
		detail = notUUID
	}
	switch {
	case detail != "":
		return uuid.NewString(), []canonical.FieldError{headerFault("X-Request-ID", detail)}
	case !sent:
		return uuid.NewString(), nil
	}
	return value, nil
}

// isUUID accepts only the form of 36 characters; the uuid package accepts three more.
func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// consent refuses characters that make two consent ids look the same. All visible characters are
// allowed.
func (p *headerParser) consent(v string) string {
	switch {
	case strings.TrimSpace(v) != v:
		return "must not begin or end with white space"
	case strings.ContainsFunc(v, invisible):
		return "must not contain invisible characters"
	}
	p.query.Consent = v
	return ""
}

// invisible reports whether c has no visible form: Unicode's default ignorable characters, and
// blanks that are not white space.
func invisible(c rune) bool {
	const blankBraille = '\u2800'
	return c == blankBraille || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func (p *headerParser) token(v string) string {
	token, ok := bearer(v)
	if !ok || token == "" {
		return "must be `Bearer` followed by a token"
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "contains characters that are not allowed in a token"
	}
	p.query.Token = canonical.Secret(token)
	return ""
}

func (p *headerParser) address(v string) string {
	ip, err := netip.ParseAddr(v)
	if err != nil || ip.Zone() != "" {
		return "must be an IPv4 or IPv6 address"
	}
	p.psu.IP = ip.Unmap()
	if !p.allowPrivateIP && !public(p.psu.IP) {
		return "must be the user's own IP address (not loopback, private, link-local, shared, reserved or multicast)"
	}
	return ""
}

func (p *headerParser) port(v string) string {
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil || port == 0 {
		return "must be a number from 1 to 65535"
	}
	p.psu.Port = uint16(port)
	return ""
}

func (p *headerParser) device(v string) string {
	if !isUUID(v) {
		return notUUID
	}
	p.psu.DeviceID = v
	return ""
}

// cacheControl parses the directives of RFC 9111, section 5.2.1, that apply to account lists, and
// ignores all others.
func (p *headerParser) cacheControl(v string) string {
	directives, ok := splitList(v)
	if !ok {
		return "contains an unterminated quoted string"
	}
	for _, d := range directives {
		name, arg, _ := strings.Cut(d, "=")
		switch strings.ToLower(name) {
		case "no-cache":
			p.cache.NoCache = true
		case "only-if-cached":
			p.cache.OnlyIfCached = true
		case "max-age":
			age, ok := seconds(arg)
			if !ok {
				return "max-age must be a whole number of seconds"
			}
			if p.cache.MaxAge == nil || age < *p.cache.MaxAge {
				p.cache.MaxAge = &age
			}
		}
	}
	return ""
}

func (p *headerParser) idempotencyKey(v string) string {
	if strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "must have only visible ASCII characters"
	}
	p.key = v
	return ""
}

// pragmaNoCache reports whether Pragma has no-cache (RFC 9111, section 5.4).
func pragmaNoCache(h http.Header) bool {
	for _, v := range h["Pragma"] {
		directives, _ := splitList(v)
		if slices.ContainsFunc(directives, func(d string) bool { return strings.EqualFold(d, "no-cache") }) {
			return true
		}
	}
	return false
}

// seconds parses delta-seconds (RFC 9111, section 1.2.2), quoted or not.
func seconds(s string) (time.Duration, bool) {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > int64(maxAge/time.Second) {
		return maxAge, true
	}
	return time.Duration(n) * time.Second, true
}

// splitList splits a list at the commas outside quoted strings (RFC 9110, section 5.6). It returns
// false if a quoted string does not end.
func splitList(s string) ([]string, bool) {
	var members []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			members = append(members, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(members, strings.TrimSpace(s[start:])), !quoted
}
