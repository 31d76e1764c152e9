package mypos

import (
	"encoding/json"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

// balanceTypes maps the provider's own balance types. All others are those of Berlin Group, on whose
// standard its API is based.
var balanceTypes = map[string]canonical.BalanceType{"available": canonical.InterimAvailable}

// wireAccounts is one page of GET /v1/accounts.
type wireAccounts struct {
	Accounts   []*wireAccount             `json:"accounts"` // nil if it is missing
	Pagination map[string]json.RawMessage `json:"pagination"`
	dialect.Messages
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
	Balances []*wireBalance                   `json:"balances"` // nil if it is missing
	dialect.Messages
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

// account returns the account, and whether it is a card account.
func (w *wireAccount) account() (_ canonical.Account, card bool) {
	card = canonical.IsCardWord(string(w.CashAccountType))
	first, others := identify(card, w.IBAN, w.AccountNumber)
	return canonical.Account{
		ID:                   string(w.AccountNumber),
		Identification:       first,
		OtherIdentifications: others,
		Currency:             w.Currency.NonBlank(),
		Type:                 canonical.ParseAccountType(string(w.CashAccountType)),
		ProviderType:         w.CashAccountType.NonBlank(),
		Status:               strings.ToLower(strings.TrimSpace(string(w.Status))),
		Name:                 w.Name.NonBlank(),
	}, card
}

// identify returns the identifications of an account by its IBAN and its number, each of which may
// be "".
func identify(card bool, iban, number adapter.Text) (first canonical.Identification, others []canonical.Identification) {
	return canonical.IdentifyAll(card,
		canonical.Identification{Scheme: canonical.SchemeIBAN, Value: string(iban)},
		canonical.Identification{Scheme: canonical.SchemeProvider, Value: string(number)})
}

// balances returns the balances of the requested account.
func (w wireBalances) balances(requested string) (canonical.AccountBalances, error) {
	if err := w.ErrorInSuccess(); err != nil {
		return canonical.AccountBalances{}, err
	}
	if w.Balances == nil {
		return canonical.AccountBalances{}, canonical.InvalidResponse("the list of balances is missing")
	}
	result := canonical.AccountBalances{Balances: make([]canonical.Balance, 0, len(w.Balances))}
	if account := w.Account.Value; account != nil {
		number := account.AccountNumber
		if number != "" && string(number) != requested {
			return canonical.AccountBalances{}, canonical.InvalidResponse("the response is about another account")
		}
		// The response does not show whether the account is a card account.
		result.Identification, _ = identify(canonical.IsCardID(string(account.IBAN)), account.IBAN, number)
	}
	for _, b := range w.Balances {
		if b == nil {
			return canonical.AccountBalances{}, canonical.InvalidResponse("a balance is null")
		}
		balance, err := dialect.NewBalance(string(b.Amount), string(b.Currency), string(b.BalanceType), balanceTypes)
		if err != nil {
			return canonical.AccountBalances{}, err
		}
		result.Balances = append(result.Balances, balance)
	}
	return result, nil
}
