package adapter

import (
	"encoding/json"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

// maxErrorText is the maximum length in bytes of a LenientString.
const maxErrorText = 2048

// LenientString is a string in an error response: the beginning of a JSON string, without outer
// white space. Any other JSON value is read as "", because one odd member must not make an error
// unreadable.
type LenientString string

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (l *LenientString) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		s = strings.TrimSpace(s)
		*l = LenientString(strings.Clone(s[:min(len(s), maxErrorText)]))
	}
	return nil
}

// kindPriority lists the kinds that the code or the wording of an error can mean, the most specific
// first: the consent before the account, and a cause before the fact that something failed. A kind
// that is missing here never decides; the adapters' tests check the kinds of their rules.
var kindPriority = []canonical.Kind{
	canonical.ConsentExpired,
	canonical.ConsentInvalid,
	canonical.AccountUnknown,
	canonical.UnattendedLimit,
	canonical.ProviderRejected,
	canonical.ProviderUnavailable,
	canonical.ProviderError,
}

// MoreSpecific reports whether kind a is more specific than kind b, which may be "". It decides
// between several errors in one response.
func MoreSpecific(a, b canonical.Kind) bool {
	rankA, rankB := slices.Index(kindPriority, a), slices.Index(kindPriority, b)
	return rankA >= 0 && (rankB < 0 || rankA < rankB)
}

// IsErrorKind reports whether the code of an error response can mean a kind.
func IsErrorKind(k canonical.Kind) bool { return slices.Contains(kindPriority, k) }

// FormatError returns the error for a query with faults.
func FormatError(faults ...canonical.FieldError) *canonical.Error {
	return &canonical.Error{Kind: canonical.FormatError, Origin: canonical.OriginGateway, Faults: faults}
}

// CheckQuery returns the error for a query that does not meet the requirements; nil if it does.
func CheckQuery(q canonical.Query, r providers.Requirements) *canonical.Error {
	if faults := r.Check(q); faults != nil {
		return FormatError(faults...)
	}
	return nil
}

// CheckAccount is CheckQuery for a read of the balances of an account, whose id must be valid.
func CheckAccount(q canonical.Query, r providers.Requirements, accountID string) *canonical.Error {
	faults := r.Check(q)
	if !ValidAccountID(accountID) {
		faults = append(faults, canonical.FieldError{In: "path", Name: "accountId", Detail: "cannot be an account's identifier"})
	}
	if faults != nil {
		return FormatError(faults...)
	}
	return nil
}

// WrongRequest returns the error for a response, of the given status, to another request.
func WrongRequest(status int) *canonical.Error {
	failure := canonical.InvalidResponse("the response belongs to another request")
	failure.Upstream = canonical.NewUpstreamError(status, "", "")
	return failure
}
