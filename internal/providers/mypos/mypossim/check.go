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

// mandatory and optional are the headers that the page "Read Account Balance" lists, with their form.
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
	// ofHTTP are those that HTTP itself needs.
	ofHTTP = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Host"}
)

// check is the answer to a call that is not let in, nil for one that is.
func (s *Sim) check(r *http.Request, account string) *answer {
	var refused answer
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = message(http.StatusUnauthorized, "CERTIFICATE_MISSING", "A client certificate is mandatory.")
	case faultyHeader(r.Header) != "":
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "Header "+faultyHeader(r.Header)+" is missing, repeated, ill-formed or not allowed.")
	case !wellAsked(r.URL.RawQuery, account):
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "The query is ill-formed or not allowed.")
	case r.ContentLength != 0:
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "No request body is allowed.")
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("API-Key")), []byte(s.cfg.APIKey)) != 1:
		refused = answer{status: http.StatusForbidden, contentType: "application/json", body: `{"code":403,"description":"Invalid API key"}`}
	default:
		return nil
	}
	return &refused
}

// faultyHeader is the first header, in alphabetical order, that is not as it must be; "" if all are.
func faultyHeader(h http.Header) string {
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
		case must || slices.Contains(ofHTTP, name):
		case !listed || len(values) != 1 || !well(values[0]):
			faulty = append(faulty, name)
		}
	}
	if len(faulty) == 0 {
		return ""
	}
	return slices.Min(faulty)
}

// wellAsked reports whether a query holds nothing but what the list, and only the list, takes.
func wellAsked(raw, account string) bool {
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

// echoRequestID gives a request's id back if it is one.
func echoRequestID(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-ID"); isUUID(id) {
		w.Header().Set("X-Request-ID", id)
	}
}
