package obiesim

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// mandatory and optional contain the headers that the standard documents for a read, and a check of
// their values. The simulator requires x-fapi-interaction-id, which the standard recommends.
var (
	mandatory = map[string]func(string) bool{
		"Authorization":         isBearer,
		"X-Fapi-Interaction-Id": isUUID,
	}
	optional = map[string]func(string) bool{
		"X-Fapi-Auth-Date":           isDate,
		"X-Fapi-Customer-Ip-Address": isAddress,
		"X-Fapi-Financial-Id":        isText,
		"X-Customer-User-Agent":      isText,
	}
	// httpHeaders are the headers that HTTP itself needs.
	httpHeaders = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Host"}
)

// check returns the error response to an invalid call; nil for a valid one.
func (s *Sim) check(r *http.Request, bank Bank) *response {
	var refused response
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = failure(bank, http.StatusUnauthorized, "UK.OBIE.Field.Invalid", "A client certificate is mandatory.")
	case invalidHeader(r.Header) != "":
		refused = failure(bank, http.StatusBadRequest, "UK.OBIE.Header.Invalid", "Header "+invalidHeader(r.Header)+" is missing, repeated, ill-formed or not allowed.")
	case r.Header.Get("X-Fapi-Financial-Id") != bank.FinancialID:
		refused = failure(bank, http.StatusBadRequest, "UK.OBIE.Header.Invalid", "Header X-Fapi-Financial-Id is not this bank's.")
	case !validQuery(r.URL.RawQuery):
		refused = failure(bank, http.StatusBadRequest, "UK.OBIE.Field.Unexpected", "The query is ill-formed or not allowed.")
	case r.ContentLength != 0:
		refused = failure(bank, http.StatusBadRequest, "UK.OBIE.Field.Unexpected", "No request body is allowed.")
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

// validQuery reports whether a URL query is that of a link to a page, or empty.
func validQuery(raw string) bool {
	number, ok := strings.CutPrefix(raw, "page=")
	if raw == "" {
		return true
	}
	n, err := strconv.Atoi(number)
	return ok && err == nil && n >= 1 && n <= 1_000_000
}

func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

func isText(s string) bool { return s != "" && utf8.RuneCountInString(s) <= 256 }

func isDate(s string) bool {
	_, err := http.ParseTime(s)
	return err == nil
}

func isBearer(s string) bool {
	token, ok := strings.CutPrefix(s, "Bearer ")
	return ok && token != "" && !strings.ContainsAny(token, " \t")
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// echoInteractionID sets the response's x-fapi-interaction-id to that of the request, if it is a
// UUID.
func echoInteractionID(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Fapi-Interaction-Id"); isUUID(id) {
		w.Header().Set("X-Fapi-Interaction-Id", id)
	}
}
