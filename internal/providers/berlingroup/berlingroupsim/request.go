package berlingroupsim

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// mandatory and optional contain the headers that the standard has for reading account data, and a
// check of their values.
var (
	mandatory = map[string]func(string) bool{"X-Request-Id": isUUID, "Consent-Id": isText}
	optional  = map[string]func(string) bool{
		"Authorization":       isBearer,
		"Psu-Ip-Address":      isAddress,
		"Psu-Ip-Port":         isPort,
		"Psu-Accept":          isText,
		"Psu-Accept-Charset":  isText,
		"Psu-Accept-Encoding": isText,
		"Psu-Accept-Language": isText,
		"Psu-User-Agent":      isText,
		"Psu-Http-Method":     isMethod,
		"Psu-Device-Id":       isUUID,
		"Psu-Geo-Location":    isText,
	}
	// httpHeaders are the headers that HTTP itself needs.
	httpHeaders = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Host"}
	// signatureHeaders are those of a signed request.
	signatureHeaders = []string{"Date", "Digest", "Signature", "Tpp-Signature-Certificate"}
)

// check returns the error response to an invalid call; nil for a valid one.
func (s *Sim) check(b Bank, r *http.Request, body []byte, account string) *response {
	var refused response
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = message(http.StatusUnauthorized, "CERTIFICATE_MISSING", "A client certificate is mandatory.")
	case s.invalidHeader(b, r.Header) != "":
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "Header "+s.invalidHeader(b, r.Header)+" is missing, repeated, ill-formed or not allowed.")
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

// invalidHeader returns the first invalid header in alphabetical order; "" if all are valid.
func (s *Sim) invalidHeader(b Bank, h http.Header) string {
	var faulty []string
	require := func(name string, valid func(string) bool) {
		if values := h[name]; len(values) != 1 || !valid(values[0]) {
			faulty = append(faulty, name)
		}
	}
	for name, valid := range mandatory {
		require(name, valid)
	}
	fixed := map[string]bool{}
	for name, want := range b.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		fixed[name] = true
		require(name, func(value string) bool { return value == want })
	}
	if b.RequireToken {
		require("Authorization", isBearer)
	}
	for name, values := range h {
		valid, listed := optional[name]
		_, must := mandatory[name]
		switch {
		case must, fixed[name], slices.Contains(httpHeaders, name):
		case s.cfg.Verify != nil && slices.Contains(signatureHeaders, name):
		case !listed || len(values) != 1 || !valid(values[0]):
			faulty = append(faulty, name)
		}
	}
	if len(faulty) == 0 {
		return ""
	}
	return slices.Min(faulty)
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

func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

func isText(s string) bool { return s != "" && utf8.RuneCountInString(s) <= 256 }

func isMethod(s string) bool {
	return slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, s)
}

func isBearer(s string) bool {
	token, ok := strings.CutPrefix(s, "Bearer ")
	return ok && token != "" && !strings.ContainsAny(token, " \t")
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
