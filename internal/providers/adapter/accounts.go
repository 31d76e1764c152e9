package adapter

import (
	"reflect"
	"strings"
	"unicode"

	"ais-gateway/internal/canonical"
)

// An AccountList collects the accounts of a list, each once. The zero value is an empty list.
type AccountList struct {
	Accounts []canonical.Account
	seen     map[string]listedAccount
}

// listedAccount is an entry of the list.
type listedAccount struct {
	index  int
	number string // as received: different card numbers can be equal after masking
}

// Add adds an account with its number as received, and returns its index. card reports whether it
// is a card account. An account that is in the list already, with equal content, is not added
// again. Add returns ProviderInvalidResponse if its content differs, if the id is invalid or a full
// card number, or if the currency is invalid.
func (a *AccountList) Add(account canonical.Account, number string, card bool) (index int, added bool, err error) {
	switch {
	case !ValidAccountID(account.ID):
		return 0, false, canonical.InvalidResponse("an account's id is missing, too long or not addressable")
	case card && canonical.IsCardID(account.ID):
		return 0, false, canonical.InvalidResponse("an account's id is a full card number")
	case account.Currency != "" && !canonical.ValidCurrency(account.Currency):
		return 0, false, canonical.InvalidResponse("an account's currency is not three capital letters")
	}
	entry, known := a.seen[account.ID]
	switch {
	case !known:
		if a.seen == nil {
			a.seen = map[string]listedAccount{}
		}
		index = len(a.Accounts)
		a.seen[account.ID] = listedAccount{index, number}
		a.Accounts = append(a.Accounts, account)
		return index, true, nil
	case !reflect.DeepEqual(a.Accounts[entry.index], account), !sameNumber(entry.number, number):
		return 0, false, canonical.InvalidResponse("an account is listed twice with different content")
	}
	return entry.index, false, nil
}

// sameNumber reports whether two numbers are equal apart from case and separators.
func sameNumber(a, b string) bool {
	plain := func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || c == '*' {
			return c
		}
		return -1
	}
	return strings.EqualFold(strings.Map(plain, a), strings.Map(plain, b))
}
