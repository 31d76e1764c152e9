package render

import (
	"strconv"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// CacheStatus returns the header Cache-Status (RFC 9211) of an account list.
func CacheStatus(list gateway.AccountsResult) string {
	s, status := list.Cache, "ais-gateway"
	switch {
	case s.Hit:
		ttl := roundUp(s.TTL)
		if s.TTL < 0 {
			ttl = -roundUp(-s.TTL) // away from zero, so that its sign says whether the list is stale
		}
		status += "; hit; ttl=" + strconv.FormatInt(ttl, 10)
		if reason := list.Freshness.StaleReason; reason != gateway.NoReason {
			status += "; detail=" + string(reason)
		}
		return status
	case s.Collapsed:
		return status + "; fwd=" + string(s.Forward) + "; collapsed"
	case s.Stored:
		return status + "; fwd=" + string(s.Forward) + "; stored"
	}
	return status + "; fwd=" + string(s.Forward)
}

// StaleByLimit reports whether a stale list was returned because no slot of the unattended limit
// could be taken, or because the ASPSP allows no unattended calls.
func StaleByLimit(list gateway.AccountsResult) bool {
	switch list.Freshness.StaleReason {
	case gateway.StaleByLimit, gateway.StaleWithoutUser, gateway.StaleWithoutCounter:
		return true
	case gateway.NoReason, gateway.StaleWithoutProvider:
	}
	return false
}

// Age returns the header Age (RFC 9111, section 5.1), or "" if the list is not from the cache.
func Age(f gateway.Freshness) string {
	if f.Source != gateway.FromCache {
		return ""
	}
	return strconv.FormatInt(wholeAge(f), 10)
}

// RateLimit returns the headers RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10) of an unattended request to an ASPSP with policy p. If
// the usage could not be read (nil), no call remains.
func RateLimit(p config.Unattended, s *unattended.Usage) (policy, limit string) {
	if s == nil {
		s = &unattended.Usage{Limit: p.Limit, Window: p.Window}
	}
	policy = `"unattended";q=` + strconv.Itoa(s.Limit) + ";w=" + strconv.FormatInt(roundUp(s.Window), 10)
	limit = `"unattended";r=` + strconv.Itoa(s.Remaining)
	if s.Limit > 0 && (s.Used > 0 || s.Wait > 0) {
		limit += ";t=" + strconv.FormatInt(roundUp(s.Wait), 10)
	}
	return policy, limit
}

// wholeAge returns the age in whole seconds, rounded down and never negative.
func wholeAge(f gateway.Freshness) int64 { return max(int64(f.Age/time.Second), 0) }

// roundUp returns d in whole seconds, rounded up.
func roundUp(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}
