package berlingroup

import (
	"cmp"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

type (
	// wireAccounts is one page of the account list.
	wireAccounts struct {
		Accounts []*wireAccount              `json:"accounts"` // nil if it is missing
		Links    adapter.Optional[wireLinks] `json:"_links"`
		dialect.Messages
	}
	wireAccount struct {
		ResourceID      adapter.Text                `json:"resourceId"`
		Currency        adapter.Text                `json:"currency"`
		CashAccountType adapter.Text                `json:"cashAccountType"`
		Product         adapter.Text                `json:"product"`
		Status          adapter.Text                `json:"status"`
		Usage           adapter.Text                `json:"usage"`
		Name            adapter.Text                `json:"name"`
		DisplayName     adapter.Text                `json:"displayName"`
		OwnerName       adapter.Text                `json:"ownerName"`
		Links           adapter.Optional[wireLinks] `json:"_links"`
		Balances        json.RawMessage             `json:"balances"` // decoded only if they were asked for
		wireNumbers
	}
	wireNumbers struct {
		IBAN      adapter.Text `json:"iban"`
		BBAN      adapter.Text `json:"bban"`
		MaskedPAN adapter.Text `json:"maskedPan"`
		PAN       adapter.Text `json:"pan"`
		MSISDN    adapter.Text `json:"msisdn"`
	}
	// wireBalances is one page of the balances of an account.
	wireBalances struct {
		Account         adapter.Optional[wireReference] `json:"account"`
		Balances        []*wireBalance                  `json:"balances"` // nil if it is missing
		DebitAccounting json.RawMessage                 `json:"debitAccounting"`
		Links           adapter.Optional[wireLinks]     `json:"_links"`
		dialect.Messages
	}
	wireReference struct {
		ResourceID adapter.Text `json:"resourceId"` // not in the standard
		wireNumbers
	}
	wireBalance struct {
		Amount struct {
			Currency adapter.Text   `json:"currency"`
			Amount   adapter.Number `json:"amount"` // signed
		} `json:"balanceAmount"`
		Type          adapter.Text `json:"balanceType"`
		ReferenceDate adapter.Text `json:"referenceDate"`
		LastChange    adapter.Text `json:"lastChangeDateTime"`
	}
	wireLinks struct {
		Next     wireLink `json:"next"`
		Account  wireLink `json:"account"`
		Balances wireLink `json:"balances"`
	}
)

// wireLink is the URL of a link, which is an object with href, or a text.
type wireLink adapter.Text

// UnmarshalJSON implements json.Unmarshaler.
func (l *wireLink) UnmarshalJSON(raw []byte) error {
	if raw[0] != '{' {
		return (*adapter.Text)(l).UnmarshalJSON(raw)
	}
	var object struct {
		Href adapter.Text `json:"href"`
	}
	err := json.Unmarshal(raw, &object)
	*l = wireLink(object.Href)
	return err
}

// next returns the link to the next page; "" if there is none.
func (l *wireLinks) next() string {
	if l == nil {
		return ""
	}
	return string(l.Next)
}

// accountID returns the id in the link to the account's balances or to the account; "" if there is
// none. Nothing else of these links is used: they are never followed.
func (l *wireLinks) accountID() string {
	if l == nil {
		return ""
	}
	u, err := url.Parse(string(cmp.Or(l.Balances, l.Account)))
	if err != nil {
		return ""
	}
	path := strings.TrimSuffix("/"+u.EscapedPath(), "/balances")
	end := strings.LastIndexByte(path, '/')
	if !strings.HasSuffix(path[:end], "/accounts") {
		return ""
	}
	id, err := url.PathUnescape(path[end+1:])
	if err != nil {
		return ""
	}
	return id
}

// identify returns the identifications of an account.
func (w *wireNumbers) identify(card bool) (first canonical.Identification, others []canonical.Identification) {
	return canonical.IdentifyAll(card,
		canonical.Identification{Scheme: canonical.SchemeIBAN, Value: string(w.IBAN)},
		canonical.Identification{Scheme: canonical.SchemeBBAN, Value: string(w.BBAN)},
		canonical.Identification{Scheme: canonical.SchemePAN, Value: string(w.MaskedPAN)},
		canonical.Identification{Scheme: canonical.SchemePAN, Value: string(w.PAN)},
		canonical.Identification{Scheme: canonical.SchemeProvider, Value: string(w.MSISDN)})
}

// accountList collects the accounts of all pages.
type accountList struct {
	adapter.AccountList
	withBalances bool
	balances     [][]canonical.Balance // of each account, if withBalances; nil for an account without
}

// addPage adds the accounts of a page.
func (l *accountList) addPage(w wireAccounts, types map[string]canonical.BalanceType) error {
	if err := w.ErrorInSuccess(); err != nil {
		return err
	}
	if w.Accounts == nil {
		return canonical.InvalidResponse("the list of accounts is missing")
	}
	for _, wa := range w.Accounts {
		if wa == nil {
			return canonical.InvalidResponse("an account is null")
		}
		account, number, card := wa.account()
		index, added, err := l.Add(account, number, card)
		if err != nil {
			return err
		}
		if !l.withBalances {
			continue
		}
		balances, err := wa.balances(types)
		switch {
		case err != nil:
			return err
		case added:
			l.balances = append(l.balances, balances)
		case !reflect.DeepEqual(l.balances[index], balances):
			return canonical.InvalidResponse("an account is listed twice with different balances")
		}
	}
	return nil
}

// holderTypes maps the words of usage, in lower case.
var holderTypes = map[string]string{"priv": "personal", "orga": "business"}

// multiCurrency is the currency of an account with several (ISO 4217: no currency).
const multiCurrency = "XXX"

// account returns the account, its numbers as received, and whether it is a card account.
func (w *wireAccount) account() (_ canonical.Account, number string, card bool) {
	card = canonical.IsCardWord(string(w.CashAccountType)) || w.PAN != "" || w.MaskedPAN != ""
	first, others := w.identify(card)
	a := canonical.Account{
		ID:                   w.ResourceID.NonBlank(),
		Identification:       first,
		OtherIdentifications: others,
		Currency:             w.Currency.NonBlank(),
		Type:                 canonical.ParseAccountType(string(w.CashAccountType)),
		ProviderType:         cmp.Or(w.CashAccountType.NonBlank(), w.Product.NonBlank()),
		Status:               lower(w.Status),
		HolderType:           lower(w.Usage),
		HolderName:           w.OwnerName.NonBlank(),
		Name:                 w.Name.NonBlank(),
		Nickname:             w.DisplayName.NonBlank(),
	}
	if a.ID == "" {
		a.ID = w.Links.Value.accountID()
	}
	if a.Currency == multiCurrency {
		a.Currency = ""
	}
	if word, ok := holderTypes[a.HolderType]; ok {
		a.HolderType = word
	}
	return a, string(w.IBAN + w.BBAN + w.MaskedPAN + w.PAN + w.MSISDN), card
}

func lower(t adapter.Text) string { return strings.ToLower(strings.TrimSpace(string(t))) }

// balances returns the balances in an entry of the account list; nil if there are none.
func (w *wireAccount) balances(types map[string]canonical.BalanceType) ([]canonical.Balance, error) {
	var list []*wireBalance
	if w.Balances == nil {
		return nil, nil
	}
	if err := adapter.Decode(w.Balances, &list); err != nil || list == nil {
		return nil, err
	}
	return readBalances(list, types)
}

// addTo adds the balances of a page to those of the requested account.
func (w wireBalances) addTo(found *canonical.AccountBalances, requested string, types map[string]canonical.BalanceType) error {
	if err := w.ErrorInSuccess(); err != nil {
		return err
	}
	switch {
	case w.Balances == nil:
		return canonical.InvalidResponse("the list of balances is missing")
	case !adapter.IsEmpty(w.DebitAccounting):
		return canonical.InvalidResponse("debits are positive (debitAccounting), which the standard does not define for accounts")
	}
	if account := w.Account.Value; account != nil {
		if account.ResourceID != "" && string(account.ResourceID) != requested {
			return canonical.InvalidResponse("the response is about another account")
		}
		// The response does not show whether the account is a card account.
		found.Identification, _ = account.identify(canonical.IsCardID(string(account.IBAN + account.BBAN)))
	}
	balances, err := readBalances(w.Balances, types)
	found.Balances = append(found.Balances, balances...)
	return err
}

func readBalances(list []*wireBalance, types map[string]canonical.BalanceType) ([]canonical.Balance, error) {
	balances := make([]canonical.Balance, 0, len(list))
	for _, w := range list {
		if w == nil {
			return nil, canonical.InvalidResponse("a balance is null")
		}
		amount, err := canonical.ParseAmount(withoutPlus(string(w.Amount.Amount)), string(w.Amount.Currency))
		if err != nil {
			return nil, canonical.InvalidResponse("a balance's " + err.Error())
		}
		b := canonical.Balance{Type: dialect.BalanceType(string(w.Type), types), ProviderType: w.Type.NonBlank(), Amount: amount}
		b.ReferenceTime, b.ReferenceDate, b.ProviderDateTime = w.reference()
		balances = append(balances, b)
	}
	return balances, nil
}

// withoutPlus returns a number without a plus sign, unless another sign follows.
func withoutPlus(number string) string {
	if unsigned, signed := strings.CutPrefix(number, "+"); signed && !strings.HasPrefix(unsigned, "-") {
		return unsigned
	}
	return number
}

// reference returns the reference of a balance: the time of lastChangeDateTime and the date of
// referenceDate. Each of the two can contain the other's form. unread is what is neither.
func (w *wireBalance) reference() (at time.Time, date, unread string) {
	at, changed, unreadChange := canonical.ParseReference(string(w.LastChange))
	other, date, unreadDate := canonical.ParseReference(string(w.ReferenceDate))
	return cmp.Or(at, other), cmp.Or(date, changed), cmp.Or(unreadChange, unreadDate)
}
