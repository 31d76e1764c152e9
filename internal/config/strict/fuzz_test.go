package strict_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"ais-gateway/internal/config/strict"
)

// Every string in a value, a list or a key is read as it was written.
func FuzzWrite(f *testing.F) {
	for _, s := range []string{"a", "yes", "true", "null", "1", "-", "a: b", "#", "\ufeff", "tab\t\u2028 😀 \x00\r\n", "'\"\\", "a:", "*a", "127.0.0.1:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" || !utf8.ValidString(s) || len(s) > 1<<10 {
			return
		}
		type text struct {
			Text string   `yaml:"text"`
			List []string `yaml:"list"`
		}
		var b bytes.Buffer
		was := text{Text: s, List: []string{s, s}}
		err := strict.Write(&b, []strict.KeyValue{{Key: s, Value: strict.KeyValues(was)}, {Key: s + "x", Value: []any{strict.KeyValues(was)}}})
		if err != nil {
			t.Fatal(err)
		}
		doc, faults := strict.Parse(b.Bytes())
		if faults != nil {
			t.Fatalf("%v in\n%s", faults, b.String())
		}
		var is text
		if r := doc.Mapping(s).Decode(&is, ""); r.Faults != nil || is.Text != s || len(is.List) != 2 || is.List[1] != s {
			t.Errorf("%v, read as %q from\n%s", r.Faults, is, b.String())
		}
	})
}
