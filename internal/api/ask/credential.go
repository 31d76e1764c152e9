package ask

import (
	"net/http"
	"strings"

	"ais-gateway/internal/canonical"
)

// Credential is the key or token that a request gives, "" for none, whether it is of the scheme Bearer, and what is
// wrong with the headers that may hold it.
func Credential(h http.Header) (text canonical.Secret, ofBearer bool, _ []canonical.FieldError) {
	keys, bearers := h.Values("X-API-Key"), h.Values("Authorization")
	key, token, isBearer := "", "", false
	if len(keys) > 0 {
		key = keys[0]
	}
	if len(bearers) > 0 {
		token, isBearer = bearer(bearers[0])
	}
	var faults []canonical.FieldError
	switch {
	case len(bearers) > 1:
		faults = append(faults, inHeader("Authorization", sentTwice))
	case len(token) > maxToken:
		faults = append(faults, inHeader("Authorization", tooLong(maxToken)))
	case len(bearers) == 1 && key != "" && (!isBearer || token != key):
		faults = append(faults, inHeader("Authorization", "must carry the same credential as X-API-Key"))
	}
	switch {
	case len(keys) > 1:
		faults = append(faults, inHeader("X-API-Key", sentTwice))
	case len(key) > maxToken:
		faults = append(faults, inHeader("X-API-Key", tooLong(maxToken)))
	case len(keys) == 1 && key == "" && len(bearers) > 0:
		faults = append(faults, inHeader("X-API-Key", empty))
	}
	switch {
	case faults != nil:
		return "", false, faults
	case len(keys) == 1: // with the same credential in Authorization, too: a token never counts as an API key
		return canonical.Secret(key), false, nil
	}
	return canonical.Secret(token), isBearer, nil
}

// bearer is the token of credentials of the scheme Bearer (RFC 6750, section 2.1), its characters not checked.
func bearer(credentials string) (string, bool) {
	scheme, token, ok := strings.Cut(credentials, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}
