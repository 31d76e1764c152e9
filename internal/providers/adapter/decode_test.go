package adapter_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		ok         bool
	}{
		{"plain", `{"a": {"b": [1, 2, {"c": null}]}, "n": "x"}`, true},
		{"same name in other objects", `{"a":{"b":1},"c":{"b":2}}`, true},
		{"same name in an object before", `{"a":{"b":1},"b":2}`, true},
		{"duplicate around an object", `{"a":{"b":1},"a":2}`, false},
		{"white space after", "{}\n\n", true},
		{"empty", ``, false},
		{"an end without a beginning", `]`, false},
		{"a name without an object", `"a":1`, false},
		{"members of nothing", `1,2`, false},
		{"html", `<html>`, false},
		{"truncated", `{"a": [1, 2`, false},
		{"two documents", `{} {}`, false},
		{"garbage after", `{}x`, false},
		{"duplicate", `{"a":1,"a":2}`, false},
		{"duplicate but for case", `{"a":1,"A":2}`, false},
		{"duplicate but for a long s", `{"resourceId":"a","reſourceId":"b"}`, false},
		{"duplicate inside", `{"x":[{"a":1,"a":2}]}`, false},
		{"not UTF-8", "{\"a\":\"\xff\"}", false},
		{"escaped characters", `{"a":"\u00e9 \ud83d\ude00 \\ud800 \"\n"}`, true},
		{"half a character, not read", `{"a":"\ud83d"}`, true},
		{"half a character", `{"t":"\ud83d"}`, false},
		{"the other half, not read", `{"a":"\ude00"}`, true},
		{"the other half", `{"t":"\ude00"}`, false},
		{"two first halves, not read", `{"a":"\ud83d\ud83d\ude00"}`, true},
		{"two first halves", `{"t":"\ud83d\ud83d\ude00"}`, false},
		{"half a character at the end", `"\ud83d`, false},
		{"NaN", `{"n": NaN}`, false},
		{"wrong type", `{"n": {}}`, false},
		{"list", `[]`, false},
		{"deep", strings.Repeat(`{"a":`, 31) + "1" + strings.Repeat("}", 31), true},
		{"too deep", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), false},
		{"duplicate, one escaped", `{"a":1,"\u0061":2}`, false},
		{"duplicate of many", `{` + members(60) + `"M7":1}`, false},
		{"duplicate of many, folded", `{"reſourceId":1,` + members(60) + `"resourceId":1}`, false},
		{"many names", `{` + members(60) + `"a":1}`, true},
		{"many names in two members", `{"a":{` + members(60) + `"a":1},"b":{` + members(60) + `"a":1}}`, true},
		{"duplicate in the second of two members", `{"a":{` + members(60) + `"a":1},"b":{"a":1,"A":1}}`, false},
		{"names in names", `{"a":{"a":{"a":[{"a":1},{"a":"a\":"}]}}}`, true},
		{"long name", `{"` + strings.Repeat("a", 256) + `":1}`, true},
		{"longer name", `{"` + strings.Repeat("a", 100_000) + `":1}`, true},
		{"many records", `{"a":[` + strings.Repeat("{},", 9_999) + `{}]}`, true},
		{"many records in two lists", `{"a":[` + strings.Repeat("{},", 9_000) + `{}],"b":[` + strings.Repeat("{},", 9_000) + `{}]}`, true},
		{"too many records", `{"a":[` + strings.Repeat("{},", 10_000) + `{}]}`, false},
		{"too many members", `{` + members(10_000) + `"a":1}`, false},
		{"a mark before", "\ufeff{}", false},
		{"endlessly deep", strings.Repeat(`[`, 1<<20), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var into struct {
				N string
				T adapter.Text
			}
			err := adapter.Decode([]byte(tt.body), &into)
			if (err == nil) != tt.ok || err != nil && kind(err) != canonical.ProviderInvalidResponse {
				t.Errorf("got %v", err)
			}
		})
	}
}

// members returns n members of an object, each followed by a comma.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d" : "x",`, i)
	}
	return b.String()
}

func TestURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		base     string
		segments []string
		want     string
	}{
		{"https://a.example/api", []string{"accounts"}, "https://a.example/api/accounts"},
		{"https://a.example/api/", []string{"accounts", "x"}, "https://a.example/api/accounts/x"},
		{"https://a.example", []string{"v1", "a/b"}, "https://a.example/v1/a%2Fb"},
		{"https://a.example/x%2Fy", []string{"%2F", "..%"}, "https://a.example/x%2Fy/%252F/..%25"},
		{"https://a.example", []string{"ключ:1"}, "https://a.example/%D0%BA%D0%BB%D1%8E%D1%87:1"},
	} {
		base, err := url.Parse(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		got := adapter.URL(base, tt.segments...)
		if got.String() != tt.want {
			t.Errorf("%q + %q = %q, want %q", tt.base, tt.segments, got, tt.want)
		}
		again, err := url.Parse(got.String())
		if err != nil || again.Path != got.Path {
			t.Errorf("%q reads back as path %q, %v", got, again.Path, err)
		}
	}
}

func TestValidAccountID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "ключ:1": true, "a b": true, "%2F/?#": true, "...": true, "a\ufffd": true, strings.Repeat("я", 256): true,
		"": false, ".": false, "..": false, "a\nb": false, "a\u0085": false, "a\x00": false, "\xff": false,
		strings.Repeat("a", 257): false,
	} {
		if adapter.ValidAccountID(id) != want {
			t.Errorf("%q: %t", id, !want)
		}
	}
}

func TestSameRequestID(t *testing.T) {
	t.Parallel()
	const id = "a552babc-7081-44e7-9361-61eb17e0bfd9"
	if !adapter.SameRequestID("", id) || !adapter.SameRequestID(strings.ToUpper(id), id) || adapter.SameRequestID("b"+id[1:], id) {
		t.Error("an echo is the same id in any case, or empty")
	}
}
