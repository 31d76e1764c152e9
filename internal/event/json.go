package event

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the request as one JSON object, byte for byte as slog's JSON handler writes
// it: time (the arrival, in UTC), level, msg, the member record with the given text, and the
// members of Attrs. The object has no closing brace, so that the caller can append more members.
//
// It does not pass the allow list of log lines: it has no other members than these, and a test of
// internal/telemetry compares the keys of Attrs with the list.
func (r Request) AppendJSON(to []byte, record string) []byte {
	to = append(to, '{')
	if !r.Start.IsZero() {
		to = append(to, `"time":"`...)
		to = append(r.Start.UTC().AppendFormat(to, time.RFC3339Nano), `",`...)
	}
	to = append(append(to, `"level":"`...), r.Level().String()...)
	to = appendText(append(to, `","msg":"request","record":`...), record)
	var attrs [maxAttrs]slog.Attr
	for _, a := range r.appendAttrs(attrs[:0]) {
		to = append(append(append(to, `,"`...), a.Key...), `":`...)
		switch a.Value.Kind() { // Attrs has no other kinds
		case slog.KindString:
			to = appendText(to, a.Value.String())
		case slog.KindInt64:
			to = strconv.AppendInt(to, a.Value.Int64(), 10)
		case slog.KindBool:
			to = strconv.AppendBool(to, a.Value.Bool())
		}
	}
	return to
}

// appendText appends s as a JSON string.
func appendText(to []byte, s string) []byte {
	to = append(to, '"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return append(appendEscaped(to, s), '"')
		}
	}
	return append(append(to, s...), '"')
}

// appendEscaped appends s with the escapes of slog's JSON handler, which are not those of
// encoding/json: HTML is not escaped, and of the control characters only tab, line feed and
// carriage return have a short form.
func appendEscaped(to []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i, c := range s {
		switch {
		case c == '"' || c == '\\':
			to = append(to, '\\', byte(c))
		case c == '\n':
			to = append(to, `\n`...)
		case c == '\r':
			to = append(to, `\r`...)
		case c == '\t':
			to = append(to, `\t`...)
		case c < ' ':
			to = append(to, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xF])
		case c == '\u2028' || c == '\u2029':
			to = append(append(to, `\u202`...), digits[c&0xF])
		case c == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"): // a byte that is no UTF-8
			to = append(to, `\ufffd`...)
		default:
			to = utf8.AppendRune(to, c)
		}
	}
	return to
}
