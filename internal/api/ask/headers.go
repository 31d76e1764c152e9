// Package ask reads what callers write into requests: headers, the ids in paths and queries, and the key that says
// who calls. It names everything that is ill-formed, and never repeats it. internal/api calls it.
package ask

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

// Bounds of what a caller may write, in characters.
const (
	maxText  = 256
	maxToken = 8192
)

// maxAge caps max-age, as RFC 9111, section 1.2.2, has it.
const maxAge = 1 << 31 * time.Second

// What may be wrong with any header. These, and the sentences below, are read after the header's name.
const (
	sentTwice = "must be sent only once"
	empty     = "must not be empty"
	notUUID   = "must be a UUID (36 characters)"
)

func tooLong(limit int) string { return "must not exceed " + strconv.Itoa(limit) + " characters" }

func inHeader(name, detail string) canonical.FieldError {
	return canonical.FieldError{In: "header", Name: name, Detail: detail}
}

// A reading is what a request's headers say.
type reading struct {
	allowPrivateIP bool

	query    canonical.Query
	psu      canonical.PSU
	merchant canonical.Merchant
	wants    gateway.CacheControl
}

// A field is a header that callers may give: its bound in characters, and the function that takes its value over
// or says what is wrong with it.
type field struct {
	name string
	max  int
	take func(r *reading, value string) string
}

// fields are all headers that are read, but for those that say who calls and X-Request-ID.
var fields = []field{
	{"Consent-ID", maxText, (*reading).consent},
	{"Provider-Authorization", maxToken, (*reading).token},
	{"PSU-IP-Address", maxText, (*reading).address},
	{"PSU-IP-Port", maxText, (*reading).port},
	{"PSU-User-Agent", maxText, func(r *reading, v string) string { r.psu.UserAgent = v; return "" }},
	{"PSU-Device-ID", maxText, (*reading).device},
	{"PSU-Geo-Location", maxText, func(r *reading, v string) string { r.psu.GeoLocation = v; return "" }},
	{"TPP-Customer-ID", maxText, func(r *reading, v string) string { r.query.Customer = v; return "" }},
	{"Merchant-ID", maxText, func(r *reading, v string) string { r.merchant.ID = v; return "" }},
	{"Merchant-Name", maxText, func(r *reading, v string) string { r.merchant.Name = v; return "" }},
	{"Cache-Control", maxText, (*reading).cacheControl},
}

// Headers reads all headers and names every fault. consent says that Consent-ID is required, allowPrivateIP that
// a PSU's address may be one that no user on the internet has. A header that is given counts as given even where
// its value is at fault: what is ill-formed is not absent.
func Headers(h http.Header, consent, allowPrivateIP bool) (canonical.Query, gateway.CacheControl, []canonical.FieldError) {
	r := &reading{allowPrivateIP: allowPrivateIP}
	var faults []canonical.FieldError
	for _, f := range fields {
		value, given, detail := single(h, f.name, f.max)
		if given && detail == "" {
			detail = f.take(r, value)
		}
		if detail != "" {
			faults = append(faults, inHeader(f.name, detail))
		}
	}
	given := func(name string) bool { return len(h.Values(name)) > 0 }
	if !given("Cache-Control") && pragmaNoCache(h) {
		r.wants.NoCache = true
	}
	if given("PSU-IP-Address") {
		r.query.PSU = &r.psu
	} else if given("PSU-IP-Port") || given("PSU-User-Agent") || given("PSU-Device-ID") || given("PSU-Geo-Location") {
		faults = append(faults, inHeader("PSU-IP-Address", "is required with any other PSU header"))
	}
	switch id, name := given("Merchant-ID"), given("Merchant-Name"); {
	case id && name:
		r.query.Merchant = &r.merchant
	case id:
		faults = append(faults, inHeader("Merchant-Name", "is required with Merchant-ID"))
	case name:
		faults = append(faults, inHeader("Merchant-ID", "is required with Merchant-Name"))
	}
	if consent && !given("Consent-ID") {
		faults = append(faults, inHeader("Consent-ID", "is required"))
	}
	return r.query, r.wants, faults
}

