package answer

import (
	"strconv"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// CacheStatus is the header Cache-Status (RFC 9211) of an account list.
func CacheStatus(list gateway.AccountsResult) string {
	s, status := list.Cache, "ais-gateway"
	switch {
	case s.Hit:
		ttl := roundUp(s.TTL)
		if s.TTL < 0 {
			ttl = -roundUp(-s.TTL) // away from zero, so that its sign says whether the list is stale
		}
		status += "; hit; ttl=" + strconv.FormatInt(ttl, 10)
		if reason := list.Freshness.StaleReason; reason != gateway.NotStale {
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

// CacheOutcome is the same in a word, for logs and metrics: hit, stale, collapsed, bypass or miss.
func CacheOutcome(list gateway.AccountsResult) string {
	switch s := list.Cache; {
	case s.Hit && list.Freshness.Stale:
		return "stale"
	case s.Hit:
		return "hit"
	case s.Collapsed:
		return "collapsed"
	case s.Forward == gateway.ForwardRequest:
		return "bypass"
	}
	return "miss"
}

// Refused reports whether the list is an old one, because no slot of the unattended limit was to be had.
func Refused(list gateway.AccountsResult) bool {
	reason := list.Freshness.StaleReason
	return reason == gateway.StaleByLimit || reason == gateway.StaleWithoutCounter
}

// Age is the header Age (RFC 9111, section 5.1), "" for an answer that does not come from the cache.
func Age(f gateway.Freshness) string {
	if f.Source != gateway.FromCache {
		return ""
	}
	return strconv.FormatInt(wholeAge(f), 10)
}

// RateLimit is the headers RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10) of an unattended
// request to an ASPSP with policy p. A state that could not be read, nil, leaves nothing to count on.
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

func wholeAge(f gateway.Freshness) int64 { return max(int64(f.Age/time.Second), 0) }

// roundUp is a duration in whole seconds, never too few.
func roundUp(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}
