// Package dialect contains what the APIs of the Berlin Group standard (NextGenPSD2) have in common:
// request headers, the client certificate, error responses and their codes, and messages in
// successful responses. An adapter of such an API adds its paths, its JSON and its mapping.
package dialect

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// Check implements providers.Checker for APIs that require a UUID as consent id, and the user's
// access token, with every call.
func Check(q canonical.Query) []canonical.FieldError {
	var faults []canonical.FieldError
	if len(q.Consent) != 36 || uuid.Validate(q.Consent) != nil {
		faults = append(faults, canonical.FieldError{In: "header", Name: "Consent-ID", Detail: "must be a UUID for this ASPSP"})
	}
	switch token := q.Token.Reveal(); {
	case token == "":
		faults = append(faults, canonical.FieldError{In: "header", Name: "Provider-Authorization", Detail: "is required for this ASPSP"})
	case !printable(token):
		faults = append(faults, canonical.FieldError{In: "header", Name: "Provider-Authorization", Detail: "contains characters that are not allowed in a token"})
	}
	return faults
}

// CheckAccount returns the faults of Check and that of the account id, as the error of a read; nil
// without faults.
func CheckAccount(q canonical.Query, accountID string) *canonical.Error {
	faults := Check(q)
	if !adapter.ValidAccountID(accountID) {
		faults = append(faults, canonical.FieldError{In: "path", Name: "accountId", Detail: "cannot be an account's identifier"})
	}
	if faults != nil {
		return adapter.FormatError(faults...)
	}
	return nil
}

// maxHeaders is how many headers a request has at most, with those of the ASPSP.
const maxHeaders = 12

// Header returns the request header: request id, consent and token, and for an attended request the
// user's IP address with port, device id and location. The adapter adds the headers of its
// provider. Names are written as http.Header.Set sends them, because it allocates memory for a name
// in any other form.
func Header(q canonical.Query) http.Header {
	h := make(http.Header, maxHeaders)
	values := make([]string, 0, maxHeaders)
	set := func(key, value string) {
		values = append(values, value)
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	set("Accept", "application/json")
	set("X-Request-Id", q.RequestID)
	set("Consent-Id", q.Consent)
	set("Authorization", "Bearer "+q.Token.Reveal())
	if q.PSU == nil {
		return h
	}
	set("Psu-Ip-Address", q.PSU.IP.String())
	if q.PSU.Port != 0 {
		set("Psu-Ip-Port", strconv.Itoa(int(q.PSU.Port)))
	}
	if q.PSU.DeviceID != "" {
		set("Psu-Device-Id", q.PSU.DeviceID)
	}
	if q.PSU.GeoLocation != "" {
		set("Psu-Geo-Location", q.PSU.GeoLocation)
	}
	return h
}

// CheckRequestID returns ProviderInvalidResponse if a response, of any status, contains the id of
// another request. A missing or empty id is accepted.
func CheckRequestID(q canonical.Query, resp providers.Response) *canonical.Error {
	for _, echo := range resp.Header.Values("X-Request-Id") {
		if !adapter.SameRequestID(echo, q.RequestID) {
			return adapter.WrongRequest(resp.Status)
		}
	}
	return nil
}

// Decode decodes the body of a response to the query, after CheckRequestID.
func Decode(q canonical.Query, resp providers.Response, into any) error {
	if failure := CheckRequestID(q, resp); failure != nil {
		return failure
	}
	return adapter.Decode(resp.Body, into)
}

// printable reports whether s is plain ASCII that a header may contain (RFC 9110, section 5.5).
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}
