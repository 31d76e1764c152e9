package mastercard

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

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
		RequestID *string `json:"xRequestId"`
	}
	wireAccounts struct {
		Echo     *wireEcho       `json:"originalRequestInfo"`
		Accounts []*wireAccount  `json:"accounts"`
		Errors   json.RawMessage `json:"Errors"`
	}
	wireAccount struct {
		ResourceID    string          `json:"resourceId"`
		Currency      string          `json:"currency"`
		HolderType    string          `json:"accountHolderType"`
		HolderName    string          `json:"holderName"`
		AccountType   string          `json:"accountType"`
		NameClient    string          `json:"nameClient"`
		Name          string          `json:"name"`
		AccountNumber string          `json:"accountNumber"`
		SchemeName    string          `json:"schemeName"`
		Relations     []*wireRelation `json:"accountPsuRelations"`
	}
	wireRelation struct {
		Type string `json:"typeOfRelation"`
	}
	wireBalances struct {
		Echo    *wireEcho       `json:"originalRequestInfo"`
		Account *wireHoldings   `json:"account"`
		Errors  json.RawMessage `json:"Errors"`
	}
	wireHoldings struct {
		ResourceID *string        `json:"resourceId"`
		Name       string         `json:"name"`
		Balances   []*wireBalance `json:"balances"`
	}
	wireBalance struct {
		Amount struct {
			Currency string      `json:"currency"`
			Amount   json.Number `json:"amount"`
		} `json:"balanceAmount"`
		Type      string `json:"balanceType"`
		Indicator string `json:"creditDebitIndicator"`
		DateTime  string `json:"dateTime"`
	}
)

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
		return nil, canonical.Fail(canonical.InternalError, "the request to the provider cannot be written")
	}
	return body, nil
}

// readAccounts reads an answer to POST /accounts, all of it or nothing.
func readAccounts(body []byte, requestID string) ([]canonical.Account, error) {
	var w wireAccounts
	if err := upstream.Decode(body, &w); err != nil {
		return nil, err
	}
	if err := belongs(w.Echo, w.Accounts != nil, w.Errors, requestID); err != nil {
		return nil, err
	}
	accounts := make([]canonical.Account, 0, len(w.Accounts))
	seen := map[string]bool{}
	for _, wa := range w.Accounts {
		account, err := wa.account()
		if err != nil {
			return nil, err
		}
		if seen[account.ID] {
			return nil, canonical.InvalidResponse("a resourceId stands twice in the list")
		}
		seen[account.ID] = true
		accounts = append(accounts, account)
	}
	return accounts, nil
}

// readBalances reads an answer to POST /accounts/account/balances, all of it or nothing.
func readBalances(body []byte, requestID, accountID string) (canonical.AccountBalances, error) {
	var none canonical.AccountBalances
	var w wireBalances
	if err := upstream.Decode(body, &w); err != nil {
		return none, err
	}
	if err := belongs(w.Echo, w.Account != nil, w.Errors, requestID); err != nil {
		return none, err
	}
	found := canonical.AccountBalances{Balances: []canonical.Balance{}}
	if w.Account == nil {
		return found, nil
	}
	if id := w.Account.ResourceID; id != nil && *id != accountID {
		return none, canonical.InvalidResponse("the answer is about another account")
	}
	found.Name = w.Account.Name
	for _, wb := range w.Account.Balances {
		balance, err := wb.balance()
		if err != nil {
			return none, err
		}
		found.Balances = append(found.Balances, balance)
	}
	return found, nil
}

// belongs refuses what is no answer of the endpoint, or one to another request.
func belongs(echo *wireEcho, content bool, errs json.RawMessage, requestID string) error {
	switch {
	case len(errs) > 0 && string(errs) != "null":
		return canonical.InvalidResponse("the answer is a success and an error at once")
	case echo == nil && !content:
		return canonical.InvalidResponse("the answer is none of this endpoint")
	case echo != nil && echo.RequestID != nil && !upstream.SameRequest(*echo.RequestID, requestID):
		return canonical.InvalidResponse("the answer belongs to another request")
	}
	return nil
}

func (w *wireAccount) account() (canonical.Account, error) {
	switch {
	case w == nil:
		return canonical.Account{}, canonical.InvalidResponse("an account is null")
	case !upstream.Addressable(w.ResourceID):
		return canonical.Account{}, canonical.InvalidResponse("a resourceId is missing, too long or cannot be addressed")
	case w.Currency != "" && !canonical.ValidCurrency(w.Currency):
		return canonical.Account{}, canonical.InvalidResponse("an account's currency is not three capital letters")
	}
	scheme, ok := schemes[fold(w.SchemeName)]
	if !ok {
		scheme = canonical.SchemeProvider
	}
	a := canonical.Account{
		ID:             w.ResourceID,
		Identification: canonical.Identify(scheme, w.AccountNumber),
		Currency:       w.Currency,
		Type:           canonical.ParseAccountType(w.AccountType),
		ProviderType:   w.AccountType,
		HolderType:     fold(w.HolderType),
		HolderName:     w.HolderName,
		Name:           w.Name,
		Nickname:       w.NameClient,
	}
	for _, r := range w.Relations {
		switch {
		case r == nil:
			return canonical.Account{}, canonical.InvalidResponse("a relation is null")
		case r.Type != "":
			a.Relations = append(a.Relations, r.Type)
		}
	}
	return a, nil
}

func (w *wireBalance) balance() (canonical.Balance, error) {
	if w == nil {
		return canonical.Balance{}, canonical.InvalidResponse("a balance is null")
	}
	indicator, ok := indicators[fold(w.Indicator)]
	if !ok {
		return canonical.Balance{}, canonical.InvalidResponse("a balance has no readable creditDebitIndicator")
	}
	amount, err := canonical.ParseIndicatedAmount(w.Amount.Amount.String(), w.Amount.Currency, indicator)
	if err != nil {
		return canonical.Balance{}, canonical.InvalidResponse(err.Error())
	}
	at, ok := readTime(w.DateTime)
	if !ok {
		return canonical.Balance{}, canonical.InvalidResponse("a balance's dateTime cannot be read")
	}
	return canonical.Balance{
		Type:         canonical.ParseBalanceType(w.Type, balanceWords),
		ProviderType: w.Type, Amount: amount, ReferenceTime: at,
	}, nil
}

// dateTime is the page's "YYYY-MM-DDThh:mm:ssTZD" with the fraction that the sandbox sends; TZD also without
// its colon, as UK banks write it. time.Parse alone takes more than that.
var dateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$`)

// readTime reads a time with its zone, into UTC. No text is no time; a time without a zone is unreadable, for
// it would have to be guessed.
func readTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	if !dateTime.MatchString(s) {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			// Beyond these years there is no RFC 3339 to answer with.
			return t, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// fold is a word as the tables have it.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
