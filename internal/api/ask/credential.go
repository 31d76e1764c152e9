package ask

import (
	"net/http"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
)

// Credential is the key that a request gives, "" for none, and what is wrong with the headers that may hold it.
func Credential(h http.Header) (string, []canonical.Fault) {
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
		return "", faults
	case len(keys) == 1:
		return keys[0], nil
	case len(bearers) == 1:
		key, _ := bearer(bearers[0])
		return key, nil
	}
	return "", nil
}

// bearer is the token of credentials of the scheme Bearer (RFC 6750, section 2.1), its characters not checked.
func bearer(credentials string) (string, bool) {
	scheme, token, ok := strings.Cut(credentials, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}
