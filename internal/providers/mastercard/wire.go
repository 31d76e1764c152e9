package mastercard

import (
	"encoding/json"
	"errors"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
)

// Requests. OBC refuses undocumented members and nulls.
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

// Responses.
type (
	wireEcho struct {
		RequestID adapter.Text `json:"xRequestId"`
	}
	wireAccounts struct {
		Echo     adapter.Optional[wireEcho] `json:"originalRequestInfo"`
		Accounts present[[]*wireAccount]    `json:"accounts"`
		Errors   json.RawMessage            `json:"Errors"`
	}
	wireAccount struct {
		ResourceID    adapter.Text                     `json:"resourceId"`
		Currency      adapter.Text                     `json:"currency"`
		HolderType    adapter.Text                     `json:"accountHolderType"`
		HolderName    adapter.Text                     `json:"holderName"`
		AccountType   adapter.Text                     `json:"accountType"`
		NameClient    adapter.Text                     `json:"nameClient"`
		Name          adapter.Text                     `json:"name"`
		AccountNumber adapter.Text                     `json:"accountNumber"`
		SchemeName    adapter.Text                     `json:"schemeName"`
		Relations     adapter.Optional[[]wireRelation] `json:"accountPsuRelations"`
	}
	wireRelation struct {
		Type adapter.Text `json:"typeOfRelation"`
	}
	wireBalances struct {
		Echo    adapter.Optional[wireEcho]   `json:"originalRequestInfo"`
		Account present[wireAccountBalances] `json:"account"`
		Errors  json.RawMessage              `json:"Errors"`
	}
	wireAccountBalances struct {
		ResourceID adapter.Text            `json:"resourceId"`
		Name       adapter.Text            `json:"name"`
		Balances   present[[]*wireBalance] `json:"balances"`
	}
	wireBalance struct {
		Amount struct {
			Currency adapter.Text   `json:"currency"`
			Amount   adapter.Number `json:"amount"`
		} `json:"balanceAmount"`
		Type      adapter.Text    `json:"balanceType"`
		Indicator adapter.Text    `json:"creditDebitIndicator"`
		DateTime  json.RawMessage `json:"dateTime"`
	}
)

// present is an optional member: Value is nil if the response does not have it. The value null is
// not documented, and is an error, so that it is not read as an empty list.
type present[T any] struct{ Value *T }

var errNull = errors.New("content is null")

// UnmarshalJSON implements json.Unmarshaler.
func (g *present[T]) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return errNull
	}
	return json.Unmarshal(raw, &g.Value)
}

// itemsOf returns the items of a list, none if it is missing.
func itemsOf[T any](g present[[]T]) []T {
	if g.Value == nil {
		return nil
	}
	return *g.Value
}

// requestBody returns the body of a request: for the account list, or for the balances of accountID
// if it is not "".
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

// readAccounts returns the accounts of a response of POST /accounts.
func readAccounts(body []byte, requestID string) ([]canonical.Account, error) {
	var w wireAccounts
	if err := adapter.Decode(body, &w); err != nil {
		return nil, err
	}
	if err := checkEcho(w.Echo.Value, w.Accounts.Value != nil, w.Errors, requestID); err != nil {
		return nil, err
	}
	listed := itemsOf(w.Accounts)
	accounts := adapter.AccountList{Accounts: make([]canonical.Account, 0, len(listed))}
	for _, wa := range listed {
		if wa == nil {
			return nil, canonical.InvalidResponse("an account is null")
		}
		account, card := wa.account()
		if _, _, err := accounts.Add(account, string(wa.AccountNumber), card); err != nil {
			return nil, err
		}
	}
	return accounts.Accounts, nil
}

