package mypos

import (
	"bytes"
	"net/http"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/providertest"
)

func TestContract(t *testing.T) { providertest.Run(t, subject()) }

func subject() providertest.Subject {
	q := alone()
	q.Consent = mypossim.HostileConsent
	return providertest.Subject{
		Open:     Open,
		Settings: testSettings,
		Simulator: func(l *aspspsim.Ledger) http.Handler {
			return mypossim.New(mypossim.Config{APIKey: testKey, Ledger: l, ASPSP: testASPSP})
		},
		Query:           q,
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
			"null record":              replaced(`"accounts":[`, `"accounts":[null,`),
			"missing id or amount":     replaced(`"accountNumber":"50044620073",`, ``),
			"foreign request":          foreign,
			"wrong type of list":       replaced(`"accounts":[`, `"accounts":"","x":[`),
			"duplicate member":         replaced(`"accounts":[`, `"accounts":[],"accounts":[`),
			"id that names no segment": replaced(`"accountNumber":"50044620073"`, `"accountNumber":".."`),
			"same id twice":            replaced(`"accountNumber":"50044620081"`, `"accountNumber":"50044620073"`),
			"bad currency":             replaced(`"currency":"PLN"`, `"currency":"zł"`),
			"list missing":             replaced(`"accounts":[`, `"records":[`),
			"total larger":             replaced(`"total":11`, `"total":12`),
			"total smaller":            replaced(`"total":11`, `"total":10`),
			"pagination unreadable":    replaced(`"total":11`, `"total":"eleven"`),
			"pagination empty":         replaced(`"pagination":{`, `"pagination":{},"x":{`),
			"another page":             replaced(`"page":1`, `"page":2`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":          replaced(`"balances":[`, `"balances":[null,`),
			"missing id or amount": replaced(`"amount":4.200,`, ``),
			"foreign request":      foreign,
			"wrong type of list":   replaced(`"balances":[`, `"balances":{},"x":[`),
			"duplicate member":     replaced(`"amount":4.200`, `"amount":4.200,"amount":4.200`),
			"foreign account":      replaced(`"accountNumber":"50044620073"`, `"accountNumber":"50044620081"`),
			"amount no number":     replaced(`4.200`, `"4,20"`),
			"huge exponent":        replaced(`4.200`, `4e999999999`),
			"bad currency":         replaced(`"currency":"PLN"`, `"currency":"pln"`),
			"list missing":         replaced(`"balances":[`, `"records":[`),
			"null amount":          replaced(`4.200`, `null`),
		},
		Signed: providertest.Example{
			Body: `{"account":{"accountNumber":"50044620073"},"balances":[` +
				`{"amount":4.200,"currency":"PLN","balanceType":"available"},` +
				`{"amount":-4.205,"currency":"PLN","balanceType":"interimBooked"},` +
				`{"amount":-0.000,"currency":"EUR","balanceType":"closingBooked"},` +
				`{"amount":100.000,"currency":"JPY","balanceType":"nonInvoiced"}]}`,
			Want: []string{"ITAV 4.20 PLN CRDT", "ITBD -4.205 PLN DBIT", "CLBD 0.00 EUR CRDT", "OTHR 100 JPY CRDT"},
		},
	}
}

// replaced changes the first occurrence of a text, which must be there.
func replaced(old, by string) providertest.Mutation {
	return func(_ http.Header, body []byte) []byte {
		changed := bytes.Replace(body, []byte(old), []byte(by), 1)
		if bytes.Equal(changed, body) {
			panic("there is nothing to mutate: " + old)
		}
		return changed
	}
}

func foreign(h http.Header, body []byte) []byte {
	h.Set("X-Request-ID", "99391c7e-ad88-49ec-a2ad-99ddcb1f7721")
	return body
}
