package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
)

// maxDepth is how deep a provider's JSON may nest. The deepest documented answer nests five.
const maxDepth = 32

// Decode reads the one JSON document of an answer into the adapter's wire type. Members that the type does not
// have are passed over. What a careful reader would not take as one clear document is ProviderInvalidResponse:
// invalid UTF-8, a member named twice in one object (whatever its case), text after the end, deep nesting.
func Decode(body []byte, into any) error {
	if !utf8.Valid(body) || halfCharacter(body) {
		return canonical.InvalidResponse("body is not UTF-8")
	}
	tokens := json.NewDecoder(bytes.NewReader(body))
	tokens.UseNumber()
	if err := walk(tokens, 0); err != nil {
		return err
	}
	if _, err := tokens.Token(); !errors.Is(err, io.EOF) {
		return canonical.InvalidResponse("body holds more than one JSON document")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return canonical.InvalidResponse("a member has the wrong JSON type")
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

// walk reads one JSON value and checks its shape.
func walk(tokens *json.Decoder, depth int) error {
	if depth > maxDepth {
		return canonical.InvalidResponse("body nests too deep")
	}
	token, err := tokens.Token()
	if err != nil {
		return canonical.InvalidResponse("body is not JSON")
	}
	open, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	seen := map[string]bool{}
	for tokens.More() {
		if open == '{' {
			name, err := tokens.Token()
			if err != nil {
				return canonical.InvalidResponse("body is not JSON")
			}
			folded := strings.ToLower(strings.ToUpper(name.(string))) // as encoding/json folds: ſ is s
			if seen[folded] {
				return canonical.InvalidResponse("a member stands twice in one object")
			}
			seen[folded] = true
		}
		if err := walk(tokens, depth+1); err != nil {
			return err
		}
	}
	if _, err := tokens.Token(); err != nil {
		return canonical.InvalidResponse("body is not JSON")
	}
	return nil
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
func Addressable(id string) bool {
	n := utf8.RuneCountInString(id)
	return n >= 1 && n <= maxID && id != "." && id != ".." && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// SameRequest reports that an echoed request id is the one that was sent. UUIDs are compared without regard to case
// (RFC 9562, section 4). Whether an echo is there at all, its caller looks: one that is missing is accepted.
func SameRequest(echo, sent string) bool { return strings.EqualFold(echo, sent) }
