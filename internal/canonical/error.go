package canonical

import (
	"strings"
	"time"
)

// Kind is what went wrong, by its cause. The set is closed; each kind's text is the code that callers see,
// and the label that metrics carry.
type Kind string

// The kinds of failure. What follows from each stands where it is acted upon, in switches that a linter keeps
// exhaustive: HTTP status and action in internal/api, breaker accounting in internal/breaker, the stale rule
// in internal/gateway.
const (
	FormatError             Kind = "FORMAT_ERROR"              // the caller's request is ill-formed
	Unauthenticated         Kind = "UNAUTHENTICATED"           // no or wrong caller credentials
	Forbidden               Kind = "FORBIDDEN"                 // the caller lacks the scope
	ConsentExpired          Kind = "CONSENT_EXPIRED"           // consent or its token has expired, or a new SCA is required
	ConsentInvalid          Kind = "CONSENT_INVALID"           // consent or its token is unknown, invalid or revoked
	ASPSPUnknown            Kind = "ASPSP_UNKNOWN"             // no such ASPSP configured
	NotFound                Kind = "NOT_FOUND"                 // no such route
	AccountUnknown          Kind = "ACCOUNT_UNKNOWN"           // the account is invalid or unlinked from the consent
	MethodNotAllowed        Kind = "METHOD_NOT_ALLOWED"        // no such method on this route
	RateLimited             Kind = "RATE_LIMITED"              // the caller asks more often than the gateway lets it
	UnattendedLimit         Kind = "UNATTENDED_LIMIT"          // no unattended call left, by our count or by the ASPSP's
	ProviderThrottled       Kind = "PROVIDER_THROTTLED"        // the provider's own rate limit
	InternalError           Kind = "INTERNAL_ERROR"            // a fault of the gateway
	ProviderRejected        Kind = "PROVIDER_REJECTED"         // the provider refused our credentials or what we built
	ProviderInvalidResponse Kind = "PROVIDER_INVALID_RESPONSE" // unreadable, incomplete, contradicting or somebody else's answer
	ProviderError           Kind = "PROVIDER_ERROR"            // any other error of provider or ASPSP
	ProviderUnavailable     Kind = "PROVIDER_UNAVAILABLE"      // not reachable, 503, or breaker open
	ProviderTimeout         Kind = "PROVIDER_TIMEOUT"          // no answer in time
	CounterUnavailable      Kind = "COUNTER_UNAVAILABLE"       // the unattended counter cannot be read or written
	Overloaded              Kind = "OVERLOADED"                // too much at once
	DeletionUnconfirmed     Kind = "DELETION_UNCONFIRMED"      // Redis did not confirm a deletion; cached data may still exist
	NotCached               Kind = "NOT_CACHED"                // only-if-cached, and nothing kept
	Canceled                Kind = "CANCELED"                  // the caller went away; nobody sees this one but the log
)

// Origin is who said no.
type Origin string

// Who can say no.
const (
	OriginGateway  Origin = "gateway"
	OriginProvider Origin = "provider"
	OriginASPSP    Origin = "aspsp"
)

// An Error is a failure with its cause. It never holds upstream text, a URL or anything personal, so that its
// text may be logged.
type Error struct {
	Kind       Kind
	Origin     Origin
	RetryAfter time.Duration  // when to try again; 0 says nothing about it
	Faults     []FieldError   // what is wrong with the request, all of it; FormatError only
	Detail     string         // a constant sentence of ours that says more than the kind; may be empty
	Upstream   *UpstreamError // what the provider answered, if it did

	// TokenRejected: the provider rejected the user's token, not the consent. Only with ConsentExpired and
	// ConsentInvalid. Such an error deletes no cached list.
	TokenRejected bool
	// Attended: the ASPSP refused an attended call because of its limit, so that the user's presence does not help.
	// Only with UnattendedLimit.
	Attended bool
	// Slots is how many slots a read needs and how many are left, where a read was stopped because it cannot
	// fit; nil otherwise. Only with UnattendedLimit.
	Slots *SlotNeed
}

// SlotNeed compares the slots that a read needs, all its pages together, with the slots that are left.
type SlotNeed struct{ Needed, Remaining int }

// Error is the kind, who said it, and our own sentence on it.
func (e *Error) Error() string {
	text := string(e.Kind) + " from " + string(e.Origin)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// A Fault names one thing that is wrong with a request.
type FieldError struct {
	In     string // header, path or query
	Name   string
	Detail string // a constant sentence; it never repeats the value
}

// UpstreamError is what may be shown of a provider's error: never its free text.
type UpstreamError struct {
	HTTPStatus int
	Source     string // the provider's word for who failed
	ReasonCode string // the provider's code
}

// NewUpstreamError keeps of a provider's error what has the form of a code. A source or reason that has not,
// and so might be a name, a number or a sentence, is dropped.
func NewUpstreamError(status int, source, reason string) *UpstreamError {
	return &UpstreamError{HTTPStatus: status, Source: code(source), ReasonCode: code(reason)}
}

// code is s without outer white space if it is a word of letters, points, dashes and underscores with no more
// than four digits (no account number is that short), at most 64 bytes; else "".
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

// Fail is an error of the gateway itself, with a constant sentence on why.
func NewError(k Kind, detail string) *Error {
	return &Error{Kind: k, Origin: OriginGateway, Detail: detail}
}

// InvalidResponse is an answer that cannot be used, with a constant sentence on why.
func InvalidResponse(detail string) *Error {
	return &Error{Kind: ProviderInvalidResponse, Origin: OriginProvider, Detail: detail}
}

// Kinds are all kinds, in the order in which they are declared.
func Kinds() []Kind {
	return []Kind{
		FormatError, Unauthenticated, Forbidden, ConsentExpired, ConsentInvalid, ASPSPUnknown, NotFound, AccountUnknown,
		MethodNotAllowed, RateLimited, UnattendedLimit, ProviderThrottled, InternalError, ProviderRejected, ProviderInvalidResponse,
		ProviderError, ProviderUnavailable, ProviderTimeout, CounterUnavailable, Overloaded, DeletionUnconfirmed, NotCached,
		Canceled,
	}
}
