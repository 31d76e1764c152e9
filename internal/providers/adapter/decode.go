// Package adapter contains what adapters share: reading a provider's JSON strictly, account lists,
// the wording of error responses, and building URLs. It depends on no provider and makes no calls.
package adapter

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
)

// Decode decodes the JSON document of a response into the adapter's wire type. Members that the
// type does not have are ignored. Decode returns ProviderInvalidResponse for invalid or ambiguous
// JSON: invalid UTF-8, a member name that is repeated in an object (in any case), text after the
// document, deep nesting, or too many members. These limits bound the memory of the result to a
// small multiple of the body.
func Decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return canonical.InvalidResponse("body is not UTF-8")
	}
	fault := checkStructure(body)
	if fault != "" && json.Valid(body) {
		return canonical.InvalidResponse(fault)
	}
	err := json.Unmarshal(body, into) // validates the body before it writes to into
	if _, invalid := errors.AsType[*json.SyntaxError](err); invalid {
		return canonical.InvalidResponse("body is not one JSON document")
	}
	if err != nil {
		return canonical.InvalidResponse("a member cannot be read")
	}
	return nil
}

// URL returns base with path segments appended. Each is escaped so that it remains one segment with
// the same text. base may or may not end in a slash. The segments "." and ".." cannot be escaped;
// the caller must reject them, see ValidAccountID.
func URL(base *url.URL, segments ...string) *url.URL {
	u := *base
	plain := append(make([]byte, 0, 128), strings.TrimSuffix(base.Path, "/")...)
	escaped := append(make([]byte, 0, 128), strings.TrimSuffix(base.EscapedPath(), "/")...)
	for _, s := range segments {
		plain = append(append(plain, '/'), s...)
		escaped = append(append(escaped, '/'), url.PathEscape(s)...)
	}
	u.Path, u.RawPath = string(plain), string(escaped)
	return &u
}

// maxAccountIDLen is the maximum length of an account id in characters, as in the gateway's API and
// in Mastercard's documentation of resourceId.
const maxAccountIDLen = 256

// ValidAccountID reports whether an account id can be sent unchanged: in a body, as a path segment
// to the provider, and as a path segment of the gateway's API.
func ValidAccountID(id string) bool {
	n := utf8.RuneCountInString(id)
	return n >= 1 && n <= maxAccountIDLen && id != "." && id != ".." && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// SameRequestID reports whether the request id in a response is the one that was sent. UUIDs are
// case-insensitive (RFC 9562, section 4). An empty id is accepted, like a missing one.
func SameRequestID(echo, sent string) bool {
	return strings.TrimSpace(echo) == "" || strings.EqualFold(echo, sent)
}
