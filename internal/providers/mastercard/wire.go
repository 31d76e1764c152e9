package mastercard

import (
	"encoding/json"
	"errors"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/upstream"
)

// What is sent. OBC refuses members that its pages do not list, and nulls.
type (
	wireRequest struct {
		Info      wireInfo `json:"requestInfo"`
		AccountID string   `json:"accountId,omitempty"`
	}
	wireInfo struct {
		RequestID    string        `json:"xRequestId"`
		Consent      string        `json:"consentId"`
		ASPSP        string        `json:"aspspId"`
		Live         bool          `json:"isLivePsuRequest"`
		IP           string        `json:"psuIPAddress,omitempty"`
		Agent        string        `json:"psuAgent,omitempty"`
		Customer     string        `json:"psuTppCustomerId,omitempty"`
		MerchantInfo *wireMerchant `json:"merchant,omitempty"`
	}
	wireMerchant struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
)

// What is read.
type (
	wireEcho struct {
		RequestID upstream.Text `json:"xRequestId"`
	}
	wireAccounts struct {
		Echo     upstream.Part[wireEcho] `json:"originalRequestInfo"`
		Accounts given[[]*wireAccount]   `json:"accounts"`
		Errors   json.RawMessage         `json:"Errors"`
	}
	wireAccount struct {
		ResourceID    upstream.Text                 `json:"resourceId"`
		Currency      upstream.Text                 `json:"currency"`
		HolderType    upstream.Text                 `json:"accountHolderType"`
		HolderName    upstream.Text                 `json:"holderName"`
		AccountType   upstream.Text                 `json:"accountType"`
		NameClient    upstream.Text                 `json:"nameClient"`
		Name          upstream.Text                 `json:"name"`
		AccountNumber upstream.Text                 `json:"accountNumber"`
		SchemeName    upstream.Text                 `json:"schemeName"`
		Relations     upstream.Part[[]wireRelation] `json:"accountPsuRelations"`
	}
	wireRelation struct {
		Type upstream.Text `json:"typeOfRelation"`
	}
	wireBalances struct {
		Echo    upstream.Part[wireEcho] `json:"originalRequestInfo"`
		Account given[wireHoldings]     `json:"account"`
		Errors  json.RawMessage         `json:"Errors"`
	}
	wireHoldings struct {
		ResourceID upstream.Text         `json:"resourceId"`
		Name       upstream.Text         `json:"name"`
		Balances   given[[]*wireBalance] `json:"balances"`
	}
	wireBalance struct {
		Amount struct {
			Currency upstream.Text   `json:"currency"`
			Amount   upstream.Number `json:"amount"`
		} `json:"balanceAmount"`
		Type      upstream.Text   `json:"balanceType"`
		Indicator upstream.Text   `json:"creditDebitIndicator"`
		DateTime  json.RawMessage `json:"dateTime"`
	}
)

// given is content that may be missing, because the pages list it as optional: there is none. null in its place is no
// content that they list, and does not pass for an empty list.
type given[T any] struct{ Value *T }

var errNull = errors.New("content is null")

// UnmarshalJSON implements json.Unmarshaler.
func (g *given[T]) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return errNull
	}
	return json.Unmarshal(raw, &g.Value)
}

// list is the content of a list, empty if it is missing.
func list[T any](g given[[]T]) []T {
	if g.Value == nil {
		return nil
	}
	return *g.Value
}

// requestBody is the body of a read: of the account list, or of the balances of the account named.
func requestBody(q canonical.Query, accountID string) ([]byte, error) {
	info := wireInfo{
		RequestID: q.RequestID, Consent: q.Consent, ASPSP: q.ASPSP, Live: q.Attended(), Customer: q.Customer,
	}
	if q.PSU != nil {
		info.IP, info.Agent = q.PSU.IP.String(), q.PSU.UserAgent
	}
	if q.Merchant != nil {
		info.MerchantInfo = &wireMerchant{ID: q.Merchant.ID, Name: q.Merchant.Name}
	}
	body, err := json.Marshal(wireRequest{Info: info, AccountID: accountID})
	if err != nil {
		return nil, canonical.NewError(canonical.InternalError, "the request to the provider cannot be written")
	}
	return body, nil
}

// readAccounts reads an answer to POST /accounts, all of it or nothing.
func readAccounts(body []byte, requestID string) ([]canonical.Account, error) {
	var w wireAccounts
	if err := upstream.Decode(body, &w); err != nil {
		return nil, err
	}
	if err := belongs(w.Echo.Value, w.Accounts.Value != nil, w.Errors, requestID); err != nil {
		return nil, err
	}
	accounts := upstream.Accounts{List: []canonical.Account{}}
	for _, wa := range list(w.Accounts) {
		account, err := wa.account()
		if err != nil {
			return nil, err
		}
		if _, _, err := accounts.Add(account, string(wa.AccountNumber)); err != nil {
			return nil, err
		}
	}
	return accounts.List, nil
}