// single is a header's one value, and what is wrong with it, whatever its meaning.
func single(h http.Header, name string, limit int) (value string, given bool, detail string) {
	values := h.Values(name)
	switch len(values) {
	case 0:
		return "", false, ""
	case 1:
		return values[0], true, illText(values[0], limit)
	}
	return "", true, sentTwice
}

// illText says why a text cannot be taken, "" if it can.
func illText(s string, limit int) string {
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

// RequestID is the caller's own id as it was written; one of ours where there is none or a faulty one.
func RequestID(h http.Header) (string, []canonical.FieldError) {
	value, given, detail := single(h, "X-Request-ID", maxText)
	if given && detail == "" && !isUUID(value) {
		detail = notUUID
	}
	switch {
	case detail != "":
		return uuid.NewString(), []canonical.FieldError{inHeader("X-Request-ID", detail)}
	case !given:
		return uuid.NewString(), nil
	}
	return value, nil
}

// isUUID takes the one form that everybody means; the uuid package takes four.
func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// consent refuses what makes two ids look alike. Inside an id every visible character is the consent's own.
func (r *reading) consent(v string) string {
	switch {
	case strings.TrimSpace(v) != v:
		return "must not begin or end with white space"
	case strings.ContainsFunc(v, invisible):
		return "must not contain invisible characters"
	}
	r.query.Consent = v
	return ""
}

// invisible reports whether a character cannot be seen: of Unicode's default ignorable ones, and blanks that are no white
// space.
func invisible(c rune) bool {
	const blankBraille = '\u2800'
	return c == blankBraille || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func (r *reading) token(v string) string {
	token, ok := bearer(v)
	if !ok || token == "" {
		return "must be `Bearer` followed by a token"
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "contains characters that are not allowed in a token"
	}
	r.query.Token = canonical.Secret(token)
	return ""
}

func (r *reading) address(v string) string {
	ip, err := netip.ParseAddr(v)
	if err != nil || ip.Zone() != "" {
		return "must be an IPv4 or IPv6 address"
	}
	r.psu.IP = ip.Unmap()
	if !r.allowPrivateIP && !public(r.psu.IP) {
		return "must be the user's own IP address (not loopback, private, link-local, shared, reserved or multicast)"
	}
	return ""
}

func (r *reading) port(v string) string {
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil || port == 0 {
		return "must be a number from 1 to 65535"
	}
	r.psu.Port = uint16(port)
	return ""
}

func (r *reading) device(v string) string {
	if !isUUID(v) {
		return notUUID
	}
	r.psu.DeviceID = v
	return ""
}

// cacheControl reads the directives of RFC 9111, section 5.2.1, that the account list honours. Others are ignored.
func (r *reading) cacheControl(v string) string {
	directives, ok := splitList(v)
	if !ok {
		return "contains an unterminated quoted string"
	}
	for _, d := range directives {
		name, arg, _ := strings.Cut(d, "=")
		switch strings.ToLower(name) {
		case "no-cache":
			r.wants.NoCache = true
		case "only-if-cached":
			r.wants.OnlyIfCached = true
		case "max-age":
			age, ok := seconds(arg)
			if !ok {
				return "max-age must be a whole number of seconds"
			}
			if r.wants.MaxAge == nil || age < *r.wants.MaxAge {
				r.wants.MaxAge = &age
			}
		}
	}
	return ""
}

// pragmaNoCache reports whether Pragma demands what Cache-Control: no-cache does (RFC 9111, section 5.4).
func pragmaNoCache(h http.Header) bool {
	for _, v := range h.Values("Pragma") {
		directives, _ := splitList(v)
		if slices.ContainsFunc(directives, func(d string) bool { return strings.EqualFold(d, "no-cache") }) {
			return true
		}
	}
	return false
}

// seconds reads delta-seconds (RFC 9111, section 1.2.2), quoted or not.
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

// splitList splits a list at the commas outside quoted strings (RFC 9110, section 5.6); false where one does not end.
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
