package canonical

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Account is one payment account that a consent covers. Fields that the provider did not give are
// empty. Its JSON is the JSON of the API.
type Account struct {
	ID                   string           `json:"accountId"`                      // the provider's identifier, unique in its list; 1 to 256 characters
	Key                  string           `json:"accountKey,omitempty"`           // the same under all consents of a client; set by internal/accountkey
	Identification       Identification   `json:"identification,omitzero"`        // the number by which the account is known
	OtherIdentifications []Identification `json:"otherIdentifications,omitempty"` // its other numbers, in the order of IdentifyAll
	Currency             string           `json:"currency,omitempty"`             // ISO 4217 alphabetic code
	Type                 AccountType      `json:"type"`                           // ISO 20022; AccountTypeOther if the provider's word is no ISO code
	ProviderType         string           `json:"providerType,omitempty"`         // the provider's own word for Type
	Status               string           `json:"status,omitempty"`               // enabled, deleted, blocked, or the provider's word in lower case
	HolderType           string           `json:"holderType,omitempty"`           // personal, business, or the provider's word in lower case
	HolderName           string           `json:"holderName,omitempty"`
	Name                 string           `json:"name,omitempty"`      // as the ASPSP shows it
	Nickname             string           `json:"nickname,omitempty"`  // as the user named it
	Relations            []string         `json:"relations,omitempty"` // between the user and the account, in the provider's words
}

// account is an Account without its methods.
type account Account

// accountJSON is the JSON form of an Account.
type accountJSON struct {
	ID   string `json:"accountId"`
	Key  string `json:"accountKey,omitempty"`
	IBAN string `json:"iban,omitempty"`
	account
}

func newAccountJSON(a Account) accountJSON {
	return accountJSON{a.ID, a.Key, a.Identification.IBAN(), account(a)}
}

// MarshalJSON returns the JSON of the API. It has the member iban if the account is identified by
// an IBAN.
func (a Account) MarshalJSON() ([]byte, error) { return Encode(newAccountJSON(a)) }

// EncodeAccounts returns the JSON array of an account list in the form of the API.
func EncodeAccounts(list []Account) (json.RawMessage, error) {
	all := make([]accountJSON, len(list))
	for i, a := range list {
		all[i] = newAccountJSON(a)
	}
	return Encode(all)
}

// AccountBalances holds the balances of one account, and the identification that came with them.
type AccountBalances struct {
	Identification Identification `json:"identification,omitzero"` // zero if the provider gave none
	Name           string         `json:"name,omitempty"`
	Balances       []Balance      `json:"balances"` // in the provider's order; a type may occur more than once
}

// AccountWithBalances is an account of a list that was read together with the balances.
type AccountWithBalances struct {
	Account  Account
	Balances []Balance // as in AccountBalances; nil if the provider gave none for the account
}

// Balance is one balance of an account. Its JSON is the JSON of the API.
type Balance struct {
	Type             BalanceType `json:"type"`                   // ISO 20022; BalanceTypeOther if the provider's word is no ISO code
	ProviderType     string      `json:"providerType,omitempty"` // the provider's own word for Type
	Amount           Amount      `json:"amount"`
	ReferenceTime    time.Time   `json:"referenceDateTime"`          // zero (in JSON null) if the provider gave no readable time
	ReferenceDate    string      `json:"referenceDate,omitempty"`    // YYYY-MM-DD, if the provider gave a date without a time
	ProviderDateTime string      `json:"providerDateTime,omitempty"` // the provider's text, if it is not readable as time or date
}

// MarshalJSON returns the JSON of the API, with the credit/debit indicator and the time in UTC.
func (b Balance) MarshalJSON() ([]byte, error) { return b.AppendJSON(make([]byte, 0, 256)) }

