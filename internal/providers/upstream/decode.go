package upstream

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
)

// Decode reads the one JSON document of an answer into the adapter's wire type. Members that the type does not
// have are passed over. What a careful reader would not take as one clear document is ProviderInvalidResponse:
// invalid UTF-8, a member named twice in one object (whatever its case), text after the end, deep nesting. So is more
// than there can be of anything: what is decoded takes a small multiple of its body's memory, whatever is in it.
func Decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return canonical.InvalidResponse("body is not UTF-8")
	}
	if !json.Valid(body) {
		return canonical.InvalidResponse("body is not one JSON document")
	}
	if fault := shape(body); fault != "" {
		return canonical.InvalidResponse(fault)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return canonical.InvalidResponse("a member cannot be read")
	}
	return nil
}

// halfCharacter reports an escaped surrogate without its other half (RFC 8259, section 8.2). encoding/json would put
// a replacement character in its place, and an id would become another.
func halfCharacter(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		first := escaped(body[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i++ // what is escaped begins no escape
		case utf16.DecodeRune(first, escaped(body[min(i+6, len(body)):])) == unicode.ReplacementChar:
			return true
		default:
			i += 11
		}
	}
	return false
}

// escaped is the code unit of the \u escape that a text begins with, 0 if it begins with none.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}

// URL is base with segments added to its path, each escaped so that it stays one segment that holds the same
// text, whatever is in it. base may or may not end in a slash. Exactly "." and ".." have no such form: they
// must have been refused before.
func URL(base *url.URL, segments ...string) *url.URL {
	u := *base
	plain, escaped := strings.TrimSuffix(base.Path, "/"), strings.TrimSuffix(base.EscapedPath(), "/")
	for _, s := range segments {
		plain += "/" + s
		escaped += "/" + url.PathEscape(s)
	}
	u.Path, u.RawPath = plain, escaped
	return &u
}

// maxID is how many characters an account's identifier may have: Mastercard's pages say so of resourceId, and the
// gateway's contract of accountId.
const maxID = 256

// Addressable reports whether an account's identifier, as a provider gave it, can be asked for again as the same
// text: in a body, as a segment of the provider's path, and in the gateway's own.
func ValidAccountID(id string) bool {
	n := utf8.RuneCountInString(id)
	return n >= 1 && n <= maxID && id != "." && id != ".." && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// SameRequest reports that an echoed request id is the one that was sent. UUIDs are compared without regard to case
// (RFC 9562, section 4). An empty echo is accepted, as a missing one is.
func SameRequestID(echo, sent string) bool {
	return strings.TrimSpace(echo) == "" || strings.EqualFold(echo, sent)
}
