package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultRetryAfter is what callers are told where a provider is unavailable and does not say for how long.
	defaultRetryAfter = 30 * time.Second
	// maxRetryAfter bounds what a provider may ask for; beyond it the number is a fault, not a wish. What closes a
	// unit is bounded by its window besides.
	maxRetryAfter = 366 * 24 * time.Hour
)

// retryAfter reads the Retry-After header (RFC 9110, section 10.2.3): seconds, or a date, by the clock of whoever wrote
// it where the answer tells that (Date, section 6.6.1): ours may be wrong. It is 0 where there is none that can be read,
// and at least a second where there is.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(max(time.Duration(seconds)*time.Second, time.Second), maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
			now = theirs
		}
		return min(max(date.Sub(now), time.Second), maxRetryAfter)
	}
	return 0
}
