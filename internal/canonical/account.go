package canonical

import (
	"slices"
	"strings"
	"time"
)

// An Account is one payment account that a consent covers. An empty member is one that the provider did not
// give; nothing is invented.
type Account struct {
	ID             string         // the provider's own identifier, unique in its list; 1 to 256 characters
	Identification Identification // the number by which the account is known
	Currency       string         // ISO 4217 alphabetic code
	Type           AccountType    // ISO 20022; AccountTypeOther where the provider's word is none
	ProviderType   string         // the provider's own word for Type
	Status         string         // enabled, deleted or blocked; another word of the provider in lower case
	HolderType     string         // personal or business; another word of the provider in lower case
	HolderName     string
	Name           string   // as the ASPSP shows it
	Nickname       string   // as the account's owner named it
	Relations      []string // between the PSU and the account, in the provider's words

	OtherIdentifications []Identification `json:",omitempty"` // the account's other numbers, in the order of IdentifyAll
}

// AccountBalances is what one account holds, and how the account was identified in the same answer.
type AccountBalances struct {
	Identification Identification // zero where the provider gave none
	Name           string
	Balances       []Balance // in the provider's order; the same type may come more than once
}

// A Balance is one balance of an account.
type Balance struct {
	Type          BalanceType // ISO 20022; BalanceTypeOther where the provider's word is none
	ProviderType  string      // the provider's own word for Type
	Amount        Amount
	ReferenceTime time.Time // zero if the provider gave no time that can be read

	ReferenceDate    string `json:",omitempty"` // YYYY-MM-DD, if the provider gave a date without a time
	ProviderDateTime string `json:",omitempty"` // the provider's text, if it can be read as neither
}

// AccountType is an ISO 20022 ExternalCashAccountType1Code.
type AccountType string

// AccountTypeOther stands where the provider gave no type or a word that is no ISO code.
const AccountTypeOther AccountType = "OTHR"

// accountTypes is the list of Mastercard's page "Get List of Accounts", member accountType.
const accountTypes = " CACC CASH CHAR CISH COMM CPAC LLSV LOAN MGLD MOMA NREX ODFT ONDP OTHR SACC SLRY SVGS TAXE TRAN TRAS CARD "

// ParseAccountType reads an ISO 20022 account type without regard to case or outer white space. A word that
// is none is AccountTypeOther.
func ParseAccountType(word string) AccountType {
	if code, ok := isoCode(word, accountTypes); ok {
		return AccountType(code)
	}
	return AccountTypeOther
}

// cardWords are the words for a card in the languages of banks, in lower case.
var cardWords = []string{"card", "carte", "karte", "carta", "karta", "tarjeta", "kaart"}

// IsCardWord reports whether a provider's word for a type means an account of a card: CARD, CreditCard, charge card,
// Kartennummer.
func IsCardWord(word string) bool {
	word = strings.ToLower(word)
	return slices.ContainsFunc(cardWords, func(card string) bool { return strings.Contains(word, card) })
}

// BalanceType is an ISO 20022 ExternalBalanceType1Code, or BalanceTypeOther.
type BalanceType string

// The ten codes of ISO 20022 ExternalBalanceType1Code, and the one for what is none of them.
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

// ParseBalanceType finds the ISO 20022 balance type of a provider's word: one of the ten codes, or a row of
// the provider's own table, whose keys are in lower case. Case and outer white space do not matter. A word
// that is neither is BalanceTypeOther: it is never guessed.
func ParseBalanceType(word string, table map[string]BalanceType) BalanceType {
	if code, ok := isoCode(word, balanceTypes); ok {
		return BalanceType(code)
	}
	if t, ok := table[strings.ToLower(strings.TrimSpace(word))]; ok {
		return t
	}
	return BalanceTypeOther
}

func isoCode(word, list string) (string, bool) {
	code := strings.ToUpper(strings.TrimSpace(word))
	return code, len(code) == 4 && strings.Contains(list, " "+code+" ")
}
