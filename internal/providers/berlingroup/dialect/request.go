// Package dialect contains what the adapters of Berlin Group APIs (NextGenPSD2) share: request
// headers, balance types, the classification of error responses, and messages in successful
// responses. An adapter of such an API adds its paths, its JSON and its mapping.
package dialect

import (
	"net/http"
	"strconv"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// headerCapacity is the initial capacity for headers, with some of the ASPSP.
const headerCapacity = 12

// Header returns the request header: request id, consent, the token if there is one, and for an
// attended request the user's IP address with port, device id and location. The adapter adds the
// headers of its provider. Names are written as http.Header.Set sends them, because it allocates memory for a name
// in any other form.
func Header(q canonical.Query) http.Header {
	h := make(http.Header, headerCapacity)
	values := make([]string, 0, headerCapacity)
	set := func(key, value string) {
		values = append(values, value)
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	set("Accept", "application/json")
	set("X-Request-Id", q.RequestID)
	set("Consent-Id", q.Consent)
	if token := q.Token.Reveal(); token != "" {
		set("Authorization", "Bearer "+token)
	}
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
