package canonical

import (
	"slices"
	"strings"
	"time"
)

// Kind is the cause of an error. The set is closed. The text of a kind is the code that callers
// get, and a label of metrics.
type Kind string

// The kinds of error. Their consequences are defined in switches that a linter checks for
// completeness: HTTP status and action in internal/api, breaker accounting in internal/breaker, the
// stale rule in internal/gateway.
const (
	FormatError             Kind = "FORMAT_ERROR"              // the caller's request is malformed
	PSUAddressRequired      Kind = "PSU_ADDRESS_REQUIRED"      // an unattended call to an ASPSP that is never called without the user
	Unauthenticated         Kind = "UNAUTHENTICATED"           // no or wrong caller credentials
	Forbidden               Kind = "FORBIDDEN"                 // the client lacks the scope
	ConsentExpired          Kind = "CONSENT_EXPIRED"           // consent or its token has expired, or a new SCA is required
	ConsentInvalid          Kind = "CONSENT_INVALID"           // consent or its token is unknown, invalid or revoked
	ASPSPUnknown            Kind = "ASPSP_UNKNOWN"             // the ASPSP is not configured
	NotFound                Kind = "NOT_FOUND"                 // no route has this path
	AccountUnknown          Kind = "ACCOUNT_UNKNOWN"           // the account is invalid or unlinked from the consent
	MethodNotAllowed        Kind = "METHOD_NOT_ALLOWED"        // the route has no such method
	RateLimited             Kind = "RATE_LIMITED"              // the client exceeded its rate limit
	UnattendedLimit         Kind = "UNATTENDED_LIMIT"          // no unattended call left, by the gateway's count or the ASPSP's
	ProviderThrottled       Kind = "PROVIDER_THROTTLED"        // the provider's own rate limit
	InternalError           Kind = "INTERNAL_ERROR"            // a defect of the gateway
	ProviderRejected        Kind = "PROVIDER_REJECTED"         // the provider refused the gateway's credentials or its request
	ProviderInvalidResponse Kind = "PROVIDER_INVALID_RESPONSE" // a response that is unreadable, incomplete, contradictory or of another request
	ProviderError           Kind = "PROVIDER_ERROR"            // any other error of provider or ASPSP
	ProviderUnavailable     Kind = "PROVIDER_UNAVAILABLE"      // not reachable, 503, or breaker open
	ProviderTimeout         Kind = "PROVIDER_TIMEOUT"          // no response in time
	NotInTime               Kind = "NOT_IN_TIME"               // an aggregation's wait time ended before the response; the call continues
	AggregationFailed       Kind = "AGGREGATION_FAILED"        // no source of an aggregation, or not every required one, succeeded
	CounterUnavailable      Kind = "COUNTER_UNAVAILABLE"       // the unattended counter cannot be read or written
	Overloaded              Kind = "OVERLOADED"                // a concurrency limit is reached
	DeletionUnconfirmed     Kind = "DELETION_UNCONFIRMED"      // Redis did not confirm a deletion; cached data may still exist
	NotCached               Kind = "NOT_CACHED"                // only-if-cached, and no cached list
	Canceled                Kind = "CANCELED"                  // the caller closed the connection; only in logs and metrics
)

// Origin is the system that refused or failed.
type Origin string

// The origins.
const (
	OriginGateway  Origin = "gateway"
	OriginProvider Origin = "provider"
	OriginASPSP    Origin = "aspsp"
)

// Error is an error with its cause. It contains no upstream text, no URL and no personal data, so
// that it may be logged.
type Error struct {
	Kind       Kind
	Origin     Origin
	RetryAfter time.Duration  // when to retry; 0 if unknown
	Faults     []FieldError   // all faults of the request; only with FormatError and PSUAddressRequired
	Detail     string         // a constant text that explains the kind; may be empty
	Upstream   *UpstreamError // the response of the provider, if there was one

	// TokenRejected: the provider rejected the user's token, not the consent. Only with
	// ConsentExpired and ConsentInvalid. Such an error deletes no cached list.
	TokenRejected bool
	// Attended: the ASPSP refused an attended call because of its limit, so that the user's
	// presence does not help. Only with UnattendedLimit.
	Attended bool
	// Slots is set if a read was stopped because it needs more slots than are left. Only with
	// UnattendedLimit.
	Slots *SlotNeed
}

// SlotNeed compares the slots that a read needs, all its pages together, with the slots that are
// left.
type SlotNeed struct{ Needed, Remaining int }

// Error returns kind, origin and detail.
func (e *Error) Error() string {
	text := string(e.Kind) + " from " + string(e.Origin)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// RejectsConsent reports whether the provider has rejected the consent itself, so that the cached
// list must be deleted. It is false for a rejected token, because a caller can invent one, and for a
// refusal of the gateway, which only remembers one: the list may be newer.
func (e *Error) RejectsConsent() bool {
	rejected := e != nil && (e.Kind == ConsentExpired || e.Kind == ConsentInvalid)
	return rejected && !e.TokenRejected && e.Origin != OriginGateway
}

// FieldError is one fault of a request.
type FieldError struct {
	In     string `json:"in"`     // header, path, query or body
	Name   string `json:"name"`   // in a body, a JSON pointer; "" for the body itself
	Detail string `json:"detail"` // a constant text; never the value
}

// UpstreamError is the part of a provider's error that callers may see. It contains no free text.
type UpstreamError struct {
	HTTPStatus int    `json:"httpStatus"`
	Source     string `json:"source,omitempty"`     // the provider's word for the system that failed
	ReasonCode string `json:"reasonCode,omitempty"` // the provider's code
}

// NewUpstreamError returns an UpstreamError. A source or reason that does not have the form of a
// code is dropped, because it might contain a name, an account number or free text.
func NewUpstreamError(status int, source, reason string) *UpstreamError {
	return &UpstreamError{HTTPStatus: status, Source: code(source), ReasonCode: code(reason)}
}

// code returns s without outer white space if it is a code: letters, points, dashes, underscores
// and at most four digits (an account number has more), up to 64 bytes. Otherwise it returns "".
func code(s string) string {
	s = strings.TrimSpace(s)
	digits := 0
	for _, c := range s {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '_', c == '-', c == '.':
		case '0' <= c && c <= '9':
			digits++
		default:
			return ""
		}
	}
	if len(s) > 64 || digits > 4 {
		return ""
	}
	return s
}

// NewError returns an error of the gateway with a constant detail.
func NewError(k Kind, detail string) *Error {
	return &Error{Kind: k, Origin: OriginGateway, Detail: detail}
}

// InvalidResponse returns the error for an unusable response of a provider, with a constant detail.
func InvalidResponse(detail string) *Error {
	return &Error{Kind: ProviderInvalidResponse, Origin: OriginProvider, Detail: detail}
}

// Kinds returns all kinds in the order of their declaration.
func Kinds() []Kind {
	return []Kind{
		FormatError, PSUAddressRequired, Unauthenticated, Forbidden, ConsentExpired, ConsentInvalid, ASPSPUnknown, NotFound, AccountUnknown,
		MethodNotAllowed, RateLimited, UnattendedLimit, ProviderThrottled, InternalError, ProviderRejected, ProviderInvalidResponse,
		ProviderError, ProviderUnavailable, ProviderTimeout, NotInTime, AggregationFailed, CounterUnavailable, Overloaded,
		DeletionUnconfirmed, NotCached, Canceled,
	}
}

// Known reports whether Kinds has the kind. A gateway of a later version may have stored one that
// this version does not have.
func (k Kind) Known() bool { return slices.Contains(Kinds(), k) }
