package adapter_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ais-gateway/internal/providers/adapter"
)

func TestText(t *testing.T) {
	for raw, want := range map[string]string{
		`"x"`: "x", `""`: "", `null`: "", `[]`: "", `{ }`: "", `"\ud83d\ude00"`: "\U0001f600", `"\\ud800"`: `\ud800`,
		`50044620073`: "50044620073", `5.0044620073E10`: "50044620073", `12345.0`: "12345", `-1`: "-1",
		`9007199254740993`: "9007199254740993", `12345678901234567890123`: "12345678901234567890123",
	} {
		var got adapter.Text
		if err := json.Unmarshal([]byte(raw), &got); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{`true`, `[1]`, `{"a":1}`, `"\ud83d"`, `1e999999999`, strings.Repeat("1", 1000)} {
		var got adapter.Text
		if err := json.Unmarshal([]byte(raw), &got); err == nil {
			t.Errorf("%.40s is %q", raw, got)
		}
	}
}

func TestNumber(t *testing.T) {
	for raw, want := range map[string]string{
		`4.200`: "4.200", `-0.1E-3`: "-0.1E-3", `" 4.20 "`: "4.20", `".64"`: ".64", `"1,5"`: "1,5",
		`"007.50"`: "7.50", `"-00.50"`: "-0.50", `"000"`: "0", `"0"`: "0", `"0.07"`: "0.07", `"+-07"`: "+-7", `"0x10"`: "0x10", `""`: "", `null`: "",
	} {
		var got adapter.Number
		if err := json.Unmarshal([]byte(raw), &got); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{`true`, `[]`, `{}`} {
		var got adapter.Number
		if err := json.Unmarshal([]byte(raw), &got); err == nil {
			t.Errorf("%s is %q", raw, got)
		}
	}
}

func TestOptional(t *testing.T) {
	type part struct {
		A adapter.Text `json:"a"`
	}
	for raw, want := range map[string]string{
		`null`: "none", `""`: "none", `[]`: "none", `[ ]`: "none", `{}`: "", `{"a":"x"}`: "x", `{"a":7,"b":[]}`: "7",
	} {
		got := adapter.Optional[part]{Value: &part{A: "before"}}
		err := json.Unmarshal([]byte(raw), &got)
		said := "none"
		if got.Value != nil {
			said = string(got.Value.A)
		}
		if raw == `{}` {
			want = "before"
		}
		if err != nil || said != want {
			t.Errorf("%s is %s, %v, want %s", raw, said, err, want)
		}
	}
	for _, raw := range []string{`"x"`, `[1]`, `1`, `false`, `{"a":true}`} {
		var got adapter.Optional[part]
		if err := json.Unmarshal([]byte(raw), &got); err == nil {
			t.Errorf("%s is read as %v", raw, got.Value)
		}
	}
}

func TestIsEmpty(t *testing.T) {
	for raw, want := range map[string]bool{
		``: true, `null`: true, `[]`: true, `{}`: true, `""`: true, `" "`: true, `false`: true, `0`: true, `-0.0`: true,
		`{"Error":[]}`: true, `{"Error":null}`: true, `{"Error":{}}`: true, `[{}]`: true, `[null,""]`: true, `{"a":{"b":[{"c":null}]},"n":0}`: true,
		`"x"`: false, `1`: false, `true`: false, `["x"]`: false, `{"Error":[{"ReasonCode":"X"}]}`: false, `[[],[[1]]]`: false,
	} {
		if got := adapter.IsEmpty(json.RawMessage(raw)); got != want {
			t.Errorf("%s: %t", raw, got)
		}
	}
}
