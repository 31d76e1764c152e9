package canonical

import (
	"regexp"
	"strings"
	"time"
	"unicode"
)

// maxProviderDateTime is the maximum length, in characters, of ProviderDateTime.
const maxProviderDateTime = 64

// referenceForm matches RFC 3339 in upper case; the zone may lack its colon or its minutes. It is
// needed because time.Parse accepts more.
var referenceForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)$`)

// ParseReference parses a provider's text for the reference time of a balance. It returns a time
// with a zone in UTC as at, or a date without a time in the form YYYY-MM-DD as date. Any other
// text, for example a time without a zone, is returned as unread, shortened to 64 printable
// characters. Times up to the first moment of year 1, which are placeholders, and after year 9999
// are unread too.
func ParseReference(text string) (at time.Time, date, unread string) {
	text = strings.TrimSpace(text)
	if len(text) == len(time.DateOnly) {
		if t, err := time.Parse(time.DateOnly, text); err == nil && t.Year() >= 1 {
			return time.Time{}, text, ""
		}
	}
	if upper := strings.ToUpper(text); referenceForm.MatchString(upper) {
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07"} {
			t, err := time.Parse(layout, upper)
			if t = t.UTC(); err == nil && t.After(time.Time{}) && t.Year() <= 9999 {
				return t, "", ""
			}
		}
	}
	return time.Time{}, "", printable(text, maxProviderDateTime)
}

// printable returns text without unprintable characters, shortened to limit characters.
func printable(text string, limit int) string {
	kept := make([]rune, 0, limit)
	for _, c := range text {
		if len(kept) == limit {
			break
		}
		if unicode.IsPrint(c) {
			kept = append(kept, c)
		}
	}
	return strings.TrimSpace(string(kept))
}
