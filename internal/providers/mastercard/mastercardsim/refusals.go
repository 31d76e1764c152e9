package mastercardsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Consents for which every call fails: one for each documented error of OBC, in the form of the
// documentation's samples with their padding and their missing Source, and one for each other
// status.
const (
	ConsentExpired       = "GFiTpF3:expired"        // 400 INVALID_TOKEN, has expired
	ConsentRevoked       = "GFiTpF3:revoked"        // 400 INVALID_TOKEN, invalid or revoked
	ConsentUnlinked      = "GFiTpF3:unlinked"       // 400 PROVIDER_ERROR, account invalid or unlinked
	ConsentExhausted     = "GFiTpF3:exhausted"      // 400 PROVIDER_ERROR, limit for unattended requests
	ConsentNewSCA        = "GFiTpF3:new-sca"        // 400 PROVIDER_ERROR, New SCA required
	ConsentMalformed     = "GFiTpF3:malformed"      // 400 FORMAT_ERROR
	ConsentProviderError = "GFiTpF3:provider-error" // 400 PROVIDER_ERROR without details
	ConsentSeveral       = "GFiTpF3:several"        // 400 with three errors; the consent has expired
	ConsentUnauthorized  = "GFiTpF3:unauthorized"   // 401 from the API gateway
	ConsentForbidden     = "GFiTpF3:forbidden"      // 403 from the API gateway
	ConsentThrottled     = "GFiTpF3:throttled"      // 429 from the API gateway
	ConsentServerError   = "GFiTpF3:server-error"   // 500 from OBC
	ConsentUnavailable   = "GFiTpF3:unavailable"    // 503 from the API gateway
	ConsentTimeout       = "GFiTpF3:timeout"        // 504, with a page of HTML
)

// The errors of the documentation's samples, with the same members.
var (
	tokenExpired = badRequest(`{"ReasonCode":" INVALID_TOKEN ","Description":"Access Token associated with the Request has expired"}`)
	tokenInvalid = badRequest(`{"Source":"OBC","ReasonCode":"INVALID_TOKEN",` +
		`"Description":"Access Token associated with the Request is invalid or has been revoked"}`)
	accountUnlinked = badRequest(`{"ReasonCode":" PROVIDER_ERROR ","Description":"Provided account is invalid or unlinked from the consent"}`)
	limitExceeded   = badRequest(`{"ReasonCode":" PROVIDER_ERROR ","Description":"ASPSP limit for unattended requests was exceeded"}`)
	newSCA          = badRequest(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"New SCA required"}`)
	addressMissing  = badRequest(`{"Source":"OBC","ReasonCode":"FORMAT_ERROR",` +
		`"Description":"Conditional field psuIPAddress is expected when isLivePsuRequest='true'",` +
		`"Details":"path[0]=/requestInfo/psuIPAddress"}`)
	providerError = badRequest(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"The ASPSP answered with an error"}`)
)

var refusals = map[string]response{
	ConsentExpired:       tokenExpired,
	ConsentRevoked:       tokenInvalid,
	ConsentUnlinked:      accountUnlinked,
	ConsentExhausted:     limitExceeded,
	ConsentNewSCA:        newSCA,
	ConsentMalformed:     addressMissing,
	ConsentProviderError: providerError,
	ConsentSeveral: badRequest(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"The ASPSP answered with an error"},` +
		`{"ReasonCode":" PROVIDER_ERROR ","Description":"Provided account is invalid or unlinked from the consent"},` +
		`{"ReasonCode":" INVALID_TOKEN ","Description":"Access Token associated with the Request has expired"}`),
	ConsentUnauthorized: fromGateway(http.StatusUnauthorized, "AUTHENTICATION_FAILED", "Unknown oauth_consumer_key"),
	ConsentForbidden:    fromGateway(http.StatusForbidden, "PERMISSION_DENIED", "The consumer may not use this service"),
	ConsentThrottled: fromGateway(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "The rate limit is exceeded").
		with("Retry-After", "30"),
	ConsentServerError: {status: http.StatusInternalServerError, body: envelope(
		`{"Source":"OBC","ReasonCode":"INTERNAL_SERVER_ERROR","Description":"Internal error"}`)},
	ConsentUnavailable: fromGateway(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "The service is not available"),
	ConsentTimeout: response{status: http.StatusGatewayTimeout, body: "<html><body>504 Gateway Time-out</body></html>\n"}.
		with("Content-Type", "text/html"),
}

// envelope returns the body of an error response.
func envelope(errs string) string { return `{"Errors":{"Error":[` + errs + `]}}` }

// badRequest returns a 400, the status of all errors of OBC itself.
func badRequest(errs string) response {
	return response{status: http.StatusBadRequest, body: envelope(errs)}
}

// fromGateway returns an error of the API gateway in front of OBC.
func fromGateway(status int, reason, description string) response {
	return response{status: status, body: envelope(fmt.Sprintf(
		`{"Source":"Gateway","ReasonCode":%q,"Description":%q,"Recoverable":false,"Details":null}`, reason, description))}
}

// formatError returns a FORMAT_ERROR with the path of each invalid element.
func formatError(faults []fault) response {
	paths := make([]string, len(faults))
	for i, f := range faults {
		paths[i] = fmt.Sprintf("path[%d]=%s", i, f.path)
	}
	one, err := json.Marshal(map[string]string{
		"Source": "OBC", "ReasonCode": "FORMAT_ERROR", "Description": faults[0].detail, "Details": strings.Join(paths, ";"),
	})
	if err != nil {
		panic(err) // a map of strings is always JSON
	}
	return badRequest(string(one))
}
