package mastercardsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Consents that every ASPSP refuses, whatever is read: one for each error that OBC's pages document, in the
// shape of the pages' samples with their padding and their missing Source, and one for each status besides.
const (
	ConsentExpired       = "GFiTpF3:expired"        // 400 INVALID_TOKEN, has expired
	ConsentRevoked       = "GFiTpF3:revoked"        // 400 INVALID_TOKEN, invalid or revoked
	ConsentUnlinked      = "GFiTpF3:unlinked"       // 400 PROVIDER_ERROR, account invalid or unlinked
	ConsentExhausted     = "GFiTpF3:exhausted"      // 400 PROVIDER_ERROR, limit for unattended requests
	ConsentNewSCA        = "GFiTpF3:new-sca"        // 400 PROVIDER_ERROR, New SCA required
	ConsentMalformed     = "GFiTpF3:malformed"      // 400 FORMAT_ERROR
	ConsentProviderError = "GFiTpF3:provider-error" // 400 PROVIDER_ERROR that says no more
	ConsentSeveral       = "GFiTpF3:several"        // 400 with three errors; the consent has expired
	ConsentUnauthorized  = "GFiTpF3:unauthorized"   // 401 from the API gateway
	ConsentForbidden     = "GFiTpF3:forbidden"      // 403 from the API gateway
	ConsentThrottled     = "GFiTpF3:throttled"      // 429 from the API gateway
	ConsentServerError   = "GFiTpF3:server-error"   // 500 from OBC
	ConsentUnavailable   = "GFiTpF3:unavailable"    // 503 from the API gateway
	ConsentTimeout       = "GFiTpF3:timeout"        // 504, with a page of HTML
)

// The errors of the pages' samples, member by member.
var (
	tokenExpired = bad(`{"ReasonCode":" INVALID_TOKEN ","Description":"Access Token associated with the Request has expired"}`)
	tokenInvalid = bad(`{"Source":"OBC","ReasonCode":"INVALID_TOKEN",` +
		`"Description":"Access Token associated with the Request is invalid or has been revoked"}`)
	accountUnlinked = bad(`{"ReasonCode":" PROVIDER_ERROR ","Description":"Provided account is invalid or unlinked from the consent"}`)
	limitExceeded   = bad(`{"ReasonCode":" PROVIDER_ERROR ","Description":"ASPSP limit for unattended requests was exceeded"}`)
	newSCA          = bad(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"New SCA required"}`)
	addressMissing  = bad(`{"Source":"OBC","ReasonCode":"FORMAT_ERROR",` +
		`"Description":"Conditional field psuIPAddress is expected when isLivePsuRequest='true'",` +
		`"Details":"path[0]=/requestInfo/psuIPAddress"}`)
	providerError = bad(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"The ASPSP answered with an error"}`)
)

var refusals = map[string]reply{
	ConsentExpired:       tokenExpired,
	ConsentRevoked:       tokenInvalid,
	ConsentUnlinked:      accountUnlinked,
	ConsentExhausted:     limitExceeded,
	ConsentNewSCA:        newSCA,
	ConsentMalformed:     addressMissing,
	ConsentProviderError: providerError,
	ConsentSeveral: bad(`{"Source":"OBC","ReasonCode":"PROVIDER_ERROR","Description":"The ASPSP answered with an error"},` +
		`{"ReasonCode":" PROVIDER_ERROR ","Description":"Provided account is invalid or unlinked from the consent"},` +
		`{"ReasonCode":" INVALID_TOKEN ","Description":"Access Token associated with the Request has expired"}`),
	ConsentUnauthorized: fromGateway(http.StatusUnauthorized, "AUTHENTICATION_FAILED", "Unknown oauth_consumer_key"),
	ConsentForbidden:    fromGateway(http.StatusForbidden, "PERMISSION_DENIED", "The consumer may not use this service"),
	ConsentThrottled: fromGateway(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "The rate limit is exceeded").
		with("Retry-After", "30"),
	ConsentServerError: {status: http.StatusInternalServerError, body: envelope(
		`{"Source":"OBC","ReasonCode":"INTERNAL_SERVER_ERROR","Description":"Internal error"}`)},
	ConsentUnavailable: fromGateway(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "The service is not available"),
	ConsentTimeout: reply{status: http.StatusGatewayTimeout, body: "<html><body>504 Gateway Time-out</body></html>\n"}.
		with("Content-Type", "text/html"),
}

// envelope is the form in which all errors come.
func envelope(errs string) string { return `{"Errors":{"Error":[` + errs + `]}}` }

// bad is a 400, the status of everything that OBC itself refuses.
func bad(errs string) reply { return reply{status: http.StatusBadRequest, body: envelope(errs)} }

// fromGateway is an error of the API gateway in front of OBC.
func fromGateway(status int, reason, description string) reply {
	return reply{status: status, body: envelope(fmt.Sprintf(
		`{"Source":"Gateway","ReasonCode":%q,"Description":%q,"Recoverable":false,"Details":null}`, reason, description))}
}

// formatError is a FORMAT_ERROR that names the path of each element at fault.
func formatError(faults []fault) reply {
	paths := make([]string, len(faults))
	for i, f := range faults {
		paths[i] = fmt.Sprintf("path[%d]=%s", i, f.path)
	}
	one, err := json.Marshal(map[string]string{
		"Source": "OBC", "ReasonCode": "FORMAT_ERROR", "Description": faults[0].says, "Details": strings.Join(paths, ";"),
	})
	if err != nil {
		panic(err) // a map of strings is always JSON
	}
	return bad(string(one))
}
