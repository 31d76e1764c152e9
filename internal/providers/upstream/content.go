package upstream

import (
	"net/http"
	"strings"
)

// foreignForm says why the form in which a body came is none that was asked for, "" if it is: some coding, or another
// character set than JSON has (RFC 8259, section 8.1). What kind of content it calls itself says nothing: there are
// providers that send JSON as text, and what is no JSON is found out by reading it.
func foreignForm(h http.Header) string {
	for _, codings := range h.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(codings, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return "body is encoded although no encoding was asked for"
			}
		}
	}
	for _, kind := range h.Values("Content-Type") {
		for parameter := range strings.SplitSeq(kind, ";") {
			name, value, _ := strings.Cut(parameter, "=")
			if strings.EqualFold(strings.TrimSpace(name), "charset") && !unicodeName(strings.Trim(value, " \t\"'")) {
				return "body is in another character set than UTF-8"
			}
		}
	}
	return ""
}

// unicodeName reports whether a character set is UTF-8, or a part of it; none at all is.
func unicodeName(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}
