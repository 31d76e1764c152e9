package mypos

import (
	"net/http"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
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
	q.Consent = mypossim.HostileConsent
	return providertest.Harness{
		Open:     Open,
		Settings: testSettings,
		Simulator: func(l *aspspsim.CallLog) http.Handler {
			return mypossim.New(mypossim.Config{APIKey: testKey, Log: l, ASPSP: testASPSP})
		},
		Options:         func(any) error { return nil },
		Query:           q,
		Token:           func(string) canonical.Secret { return mypossim.GoodToken },
		Account:         mypossim.GoodAccount,
		HostileAccounts: mypossim.HostileAccounts,
		ManyAccounts:    mypossim.ManyConsent,
		ManyCount:       mypossim.ManyCount,
		Refusals: map[canonical.Kind]string{
			canonical.ConsentExpired:      mypossim.Consent401ConsentExpired,
			canonical.ConsentInvalid:      mypossim.Consent401ConsentInvalid,
			canonical.AccountUnknown:      mypossim.Consent404Unknown,
			canonical.UnattendedLimit:     mypossim.Consent429Quota,
			canonical.ProviderRejected:    mypossim.Consent401Certificate,
			canonical.ProviderThrottled:   mypossim.Consent429Throttled,
			canonical.ProviderError:       mypossim.Consent500,
			canonical.ProviderUnavailable: mypossim.Consent503,
			canonical.ProviderTimeout:     mypossim.Consent504,
		},
		AccountsMutations: map[string]providertest.Mutation{
			"null record":              replace(`"accounts":[`, `"accounts":[null,`),
			"missing id or amount":     replace(`"accountNumber":"50044620073",`, ``),
			"foreign request":          faultproxy.SetHeader("X-Request-ID", otherID),
			"wrong type of list":       replace(`"accounts":[`, `"accounts":"","x":[`),
			"duplicate member":         replace(`"accounts":[`, `"accounts":[],"accounts":[`),
			"id that names no segment": replace(`"accountNumber":"50044620073"`, `"accountNumber":".."`),
			"same id twice":            replace(`"accountNumber":"50044620081"`, `"accountNumber":"50044620073"`),
			"bad currency":             replace(`"currency":"PLN"`, `"currency":"zł"`),
			"list missing":             replace(`"accounts":[`, `"records":[`),
			"total larger":             replace(`"total":11`, `"total":12`),
			"total smaller":            replace(`"total":11`, `"total":10`),
			"pagination unreadable":    replace(`"total":11`, `"total":"eleven"`),
			"pagination empty":         replace(`"pagination":{`, `"pagination":{},"x":{`),
			"another page":             replace(`"page":1`, `"page":2`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":          replace(`"balances":[`, `"balances":[null,`),
			"missing id or amount": replace(`"amount":4.200,`, ``),
			"foreign request":      faultproxy.SetHeader("X-Request-ID", otherID),
			"wrong type of list":   replace(`"balances":[`, `"balances":{},"x":[`),
			"duplicate member":     replace(`"amount":4.200`, `"amount":4.200,"amount":4.200`),
			"foreign account":      replace(`"accountNumber":"50044620073"`, `"accountNumber":"50044620081"`),
			"amount no number":     replace(`4.200`, `"4,20"`),
			"huge exponent":        replace(`4.200`, `4e999999999`),
			"bad currency":         replace(`"currency":"PLN"`, `"currency":"pln"`),
			"list missing":         replace(`"balances":[`, `"records":[`),
			"null amount":          replace(`4.200`, `null`),
		},
		Example: providertest.Example{
			Body: `{"account":{"accountNumber":"50044620073"},"balances":[` +
				`{"amount":4.200,"currency":"PLN","balanceType":"available"},` +
				`{"amount":-4.205,"currency":"PLN","balanceType":"interimBooked"},` +
				`{"amount":-0.000,"currency":"EUR","balanceType":"closingBooked"},` +
				`{"amount":100.000,"currency":"JPY","balanceType":"nonInvoiced"}]}`,
			Want: []string{"ITAV 4.20 PLN CRDT", "ITBD -4.205 PLN DBIT", "CLBD 0.00 EUR CRDT", "OTHR 100 JPY CRDT"},
		},
	}
}