// readBalances reads an answer to POST /accounts/account/balances, all of it or nothing.
func readBalances(body []byte, requestID, accountID string) (canonical.AccountBalances, error) {
	var none canonical.AccountBalances
	var w wireBalances
	if err := upstream.Decode(body, &w); err != nil {
		return none, err
	}
	if err := belongs(w.Echo.Value, w.Account.Value != nil, w.Errors, requestID); err != nil {
		return none, err
	}
	found := canonical.AccountBalances{Balances: []canonical.Balance{}}
	holdings := w.Account.Value
	if holdings == nil {
		return found, nil
	}
	if id := holdings.ResourceID; id != "" && string(id) != accountID {
		return none, canonical.InvalidResponse("the answer is about another account")
	}
	found.Name = holdings.Name.Stated()
	for _, wb := range list(holdings.Balances) {
		balance, err := wb.balance()
		if err != nil {
			return none, err
		}
		found.Balances = append(found.Balances, balance)
	}
	return found, nil
}

// belongs refuses a response that is none of the endpoint, reports an error, or responds to another request. An empty
// list of errors reports none.
func belongs(echo *wireEcho, content bool, errs json.RawMessage, requestID string) error {
	switch {
	case !upstream.Empty(errs):
		return canonical.InvalidResponse("the answer is a success and an error at once")
	case echo == nil && !content:
		return canonical.InvalidResponse("the answer is none of this endpoint")
	case echo != nil && !upstream.SameRequestID(string(echo.RequestID), requestID):
		return canonical.InvalidResponse("the answer belongs to another request")
	}
	return nil
}

func (w *wireAccount) account() (canonical.Account, error) {
	if w == nil {
		return canonical.Account{}, canonical.InvalidResponse("an account is null")
	}
	id, currency := string(w.ResourceID), w.Currency.Stated()
	number := canonical.Identification{Scheme: schemeOf(string(w.SchemeName)), Value: string(w.AccountNumber)}
	card := canonical.IsCardWord(string(w.AccountType)) || number.Scheme == canonical.SchemePAN
	switch {
	case !upstream.ValidAccountID(id):
		return canonical.Account{}, canonical.InvalidResponse("a resourceId is missing, too long or cannot be addressed")
	case card && canonical.IsCardID(id):
		return canonical.Account{}, canonical.InvalidResponse("a resourceId is a full card number")
	case currency != "" && !canonical.ValidCurrency(currency):
		return canonical.Account{}, canonical.InvalidResponse("an account's currency is not three capital letters")
	}
	first, others := canonical.IdentifyAll(card, number)
	a := canonical.Account{
		ID:                   id,
		Identification:       first,
		OtherIdentifications: others,
		Currency:             currency,
		Type:                 canonical.ParseAccountType(string(w.AccountType)),
		ProviderType:         w.AccountType.Stated(),
		HolderType:           fold(string(w.HolderType)),
		HolderName:           w.HolderName.Stated(),
		Name:                 w.Name.Stated(),
		Nickname:             w.NameClient.Stated(),
	}
	if relations := w.Relations.Value; relations != nil {
		for _, r := range *relations {
			if relation := r.Type.Stated(); relation != "" {
				a.Relations = append(a.Relations, relation)
			}
		}
	}
	return a, nil
}

func (w *wireBalance) balance() (canonical.Balance, error) {
	if w == nil {
		return canonical.Balance{}, canonical.InvalidResponse("a balance is null")
	}
	indicator, ok := indicators[fold(string(w.Indicator))]
	if !ok {
		return canonical.Balance{}, canonical.InvalidResponse("a balance has no readable creditDebitIndicator")
	}
	amount, err := canonical.ParseIndicatedAmount(string(w.Amount.Amount), string(w.Amount.Currency), indicator)
	if err != nil {
		return canonical.Balance{}, canonical.InvalidResponse(err.Error())
	}
	b := canonical.Balance{
		Type:         canonical.ParseBalanceType(string(w.Type), balanceWords),
		ProviderType: w.Type.Stated(), Amount: amount,
	}
	b.ReferenceTime, b.ReferenceDate, b.ProviderDateTime = canonical.ParseReference(dateTimeText(w.DateTime))
	return b, nil
}

// dateTimeText is a dateTime as it was written. One of another JSON type than a text is not worth a balance.
func dateTimeText(raw json.RawMessage) string {
	var text upstream.Text
	if len(raw) > 0 && json.Unmarshal(raw, &text) != nil {
		return string(raw)
	}
	return text.Stated()
}

// fold is a word as the tables have it.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
