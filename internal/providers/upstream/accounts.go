package upstream

import (
	"reflect"
	"strings"
	"unicode"

	"ais-gateway/internal/canonical"
)

// Accounts are the accounts of a list, each once. The zero value is an empty list.
type Accounts struct {
	List []canonical.Account
	seen map[string]listed
}

// listed is an account that is in the list.
type listed struct {
	place  int
	number string // as received: different numbers of cards can be equal once they are masked
}

// Add adds an account with its number as received, and returns its place. An account that is in the list with equal
// content, however the provider writes it, is not added again; with different content it fails the list.
func (a *Accounts) Add(account canonical.Account, number string) (place int, added bool, err error) {
	before, known := a.seen[account.ID]
	switch {
	case !known:
		if a.seen == nil {
			a.seen = map[string]listed{}
		}
		place = len(a.List)
		a.seen[account.ID] = listed{place, number}
		a.List = append(a.List, account)
		return place, true, nil
	case !reflect.DeepEqual(a.List[before.place], account), !sameNumber(before.number, number):
		return 0, false, canonical.InvalidResponse("an account is listed twice with different content")
	}
	return before.place, false, nil
}

// sameNumber reports whether two numbers differ in case and in what separates their groups at most.
func sameNumber(a, b string) bool {
	plain := func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || c == '*' {
			return c
		}
		return -1
	}
	return strings.EqualFold(strings.Map(plain, a), strings.Map(plain, b))
}
