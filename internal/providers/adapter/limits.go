package adapter

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A Limit is the kind of limit that the words of an error response describe. If any of them suggest
// a rate limiter, the response is not taken for the ASPSP's unattended limit, because a wrong block
// costs the user a day.
type Limit string

// The kinds of limits.
const (
	NoLimit     Limit = ""
	RateLimit   Limit = "rate"   // the provider's rate limit for the gateway
	AbsentLimit Limit = "absent" // a limit for calls without the user
	AccessLimit Limit = "access" // a limit of accesses, or of calls per day
	QuotaLimit  Limit = "quota"  // an unspecified quota
)

// Phrases about limits, from the most to the least certain.
var (
	// rateWords always mean a rate limiter. Intervals of time are found by mentionsShortInterval.
	rateWords = []string{
		"rate limit", "rate limits", "rate limited", "rate limiting", "rate limiter", "ratelimit", "rate exceeded", "call rate", "request rate",
		"throttle", "throttled", "throttling", "throttler", "concurrent", "concurrency", "burst", "spike arrest",
		"qps", "rps", "rpm", "rph", "tps", "slow down", "rate of access",
	}
	absentPSUPhrases = []string{
		"unattended", "without psu", "without the psu", "without a psu", "without the user", "psu not present", "psu is not present",
		"psu absent", "psu is absent", "not initiated by the psu", "not initiated by psu", "not initiated by the user",
	}
	// ownerWords name the owner of a limit that is not the user's.
	ownerWords = []string{
		"api", "apis", "apikey", "api key", "subscription", "subscriber", "your application", "your app", "application", "client id", "consumer",
		"developer", "plan", "tier",
	}
	accessWords = []string{
		"access exceeded", "access quota", "access quotas", "access limit", "access limits", "limit of access", "limit of accesses", "accesses",
		"number of access", "daily access", "four times", "4 times", "times a day", "times daily", "times per day", "times in 24 hours",
		"frequency per day", "frequencyperday",
	}
	// windowWords name a day or what is counted. They mean a limit only together with status 429.
	windowWords = []string{
		"24 hours", "24 hour", "24h", "24 h", "times", "per consent", "per resource", "four requests", "4 requests", "four calls", "4 calls",
	}
	requestWords = []string{"request", "requests", "call", "calls", "too many"}
	quotaWords   = []string{"quota", "quotas", "daily limit"}
	// exhaustedWords mean that a limit is used up.
	exhaustedWords = []string{"exceeded", "reached", "used up", "exhausted", "limit", "maximum", "quota", "no more"}
	// addressWords name the user's IP address.
	addressWords = []string{
		"psu ip", "psuip", "psuipaddress", "user s ip", "user ip", "ip address of the psu", "ip address of the user",
	}

	addressPhrases = NewPhrases(addressWords)
	limitPhrases   = NewPhrases(rateWords, absentPSUPhrases, ownerWords, accessWords, windowWords, requestWords, quotaWords, exhaustedWords)
)

// LimitFrom429 returns the limit that the words of a response with status 429 describe.
func LimitFrom429(text Words) Limit {
	found := limitPhrases.Find(text)
	switch {
	case ContainsAny(rateWords, found), mentionsShortInterval(text):
		return RateLimit
	case ContainsAny(absentPSUPhrases, found):
		return AbsentLimit
	case ContainsAny(ownerWords, found):
		return RateLimit
	case ContainsAny(accessWords, found), ContainsAny(windowWords, found):
		return AccessLimit
	case ContainsAny(requestWords, found):
		return RateLimit
	case ContainsAny(quotaWords, found):
		return QuotaLimit
	}
	return NoLimit
}

// ReportsAccessLimit reports whether words mean that the ASPSP's limit of accesses is used up, with
// any status.
func ReportsAccessLimit(text Words) bool {
	found := limitPhrases.Find(text)
	return ContainsAny(accessWords, found) && ContainsAny(exhaustedWords, found) &&
		!ContainsAny(rateWords, found) && !ContainsAny(ownerWords, found) && !mentionsShortInterval(text)
}

// MentionsPSUAddress reports whether words name the user's IP address. In an error response to an
// unattended call this means that the address is required.
func MentionsPSUAddress(text Words) bool { return len(addressPhrases.Find(text)) > 0 }

// timeUnits are the units of time in which rate limiters count. maxRateInterval is the longest
// interval of a rate limiter.
var timeUnits = map[string]time.Duration{
	"ms": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour,
}

const maxRateInterval = time.Hour

// mentionsShortInterval reports whether a text contains an interval of an hour or less, such as
// "per second", "10 seconds", "1m", "hourly" or "PT30S".
func mentionsShortInterval(text Words) bool {
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
		case endsInTimeOfDay(text[:i]): // a time of day has no unit
		case isShortISODuration(word), word == "hourly", word == "seconds" && err != nil, word == "minutes" && err != nil, word == "minute" && err != nil:
			return true
		case timeUnits[unit] == 0:
		case err == nil && time.Duration(n) <= maxRateInterval/timeUnits[unit]:
			return true
		case number == before && len(unit) > 1 && slices.Contains([]string{"per", "a", "an", "each", "every"}, before):
			return true
		}
	}
	return false
}

// isShortISODuration reports whether a word is an ISO 8601 duration of an hour or less, such as
// PT30S.
func isShortISODuration(word string) bool {
	date, clock, _ := strings.Cut(word, "t")
	if !strings.HasPrefix(date, "p") || strings.Trim(date[1:], "0ymwd") != "" {
		return false
	}
	d, err := time.ParseDuration(clock)
	return err == nil && d <= maxRateInterval
}

// endsInTimeOfDay reports whether a text ends in a time of day, as in "time 12:30".
func endsInTimeOfDay(text Words) bool {
	n := len(text)
	if n < 3 || text[n-3] != "time" && text[n-3] != "at" {
		return false
	}
	hour, errHour := strconv.Atoi(text[n-2])
	_, errMinute := strconv.Atoi(text[n-1])
	return errHour == nil && errMinute == nil && hour < 24 && len(text[n-1]) == 2
}
