package upstream

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A Limit is the limit that a refusal's words speak of. The ASPSP's limit for unattended calls is meant only where
// nothing speaks for a rate limiter: a wrong block costs the user a day.
type Limit string

// The limits that words can speak of.
const (
	NoLimit     Limit = ""
	RateLimit   Limit = "rate"   // of the provider, for the gateway
	AbsentLimit Limit = "absent" // it is about calls without the user
	AccessLimit Limit = "access" // it counts accesses, or calls in a day
	QuotaLimit  Limit = "quota"  // a quota of which no more is said
)

// What refusals say of limits, from the most certain to the least.
var (
	// paceWords are a rate limiter's, whatever else is said. Units of time are found by isPace.
	paceWords = []string{
		"rate limit", "rate limits", "rate limited", "rate limiting", "rate limiter", "ratelimit", "rate exceeded", "call rate", "request rate",
		"throttle", "throttled", "throttling", "throttler", "concurrent", "concurrency", "burst", "spike arrest",
		"qps", "rps", "rpm", "rph", "tps", "slow down", "rate of access",
	}
	absenceWords = []string{
		"unattended", "without psu", "without the psu", "without a psu", "without the user", "psu not present", "psu is not present",
		"psu absent", "psu is absent", "not initiated by the psu", "not initiated by psu", "not initiated by the user",
	}
	// ownerWords name whose limit it is, where it is not the user's.
	ownerWords = []string{
		"api", "apis", "apikey", "api key", "subscription", "subscriber", "your application", "your app", "application", "client id", "consumer",
		"developer", "plan", "tier",
	}
	accessWords = []string{
		"access exceeded", "access quota", "access quotas", "access limit", "access limits", "limit of access", "limit of accesses", "accesses",
		"number of access", "daily access", "four times", "4 times", "times a day", "times daily", "times per day", "times in 24 hours",
		"frequency per day", "frequencyperday",
	}
	// windowWords speak of a day or of what is counted, which is not enough without the status 429.
	windowWords = []string{
		"24 hours", "24 hour", "24h", "24 h", "times", "per consent", "per resource", "four requests", "4 requests", "four calls", "4 calls",
	}
	requestWords = []string{"request", "requests", "call", "calls", "too many"}
	quotaWords   = []string{"quota", "quotas", "daily limit"}
	// spentWords say of accesses that there are no more.
	spentWords = []string{"exceeded", "reached", "used up", "exhausted", "limit", "maximum", "quota", "no more"}
	// addressWords name the user's address.
	addressWords = []string{
		"psu ip", "psuip", "psuipaddress", "user s ip", "user ip", "ip address of the psu", "ip address of the user",
	}

	addressPhrases = NewPhrases(addressWords)
	limitPhrases   = NewPhrases(paceWords, absenceWords, ownerWords, accessWords, windowWords, requestWords, quotaWords, spentWords)
)

// LimitOf429 is the limit that the words of a 429 speak of.
func LimitOf429(text Words) Limit {
	found := limitPhrases.In(text)
	switch {
	case AnyOf(paceWords, found), isPace(text):
		return RateLimit
	case AnyOf(absenceWords, found):
		return AbsentLimit
	case AnyOf(ownerWords, found):
		return RateLimit
	case AnyOf(accessWords, found), AnyOf(windowWords, found):
		return AccessLimit
	case AnyOf(requestWords, found):
		return RateLimit
	case AnyOf(quotaWords, found):
		return QuotaLimit
	}
	return NoLimit
}

// SaysAccessesAreSpent reports whether words mean the ASPSP's limit of accesses whatever the status.
func SaysAccessesAreSpent(text Words) bool {
	found := limitPhrases.In(text)
	return AnyOf(accessWords, found) && AnyOf(spentWords, found) &&
		!AnyOf(paceWords, found) && !AnyOf(ownerWords, found) && !isPace(text)
}

// NamesAddress reports whether words name the user's address. A refusal of an unattended call that does requires it.
func NamesAddress(text Words) bool { return len(addressPhrases.In(text)) > 0 }

// units are the units of time that rate limiters count by. longest is where they end: a limiter of hours is none.
var units = map[string]time.Duration{
	"ms": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour,
}

const longest = time.Hour

// isPace reports whether a text names a time of an hour or less, as in "per second", "10 seconds", "1m", "hourly", "PT30S".
func isPace(text Words) bool {
	for i, word := range text {
		before := ""
		if i > 0 {
			before = text[i-1]
		}
		number, unit := strings.TrimRightFunc(word, unicode.IsLetter), strings.TrimLeftFunc(word, unicode.IsDigit)
		if number == "" {
			number = before
		}
		n, err := strconv.ParseInt(number, 10, 32)
		switch {
		case isClock(text[:i]): // no unit follows a time of day
		case isShort(word), word == "hourly", word == "seconds" && err != nil, word == "minutes" && err != nil, word == "minute" && err != nil:
			return true
		case units[unit] == 0:
		case err == nil && time.Duration(n) <= longest/units[unit]:
			return true
		case number == before && len(unit) > 1 && slices.Contains([]string{"per", "a", "an", "each", "every"}, before):
			return true
		}
	}
	return false
}

// isShort reports whether a word is an ISO 8601 duration of an hour or less, such as PT30S.
func isShort(word string) bool {
	date, clock, _ := strings.Cut(word, "t")
	if !strings.HasPrefix(date, "p") || strings.Trim(date[1:], "0ymwd") != "" {
		return false
	}
	d, err := time.ParseDuration(clock)
	return err == nil && d <= longest
}

// isClock reports whether a text ends in a time of day, as in "time 12:30".
func isClock(text Words) bool {
	n := len(text)
	if n < 3 || text[n-3] != "time" && text[n-3] != "at" {
		return false
	}
	hour, errHour := strconv.Atoi(text[n-2])
	_, errMinute := strconv.Atoi(text[n-1])
	return errHour == nil && errMinute == nil && hour < 24 && len(text[n-1]) == 2
}