// readBalances returns the balances of a response of POST /accounts/account/balances.
func readBalances(body []byte, requestID, accountID string) (canonical.AccountBalances, error) {
	var none canonical.AccountBalances
	var w wireBalances
	if err := adapter.Decode(body, &w); err != nil {
		return none, err
	}
	if err := checkEcho(w.Echo.Value, w.Account.Value != nil, w.Errors, requestID); err != nil {
		return none, err
	}
	found := canonical.AccountBalances{Balances: []canonical.Balance{}}
	account := w.Account.Value
	if account == nil {
		return found, nil
	}
	if id := account.ResourceID; id != "" && string(id) != accountID {
		return none, canonical.InvalidResponse("the response is about another account")
	}
	found.Name = account.Name.NonBlank()
	listed := itemsOf(account.Balances)
	found.Balances = make([]canonical.Balance, 0, len(listed))
	for _, wb := range listed {
		balance, err := wb.balance()
		if err != nil {
			return none, err
		}
		found.Balances = append(found.Balances, balance)
	}
	return found, nil
}

// checkEcho returns ProviderInvalidResponse for a response that is not of the endpoint, contains an
// error, or belongs to another request. An empty list of errors is ignored.
func checkEcho(echo *wireEcho, content bool, errs json.RawMessage, requestID string) error {
	switch {
	case !adapter.IsEmpty(errs):
		return canonical.InvalidResponse("the response is both a success and an error")
	case echo == nil && !content:
		return canonical.InvalidResponse("the response is not of this endpoint")
	case echo != nil && !adapter.SameRequestID(string(echo.RequestID), requestID):
		return canonical.InvalidResponse("the response belongs to another request")
	}
	return nil
}

// account returns the account, and whether it is a card account.
func (w *wireAccount) account() (_ canonical.Account, card bool) {
	number := canonical.Identification{Scheme: schemeOf(string(w.SchemeName)), Value: string(w.AccountNumber)}
	card = canonical.IsCardWord(string(w.AccountType)) || number.Scheme == canonical.SchemePAN
	first, others := canonical.IdentifyAll(card, number)
	a := canonical.Account{
		ID:                   string(w.ResourceID),
		Identification:       first,
		OtherIdentifications: others,
		Currency:             w.Currency.NonBlank(),
		Type:                 canonical.ParseAccountType(string(w.AccountType)),
		ProviderType:         w.AccountType.NonBlank(),
		HolderType:           normalize(string(w.HolderType)),
		HolderName:           w.HolderName.NonBlank(),
		Name:                 w.Name.NonBlank(),
		Nickname:             w.NameClient.NonBlank(),
	}
	if relations := w.Relations.Value; relations != nil {
		for _, r := range *relations {
			if relation := r.Type.NonBlank(); relation != "" {
				a.Relations = append(a.Relations, relation)
			}
		}
	}
	return a, card
}

func (w *wireBalance) balance() (canonical.Balance, error) {
	if w == nil {
		return canonical.Balance{}, canonical.InvalidResponse("a balance is null")
	}
	indicator, ok := indicators[normalize(string(w.Indicator))]
	if !ok {
		return canonical.Balance{}, canonical.InvalidResponse("a balance has no readable creditDebitIndicator")
	}
	amount, err := canonical.ParseIndicatedAmount(string(w.Amount.Amount), string(w.Amount.Currency), indicator)
	if err != nil {
		return canonical.Balance{}, canonical.InvalidResponse(err.Error())
	}
	b := canonical.Balance{
		Type:         canonical.ParseBalanceType(string(w.Type), balanceWords),
		ProviderType: w.Type.NonBlank(), Amount: amount,
	}
	b.ReferenceTime, b.ReferenceDate, b.ProviderDateTime = canonical.ParseReference(dateTimeText(w.DateTime))
	return b, nil
}

// dateTimeText returns a dateTime as received. Another JSON type than a string does not invalidate
// the balance.
func dateTimeText(raw json.RawMessage) string {
	var text adapter.Text
	if len(raw) > 0 && text.UnmarshalJSON(raw) != nil {
		return string(raw)
	}
	return text.NonBlank()
}

// normalize returns a word in the form of the tables: in lower case, without outer white space.
func normalize(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
