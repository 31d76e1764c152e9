package adapter_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"ais-gateway/internal/providers/adapter"
)

// FuzzDecode compares what Decode accepts, and the text of a string, with encoding/json and with a
// walk over its tokens.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"a": {"b": [1, -2.5e3, {"c": null}]}, "t": "x\ud83d\ude00", "d": true}`, `{"t":"\ud83d"}`, `{"a":1,"\u0041":2}`,
		`{"reſourceId":1,"resourceId":2}`, `[{"a":1},{"a":1}]`, `{"\ud83d":1,"\ufffd":2}`, `"a":1`, `]`, `{} {}`, "\"\xff\"", `{"t":"é"}`,
		`{` + members(33) + `"M7":1}`, `{` + members(33) + `"m":{"m7":1}}`, strings.Repeat(`[`, 33) + strings.Repeat(`]`, 33),
		`{"a":1:2,"b"}`, `:`, `{"":1,"":2}`, `[` + strings.Repeat("1,", 10_000) + `1]`, `{"a\":":1,"t":"\\"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want := utf8.Valid(body) && json.Valid(body) && validStructure(json.NewDecoder(bytes.NewReader(body)), 0)
		var into any
		if err := adapter.Decode(body, &into); (err == nil) != want {
			t.Errorf("%q: %v", body, err)
		}
		var (
			text  adapter.Text
			plain string
		)
		if json.Unmarshal(body, &plain) == nil && json.Unmarshal(body, &text) == nil && string(text) != plain {
			t.Errorf("%q: %q", body, text)
		}
	})
}

// validStructure reports whether the next value of a document is within the limits of Decode, and
// repeats no name.
func validStructure(in *json.Decoder, depth int) bool {
	in.UseNumber()
	token, err := in.Token()
	if err != nil {
		return false
	}
	open, isContainer := token.(json.Delim)
	if !isContainer {
		return true
	}
	if depth == 32 {
		return false
	}
	names := map[string]bool{}
	for members := 1; in.More(); members++ {
		if members > 10_000 {
			return false
		}
		if open == '{' {
			token, err := in.Token()
			name, _ := token.(string)
			name = strings.ToLower(strings.ToUpper(name))
			if err != nil || names[name] {
				return false
			}
			names[name] = true
		}
		if !validStructure(in, depth+1) {
			return false
		}
	}
	_, err = in.Token()
	return err == nil
}
