package answer

import (
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// whilePresent is what a caller can do in place of an unattended call.
const whilePresent = "Call only while the user is present, with `PSU-IP-Address`."

// situation returns the action and the sentences of a problem: those of its kind, unless more is known.
func situation(e *canonical.Error, of Subject) (action, detail string) {
	v := verdicts[e.Kind]
	action, detail = v.action, v.detail
	switch e.Kind {
	case canonical.Forbidden:
		if of.Scope != "" {
			detail = "This call requires the scope `" + of.Scope + "`. Ask the operator of the gateway to grant it."
		}
	case canonical.AccountUnknown:
		if !of.Account {
			detail = "An account of this consent is no longer available. Read the account list again; if that fails, " +
				"ask the user for a new consent."
		}
	case canonical.UnattendedLimit:
		return limitReached(e, of)
	case canonical.ProviderUnavailable:
		if e.Origin == canonical.OriginGateway {
			detail = "Recent calls to this bank failed, so the gateway has paused them (circuit breaker). Retry after `Retry-After`."
		}
	case canonical.CounterUnavailable:
		if of.Access {
			return retryLater, "The usage cannot be read at the moment. Retry after `Retry-After`."
		}
	case canonical.Overloaded:
		if e.Detail != "" {
			detail = strings.ToUpper(e.Detail[:1]) + e.Detail[1:] + ". Retry after `Retry-After`."
		}
	case canonical.NotCached:
		if e.Detail != "" {
			detail = e.Detail + "."
		}
	case canonical.FormatError, canonical.Unauthenticated, canonical.ConsentExpired, canonical.ConsentInvalid,
		canonical.ASPSPUnknown, canonical.NotFound, canonical.MethodNotAllowed, canonical.RateLimited,
		canonical.ProviderThrottled, canonical.InternalError, canonical.ProviderRejected, canonical.ProviderInvalidResponse,
		canonical.ProviderError, canonical.ProviderTimeout, canonical.DeletionUnconfirmed, canonical.Canceled:
	}
	return action, detail
}

// limitReached returns what UnattendedLimit means: who refused, by which numbers, and when the next call may be made.
func limitReached(e *canonical.Error, of Subject) (action, detail string) {
	next := whilePresent
	if e.RetryAfter > 0 {
		next = whenFree(e, of) + " Until then call only while the user is present, with `PSU-IP-Address`."
	}
	switch {
	case e.Attended:
		return retryLater, "The bank refused a call with the user present because of its limit for calls without the user. " +
			"Retry later, after `Retry-After` if present. Unattended calls are not affected."
	case e.Origin != canonical.OriginGateway:
		detail = "The bank refused an unattended call because its own limit is used up."
	case of.Policy.Limit == 0:
		return retryAttended, "This bank is never called without the user. " + whilePresent
	case e.Slots != nil:
		detail = "This read needs " + strconv.Itoa(e.Slots.Needed) + " unattended calls, and " + strconv.Itoa(e.Slots.Remaining) +
			" of " + strconv.Itoa(of.Policy.Limit) + " are left for this " + unit(of.Policy.Unit) + "."
	case of.Usage != nil && of.Usage.Used < of.Policy.Limit:
		detail = "Unattended calls are blocked for this " + unit(of.Policy.Unit) + "."
	default:
		detail = "All " + strconv.Itoa(of.Policy.Limit) + " unattended calls of the last " + span(of.Policy.Window) +
			" are used for this " + unit(of.Policy.Unit) + "."
	}
	return retryAttended, detail + " " + next
}

// whenFree says when waiting is over. The next slot's time is the one that unattended-access shows, if the usage is known:
// the gateway's clock may differ from Redis's.
func whenFree(e *canonical.Error, of Subject) string {
	at := wholeSecond(of.Now().Add(e.RetryAfter))
	if e.Slots != nil {
		return "Enough calls are free at " + stamp(at) + "."
	}
	if of.Usage != nil {
		if known := nextSlot(*of.Usage); !known.IsZero() {
			at = known
		}
	}
	return "Next one at " + stamp(at) + "."
}

// unit names what has one counter.
func unit(u config.Unit) string {
	switch u {
	case config.UnitResource:
		return "account list or account"
	case config.UnitASPSP:
		return "ASPSP"
	case config.UnitConsent:
	}
	return "consent"
}

// span is a duration in words: 24 hours, 90 minutes.
func span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		switch n := int64(d / u.of); {
		case d%u.of != 0 || n == 0:
		case n == 1:
			return u.name
		default:
			return strconv.FormatInt(n, 10) + " " + u.name + "s"
		}
	}
	return d.String()
}
