package mypossim

import (
	"crypto/subtle"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// mandatory and optional contain the headers that the page "Read Account Balance" documents, and a
// check of their values.
var (
	mandatory = map[string]func(string) bool{
		"X-Request-Id":  isUUID,
		"Consent-Id":    isUUID,
		"Authorization": isBearer,
		"Api-Key":       isText,
	}
	optional = map[string]func(string) bool{
		"Psu-Ip-Address":   isAddress,
		"Psu-Ip-Port":      isPort,
		"Psu-Device-Id":    isUUID,
		"Psu-Geo-Location": isText,
	}
	// httpHeaders are the headers that HTTP itself needs.
	httpHeaders = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Host"}
)

// check returns the error response to an invalid call; nil for a valid one.
func (s *Sim) check(r *http.Request, account string) *response {
	var refused response
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = message(http.StatusUnauthorized, "CERTIFICATE_MISSING", "A client certificate is mandatory.")
	case invalidHeader(r.Header) != "":
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "Header "+invalidHeader(r.Header)+" is missing, repeated, ill-formed or not allowed.")
	case !validQuery(r.URL.RawQuery, account):
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "The query is ill-formed or not allowed.")
	case r.ContentLength != 0:
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "No request body is allowed.")
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("API-Key")), []byte(s.cfg.APIKey)) != 1:
		refused = response{status: http.StatusForbidden, contentType: "application/json", body: `{"code":403,"description":"Invalid API key"}`}
	default:
		return nil
	}
	return &refused
}

// invalidHeader returns the first invalid header in alphabetical order; "" if all are valid.
func invalidHeader(h http.Header) string {
	var faulty []string
	for name, well := range mandatory {
		if values := h[name]; len(values) != 1 || !well(values[0]) {
			faulty = append(faulty, name)
		}
	}
	for name, values := range h {
		well, listed := optional[name]
		_, must := mandatory[name]
		switch {
		case must || slices.Contains(httpHeaders, name):
		case !listed || len(values) != 1 || !well(values[0]):
			faulty = append(faulty, name)
		}
	}
	if len(faulty) == 0 {
		return ""
	}
	return slices.Min(faulty)
}

// validQuery reports whether a URL query is valid. Only the account list accepts parameters.
func validQuery(raw, account string) bool {
	query, err := url.ParseQuery(raw)
	if err != nil || account != "" && raw != "" {
		return false
	}
	for name, values := range query {
		n, err := strconv.Atoi(values[0])
		number := err == nil && n >= 1
		switch {
		case len(values) != 1:
			return false
		case name == "withBalance" && (values[0] == "true" || values[0] == "false"):
		case name == "page" && number && n <= 1_000_000, name == "size" && number && n <= maxPageSize:
		default:
			return false
		}
	}
	return true
}

func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

func isText(s string) bool { return s != "" && utf8.RuneCountInString(s) <= 256 }

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

// echoRequestID sets the response's X-Request-ID to that of the request, if it is a UUID.
func echoRequestID(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-ID"); isUUID(id) {
		w.Header().Set("X-Request-ID", id)
	}
}
