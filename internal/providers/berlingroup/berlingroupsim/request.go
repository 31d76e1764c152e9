package berlingroupsim

import (
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ais-gateway/internal/providers/aspspsim"
)

// headers are those that the standard has for reading account data.
var headers = aspspsim.Headers{
	Mandatory: map[string]func(string) bool{"X-Request-Id": aspspsim.IsUUID, "Consent-Id": aspspsim.IsText},
	Optional: map[string]func(string) bool{
		"Authorization":       aspspsim.IsBearer,
		"Psu-Ip-Address":      aspspsim.IsAddress,
		"Psu-Ip-Port":         aspspsim.IsPort,
		"Psu-Accept":          aspspsim.IsText,
		"Psu-Accept-Charset":  aspspsim.IsText,
		"Psu-Accept-Encoding": aspspsim.IsText,
		"Psu-Accept-Language": aspspsim.IsText,
		"Psu-User-Agent":      aspspsim.IsText,
		"Psu-Http-Method":     isMethod,
		"Psu-Device-Id":       aspspsim.IsUUID,
		"Psu-Geo-Location":    aspspsim.IsText,
	},
}

// check returns the error response to an invalid call; nil for a valid one.
func (s *Sim) check(b Bank, r *http.Request, body []byte, account string) *response {
	var refused response
	invalid := s.headersOf(b).Invalid(r.Header)
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = message(http.StatusUnauthorized, "CERTIFICATE_MISSING", "A client certificate is mandatory.")
	case invalid != "":
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "Header "+invalid+" is missing, repeated, ill-formed or not allowed.")
	case !b.validQuery(r.URL.RawQuery, account):
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "The query is ill-formed or not allowed.")
	case len(body) != 0:
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "No request body is allowed.")
	case s.cfg.Verify != nil && s.cfg.Verify(r, body) != nil:
		refused = message(http.StatusUnauthorized, "SIGNATURE_INVALID", "The signature is not valid.")
	default:
		return nil
	}
	return &refused
}

// headersOf returns the headers of requests to a bank: those of the standard, the bank's fixed ones,
// and those of a signature if signatures are verified.
func (s *Sim) headersOf(b Bank) aspspsim.Headers {
	all := aspspsim.Headers{Mandatory: maps.Clone(headers.Mandatory), Optional: maps.Clone(headers.Optional)}
	for name, want := range b.Headers {
		all.Mandatory[textproto.CanonicalMIMEHeaderKey(name)] = func(value string) bool { return value == want }
	}
	if b.RequireToken {
		all.Mandatory["Authorization"] = aspspsim.IsBearer
	}
	if s.cfg.Verify != nil { // which checks the values
		for _, name := range []string{"Date", "Digest", "Signature", "Tpp-Signature-Certificate"} {
			all.Optional[name] = func(string) bool { return true }
		}
	}
	return all
}

// validQuery reports whether a URL query is valid: only the account list accepts parameters, page
// only those of a bank with pages.
func (b Bank) validQuery(raw, account string) bool {
	query, err := url.ParseQuery(raw)
	if err != nil || account != "" && raw != "" {
		return false
	}
	for name, values := range query {
		n, err := strconv.Atoi(values[0])
		switch {
		case len(values) != 1:
			return false
		case name == "withBalance" && (values[0] == "true" || values[0] == "false"):
		case name == "page" && b.PageSize > 0 && err == nil && n >= 2 && n <= 1_000_000:
		default:
			return false
		}
	}
	return true
}

// route returns the bank and the account id of a path, "" for the account list, and whether the path
// exists. The id is unescaped once.
func (s *Sim) route(u *url.URL) (b Bank, account string, known bool) {
	for _, b := range s.cfg.Banks {
		rest, found := strings.CutPrefix(u.EscapedPath(), b.Path+"/"+b.Version+"/accounts")
		if found && rest == "" {
			return b, "", true
		}
		segments := strings.Split(rest, "/")
		if !found || len(segments) != 3 || segments[0] != "" || segments[2] != "balances" {
			continue
		}
		account, err := url.PathUnescape(segments[1])
		return b, account, err == nil && account != ""
	}
	return Bank{}, "", false
}

func isMethod(s string) bool {
	return slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, s)
}
