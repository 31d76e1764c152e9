package obiesim

import (
	"net/http"
	"strconv"
	"strings"

	"ais-gateway/internal/providers/aspspsim"
)

// headers are those that the standard documents for a read. The simulator requires
// x-fapi-interaction-id, which the standard recommends.
var headers = aspspsim.Headers{
	Mandatory: map[string]func(string) bool{
		"Authorization":         aspspsim.IsBearer,
		"X-Fapi-Interaction-Id": aspspsim.IsUUID,
	},
	Optional: map[string]func(string) bool{
		"X-Fapi-Auth-Date":           isDate,
		"X-Fapi-Customer-Ip-Address": aspspsim.IsAddress,
		"X-Fapi-Financial-Id":        aspspsim.IsText,
		"X-Customer-User-Agent":      aspspsim.IsText,
	},
}

// check returns the error response to an invalid call; nil for a valid one.
func (s *Sim) check(r *http.Request, bank Bank) *response {
	var refused response
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = failure(bank, http.StatusUnauthorized, "UK.OBIE.Field.Invalid", "A client certificate is mandatory.")
	case headers.Invalid(r.Header) != "":
		refused = failure(bank, http.StatusBadRequest, "UK.OBIE.Header.Invalid", "Header "+headers.Invalid(r.Header)+" is missing, repeated, ill-formed or not allowed.")
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

// validQuery reports whether a URL query is that of a link to a page, or empty.
func validQuery(raw string) bool {
	number, ok := strings.CutPrefix(raw, "page=")
	if raw == "" {
		return true
	}
	n, err := strconv.Atoi(number)
	return ok && err == nil && n >= 1 && n <= 1_000_000
}

func isDate(s string) bool {
	_, err := http.ParseTime(s)
	return err == nil
}
