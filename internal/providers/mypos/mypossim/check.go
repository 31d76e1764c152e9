package mypossim

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strconv"

	"ais-gateway/internal/providers/aspspsim"
)

// headers are those that the page "Read Account Balance" documents.
var headers = aspspsim.Headers{
	Mandatory: map[string]func(string) bool{
		"X-Request-Id":  aspspsim.IsUUID,
		"Consent-Id":    aspspsim.IsUUID,
		"Authorization": aspspsim.IsBearer,
		"Api-Key":       aspspsim.IsText,
	},
	Optional: map[string]func(string) bool{
		"Psu-Ip-Address":   aspspsim.IsAddress,
		"Psu-Ip-Port":      aspspsim.IsPort,
		"Psu-Device-Id":    aspspsim.IsUUID,
		"Psu-Geo-Location": aspspsim.IsText,
	},
}

// check returns the error response to an invalid call; nil for a valid one.
func (s *Sim) check(r *http.Request, account string) *response {
	var refused response
	switch {
	case s.cfg.RequireClientCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0):
		refused = message(http.StatusUnauthorized, "CERTIFICATE_MISSING", "A client certificate is mandatory.")
	case headers.Invalid(r.Header) != "":
		refused = message(http.StatusBadRequest, "FORMAT_ERROR", "Header "+headers.Invalid(r.Header)+" is missing, repeated, ill-formed or not allowed.")
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
