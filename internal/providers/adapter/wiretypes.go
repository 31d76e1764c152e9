package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
)

var errJSONType = errors.New("a member has the wrong JSON type")

// Text is a JSON member that is a string. A number is accepted as its digits, without conversion to
// a binary float. null, an empty list and an empty object are read as "".
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(raw []byte) error {
	switch {
	case isEmptyJSON(raw):
		*t = ""
	case raw[0] == '"':
		if canonical.HasLoneSurrogate(raw) {
			return errJSONType
		}
		text, err := unquote(raw)
		*t = Text(text)
		return err
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		digits, err := canonical.PlainNumber(string(raw))
		*t = Text(digits)
		return err
	default:
		return errJSONType
	}
	return nil
}

// unquote returns the text of a JSON string. encoding/json does the same more slowly for a part of a
// document.
func unquote(raw []byte) (string, error) {
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1]), nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}

// NonBlank returns the text as received, or "" if it is only white space, which some providers send
// for a missing value.
func (t Text) NonBlank() string {
	if strings.TrimSpace(string(t)) == "" {
		return ""
	}
	return string(t)
}

// Number is a JSON member that is a number, with its digits as received. A string is accepted, without
// outer white space and leading zeros, which the patterns of the standards allow; the caller parses
// it. null is read as "".
type Number string

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(raw []byte) error {
	switch {
	case string(raw) == "null":
		return nil
	case raw[0] == '"':
		text, err := unquote(raw)
		*n = Number(withoutLeadingZeros(strings.TrimSpace(text)))
		return err
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		*n = Number(raw)
		return nil
	}
	return errJSONType
}

// withoutLeadingZeros returns a decimal number without zeros before its first other digit, or before
// the last digit of its integer part. Any other text is returned unchanged.
func withoutLeadingZeros(text string) string {
	digits := strings.TrimLeft(text, "+-")
	sign := text[:len(text)-len(digits)]
	for len(digits) > 1 && digits[0] == '0' && '0' <= digits[1] && digits[1] <= '9' {
		digits = digits[1:]
	}
	return sign + digits
}

// Optional is a part of a response that may be missing. Value is then nil. An empty value of
// another JSON type counts as missing, because some providers send [] or "" for an empty object.
type Optional[T any] struct{ Value *T }

// UnmarshalJSON implements json.Unmarshaler.
func (p *Optional[T]) UnmarshalJSON(raw []byte) error {
	err := json.Unmarshal(raw, &p.Value)
	if err != nil && isEmptyJSON(raw) {
		p.Value, err = nil, nil
	}
	return err
}

// isEmptyJSON reports whether a JSON value is null or an empty string, list or object.
func isEmptyJSON(raw []byte) bool {
	switch raw[0] {
	case 'n':
		return true
	case '"':
		return len(raw) == len(`""`)
	case '[', '{':
		return len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
	}
	return false
}

// IsEmpty reports whether a JSON value is missing or has no content: null, false, 0, a string of
// white space, or a list or an object of only such values.
func IsEmpty(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	var value any
	return json.Unmarshal(raw, &value) == nil && isEmptyValue(value)
}

func isEmptyValue(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		for _, item := range v {
			if !isEmptyValue(item) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, member := range v {
			if !isEmptyValue(member) {
				return false
			}
		}
		return true
	}
	return value == nil || value == false || value == 0.0
}