// AppendJSON appends the output of MarshalJSON. It fails if the year has more than four digits.
func (b Balance) AppendJSON(text []byte) ([]byte, error) {
	text = append(text, `{"type":`...)
	text = AppendString(text, string(b.Type))
	text = appendMember(text, "providerType", b.ProviderType)
	text = append(text, `,"amount":`...)
	text = b.Amount.appendJSON(text)
	text = appendMember(text, "creditDebitIndicator", string(b.Amount.Indicator()))
	if b.ReferenceTime.IsZero() {
		text = append(text, `,"referenceDateTime":null`...)
	} else {
		var err error
		text = append(text, `,"referenceDateTime":"`...)
		if text, err = b.ReferenceTime.UTC().AppendText(text); err != nil {
			return nil, err
		}
		text = append(text, '"')
	}
	text = appendMember(text, "referenceDate", b.ReferenceDate)
	text = appendMember(text, "providerDateTime", b.ProviderDateTime)
	return append(text, '}'), nil
}

// appendMember appends a member of an object, unless its value is empty.
func appendMember(text []byte, name, value string) []byte {
	if value == "" {
		return text
	}
	text = append(append(append(text, `,"`...), name...), `":`...)
	return AppendString(text, value)
}

// AppendString appends a text as a JSON string, without escapes for HTML.
func AppendString(text []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			literal, _ := Encode(s) // of a string it does not fail
			return append(text, literal...)
		}
	}
	return append(append(append(text, '"'), s...), '"')
}

// Encode returns JSON without escapes for HTML.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// AccountType is an ISO 20022 ExternalCashAccountType1Code.
type AccountType string

// AccountTypeOther is the type of an account for which the provider gave no type, or no ISO code.
const AccountTypeOther AccountType = "OTHR"

// accountTypes lists the codes from Mastercard's page "Get List of Accounts", member accountType.
const accountTypes = " CACC CASH CHAR CISH COMM CPAC LLSV LOAN MGLD MOMA NREX ODFT ONDP OTHR SACC SLRY SVGS TAXE TRAN TRAS CARD "

// ParseAccountType parses an ISO 20022 account type. Case and outer white space do not matter. For
// any other word it returns AccountTypeOther.
func ParseAccountType(word string) AccountType {
	if code, ok := isoCode(word, accountTypes); ok {
		return AccountType(code)
	}
	return AccountTypeOther
}

// cardWords lists words for a card in several languages, in lower case.
var cardWords = []string{"card", "carte", "karte", "carta", "karta", "tarjeta", "kaart"}

// IsCardWord reports whether a provider's word for an account type means a card account, for
// example CARD, CreditCard, charge card or Kartennummer.
func IsCardWord(word string) bool {
	word = strings.ToLower(word)
	return slices.ContainsFunc(cardWords, func(card string) bool { return strings.Contains(word, card) })
}

// BalanceType is an ISO 20022 ExternalBalanceType1Code, or BalanceTypeOther.
type BalanceType string

// The ten codes of ISO 20022 ExternalBalanceType1Code, and BalanceTypeOther.
const (
	ClosingAvailable       BalanceType = "CLAV"
	ClosingBooked          BalanceType = "CLBD"
	ForwardAvailable       BalanceType = "FWAV"
	Information            BalanceType = "INFO"
	InterimAvailable       BalanceType = "ITAV"
	InterimBooked          BalanceType = "ITBD"
	OpeningAvailable       BalanceType = "OPAV"
	OpeningBooked          BalanceType = "OPBD"
	PreviouslyClosedBooked BalanceType = "PRCD"
	ExpectedBalance        BalanceType = "XPCD"
	BalanceTypeOther       BalanceType = "OTHR"
	balanceTypes                       = " CLAV CLBD FWAV INFO ITAV ITBD OPAV OPBD PRCD XPCD "
)

// ParseBalanceType returns the ISO 20022 balance type of a provider's word: one of the ten codes,
// or a row of table, whose keys are in lower case. Case and outer white space do not matter. For
// any other word it returns BalanceTypeOther; it never guesses.
func ParseBalanceType(word string, table map[string]BalanceType) BalanceType {
	if code, ok := isoCode(word, balanceTypes); ok {
		return BalanceType(code)
	}
	if t, ok := table[strings.ToLower(strings.TrimSpace(word))]; ok {
		return t
	}
	return BalanceTypeOther
}

// isoCode returns word as a code, and whether the list has it.
func isoCode(word, list string) (string, bool) {
	if word = strings.TrimSpace(word); utf8.RuneCountInString(word) != 4 {
		return "", false
	}
	code := strings.ToUpper(word)
	return code, len(code) == 4 && strings.Contains(list, " "+code+" ")
}
