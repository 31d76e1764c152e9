package render

import (
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

const (
	// whilePresent is the alternative to an unattended call.
	whilePresent = "Call only while the user is present, with `PSU-IP-Address`."
	// neverUnattended is the detail if an ASPSP allows no unattended calls.
	neverUnattended = "This bank is never called without the user. " + whilePresent
)

// actionAndDetail returns the action and the detail of a problem: those of its kind, unless more is
// known of the request.
func actionAndDetail(e *canonical.Error, pc ProblemContext) (action, detail string) {
	spec := problems[e.Kind]
	action, detail = spec.action, spec.detail
	switch e.Kind {
	case canonical.Forbidden:
		if pc.Scope != "" {
			detail = "This call requires the scope `" + pc.Scope + "`. Ask the operator of the gateway to grant it."
		}
	case canonical.AccountUnknown:
		if !pc.HasAccount {
			detail = "An account of this consent is no longer available. Read the account list again; if that fails, " +
				"ask the user for a new consent."
		}
	case canonical.UnattendedLimit:
		return limitReached(e, pc)
	case canonical.ProviderUnavailable:
		if e.Origin == canonical.OriginGateway {
			detail = "Recent calls to this bank failed, so the gateway has paused them (circuit breaker). Retry after `Retry-After`."
		}
	case canonical.CounterUnavailable:
		if pc.ReadsUsage {
			return retryLater, "The usage cannot be read at the moment. Retry after `Retry-After`."
		}
	case canonical.Overloaded:
		if e.Detail != "" {
			detail = strings.ToUpper(e.Detail[:1]) + e.Detail[1:] + ". Retry after `Retry-After`."
		}
	case canonical.NotCached, canonical.NotInTime:
		if e.Detail != "" {
			detail = e.Detail + "."
		}
	case canonical.FormatError, canonical.PSUAddressRequired, canonical.Unauthenticated, canonical.ConsentExpired, canonical.ConsentInvalid,
		canonical.ASPSPUnknown, canonical.NotFound, canonical.MethodNotAllowed, canonical.RateLimited,
		canonical.ProviderThrottled, canonical.InternalError, canonical.ProviderRejected, canonical.ProviderInvalidResponse,
		canonical.ProviderError, canonical.ProviderTimeout, canonical.AggregationFailed,
		canonical.DeletionUnconfirmed, canonical.Canceled:
	}
	return action, detail
}

// limitReached returns action and detail of UnattendedLimit: who refused the call, the limit, and
// the time of the next call.
func limitReached(e *canonical.Error, pc ProblemContext) (action, detail string) {
	next := whilePresent
	if e.RetryAfter > 0 {
		next = whenFree(e, pc) + " Until then call only while the user is present, with `PSU-IP-Address`."
	}
	switch {
	case e.Attended:
		return retryLater, "The bank refused a call with the user present because of its limit for calls without the user. " +
			"Retry later, after `Retry-After` if present. Unattended calls are not affected."
	case e.Origin != canonical.OriginGateway:
		detail = "The bank refused an unattended call because its own limit is used up."
	case pc.Policy.Limit == 0:
		return retryAttended, neverUnattended
	case e.Slots != nil && pc.Aggregated && e.Slots.Needed > pc.Policy.Limit:
		return fixRequest, "This source needs " + strconv.Itoa(e.Slots.Needed) + " unattended calls, more than the limit of " +
			strconv.Itoa(pc.Policy.Limit) + " for this " + unitName(pc.Policy.Unit) + ": waiting does not help. Set `allowPartial`, select " +
			"fewer accounts with `accountIds`, or call while the user is present, with `PSU-IP-Address`."
	case e.Slots != nil:
		detail = "This read needs " + strconv.Itoa(e.Slots.Needed) + " unattended calls, and " + strconv.Itoa(e.Slots.Remaining) +
			" of " + strconv.Itoa(pc.Policy.Limit) + " are left for this " + unitName(pc.Policy.Unit) + "."
	case pc.Usage != nil && pc.Usage.Used < pc.Policy.Limit:
		detail = "Unattended calls are blocked for this " + unitName(pc.Policy.Unit) + "."
	default:
		detail = "All " + strconv.Itoa(pc.Policy.Limit) + " unattended calls of the last " + durationWords(pc.Policy.Window) +
			" are used for this " + unitName(pc.Policy.Unit) + "."
	}
	return retryAttended, detail + " " + next
}

// whenFree returns the sentence on when the next call can be made. If the usage is known, the time
// is the one that unattended-access shows: the gateway's clock may differ from Redis's.
func whenFree(e *canonical.Error, pc ProblemContext) string {
	at := wholeSecond(pc.Now().Add(e.RetryAfter))
	if e.Slots != nil {
		return "Enough calls are free at " + formatTime(at) + "."
	}
	if pc.Usage != nil {
		if known := nextSlot(*pc.Usage); !known.IsZero() {
			at = known
		}
	}
	return "Next one at " + formatTime(at) + "."
}

// unitName returns the words for a unit of the limit.
func unitName(u config.Unit) string {
	switch u {
	case config.UnitResource:
		return "account list or account"
	case config.UnitASPSP:
		return "ASPSP"
	case config.UnitConsent:
	}
	return "consent"
}

// durationWords returns a duration in words: 24 hours, 90 minutes. For 1 it returns the unit alone:
// hour.
func durationWords(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		switch n := int64(d / u.size); {
		case d%u.size != 0 || n == 0:
		case n == 1:
			return u.name
		default:
			return strconv.FormatInt(n, 10) + " " + u.name + "s"
		}
	}
	return d.String()
}
