package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultRetryAfter is the Retry-After of callers if an unavailable provider sends none.
	defaultRetryAfter = 30 * time.Second
	// maxRetryAfter is the longest plausible wait. A longer one is a Unix time or a mistake.
	maxRetryAfter = 31 * 24 * time.Hour
)

// retryAfter returns the wait of the Retry-After header (RFC 9110, section 10.2.3), at least one
// second. The header holds seconds, of which a fraction is rounded up, or a date, which is compared
// with the response's Date header (section 6.6.1) if there is one, because the gateway's clock may
// differ. retryAfter returns 0 for a missing, invalid, negative or implausibly long wait.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait, ok := parseRetryAfter(strings.TrimSpace(h.Get("Retry-After")), h, now)
	if !ok || wait < 0 || wait > maxRetryAfter {
		return 0
	}
	return max(wait, time.Second)
}

// parseRetryAfter returns the wait that a value means, which may be negative, and whether the value
// is valid.
func parseRetryAfter(value string, h http.Header, now time.Time) (wait time.Duration, ok bool) {
	if whole, fraction, _ := strings.Cut(value, "."); strings.Trim(whole+fraction, "0123456789") == "" && whole+fraction != "" {
		seconds, err := strconv.ParseUint("0"+whole, 10, 32)
		if strings.Trim(fraction, "0") != "" {
			seconds++
		}
		return time.Duration(seconds) * time.Second, err == nil
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return date.Sub(now), true
}
