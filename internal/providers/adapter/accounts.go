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

// Add adds an account with its number as received, and returns its index. An account that is in the list already, with equal
// content, is not added again. If its content differs, Add returns ProviderInvalidResponse.
func (a *AccountList) Add(account canonical.Account, number string) (place int, added bool, err error) {
	entry, known := a.seen[account.ID]
	switch {
	case !known:
		if a.seen == nil {
			a.seen = map[string]listedAccount{}
		}
		place = len(a.Accounts)
		a.seen[account.ID] = listedAccount{place, number}
		a.Accounts = append(a.Accounts, account)
		return place, true, nil
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
