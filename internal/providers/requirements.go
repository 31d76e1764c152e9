package providers

import (
	"strings"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
)

// Requirements is what an ASPSP needs from a query beyond what the API requires of every request.
type Requirements struct {
	Token       bool // the user's access token
	ConsentUUID bool // a UUID as consent id
}

// Check returns everything that is missing or invalid in the query; nil if the query is valid. A
// token that is not required is valid only if it can be sent in a header.
func (r Requirements) Check(q canonical.Query) []canonical.FieldError {
	var faults []canonical.FieldError
	if r.ConsentUUID && (len(q.Consent) != 36 || uuid.Validate(q.Consent) != nil) {
		faults = append(faults, canonical.FieldError{In: "header", Name: "Consent-ID", Detail: "must be a UUID for this ASPSP"})
	}
	switch token := q.Token.Reveal(); {
	case token == "" && r.Token:
		faults = append(faults, canonical.FieldError{In: "header", Name: "Provider-Authorization", Detail: "is required for this ASPSP"})
	case !Printable(token):
		faults = append(faults, canonical.FieldError{In: "header", Name: "Provider-Authorization", Detail: "contains characters that are not allowed in a token"})
	}
	return faults
}

// Printable reports whether s is plain ASCII that a header may contain (RFC 9110, section 5.5).
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}
