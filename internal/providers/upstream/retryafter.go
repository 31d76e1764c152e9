package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultRetryAfter is the wait that callers get where a provider is unavailable and does not say for how long.
	defaultRetryAfter = 30 * time.Second
	// maxRetryAfter is the longest wait that a provider can mean. A longer one is a moment in seconds since 1970, or a
	// mistake.
	maxRetryAfter = 31 * 24 * time.Hour
)

// retryAfter reads the Retry-After header (RFC 9110, section 10.2.3): seconds, of which a fraction is rounded up, or a
// date, by the provider's clock where the response has a Date (section 6.6.1), because ours may be wrong. It is 0 where
// there is none, or none that can be a wait: negative, or too long. Otherwise it is at least a second.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait, ok := waitOf(strings.TrimSpace(h.Get("Retry-After")), h, now)
	if !ok || wait < 0 || wait > maxRetryAfter {
		return 0
	}
	return max(wait, time.Second)
}

func waitOf(value string, h http.Header, now time.Time) (wait time.Duration, ok bool) {
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
