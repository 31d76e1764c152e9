package canonical_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
)

func TestParseReference(t *testing.T) {
	const nothing = ""
	unread := map[string]string{
		"2019-03-21T10:33:13":              "",
		"2019-03-21T10:33Z":                "",
		"2019-03-21 10:33:13Z":             "",
		"2019-03-21T1:33:13Z":              "",
		"2019-03-21T10:33:13,5Z":           "",
		"2019-02-30T10:33:13Z":             "",
		"2019-02-30":                       "",
		"2019-03-21T25:33:13Z":             "",
		"2019-03-20T24:00:00Z":             "",
		"2019-03-21T23:59:60Z":             "",
		"2019-03-21T10:33:13+24:00":        "",
		"2019-03-21T10:33:13+1":            "",
		"0000-01-01T00:00:00Z":             "",
		"0000-01-01":                       "",
		"0000-00-00":                       "",
		"0001-01-01T00:00:00Z":             "",
		"0001-01-01T00:00:00+01:00":        "",
		"9999-12-31T23:59:59-01:00":        "",
		"0000-01-01T00:00:00+01:00":        "",
		"1553164393":                       "",
		"Thu, 21 Mar 2019 10:33:13 GMT":    "",
		"21.03.2019":                       "",
		"2019-03-21T10:33:13Z and after":   "",
		" yesterday\n":                     "yesterday",
		"a\u0000b\u202ec":                  "abc",
		strings.Repeat("ä", 65):            strings.Repeat("ä", 64),
		strings.Repeat("\u0000", 99) + "x": "x",
	}
	for text, want := range unread {
		if want == "" {
			want = text
		}
		if at, date, got := canonical.ParseReference(text); !at.IsZero() || date != "" || got != want {
			t.Errorf("%q is read as %v, %q, %q, want the text alone", text, at, date, got)
		}
	}
	for text, want := range map[string]string{
		"2019-03-21T10:33:13Z":         "2019-03-21T10:33:13Z",
		"2019-03-21T10:33:13.001Z":     "2019-03-21T10:33:13.001Z",
		"2019-03-21T10:33:13.1234567Z": "2019-03-21T10:33:13.1234567Z",
		"2019-03-21t10:33:13z":         "2019-03-21T10:33:13Z",
		"2026-11-20T00:30:00+01:00":    "2026-11-19T23:30:00Z",
		"2026-11-20T00:30:00.5+0100":   "2026-11-19T23:30:00.5Z",
		"2026-11-20T00:30:00+01":       "2026-11-19T23:30:00Z",
		"2026-11-20T00:30:00-0530":     "2026-11-20T06:00:00Z",
		" 2019-03-21T10:33:13Z ":       "2019-03-21T10:33:13Z",
		"0001-01-01T00:00:01Z":         "0001-01-01T00:00:01Z",
		"9999-12-31T23:59:59Z":         "9999-12-31T23:59:59Z",
	} {
		if at, date, left := canonical.ParseReference(text); at.Format(time.RFC3339Nano) != want || date != nothing || left != nothing {
			t.Errorf("%q is read as %v, %q, %q, want %s", text, at, date, left, want)
		}
	}
	for _, text := range []string{"2026-01-14", "0001-01-01", "9999-12-31", "2024-02-29"} {
		if at, date, left := canonical.ParseReference(text); !at.IsZero() || date != text || left != nothing {
			t.Errorf("%q is read as %v, %q, %q", text, at, date, left)
		}
	}
	for _, text := range []string{"", " ", "\n\t"} {
		if at, date, left := canonical.ParseReference(text); !at.IsZero() || date != nothing || left != nothing {
			t.Errorf("%q is read as %v, %q, %q", text, at, date, left)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"", "2026-01-14", "2026-11-20T00:30:00+01", "0000-01-01T00:00:00Z", "a\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, date, unread := canonical.ParseReference(text)
		said := 0
		for _, is := range []bool{!at.IsZero(), date != "", unread != ""} {
			if is {
				said++
			}
		}
		if said > 1 || said == 0 && strings.ContainsFunc(strings.TrimSpace(text), unicode.IsLetter) {
			t.Fatalf("%q: %v, %q, %q", text, at, date, unread)
		}
		if at.Year() < 1 || at.Year() > 9999 || utf8.RuneCountInString(unread) > 64 || strings.ContainsFunc(unread, unicode.IsControl) {
			t.Fatalf("%q: %v, %q", text, at, unread)
		}
	})
}
