package gateway

import (
	"encoding/json"
	"time"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/unattended"
)

// An ASPSP is what callers may know of a configured bank.
type ASPSPInfo struct {
	ID         string
	Name       string
	Provider   string
	Unattended config.Unattended
	Breaker    breaker.State
}

// Wants is what a caller demands of an account list's freshness. The zero Wants takes what there is.
type CacheControl struct {
	NoCache      bool           // only a list that was fetched for this request
	OnlyIfCached bool           // no call, whatever is kept
	MaxAge       *time.Duration // tightens the ASPSP's freshFor
}

// An AccountList is the answer to Accounts. On failure only Limit is set.
type AccountsResult struct {
	Accounts  json.RawMessage // the array as the API sends it; nil on failure
	Freshness Freshness
	Cache     CacheStatus
	Usage     *unattended.Usage // the unit's usage after the response; nil if attended, or if the counter could not be read
}

// A BalanceSheet is the answer to Balances. On failure only Limit is set.
type BalancesResult struct {
	canonical.AccountBalances
	Freshness Freshness
	Usage     *unattended.Usage // as in AccountList
}

// Freshness says how old an answer is.
type Freshness struct {
	Source      Source
	FetchedAt   time.Time
	Age         time.Duration // at the moment of answering
	Stale       bool          // older than it should be
	StaleReason StaleReason   // why it could not be fetched anew; "" where the caller forbade it
}

// Source is where an answer comes from.
type Source string

// The sources of answers.
const (
	FromProvider Source = "provider"
	FromCache    Source = "cache"
)

// StaleReason is why an old list is answered.
type StaleReason string

// The reasons for answering an old list.
const (
	NotStale             StaleReason = ""
	StaleByLimit         StaleReason = "unattended_limit"
	StaleWithoutCounter  StaleReason = "counter_unavailable"
	StaleWithoutProvider StaleReason = "provider_unavailable"
)

// CacheStatus says what the cache had to do with an answer, in the terms of RFC 9211.
type CacheStatus struct {
	Hit       bool
	TTL       time.Duration // of a hit: how long it stays fresh, negative if it no longer is
	Forward   Forward       // of what is no hit: why the provider was asked
	Stored    bool
	Collapsed bool // shared another request's call
}

// Forward is why the cache did not answer.
type Forward string

// The reasons for asking the provider (RFC 9211, section 2.2).
const (
	ForwardMiss    Forward = "miss"
	ForwardRequest Forward = "request" // the caller demanded it
	ForwardStale   Forward = "stale"
)

// staleReason says whether, after a failure, an old list may be answered in its place, and how that is called.
// A provider's definite no, and whatever is the caller's fault, may not be covered up.
func staleReason(k canonical.Kind) StaleReason {
	switch k {
	case canonical.UnattendedLimit:
		return StaleByLimit
	case canonical.CounterUnavailable:
		return StaleWithoutCounter
	case canonical.ProviderUnavailable, canonical.ProviderTimeout, canonical.ProviderError, canonical.ProviderThrottled,
		canonical.ProviderInvalidResponse, canonical.Overloaded:
		return StaleWithoutProvider
	case canonical.FormatError, canonical.Unauthenticated, canonical.Forbidden, canonical.ConsentExpired,
		canonical.ConsentInvalid, canonical.ASPSPUnknown, canonical.NotFound, canonical.AccountUnknown,
		canonical.MethodNotAllowed, canonical.RateLimited, canonical.InternalError, canonical.ProviderRejected, canonical.NotCached,
		canonical.DeletionUnconfirmed, canonical.Canceled:
		return NotStale
	}
	return NotStale
}

// consentRejected reports whether the provider has rejected the consent itself, so that the cached list is deleted. A
// rejected token says nothing about the consent, since a caller can make one up, and a refusal that is only remembered
// nothing about the list that is cached now.
func consentRejected(e *canonical.Error) bool {
	rejected := e.Kind == canonical.ConsentExpired || e.Kind == canonical.ConsentInvalid
	return rejected && !e.TokenRejected && e.Origin != canonical.OriginGateway
}
