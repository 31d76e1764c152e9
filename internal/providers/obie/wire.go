package obie

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// wirePage is one page of any response.
type wirePage struct {
	Data struct {
		Account []*wireAccount `json:"Account"` // nil if it is missing
		Balance []*wireBalance `json:"Balance"` // nil if it is missing
	} `json:"Data"`
	Links  adapter.Optional[wireLinks] `json:"Links"`
	Meta   adapter.Optional[wireMeta]  `json:"Meta"`
	Errors json.RawMessage             `json:"Errors"`
}

type wireLinks struct {
	Next adapter.Text `json:"Next"`
}

type wireMeta struct {
	TotalPages adapter.Number `json:"TotalPages"`
}

// next returns the link to the next page, "" if there is none, and the number of all pages, 0 if it
// cannot be read.
func (w wirePage) next() (link string, total int) {
	if w.Links.Value != nil {
		link = string(w.Links.Value.Next)
	}
	if w.Meta.Value != nil {
		total, _ = strconv.Atoi(string(w.Meta.Value.TotalPages))
	}
	return link, total
}

type wireAccount struct {
	AccountID   adapter.Text  `json:"AccountId"`
	Currency    adapter.Text  `json:"Currency"`
	Status      adapter.Text  `json:"Status"`
	Nickname    adapter.Text  `json:"Nickname"`
	Description adapter.Text  `json:"Description"`
	Numbers     []*wireNumber `json:"Account"`

	// Version 3.
	AccountType    adapter.Text `json:"AccountType"`
	AccountSubType adapter.Text `json:"AccountSubType"`

	// Version 4.
	AccountCategory adapter.Text `json:"AccountCategory"`
	AccountTypeCode adapter.Text `json:"AccountTypeCode"`
}

type wireNumber struct {
	SchemeName     adapter.Text `json:"SchemeName"`
	Identification adapter.Text `json:"Identification"`
	Name           adapter.Text `json:"Name"`
}

type wireBalance struct {
	AccountID adapter.Text `json:"AccountId"`
	Indicator adapter.Text `json:"CreditDebitIndicator"`
	Type      adapter.Text `json:"Type"`
	DateTime  adapter.Text `json:"DateTime"`
	Amount    struct {
		Amount   adapter.Number `json:"Amount"`
		Currency adapter.Text   `json:"Currency"`
		SubType  adapter.Text   `json:"SubType"`
	} `json:"Amount"`
}

// schemes maps the values of SchemeName, in lower case and without UK.OBIE. before them. Paym (a
// phone number), Wallet and any other name are SchemeProvider.
var schemes = map[string]canonical.Scheme{
	"iban":                  canonical.SchemeIBAN,
	"sortcodeaccountnumber": canonical.SchemeSortCode,
	"bban":                  canonical.SchemeBBAN,
	"pan":                   canonical.SchemePAN,
}

// accountTypes maps the values of AccountSubType, in lower case. EMoney, PrePaidCard and Wallet have
// no ISO code.
var accountTypes = map[string]canonical.AccountType{
	"currentaccount": "CACC",
	"savings":        "SVGS",
	"creditcard":     "CARD",
	"chargecard":     "CARD",
	"loan":           "LOAN",
	"mortgage":       "LOAN",
}

// balanceTypes maps the values of Type in version 3, in lower case. ClosingCleared, InterimCleared
// and OpeningCleared have no ISO code.
var balanceTypes = map[string]canonical.BalanceType{
	"closingavailable":       canonical.ClosingAvailable,
	"closingbooked":          canonical.ClosingBooked,
	"expected":               canonical.ExpectedBalance,
	"forwardavailable":       canonical.ForwardAvailable,
	"information":            canonical.Information,
	"interimavailable":       canonical.InterimAvailable,
	"interimbooked":          canonical.InterimBooked,
	"openingavailable":       canonical.OpeningAvailable,
	"openingbooked":          canonical.OpeningBooked,
	"previouslyclosedbooked": canonical.PreviouslyClosedBooked,
}

// indicators maps the values of CreditDebitIndicator, in lower case.
var indicators = map[string]canonical.Indicator{"credit": canonical.Credit, "debit": canonical.Debit}

// localCurrency are the values of SubType, in lower case, of an amount that repeats a balance in
// another currency.
var localCurrency = []string{"localcurrency", "lcur"}

// readPage decodes one page of a response to the query.
func readPage(q canonical.Query, resp providers.Response) (wirePage, error) {
	var page wirePage
	if failure := checkInteractionID(q, resp); failure != nil {
		return page, failure
	}
	if err := adapter.Decode(resp.Body, &page); err != nil {
		return page, err
	}
	if !adapter.IsEmpty(page.Errors) {
		return page, canonical.InvalidResponse("the response is both a success and an error")
	}
	return page, nil
}

// addAccounts adds the accounts of the page to the list.
func (w wirePage) addAccounts(list *adapter.AccountList, version string) error {
	if w.Data.Account == nil {
		return canonical.InvalidResponse("the list of accounts is missing")
	}
	for _, account := range w.Data.Account {
		if account == nil || slices.Contains(account.Numbers, nil) {
			return canonical.InvalidResponse("an account or a number of it is null")
		}
		a, card := account.account(version)
		if _, _, err := list.Add(a, account.allNumbers(), card); err != nil {
			return err
		}
	}
	return nil
}

