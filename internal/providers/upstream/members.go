package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"ais-gateway/internal/canonical"
)

var errMember = errors.New("a member has the wrong JSON type")

// Text is a member that is a text. A JSON number in its place is read as its digits, without a loss by a binary float.
// null and an empty list or object are no text.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(raw []byte) error {
	switch {
	case emptyValue(raw):
		*t = ""
	case raw[0] == '"':
		if halfCharacter(raw) {
			return errMember
		}
		return json.Unmarshal(raw, (*string)(t))
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		digits, err := canonical.PlainNumber(string(raw))
		*t = Text(digits)
		return err
	default:
		return errMember
	}
	return nil
}

// Stated is the text as received, or "" if it has nothing but white space: a provider writes " " for a value that it does
// not have.
func (t Text) Stated() string {
	if strings.TrimSpace(string(t)) == "" {
		return ""
	}
	return string(t)
}

// Number is a member that is a number, with the digits as received. A text in its place is read as a number by whoever
// parses it. null is no number.
type Number string

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(raw []byte) error {
	switch {
	case string(raw) == "null":
		return nil
	case raw[0] == '"':
		var text string
		err := json.Unmarshal(raw, &text)
		*n = Number(strings.TrimSpace(text))
		return err
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		*n = Number(raw)
		return nil
	}
	return errMember
}

// Part is a part of a response that may be missing. An empty value of another JSON type in its place (providers write
// an empty object as [] or "", for example) is a part that is missing.
type Part[T any] struct{ Value *T }

// UnmarshalJSON implements json.Unmarshaler.
func (p *Part[T]) UnmarshalJSON(raw []byte) error {
	err := json.Unmarshal(raw, &p.Value)
	if err != nil && emptyValue(raw) {
		p.Value, err = nil, nil
	}
	return err
}

// emptyValue reports whether a JSON value is null or an empty text, list or object.
func emptyValue(raw []byte) bool {
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

// Empty reports whether a JSON value says nothing: null, false, 0, a text of white space, or lists and objects of
// nothing else. No value at all says nothing, too.
func Empty(raw json.RawMessage) bool {
	var value any
	return len(raw) == 0 || json.Unmarshal(raw, &value) == nil && saysNothing(value)
}

func saysNothing(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		for _, item := range v {
			if !saysNothing(item) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, member := range v {
			if !saysNothing(member) {
				return false
			}
		}
		return true
	}
	return value == nil || value == false || value == 0.0
}
