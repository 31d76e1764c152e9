package mypos

import (
	"encoding/json"
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
}

type wireIdentifier struct {
	AccountNumber *upstream.Text `json:"accountNumber"`
	IBAN          upstream.Text  `json:"iban"`
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
	id, currency := string(w.AccountNumber), string(w.Currency)
	card := canonical.IsCardWord(string(w.CashAccountType))
	switch {
	case !upstream.Addressable(id):
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
		ProviderType:         string(w.CashAccountType),
		Status:               strings.ToLower(strings.TrimSpace(string(w.Status))),
		Name:                 string(w.Name),
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
	if w.Balances == nil {
		return canonical.AccountBalances{}, canonical.InvalidResponse("the list of balances is missing")
	}
	result := canonical.AccountBalances{Balances: make([]canonical.Balance, 0, len(*w.Balances))}
	if account := w.Account.Value; account != nil {
		var number upstream.Text
		if account.AccountNumber != nil {
			if number = *account.AccountNumber; string(number) != requested {
				return canonical.AccountBalances{}, canonical.InvalidResponse("the answer is about another account")
			}
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
			ProviderType: string(b.BalanceType),
			Amount:       amount,
		})
	}
	return result, nil
}
