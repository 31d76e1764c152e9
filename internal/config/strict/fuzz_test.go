package strict_test

import (
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
		type all struct {
			Lists []text `yaml:"lists"`
		}
		before := text{Text: s, List: []string{s, s}}
		written := strict.Encode(all{[]text{before}}).With(s, strict.Encode(before)).String()
		doc, faults := strict.Parse([]byte(written))
		if faults != nil {
			t.Fatalf("%v in\n%s", faults, written)
		}
		var after text
		if r := doc.Mapping(s).Decode(&after, ""); r.Faults != nil || after.Text != s || len(after.List) != 2 || after.List[1] != s {
			t.Errorf("%v, read as %q from\n%s", r.Faults, after, written)
		}
	})
}
