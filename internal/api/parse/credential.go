package parse

import (
	"net/http"
	"strings"

	"ais-gateway/internal/canonical"
)

// Credential returns the API key or token of a request, or "", and whether it was sent only as a
// Bearer token. It also returns the faults of X-API-Key and Authorization; with a fault, the
// credential is "".
func Credential(h http.Header) (text canonical.Secret, isBearer bool, _ []canonical.FieldError) {
	keys, bearers := h[keyAPIKey], h[keyAuthorization]
	key, token := "", ""
	if len(keys) > 0 {
		key = keys[0]
	}
	if len(bearers) > 0 {
		token, isBearer = bearer(bearers[0])
	}
	var faults []canonical.FieldError
	switch {
	case len(bearers) > 1:
		faults = append(faults, headerFault("Authorization", sentTwice))
	case len(token) > maxToken:
		faults = append(faults, headerFault("Authorization", tooLong(maxToken)))
	case len(bearers) == 1 && key != "" && (!isBearer || token != key):
		faults = append(faults, headerFault("Authorization", "must carry the same credential as X-API-Key"))
	}
	switch {
	case len(keys) > 1:
		faults = append(faults, headerFault("X-API-Key", sentTwice))
	case len(key) > maxToken:
		faults = append(faults, headerFault("X-API-Key", tooLong(maxToken)))
	case len(keys) == 1 && key == "" && len(bearers) > 0:
		faults = append(faults, headerFault("X-API-Key", empty))
	}
	switch {
	case faults != nil:
		return "", false, faults
	case len(keys) == 1: // also if Authorization has the same credential: then it is an API key, not a token
		return canonical.Secret(key), false, nil
	}
	return canonical.Secret(token), isBearer, nil
}

// bearer returns the token of credentials with the scheme Bearer (RFC 6750, section 2.1), without
// checking its characters; false for any other scheme.
func bearer(credentials string) (string, bool) {
	scheme, token, ok := strings.Cut(credentials, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}
