package dialect

import (
	"encoding/json"
	"slices"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
)

// BalanceTypes maps Berlin Group's balance types, in lower case.
var BalanceTypes = map[string]canonical.BalanceType{
	"closingbooked":    canonical.ClosingBooked,
	"openingbooked":    canonical.OpeningBooked,
	"interimbooked":    canonical.InterimBooked,
	"interimavailable": canonical.InterimAvailable,
	"forwardavailable": canonical.ForwardAvailable,
	"expected":         canonical.ExpectedBalance,
}

// Messages are the members of a successful response that may contain warnings. An adapter embeds it
// into its wire types.
type Messages struct {
	TPPMessages      json.RawMessage `json:"tppMessages"`
	AdditionalErrors json.RawMessage `json:"additionalErrors"`
}

// ErrorInSuccess returns ProviderInvalidResponse if the messages contain more than warnings.
func (m Messages) ErrorInSuccess() error {
	for _, raw := range []json.RawMessage{m.TPPMessages, m.AdditionalErrors} {
		if reportsError(raw) {
			return canonical.InvalidResponse("the response is both a success and an error")
		}
	}
	return nil
}

// reportsError reports whether a list of messages, or one message, contains more than warnings.
func reportsError(raw json.RawMessage) bool {
	if adapter.IsEmpty(raw) {
		return false
	}
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		all = []json.RawMessage{raw}
	}
	return slices.ContainsFunc(all, func(raw json.RawMessage) bool {
		var m wireMessage
		_ = json.Unmarshal(raw, &m) // anything but an object is not a warning
		return !adapter.IsEmpty(raw) && !m.isWarning()
	})
}
