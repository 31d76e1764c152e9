package event_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ais-gateway/internal/event"
)

// handled returns the line of r as slog's JSON handler writes it, without its closing brace.
func handled(t *testing.T, r event.Request) string {
	t.Helper()
	var line bytes.Buffer
	record := slog.NewRecord(r.Start.UTC(), r.Level(), "request", 0)
	record.AddAttrs(slog.Attr{Key: "record", Value: slog.StringValue("audit")})
	record.AddAttrs(r.Attrs()...)
	if err := slog.NewJSONHandler(&line, nil).Handle(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line.String(), "}\n")
}

// odd returns a text of up to 12 parts: plain, escaped, special for HTML or JavaScript, not UTF-8,
// and any rune.
func odd(rnd *rand.Rand) string {
	parts := []string{"", "abc", `"`, `\`, "/", "<&>'", "\x7f", "é", "\u2027", "\u2028", "\u2029", "\u202a", "\ufffd", "\xff", "\xe2\x80", "\xed\xa0\x80", "🏦"}
	var text strings.Builder
	for range rnd.IntN(12) {
		switch n := rnd.IntN(len(parts) + 2); n {
		case len(parts):
			text.WriteByte(byte(rnd.IntN(256)))
		case len(parts) + 1:
			text.WriteRune(rune(rnd.IntN(utf8.MaxRune + 1)))
		default:
			text.WriteString(parts[n])
		}
	}
	return text.String()
}

// AppendJSON writes what slog's JSON handler writes.
func TestAppendJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	zones := []*time.Location{time.UTC, time.Local, time.FixedZone("", -12345)}
	var all []event.Request
	for range 5000 {
		r := event.Request{
			Method: odd(rnd), Route: odd(rnd), Status: rnd.IntN(600) - 1, Code: odd(rnd), Cause: odd(rnd), Client: odd(rnd), IdentifiedBy: odd(rnd),
			Issuer: odd(rnd), ASPSP: odd(rnd), Provider: odd(rnd), Cache: odd(rnd), Slots: rnd.IntN(9) - 4, RequestID: odd(rnd),
			Duration: time.Duration(rnd.Int64() - rnd.Int64()), Start: time.Unix(rnd.Int64N(1<<37), rnd.Int64N(1e9)).In(zones[rnd.IntN(3)]),
		}
		if attended := rnd.IntN(3); attended < 2 {
			r.Attended = new(attended == 1)
		}
		all = append(all, r)
	}
	all = append(all, event.Request{}, event.Request{Start: time.Now()}, event.Request{Code: "INTERNAL_ERROR", Start: time.Unix(1, 0)})
	for c := range rune(0x3000) {
		all = append(all, event.Request{Client: string(c) + "x" + string(c), Cause: string([]byte{byte(c), 'x', byte(c)})})
	}
	for _, r := range all {
		if got, want := string(r.AppendJSON([]byte("before"), "audit")), "before"+handled(t, r); got != want {
			t.Fatalf("\n got %s\nwant %s", got, want)
		}
	}
}