// allNumbers returns the numbers of the account as received.
func (w *wireAccount) allNumbers() string {
	var all strings.Builder
	for _, n := range w.Numbers {
		all.WriteString(string(n.SchemeName + " " + n.Identification + " "))
	}
	return all.String()
}

// account returns the account, and whether it is a card account.
func (w *wireAccount) account(version string) (_ canonical.Account, card bool) {
	kind, holder := w.AccountSubType, w.AccountType
	if version == version4 {
		kind, holder = w.AccountTypeCode, w.AccountCategory
	}
	a := canonical.Account{
		ID:           w.AccountID.NonBlank(),
		Currency:     w.Currency.NonBlank(),
		Type:         accountType(string(kind)),
		ProviderType: kind.NonBlank(),
		Status:       normalize(w.Status),
		HolderType:   normalize(holder),
		Name:         w.Description.NonBlank(),
		Nickname:     w.Nickname.NonBlank(),
	}
	card = canonical.IsCardWord(string(kind))
	numbers := make([]canonical.Identification, 0, len(w.Numbers))
	for _, n := range w.Numbers {
		scheme := schemeOf(n.SchemeName)
		card = card || scheme == canonical.SchemePAN
		numbers = append(numbers, canonical.Identification{Scheme: scheme, Value: string(n.Identification)})
		if a.HolderName == "" {
			a.HolderName = n.Name.NonBlank()
		}
	}
	a.Identification, a.OtherIdentifications = canonical.IdentifyAll(card, numbers...)
	return a, card
}

// accountType returns the ISO code of a word of version 3, or a code of version 4.
func accountType(word string) canonical.AccountType {
	if code, ok := accountTypes[strings.ToLower(strings.TrimSpace(word))]; ok {
		return code
	}
	return canonical.ParseAccountType(word)
}

// schemeOf returns the scheme of a SchemeName, which may lack its prefix.
func schemeOf(name adapter.Text) canonical.Scheme {
	if scheme, ok := schemes[strings.TrimPrefix(normalize(name), "uk.obie.")]; ok {
		return scheme
	}
	return canonical.SchemeProvider
}

// balanceSet collects the balances of all pages, in their order.
type balanceSet []accountBalance

type accountBalance struct {
	account string
	local   bool // in the local currency: it repeats the balance of its type in the base currency
	canonical.Balance
}

// add adds the balances of a page. account is the account that was asked for, "" for all accounts.
func (s *balanceSet) add(page wirePage, account string) error {
	if page.Data.Balance == nil {
		return canonical.InvalidResponse("the list of balances is missing")
	}
	for _, b := range page.Data.Balance {
		if b == nil {
			return canonical.InvalidResponse("a balance is null")
		}
		id := cmp.Or(b.AccountID.NonBlank(), account)
		switch {
		case account != "" && id != account:
			return canonical.InvalidResponse("the response is about another account")
		case !adapter.ValidAccountID(id):
			return canonical.InvalidResponse("a balance's account id is missing, too long or not addressable")
		}
		balance, err := b.balance()
		if err != nil {
			return err
		}
		*s = append(*s, accountBalance{id, slices.Contains(localCurrency, normalize(b.Amount.SubType)), balance})
	}
	return nil
}

// byAccount returns the balances by account id. A balance in the local currency is one of them only if
// the account has none of its type in the base currency.
func (s balanceSet) byAccount() map[string]canonical.AccountBalances {
	type key struct{ account, word string }
	keyOf := func(b accountBalance) key { return key{b.account, normalize(adapter.Text(b.ProviderType))} }
	inBase := map[key]bool{}
	for _, b := range s {
		inBase[keyOf(b)] = inBase[keyOf(b)] || !b.local
	}
	all := map[string]canonical.AccountBalances{}
	for _, b := range s {
		if !b.local || !inBase[keyOf(b)] {
			all[b.account] = canonical.AccountBalances{Balances: append(all[b.account].Balances, b.Balance)}
		}
	}
	return all
}

// balance returns the balance.
func (w *wireBalance) balance() (canonical.Balance, error) {
	indicator, ok := indicators[normalize(w.Indicator)]
	if !ok {
		return canonical.Balance{}, canonical.InvalidResponse("a balance has no readable CreditDebitIndicator")
	}
	if strings.HasPrefix(string(w.Amount.Amount), "-") {
		return canonical.Balance{}, canonical.InvalidResponse("a balance's amount has a sign beside its CreditDebitIndicator")
	}
	amount, err := canonical.ParseIndicatedAmount(string(w.Amount.Amount), string(w.Amount.Currency), indicator)
	if err != nil {
		return canonical.Balance{}, canonical.InvalidResponse("a balance's " + err.Error())
	}
	b := canonical.Balance{
		Type:         canonical.ParseBalanceType(string(w.Type), balanceTypes),
		ProviderType: w.Type.NonBlank(), Amount: amount,
	}
	b.ReferenceTime, b.ReferenceDate, b.ProviderDateTime = canonical.ParseReference(string(w.DateTime))
	return b, nil
}

// normalize returns a word in the form of the tables: in lower case, without outer white space.
func normalize(word adapter.Text) string { return strings.ToLower(strings.TrimSpace(string(word))) }
