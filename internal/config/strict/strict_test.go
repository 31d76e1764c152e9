package strict_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config/strict"
)

// settings has a field of each type that can be decoded.
type settings struct {
	Text  string            `yaml:"text"`
	Yes   bool              `yaml:"yes"`
	Int   int               `yaml:"int"`
	Small *int8             `yaml:"small"`
	Count uint32            `yaml:"count"`
	Large uint64            `yaml:"large"`
	Ratio float64           `yaml:"ratio"`
	Pause time.Duration     `yaml:"pause"`
	At    time.Time         `yaml:"at"`
	List  []string          `yaml:"list"`
	Table map[string]string `yaml:"table"`
	Sub   struct {
		Deep string `yaml:"deep"`
	} `yaml:"sub"`
	Private string
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"not a mapping", "a", "line 1: must be a mapping (key: value)"},
		{"list", "\n- a", "line 2: must be a mapping (key: value)"},
		{"two documents", "a: 1\n---\nb: 1\n---\nc: 1", "line 3: must be a single YAML document\nline 5: must be a single YAML document"},
		{"open bracket", "a: 1\nb: [1", "line 2: invalid YAML: missing \"]\""},
		{"two colons", "a: 1\nb: secret: 2", `line 2: invalid YAML: unexpected ":" (check the indentation, and quote a string that contains ": ")`},
		{"tab", "a:\n\tb: 1", "line 2: invalid YAML: must be indented with spaces, not with tabs"},
		{"header with a secret", "a: |secret\n  b", "line 1: invalid YAML"},
		{"open quote", "a: 'secret", "line 1: invalid YAML: missing closing '"},
		{"anchor and alias", "a: &secret 1\nb: *secret", "line 1: must not use anchors, aliases or merge keys (quote a string that begins with & or *)\n" +
			"line 2: must not use anchors, aliases or merge keys (quote a string that begins with & or *)"},
		{"merge key", "<<: {a: 1}", "line 1: must not use anchors, aliases or merge keys (quote a string that begins with & or *)"},
		{"tag", "a: !!str 1", "line 1: must not use tags (quote a string that begins with !)"},
		{"directive", "%YAML 1.1\n---\na: 1", "line 1: must not use directives (quote a string that begins with %)"},
		{"marked key", "? a\n: b", "line 1: must not use keys marked with ? (quote a string that begins with ?)"},
		{"flow nesting", "a:\n " + strings.Repeat("[", 10_000), "line 2: must not nest deeper than 32 levels"},
		{"block nesting in a line", "a:\n" + strings.Repeat("- ", 10_000), "line 2: must not nest deeper than 32 levels"},
		{"anchor twice", "a: &x &y 1", "line 1: must not use anchors, aliases or merge keys (quote a string that begins with & or *)\n" +
			"line 1: must not use anchors, aliases or merge keys (quote a string that begins with & or *)"},
		{"tag and open bracket", "a: !x 1\nb: [1", "line 1: must not use tags (quote a string that begins with !)\n" +
			"line 2: invalid YAML: missing \"]\""},
		{"too many tags", keys(101, "k%d: !x 1\n") + "b: [", strings.TrimSpace(keys(101, "line %d: must not use tags (quote a string that begins with !)\n"))},
		{"too many keys", keys(6_000, "k%d: 1\n"), "line 5001: must not have more than 5000 keys in one mapping"},
		{"too many keys in brackets", "a: [{" + keys(6_000, "k%d: [{}],\n") + "}]", "line 5001: must not have more than 5000 keys in one mapping"},
		{"too many keys around lists", "a:\n" + keys(6_000, " k%d:\n - l: {m: 1}\n   n: 1\n"), "line 15002: must not have more than 5000 keys in one mapping"},
		{"not UTF-8", "a: \xff", "file must be valid UTF-8"},
		{"too large", strings.Repeat("#", 1<<20+1), "file must not be larger than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, faults := strict.Parse([]byte(tt.text))
			if diff := cmp.Diff(tt.want, faults.Error()); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// keys returns an entry n times, formatted with its number from 1.
func keys(n int, entry string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, entry, i+1)
	}
	return b.String()
}

// maxKeys applies to each mapping separately: a file may have many banks.
func TestManyMappings(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		keys(5_000, "k%d: {l: 1}\n"),
		"a:\n" + keys(6_000, "- k%d: 1\n  l: {m: 1}\n"),
		"a:\n" + keys(6_000, "- {k%d: 1, l: 1}\n"),
		keys(4_000, "a%d:\n  l: 1\n  m: 1\n"),
	} {
		if doc, faults := strict.Parse([]byte(text)); doc == nil || faults != nil {
			t.Errorf("%s...: %v", text[:20], faults)
		}
	}
}

func TestBlockNestingIsBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 100 {
		text.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	_, faults := strict.Parse([]byte(text.String()))
	if len(faults) != 1 || faults[0].Line != 33 || faults[0].Detail != "must not nest deeper than 32 levels" {
		t.Errorf("faults are %v", faults)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	const text = "\ufefftext: 'yes'\r\nyes: true\r\nint: -7\r\nsmall: 127\r\ncount: 4294967295\r\nlarge: 18446744073709551615\r\nratio: .5\r\n" +
		"pause: 1h30m\r\nat: 2026-11-20T12:00:00+02:00\r\nlist:\r\n- |\r\n  two\r\n  lines\r\n- x # y\r\ntable: {a: b:c, 'd': 'e'}\r\nsub:\r\n  deep: z\r\n"
	doc, faults := strict.Parse([]byte(text))
	if faults != nil {
		t.Fatal(faults)
	}
	var got settings
	if r := doc.Mapping().Decode(&got, ""); r.Faults != nil {
		t.Fatal(r.Faults)
	}
	small := int8(127)
	want := settings{
		Text: "yes", Yes: true, Int: -7, Small: &small, Count: 1<<32 - 1, Large: 1<<64 - 1, Ratio: 0.5, Pause: 90 * time.Minute,
		At: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), List: []string{"two\nlines\n", "x"}, Table: map[string]string{"a": "b:c", "d": "e"},
	}
	want.Sub.Deep = "z"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	for path, line := range map[string]int{"list": 10, "list[1]": 14, "table.d": 15, "sub.deep": 17, "sub.other": 16, "none": 1} {
		if got := doc.Line(path); got != line {
			t.Errorf("%s is in line %d, want %d", path, got, line)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"text: 1", "text: must be a string (quote it if it looks like a number or a boolean)"},
		{"text: true", "text: must be a string (quote it if it looks like a number or a boolean)"},
		{"text: null", "text: must have a value"},
		{"text: ~", "text: must have a value"},
		{"text:", "text: must have a value"},
		{"text: {a: b}", "text: must be a string (quote it if it looks like a number or a boolean)"},
		{"yes: yes", "yes: must be true or false"},
		{"int: 1.0", "int: must be a whole number"},
		{"int: 0x10", "int: must be a whole number"},
		{"int: 1_000", "int: must be a whole number"},
		{"int: 9223372036854775808", "int: must be a whole number"},
		{"small: 128", "small: must be a whole number"},
		{"count: -1", "count: must be a whole number from 0 to 4294967295"},
		{"large: 18446744073709551616", "large: must be a whole number from 0 to 18446744073709551615"},
		{"ratio: .inf", "ratio: must be a number"},
		{"ratio: '1'", "ratio: must be a number"},
		{"pause: 5", "pause: must be a duration such as 30s, 10m or 24h"},
		{"pause: 9999999h", "pause: must be a duration such as 30s, 10m or 24h"},
		{"at: 2026-11-20", "at: must be a time such as 2026-11-20T10:00:00Z (RFC 3339)"},
		{"at: 9999-12-31T23:59:59-01:00", "at: must be a time such as 2026-11-20T10:00:00Z (RFC 3339)"},
		{"at: 0000-01-01T00:00:00+01:00", "at: must be a time such as 2026-11-20T10:00:00Z (RFC 3339)"},
		{"list: a", "list: must be a list"},
		{"list: {}", "list: must be a list"},
		{"list: [a, 1, null]", "list[1]: must be a string (quote it if it looks like a number or a boolean)\nlist[2]: must have a value"},
		{"table: []", "table: must be a mapping (key: value)"},
		{"table: {'x y': 1}", `table["x y"]: must be a string (quote it if it looks like a number or a boolean)`},
		{"sub: a", "sub: must be a mapping (key: value)"},
		{"sub: {Deep: a}", "sub.Deep: unknown key; known keys: deep"},
		{"Private: a\n'': b", "Private: unknown key; known keys: at, count, int, large, list, pause, ratio, small, sub, table, text, yes\n" +
			`[""]: unknown key; known keys: at, count, int, large, list, pause, ratio, small, sub, table, text, yes`},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			doc, faults := strict.Parse([]byte(tt.text))
			if faults != nil {
				t.Fatal(faults)
			}
			r := doc.Mapping().Decode(new(settings), "")
			if diff := cmp.Diff(tt.want, r.Faults.Error()); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// In flow style, the library splits a plain string at a colon.
func TestColonsInFlow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want []string
	}{
		{"[a:b]", []string{"a:b"}},
		{"[a:b, ключ:б:в, 1:2, http://h:1/x, true:1]", []string{"a:b", "ключ:б:в", "1:2", "http://h:1/x", "true:1"}},
		{"['a:b', \"c:d\"]", []string{"a:b", "c:d"}},
		{"[a:b,\n  c:d]", []string{"a:b", "c:d"}},
	}
	for _, tt := range tests {
		for _, text := range []string{"list: " + tt.text, "{list: " + tt.text + "}", "{text: x, list: " + tt.text + ", yes: true}"} {
			doc, faults := strict.Parse([]byte(text))
			if faults != nil {
				t.Errorf("%s: %v", text, faults)
				continue
			}
			var got settings
			if r := doc.Mapping().Decode(&got, ""); r.Faults != nil {
				t.Errorf("%s: %v", text, r.Faults)
			}
			if diff := cmp.Diff(tt.want, got.List); diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
		}
	}
}

func TestFaultString(t *testing.T) {
	t.Parallel()
	for want, fault := range map[string]strict.Fault{
		"a.b (line 3): is x": {Path: "a.b", Line: 3, Detail: "is x"},
		"a.b: is x":          {Path: "a.b", Detail: "is x"},
		"line 3: is x":       {Line: 3, Detail: "is x"},
		"is x":               {Detail: "is x"},
	} {
		if got := fault.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	const text = `text: "1"
count: 3
empty: {}
none: null
nested:
  - - a
    - b: [1.5, true]
  - []
`
	doc, faults := strict.Parse([]byte(text))
	if faults != nil {
		t.Fatal(faults)
	}
	got := doc.Mapping().Without("count").With("own", strict.Encode(settings{
		Text: "true", Int: 0, Pause: time.Hour, At: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), List: []string{"", "a:b"},
	})).String()
	want := strings.Replace(text, "count: 3\n", "", 1)
	want += `own:
  text: "true"
  "yes": false
  int: 0
  count: 0
  ratio: 0
  pause: 1h
  at: "2026-11-20T10:00:00Z"
  list: ["", a:b]
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	var missing *strict.Document
	if missing.Has("a") || missing.Mapping("a").String() != "" || !doc.Has("nested[0][1].b") || doc.Has("a") {
		t.Error("Has or Mapping is wrong about a path")
	}
}
