package obie

import (
	"net/http"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/providers/providertest"
	"ais-gateway/internal/providers/providertest/faultproxy"
)

// otherID is the id of another request.
const otherID = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721"

func TestContract(t *testing.T) { providertest.Run(t, harness(t)) }

func harness(t *testing.T) providertest.Harness {
	t.Helper()
	replace := func(old, by string) providertest.Mutation { return faultproxy.Replace(t, old, by) }
	q := unattendedQuery()
	q.Consent, q.Token = obiesim.HostileConsent, token(obiesim.HostileConsent)
	return providertest.Harness{
		Open:     Open,
		Settings: noSettings,
		Options:  options(Options{AllBalances: true}),
		Simulator: func(l *aspspsim.CallLog) http.Handler {
			return obiesim.New(obiesim.Config{Log: l, Banks: []obiesim.Bank{{ASPSP: testASPSP, Bulk: true, PageSize: 25}}})
		},
		Query:           q,
		Token:           token,
		Account:         obiesim.GoodAccount,
		HostileAccounts: obiesim.HostileAccounts,
		ManyAccounts:    obiesim.ManyConsent,
		ManyCount:       obiesim.ManyCount,
		Refusals: map[canonical.Kind]string{
			canonical.ConsentExpired:      obiesim.Consent403Reauth,
			canonical.ConsentInvalid:      obiesim.Consent400Status,
			canonical.AccountUnknown:      obiesim.Consent400NotFound,
			canonical.UnattendedLimit:     obiesim.Consent429Unattended,
			canonical.ProviderRejected:    obiesim.Consent403Bare,
			canonical.ProviderThrottled:   obiesim.Consent429Throttled,
			canonical.ProviderError:       obiesim.Consent500,
			canonical.ProviderUnavailable: obiesim.Consent503,
			canonical.ProviderTimeout:     obiesim.Consent504,
		},
		AccountsMutations: map[string]providertest.Mutation{
			"null record":              replace(`"Account":[{"Account"`, `"Account":[null,{"Account"`),
			"missing id or amount":     replace(`"AccountId":"22289",`, ``),
			"foreign request":          faultproxy.SetHeader("X-Fapi-Interaction-Id", otherID),
			"wrong type of list":       replace(`"Data":{"Account":[`, `"Data":{"Account":"","x":[`),
			"duplicate member":         replace(`"Data":{"Account":[`, `"Data":{"Account":[],"Account":[`),
			"id that names no segment": replace(`"AccountId":"22289"`, `"AccountId":".."`),
			"same id twice":            replace(`"AccountId":"31820"`, `"AccountId":"22289"`),
			"full card number as id":   replace(`"AccountId":"41007"`, `"AccountId":"5413330000000019"`),
			"bad currency":             replace(`"Currency":"GBP"`, `"Currency":"£"`),
			"list missing":             replace(`"Data":{"Account":[`, `"Data":{"Records":[`),
			"list null":                replace(`"Data":{"Account":[`, `"Data":{"Account":null,"x":[`),
			"data missing":             replace(`"Data":`, `"Content":`),
			"null number":              replace(`[{"Account":[{`, `[{"Account":[null,{`),
			"an error as well":         replace(`"Data":`, `"Errors":[{"ErrorCode":"UK.OBIE.UnexpectedError"}],"Data":`),
			"more pages than links":    replace(`"TotalPages":1`, `"TotalPages":2`),
			"links are a text":         replace(`"Links":{`, `"Links":"next","x":{`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":           replace(`"Balance":[`, `"Balance":[null,`),
			"missing id or amount":  replace(`"Amount":"12.50",`, ``),
			"foreign request":       faultproxy.SetHeader("X-Fapi-Interaction-Id", otherID),
			"wrong type of list":    replace(`"Balance":[`, `"Balance":{},"x":[`),
			"duplicate member":      replace(`"Amount":"12.50"`, `"Amount":"12.50","Amount":"12.50"`),
			"foreign account":       replace(`"AccountId":"22289"`, `"AccountId":"31820"`),
			"amount no number":      replace(`"12.50"`, `"12,50"`),
			"amount with a sign":    replace(`"12.50"`, `"-12.50"`),
			"amount with a plus":    replace(`"12.50"`, `"+12.50"`),
			"amount with two signs": replace(`"12.50"`, `"--12.50"`),
			"huge exponent":         replace(`"12.50"`, `4e999999999`),
			"bad currency":          replace(`"Currency":"GBP"},"CreditDebitIndicator"`, `"Currency":"gbp"},"CreditDebitIndicator"`),
			"no indicator":          replace(`"CreditDebitIndicator":"Debit",`, ``),
			"unknown indicator":     replace(`"CreditDebitIndicator":"Debit"`, `"CreditDebitIndicator":"D"`),
			"list missing":          replace(`"Balance":[`, `"Records":[`),
			"list null":             replace(`"Balance":[`, `"Balance":null,"x":[`),
			"null amount":           replace(`"12.50"`, `null`),
			"an error as well":      replace(`"Data":`, `"Errors":{"ErrorCode":"UK.OBIE.UnexpectedError"},"Data":`),
		},
		Example: providertest.Example{
			Body: `{"Data":{"Balance":[` +
				`{"AccountId":"22289","CreditDebitIndicator":"Debit","Type":"InterimBooked","DateTime":"2026-11-20T08:00:01+00:00","Amount":{"Amount":"12.50","Currency":"GBP"},` +
				`"CreditLine":[{"Included":false,"Type":"Pre-Agreed","Amount":{"Amount":"500.00","Currency":"GBP"}}]},` +
				`{"AccountId":"22289","CreditDebitIndicator":"CREDIT","Type":"PreviouslyClosedBooked","DateTime":"2026-11-20T08:00:01Z","Amount":{"Amount":"4.20500","Currency":"GBP"},` +
				`"LocalAmount":{"Amount":"9.90","Currency":"EUR","SubType":"LocalCurrency"}},` +
				`{"AccountId":"22289","CreditDebitIndicator":"Debit","Type":"ClosingCleared","DateTime":"2026-11-20","Amount":{"Amount":"0.00","Currency":"GBP"}},` +
				`{"AccountId":"22289","CreditDebitIndicator":"Credit","Type":"ITAV","DateTime":"x","Amount":{"Amount":"100","Currency":"JPY"}}]}}`,
			Want: []string{"ITBD -12.50 GBP DBIT", "PRCD 4.205 GBP CRDT", "OTHR 0.00 GBP CRDT", "ITAV 100 JPY CRDT"},
		},
	}
}
