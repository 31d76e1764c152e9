package mypos

import (
	"encoding/json"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/upstream"
)

// balanceTypes are the provider's words for a balance, in lower case: its own, and Berlin Group's, on whose
// standard its API is based.
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

// wireMessages are what a success must not have, apart from warnings.
type wireMessages struct {
	TPPMessages      json.RawMessage `json:"tppMessages"`
	AdditionalErrors json.RawMessage `json:"additionalErrors"`
}

// errAtOnce is the error of a success that reports an error, if it does.
func (w wireMessages) errAtOnce() error {
	for _, raw := range []json.RawMessage{w.TPPMessages, w.AdditionalErrors} {
		if reportsError(raw) {
			return canonical.InvalidResponse("the answer is a success and an error at once")
		}
	}
	return nil
}

// reportsError reports whether messages, or one alone, hold more than warnings.
func reportsError(raw json.RawMessage) bool {
	if upstream.Empty(raw) {
		return false
	}
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		all = []json.RawMessage{raw}
	}
	return slices.ContainsFunc(all, func(raw json.RawMessage) bool {
		var m wireMessage
		_ = json.Unmarshal(raw, &m) // what is no object is no warning
		return !upstream.Empty(raw) && !m.isWarning()
	})
}

type wireAccount struct {
	AccountNumber   upstream.Text `json:"accountNumber"`
	IBAN            upstream.Text `json:"iban"`
	Currency        upstream.Text `json:"currency"`
	Status          upstream.Text `json:"status"`
	Name            upstream.Text `json:"name"`
	CashAccountType upstream.Text `json:"cashAccountType"`
}

// wireBalances is the answer of GET /v1/accounts/{accountNumber}/balances.
type wireBalances struct {
	Account  upstream.Part[wireIdentifier] `json:"account"`
	Balances *[]*wireBalance               `json:"balances"`
	wireMessages
}

type wireIdentifier struct {
	AccountNumber upstream.Text `json:"accountNumber"`
	IBAN          upstream.Text `json:"iban"`
}

type wireBalance struct {
	Amount      upstream.Number `json:"amount"` // signed
	Currency    upstream.Text   `json:"currency"`
	BalanceType upstream.Text   `json:"balanceType"`
}

func (w *wireAccount) account() (canonical.Account, error) {
	if w == nil {
		return canonical.Account{}, canonical.InvalidResponse("an account is null")
	}
	id, currency := string(w.AccountNumber), w.Currency.Stated()
	card := canonical.IsCardWord(string(w.CashAccountType))
	switch {
	case !upstream.ValidAccountID(id):
		return canonical.Account{}, canonical.InvalidResponse("an account has no number that it can be asked for by")
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
		ProviderType:         w.CashAccountType.Stated(),
		Status:               strings.ToLower(strings.TrimSpace(string(w.Status))),
		Name:                 w.Name.Stated(),
	}, nil
}

// identify makes identifications of the two numbers that an account may have.
func identify(card bool, iban, number upstream.Text) (first canonical.Identification, others []canonical.Identification) {
	return canonical.IdentifyAll(card,
		canonical.Identification{Scheme: canonical.SchemeIBAN, Value: string(iban)},
		canonical.Identification{Scheme: canonical.SchemeProvider, Value: string(number)})
}

// balances is what the response says of the account that was requested.
func (w wireBalances) balances(requested string) (canonical.AccountBalances, error) {
	if err := w.errAtOnce(); err != nil {
		return canonical.AccountBalances{}, err
	}
	if w.Balances == nil {
		return canonical.AccountBalances{}, canonical.InvalidResponse("the list of balances is missing")
	}
	result := canonical.AccountBalances{Balances: make([]canonical.Balance, 0, len(*w.Balances))}
	if account := w.Account.Value; account != nil {
		number := account.AccountNumber
		if number != "" && string(number) != requested {
			return canonical.AccountBalances{}, canonical.InvalidResponse("the answer is about another account")
		}
		// The response does not say whether the account is a card's.
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
			ProviderType: b.BalanceType.Stated(),
			Amount:       amount,
		})
	}
	return result, nil
}
