package mypos

import (
	"encoding/json"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
)

// balanceTypes maps the provider's balance types, in lower case: its own, and those of the Berlin Group standard, on which its
// API is based.
var balanceTypes = map[string]canonical.BalanceType{
	"available":        canonical.InterimAvailable,
	"closingbooked":    canonical.ClosingBooked,
	"openingbooked":    canonical.OpeningBooked,
	"interimbooked":    canonical.InterimBooked,
	"interimavailable": canonical.InterimAvailable,
	"forwardavailable": canonical.ForwardAvailable,
	"expected":         canonical.ExpectedBalance,
}

// wireAccounts is one page of GET /v1/accounts.
type wireAccounts struct {
	Accounts   *[]*wireAccount            `json:"accounts"`
	Pagination map[string]json.RawMessage `json:"pagination"`
	wireMessages
}

// wireMessages are members that a success may only have with warnings.
type wireMessages struct {
	TPPMessages      json.RawMessage `json:"tppMessages"`
	AdditionalErrors json.RawMessage `json:"additionalErrors"`
}

// errorInSuccess returns ProviderInvalidResponse if a success contains an error message.
func (w wireMessages) errorInSuccess() error {
	for _, raw := range []json.RawMessage{w.TPPMessages, w.AdditionalErrors} {
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

type wireAccount struct {
	AccountNumber   adapter.Text `json:"accountNumber"`
	IBAN            adapter.Text `json:"iban"`
	Currency        adapter.Text `json:"currency"`
	Status          adapter.Text `json:"status"`
	Name            adapter.Text `json:"name"`
	CashAccountType adapter.Text `json:"cashAccountType"`
}

// wireBalances is the response of GET /v1/accounts/{accountNumber}/balances.
type wireBalances struct {
	Account  adapter.Optional[wireIdentifier] `json:"account"`
	Balances *[]*wireBalance                  `json:"balances"`
	wireMessages
}

type wireIdentifier struct {
	AccountNumber adapter.Text `json:"accountNumber"`
	IBAN          adapter.Text `json:"iban"`
}

type wireBalance struct {
	Amount      adapter.Number `json:"amount"` // signed
	Currency    adapter.Text   `json:"currency"`
	BalanceType adapter.Text   `json:"balanceType"`
}

func (w *wireAccount) account() (canonical.Account, error) {
	if w == nil {
		return canonical.Account{}, canonical.InvalidResponse("an account is null")
	}
	id, currency := string(w.AccountNumber), w.Currency.NonBlank()
	card := canonical.IsCardWord(string(w.CashAccountType))
	switch {
	case !adapter.ValidAccountID(id):
		return canonical.Account{}, canonical.InvalidResponse("an account's number is missing, too long or not addressable")
	case card && canonical.IsCardID(id):
		return canonical.Account{}, canonical.InvalidResponse("an account's number is a full card number")
	case currency != "" && !canonical.ValidCurrency(currency):
		return canonical.Account{}, canonical.InvalidResponse("an account's currency is not three capital letters")
	}
	first, others := identify(card, w.IBAN, w.AccountNumber)
	return canonical.Account{
		ID:                   id,
		Identification:       first,
		OtherIdentifications: others,
		Currency:             currency,
		Type:                 canonical.ParseAccountType(string(w.CashAccountType)),
		ProviderType:         w.CashAccountType.NonBlank(),
		Status:               strings.ToLower(strings.TrimSpace(string(w.Status))),
		Name:                 w.Name.NonBlank(),
	}, nil
}

// identify returns the identifications of an account by its IBAN and its number, each of which may be "".
func identify(card bool, iban, number adapter.Text) (first canonical.Identification, others []canonical.Identification) {
	return canonical.IdentifyAll(card,
		canonical.Identification{Scheme: canonical.SchemeIBAN, Value: string(iban)},
		canonical.Identification{Scheme: canonical.SchemeProvider, Value: string(number)})
}

// balances returns the balances of the requested account.
func (w wireBalances) balances(requested string) (canonical.AccountBalances, error) {
	if err := w.errorInSuccess(); err != nil {
		return canonical.AccountBalances{}, err
	}
	if w.Balances == nil {
		return canonical.AccountBalances{}, canonical.InvalidResponse("the list of balances is missing")
	}
	result := canonical.AccountBalances{Balances: make([]canonical.Balance, 0, len(*w.Balances))}
	if account := w.Account.Value; account != nil {
		number := account.AccountNumber
		if number != "" && string(number) != requested {
			return canonical.AccountBalances{}, canonical.InvalidResponse("the response is about another account")
		}
		// The response does not show whether the account is a card account.
		result.Identification, _ = identify(canonical.IsCardID(string(account.IBAN)), account.IBAN, number)
	}
	for _, b := range *w.Balances {
		if b == nil {
			return canonical.AccountBalances{}, canonical.InvalidResponse("a balance is null")
		}
		amount, err := canonical.ParseAmount(string(b.Amount), string(b.Currency))
		if err != nil {
			return canonical.AccountBalances{}, canonical.InvalidResponse("a balance's " + err.Error())
		}
		result.Balances = append(result.Balances, canonical.Balance{
			Type:         canonical.ParseBalanceType(string(b.BalanceType), balanceTypes),
			ProviderType: b.BalanceType.NonBlank(),
			Amount:       amount,
		})
	}
	return result, nil
}
