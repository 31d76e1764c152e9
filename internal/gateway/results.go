package gateway

import (
	"encoding/json"
	"time"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

// An ASPSPInfo describes a configured ASPSP to callers.
type ASPSPInfo struct {
	ID                 string
	Name               string
	Provider           string
	Unattended         config.Unattended
	PSUAddressRequired bool // the ASPSP is never called without the user
	Requires           providers.Requirements
	Capabilities       providers.Capabilities
	Breaker            breaker.State
	Timeout            time.Duration // of one read
}

// CacheControl is a request's cache control. The zero value accepts a list that is younger than
// freshFor.
type CacheControl struct {
	NoCache      bool           // requires a call
	OnlyIfCached bool           // excludes a call
	MaxAge       *time.Duration // shortens the ASPSP's freshFor; nil for no change
}

// An AccountsResult is the result of Accounts. On failure only CacheResult and Usage are set.
type AccountsResult struct {
	Accounts    json.RawMessage // the array as the API sends it; nil on failure
	Freshness   Freshness
	Cache       CacheStatus
	CacheResult CacheResult
	Usage       *unattended.Usage // after the request; nil if it is attended, or if the counter could not be read
	// Of AccountsWithBalances: the balances by account id, without accounts of which the provider gave
	// none, as fresh as the list; and why its call failed.
	Balances        map[string]canonical.AccountBalances
	BalancesFailure *canonical.Error
}

// A BalancesResult is the result of Balances or AllBalances. On failure only Usage is set.
type BalancesResult struct {
	canonical.AccountBalances
	All       map[string]canonical.AccountBalances // of AllBalances, by account id
	Freshness Freshness
	Usage     *unattended.Usage // as in AccountsResult
}

// A CachedList is what is known about an account list without a call.
type CachedList struct {
	Found       bool             // List is cached, and may be served
	Fresh       bool             // List needs no call
	List        AccountsResult   // without Usage
	Pages       int              // calls that the list needs, as far as is known; at least 1
	RefusedWith canonical.Kind   // why the ASPSP refused it within the last hour; "" if it did not
	Failure     *canonical.Error // why neither a call nor the cached list is possible; nil if one is
}

// Freshness describes how old a response is.
type Freshness struct {
	Source      Source
	FetchedAt   time.Time
	Age         time.Duration // when it was read
	Stale       bool          // older than the request accepts
	StaleReason StaleReason   // why it was not fetched again; "" if the request excluded a call
}

// Source is the origin of a response.
type Source string

// The sources of responses.
const (
	FromProvider Source = "provider"
	FromCache    Source = "cache"
)

// StaleReason is why a stale list is served.
type StaleReason string

// The reasons for serving a stale list.
const (
	NoReason             StaleReason = "" // the list is fresh, or the request excluded a call
	StaleByLimit         StaleReason = "unattended_limit"
	StaleWithoutUser     StaleReason = "psu_address_required"
	StaleWithoutCounter  StaleReason = "counter_unavailable"
	StaleWithoutProvider StaleReason = "provider_unavailable"
)

// CacheStatus describes how the cache was used for a response, in the terms of RFC 9211.
type CacheStatus struct {
	Hit       bool
	TTL       time.Duration // of a hit: the remaining freshness, negative if it is stale
	Forward   Forward       // without a hit: why the provider was called
	Stored    bool
	Collapsed bool // shared another request's call
}

// CacheResult is how the cache was used for a response.
type CacheResult string

// The uses of the cache.
const (
	CacheHit        CacheResult = "hit"        // a fresh list was served
	CacheStale      CacheResult = "stale"      // a stale list was served, because no call could be made
	CacheMiss       CacheResult = "miss"       // no fresh list was cached
	CacheBypass     CacheResult = "bypass"     // the request required a call
	CacheCollapsed  CacheResult = "collapsed"  // another request's call was shared
	CacheError      CacheResult = "error"      // Redis did not respond in time, or refused the lease
	CacheUnreadable CacheResult = "unreadable" // a fresh list is cached under a key that this gateway does not have
)

// Forward is why the provider was called.
type Forward string

// The reasons for a call (RFC 9211, section 2.2).
const (
	ForwardMiss    Forward = "miss"
	ForwardRequest Forward = "request" // the request required it
	ForwardStale   Forward = "stale"
)

// StaleReasonOf returns the reason for serving a stale list instead of a failure; NoReason if the
// failure must be returned: rejections by the provider, and errors of the request.
func StaleReasonOf(k canonical.Kind) StaleReason {
	switch k {
	case canonical.UnattendedLimit:
		return StaleByLimit
	case canonical.PSUAddressRequired:
		return StaleWithoutUser
	case canonical.CounterUnavailable:
		return StaleWithoutCounter
	case canonical.ProviderUnavailable, canonical.ProviderTimeout, canonical.ProviderError, canonical.ProviderThrottled,
		canonical.ProviderInvalidResponse, canonical.Overloaded, canonical.NotInTime:
		return StaleWithoutProvider
	case canonical.FormatError, canonical.Unauthenticated, canonical.Forbidden, canonical.ConsentExpired,
		canonical.ConsentInvalid, canonical.ASPSPUnknown, canonical.NotFound, canonical.AccountUnknown,
		canonical.MethodNotAllowed, canonical.RateLimited, canonical.InternalError, canonical.ProviderRejected, canonical.NotCached,
		canonical.DeletionUnconfirmed, canonical.AggregationFailed, canonical.Canceled:
		return NoReason
	}
	return NoReason
}
