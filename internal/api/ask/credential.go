package ask

import (
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
)

// Credential is the key or token that a request gives, "" for none, whether it is of the scheme Bearer, and what is
// wrong with the headers that may hold it.
func Credential(h http.Header) (text canonical.Secret, ofBearer bool, _ []canonical.Fault) {
	keys, bearers := h.Values("X-API-Key"), h.Values("Authorization")
	var faults []canonical.Fault
	for name, values := range map[string][]string{"X-API-Key": keys, "Authorization": bearers} {
		switch {
		case len(values) > 1:
			faults = append(faults, inHeader(name, givenTwice))
		case len(keys) > 0 && len(bearers) > 0:
			faults = append(faults, inHeader(name, "is one of two credentials: give X-API-Key or Authorization, not both"))
		}
	}
	switch {
	case faults != nil:
		slices.SortFunc(faults, func(a, b canonical.Fault) int { return strings.Compare(a.Name, b.Name) })
		return "", false, faults
	case len(keys) == 1:
		return canonical.Secret(keys[0]), false, nil
	case len(bearers) == 1:
		token, is := bearer(bearers[0])
		return canonical.Secret(token), is, nil
	}
	return "", false, nil
}

// bearer is the token of credentials of the scheme Bearer (RFC 6750, section 2.1), its characters not checked.
func bearer(credentials string) (string, bool) {
	scheme, token, ok := strings.Cut(credentials, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}
