// Package responsetest contains responses of the providers as a usual user gets them, ten accounts
// and two balances, with the members that the providers document and some that are ignored.
// Benchmarks and `make compare` use them. Only tests and other test support import it.
package responsetest

import (
	"fmt"
	"strings"
)

// accounts is the number of accounts in an account list.
const accounts = 10

// MyPOSAccounts returns the only page of an account list of myPOS.
func MyPOSAccounts() []byte {
	const account = `{"accountNumber":"5004071%04d","resourceId":"8a0f6d1e-52b7-4c39-9d61-7b40c2e91%03d","status":"enabled",` +
		`"iban":"BG83MPOS94001000244010","bic":"MPOSBGSF","currency":"EUR","name":"Everyday account %d",` +
		`"displayName":"Household \u2013 shared account %d","ownerName":"Jordan Sample","product":"Business Premium Account",` +
		`"cashAccountType":"E-Money","usage":"PRIV","details":"Opened 2020-02-29, main office",` +
		`"lastUpdateDateTime":"2026-02-03T07:45:%02dZ"}`
	return list(func(i int) string { return fmt.Sprintf(account, i, i, i, i, i) },
		`"pagination":{"pageSize":50,"currentPage":1,"totalCount":10}`)
}

// MyPOSBalances returns the balances of an account of myPOS, whichever was requested.
func MyPOSBalances() []byte {
	return []byte(`{"account":{"iban":"BG83MPOS94001000244010","bic":"MPOSBGSF","currency":"EUR","ownerName":"Jordan Sample"},"balances":[` +
		`{"balanceType":"closingBooked","amount":20480.15,"currency":"EUR","creditLimitIncluded":false,` +
		`"referenceDate":"2026-02-02","lastChangeDateTime":"2026-02-02T20:14:07Z","lastCommittedTransaction":"c3f0a1d9-5501"},` +
		`{"balanceType":"available","amount":21980.150,"currency":"EUR","creditLimitIncluded":true,` +
		`"referenceDate":"2026-02-03","lastChangeDateTime":"2026-02-03T07:45:07Z","lastCommittedTransaction":"c3f0a1d9-5502"}]}`)
}

// OBCAccounts returns an account list of Mastercard Open Banking Connect.
func OBCAccounts() []byte {
	const account = `{"resourceId":"8a0f6d1e-52b7-4c39-9d61-7b40c2e91%03d","currency":"GBP","accountHolderType":"Personal",` +
		`"holderName":"Jordan Sample","accountType":"CACC","nameClient":"Holidays %02d","name":"Everyday Current Account",` +
		`"accountNumber":"GB87WDBK20041531926810","schemeName":"IBAN","accountPsuRelations":[{"typeOfRelation":"Owner"}],` +
		`"auxData":"{\"branch\":\"main\",\"opened\":\"2020-02-29\"}"}`
	return list(func(i int) string { return fmt.Sprintf(account, i, i) })
}

// OBCBalances returns the balances of an account of Mastercard Open Banking Connect, whichever was
// requested.
func OBCBalances() []byte {
	return []byte(`{"account":{"name":"Everyday","balances":[` +
		`{"balanceType":"ClosingBooked","balanceAmount":{"currency":"GBP","amount":20480.15},` +
		`"creditDebitIndicator":"Credit","dateTime":"2026-02-02T20:14:07.001Z"},` +
		`{"balanceType":"InterimAvailable","balanceAmount":{"currency":"GBP","amount":21980.15},` +
		`"creditDebitIndicator":"Credit","dateTime":"2026-02-03T07:45:07.001Z"}]}}`)
}

// list returns a JSON object with the accounts, and other members behind them.
func list(account func(i int) string, others ...string) []byte {
	all := make([]string, accounts)
	for i := range all {
		all[i] = account(i)
	}
	members := append([]string{`"accounts":[` + strings.Join(all, ",") + `]`}, others...)
	return []byte("{" + strings.Join(members, ",") + "}")
}
