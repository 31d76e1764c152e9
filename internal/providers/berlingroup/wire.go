package berlingroup

import (
	"cmp"
	"encoding/json"
	"net/url"
	"path"
	"reflect"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

type (
	// wirePage is one page of the account list, or of the balances of an account.
	wirePage struct {
		Accounts        []*wireAccount                `json:"accounts"` // nil if it is missing
		Account         adapter.Optional[wireAccount] `json:"account"`  // whose balances these are
		Balances        []*wireBalance                `json:"balances"` // nil if it is missing
		DebitAccounting json.RawMessage               `json:"debitAccounting"`
		Links           adapter.Optional[wireLinks]   `json:"_links"`
		dialect.Messages
	}
	wireAccount struct {
		ResourceID      adapter.Text                `json:"resourceId"`
		IBAN            adapter.Text                `json:"iban"`
		BBAN            adapter.Text                `json:"bban"`
		MaskedPAN       adapter.Text                `json:"maskedPan"`
		PAN             adapter.Text                `json:"pan"`
		MSISDN          adapter.Text                `json:"msisdn"`
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
		DebitAccounting json.RawMessage             `json:"debitAccounting"`
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
	wireLink struct {
		Href adapter.Text `json:"href"`
	}
)

// UnmarshalJSON implements json.Unmarshaler. A link is an object with href, or a text.
func (l *wireLink) UnmarshalJSON(raw []byte) error {
	if raw[0] != '{' {
		return l.Href.UnmarshalJSON(raw)
	}
	type object wireLink
	return json.Unmarshal(raw, (*object)(l))
}

// next returns the link to the next page; "" if there is none.
func (w wirePage) next() string {
	if links := w.Links.Value; links != nil {
		return string(links.Next.Href)
	}
	return ""
}

// id returns the account's id: resourceId, else that in the link to its balances, or to the account
// itself; "" if there is none. Nothing else of these links is used: they are never followed.
func (w *wireAccount) id() string {
	if id := w.ResourceID.NonBlank(); id != "" || w.Links.Value == nil {
		return id
	}
	return cmp.Or(w.Links.Value.Balances.id(), w.Links.Value.Account.id())
}

// id returns the account's id in a link: the path segment after the last accounts, unescaped once,
// with nothing but balances after it; "" if there is none.
func (l wireLink) id() string {
	link, err := url.Parse(string(l.Href))
	if err != nil {
		return ""
	}
	parent, segment := path.Split("/" + strings.TrimSuffix(strings.TrimSuffix(link.EscapedPath(), "/"), "/balances"))
	id, err := url.PathUnescape(segment)
	if err != nil || !strings.HasSuffix(parent, "/accounts/") {
		return ""
	}
	return id
}

// isCard reports whether this is a card account.
func (w *wireAccount) isCard() bool {
	return canonical.IsCardWord(string(w.CashAccountType)) || w.PAN != "" || w.MaskedPAN != ""
}

// identify returns the identifications of the account.
func (w *wireAccount) identify() (first canonical.Identification, others []canonical.Identification) {
	return canonical.IdentifyAll(w.isCard(),
		canonical.Identification{Scheme: canonical.SchemeIBAN, Value: string(w.IBAN)},
		canonical.Identification{Scheme: canonical.SchemeBBAN, Value: string(w.BBAN)},
		canonical.Identification{Scheme: canonical.SchemePAN, Value: string(w.MaskedPAN)},
		canonical.Identification{Scheme: canonical.SchemePAN, Value: string(w.PAN)},
		canonical.Identification{Scheme: canonical.SchemeProvider, Value: string(w.MSISDN)})
}

// holderTypes maps the words of usage, in lower case.
var holderTypes = map[string]string{"priv": "personal", "orga": "business"}

// multiCurrency is the currency of an account with several (ISO 4217: no currency).
const multiCurrency = "XXX"

func (w *wireAccount) account() canonical.Account {
	usage := lower(w.Usage)
	a := canonical.Account{
		ID:           w.id(),
		Currency:     w.Currency.NonBlank(),
		Type:         canonical.ParseAccountType(string(w.CashAccountType)),
		ProviderType: cmp.Or(w.CashAccountType.NonBlank(), w.Product.NonBlank()),
		Status:       lower(w.Status),
		HolderType:   cmp.Or(holderTypes[usage], usage),
		HolderName:   w.OwnerName.NonBlank(),
		Name:         w.Name.NonBlank(),
		Nickname:     w.DisplayName.NonBlank(),
	}
	if a.Currency == multiCurrency {
		a.Currency = ""
	}
	a.Identification, a.OtherIdentifications = w.identify()
	return a
}

func lower(t adapter.Text) string { return strings.ToLower(strings.TrimSpace(string(t))) }

// accountList collects the accounts of all pages.
type accountList struct {
	adapter.AccountList
	withBalances bool
	balances     [][]canonical.Balance // of each account, if withBalances; nil for an account without
}

// addPage adds the accounts of a page.
func (l *accountList) addPage(w wirePage, types map[string]canonical.BalanceType) error {
	if w.Accounts == nil {
		return canonical.InvalidResponse("the list of accounts is missing")
	}
	for _, wa := range w.Accounts {
		if wa == nil {
			return canonical.InvalidResponse("an account is null")
		}
		number := string(wa.IBAN + wa.BBAN + wa.MaskedPAN + wa.PAN + wa.MSISDN)
		index, added, err := l.Add(wa.account(), number, wa.isCard())
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

// balances returns the balances in an entry of the account list; nil if there are none.
func (w *wireAccount) balances(types map[string]canonical.BalanceType) ([]canonical.Balance, error) {
	var list []*wireBalance
	if w.Balances == nil {
		return nil, nil
	}
	if err := adapter.Decode(w.Balances, &list); err != nil || list == nil {
		return nil, err
	}
	if !adapter.IsEmpty(w.DebitAccounting) {
		return nil, errDebitAccounting()
	}
	return readBalances(list, types)
}

// errDebitAccounting returns the error for balances of a card that may count the other way round, so
// that their sign cannot be read truthfully.
func errDebitAccounting() error {
	return canonical.InvalidResponse("balances with debitAccounting, whose sign is not defined for accounts")
}

// addTo adds the balances of a page to those of the requested account.
func (w wirePage) addTo(found *canonical.AccountBalances, requested string, types map[string]canonical.BalanceType) error {
	switch account := w.Account.Value; {
	case w.Balances == nil:
		return canonical.InvalidResponse("the list of balances is missing")
	case !adapter.IsEmpty(w.DebitAccounting):
		return errDebitAccounting()
	case account != nil && account.ResourceID.NonBlank() != "" && string(account.ResourceID) != requested:
		return canonical.InvalidResponse("the response is about another account")
	case account != nil:
		found.Identification, _ = account.identify()
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
		b, err := dialect.NewBalance(string(w.Amount.Amount), string(w.Amount.Currency), string(w.Type), types)
		if err != nil {
			return nil, err
		}
		b.ReferenceTime, b.ReferenceDate, b.ProviderDateTime = w.reference()
		balances = append(balances, b)
	}
	return balances, nil
}

// reference returns the reference of a balance: the time of lastChangeDateTime and the date of
// referenceDate. Each of the two can contain the other's form. unread is what is neither.
func (w *wireBalance) reference() (at time.Time, date, unread string) {
	at, changed, unreadChange := canonical.ParseReference(string(w.LastChange))
	other, date, unreadDate := canonical.ParseReference(string(w.ReferenceDate))
	return cmp.Or(at, other), cmp.Or(date, changed), cmp.Or(unreadChange, unreadDate)
}
