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
	AccountNumber   string `json:"accountNumber"`
	IBAN            string `json:"iban"`
	Currency        string `json:"currency"`
	Status          string `json:"status"`
	Name            string `json:"name"`
	CashAccountType string `json:"cashAccountType"`
}

// wireBalances is the answer of GET /v1/accounts/{accountNumber}/balances.
type wireBalances struct {
	Account struct {
		AccountNumber *string `json:"accountNumber"`
		IBAN          string  `json:"iban"`
	} `json:"account"`
	Balances *[]*wireBalance `json:"balances"`
}

type wireBalance struct {
	Amount      json.Number `json:"amount"` // signed
	Currency    string      `json:"currency"`
	BalanceType string      `json:"balanceType"`
}

func (w *wireAccount) account() (canonical.Account, error) {
	switch {
	case w == nil:
		return canonical.Account{}, canonical.InvalidResponse("an account is null")
	case !upstream.Addressable(w.AccountNumber):
		return canonical.Account{}, canonical.InvalidResponse("an account has no number that it can be asked for by")
	case w.Currency != "" && !canonical.ValidCurrency(w.Currency):
		return canonical.Account{}, canonical.InvalidResponse("an account's currency is not three capital letters")
	}
	identification := canonical.Identify(canonical.SchemeIBAN, w.IBAN)
	if identification == (canonical.Identification{}) {
		identification = canonical.Identify(canonical.SchemeProvider, w.AccountNumber)
	}
	return canonical.Account{
		ID:             w.AccountNumber,
		Identification: identification,
		Currency:       w.Currency,
		Type:           canonical.ParseAccountType(w.CashAccountType),
		ProviderType:   w.CashAccountType,
		Status:         strings.ToLower(strings.TrimSpace(w.Status)),
		Name:           w.Name,
	}, nil
}

// balances is what the answer says of the account that was asked for.
func (w wireBalances) balances(asked string) (canonical.AccountBalances, error) {
	switch {
	case w.Balances == nil:
		return canonical.AccountBalances{}, canonical.InvalidResponse("the list of balances is missing")
	case w.Account.AccountNumber != nil && *w.Account.AccountNumber != asked:
		return canonical.AccountBalances{}, canonical.InvalidResponse("the answer is about another account")
	}
	result := canonical.AccountBalances{
		Identification: canonical.Identify(canonical.SchemeIBAN, w.Account.IBAN),
		Balances:       make([]canonical.Balance, 0, len(*w.Balances)),
	}
	for _, b := range *w.Balances {
		if b == nil {
			return canonical.AccountBalances{}, canonical.InvalidResponse("a balance is null")
		}
		amount, err := canonical.ParseAmount(b.Amount.String(), b.Currency)
		if err != nil {
			return canonical.AccountBalances{}, canonical.InvalidResponse("a balance's " + err.Error())
		}
		result.Balances = append(result.Balances, canonical.Balance{
			Type:         canonical.ParseBalanceType(b.BalanceType, balanceTypes),
			ProviderType: b.BalanceType,
			Amount:       amount,
		})
	}
	return result, nil
}
