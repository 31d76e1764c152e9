package canonical

import (
	"strconv"
	"unicode"
	"unicode/utf16"
)

// HasLoneSurrogate reports whether a JSON text contains an escaped surrogate without its other half
// (RFC 8259, section 8.2). encoding/json replaces it by a replacement character, which would change
// an id.
func HasLoneSurrogate(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		first := unicodeEscape(body[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i++ // skip the escaped character, which may be a backslash
		case utf16.DecodeRune(first, unicodeEscape(body[min(i+6, len(body)):])) == unicode.ReplacementChar:
			return true
		default:
			i += 11
		}
	}
	return false
}

// unicodeEscape returns the UTF-16 code unit of the \u escape at the beginning of a text; 0 if
// there is none.
func unicodeEscape(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}
