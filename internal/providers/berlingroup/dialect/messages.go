package dialect

import (
	"encoding/json"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
)

// balanceTypes maps Berlin Group's balance types, in the form of BalanceWord.
var balanceTypes = map[string]canonical.BalanceType{
	"closingbooked":          canonical.ClosingBooked,
	"previouslyclosedbooked": canonical.PreviouslyClosedBooked, // not in the standard, but seen
	"openingbooked":          canonical.OpeningBooked,
	"interimbooked":          canonical.InterimBooked,
	"interimavailable":       canonical.InterimAvailable,
	"forwardavailable":       canonical.ForwardAvailable,
	"expected":               canonical.ExpectedBalance,
}

// BalanceWord returns the form of a balance type in which spellings of it are equal: in lower case,
// without underscores and outer white space.
func BalanceWord(word string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(word), "_", ""))
}

// BalanceType returns the balance type of a provider's word: a row of own, whose keys have the form
// of BalanceWord, else that of the standard or the ISO code. For any other word it returns
// BalanceTypeOther.
func BalanceType(word string, own map[string]canonical.BalanceType) canonical.BalanceType {
	word = BalanceWord(word)
	if t, ok := own[word]; ok {
		return t
	}
	return canonical.ParseBalanceType(word, balanceTypes)
}

// NewBalance returns the balance of a signed amount and a balance type, see BalanceType. A plus sign
// is accepted. The error for any other form of an amount is ProviderInvalidResponse.
func NewBalance(number, currency, word string, own map[string]canonical.BalanceType) (canonical.Balance, error) {
	if unsigned, plus := strings.CutPrefix(number, "+"); plus && !strings.HasPrefix(unsigned, "-") {
		number = unsigned
	}
	amount, err := canonical.ParseAmount(number, currency)
	if err != nil {
		return canonical.Balance{}, canonical.InvalidResponse("a balance's " + err.Error())
	}
	return canonical.Balance{Type: BalanceType(word, own), ProviderType: adapter.Text(word).NonBlank(), Amount: amount}, nil
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
