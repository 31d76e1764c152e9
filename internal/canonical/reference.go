package canonical

import (
	"regexp"
	"strings"
	"time"
	"unicode"
)

// maxProviderDateTime is how many characters are kept of a text that cannot be read as a date or time.
const maxProviderDateTime = 64

// referenceForm is RFC 3339 in either case, the zone also without its colon or its minutes. time.Parse alone accepts
// more than that.
var referenceForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)$`)

// ParseReference reads a provider's text about when a balance holds: a time with its zone, in UTC; or a date without a
// time, as YYYY-MM-DD. A text that is neither is returned as unread, shortened to 64 printable characters: a time
// without a zone would have to be guessed. Times that no caller can read are unread, too: those up to the first moment
// of year 1, which is a placeholder for no time, and those after year 9999.
func ParseReference(text string) (at time.Time, date, unread string) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.DateOnly, text); err == nil && t.Year() >= 1 {
		return time.Time{}, text, ""
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

// printable is the text without characters that cannot be printed, shortened to so many characters.
func printable(text string, most int) string {
	kept := make([]rune, 0, most)
	for _, c := range text {
		if len(kept) == most {
			break
		}
		if unicode.IsPrint(c) {
			kept = append(kept, c)
		}
	}
	return strings.TrimSpace(string(kept))
}
