package berlingroup

import (
	"net/http"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
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
	q.Consent = berlingroupsim.HostileConsent
	return providertest.Harness{
		Open:     Open,
		Settings: noSettings,
		Options: func(into any) error {
			*into.(*Options) = Options{WithBalance: true}
			return nil
		},
		Simulator: func(l *aspspsim.CallLog) http.Handler {
			return berlingroupsim.New(berlingroupsim.Config{Log: l, Banks: []berlingroupsim.Bank{{ASPSP: testASPSP, PageSize: 20}}})
		},
		Query:           q,
		Token:           func(string) canonical.Secret { return q.Token },
		Account:         berlingroupsim.GoodAccount,
		HostileAccounts: berlingroupsim.HostileAccounts,
		ManyAccounts:    berlingroupsim.ManyConsent,
		ManyCount:       berlingroupsim.ManyCount,
		Refusals: map[canonical.Kind]string{
			canonical.ConsentExpired:      berlingroupsim.Consent401ConsentExpired,
			canonical.ConsentInvalid:      berlingroupsim.Consent403ConsentUnknown,
			canonical.AccountUnknown:      berlingroupsim.Consent403ResourceExpired,
			canonical.UnattendedLimit:     berlingroupsim.Consent429Exceeded,
			canonical.ProviderRejected:    berlingroupsim.Consent401Certificate,
			canonical.ProviderThrottled:   berlingroupsim.Consent429TooMany,
			canonical.ProviderError:       berlingroupsim.Consent500Bare,
			canonical.ProviderUnavailable: berlingroupsim.Consent503,
			canonical.ProviderTimeout:     berlingroupsim.Consent504Bare,
		},
		AccountsMutations: map[string]providertest.Mutation{
			"null record":                  replace(`"accounts":[`, `"accounts":[null,`),
			"missing id or amount":         both(replace(`"resourceId":"7f-19:a/2",`, ``), replace(`/v1/accounts/7f-19:a%2F2/balances`, `/v1/balances/7f-19`)),
			"foreign request":              faultproxy.SetHeader("X-Request-ID", otherID),
			"wrong type of list":           replace(`"accounts":[`, `"accounts":"","x":[`),
			"duplicate member":             replace(`"accounts":[`, `"accounts":[],"accounts":[`),
			"id that names no segment":     replace(`"resourceId":"7f-19:a/2"`, `"resourceId":".."`),
			"same id twice":                replace(`"resourceId":"card-1"`, `"resourceId":"7f-19:a/2"`),
			"full card number as id":       replace(`"resourceId":"card-1"`, `"resourceId":"4111 1111 1111 1111"`),
			"bad currency":                 replace(`"currency":"EUR"`, `"currency":"€"`),
			"list missing":                 replace(`"accounts":[`, `"cardAccounts":[`),
			"error beside the list":        replace(`"accounts":[`, `"tppMessages":[{"category":"ERROR","code":"X"}],"accounts":[`),
			"next link of another type":    replace(`"accounts":[`, `"_links":{"next":["/v1/accounts?page=2"]},"accounts":[`),
			"next link to another host":    replace(`"accounts":[`, `"_links":{"next":{"href":"https://bank.example/v1/accounts?page=2"}},"accounts":[`),
			"next link to the same page":   replace(`"accounts":[`, `"_links":{"next":"/v1/accounts"},"accounts":[`),
			"next link that leads nowhere": replace(`"accounts":[`, `"_links":{"next":"http://%zz"},"accounts":[`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":          replace(`"balances":[`, `"balances":[null,`),
			"missing id or amount": replace(`,"amount":"-12.5"`, ``),
			"foreign request":      faultproxy.SetHeader("X-Request-ID", otherID),
			"wrong type of list":   replace(`"balances":[`, `"balances":{},"x":[`),
			"duplicate member":     replace(`"amount":"-12.5"`, `"amount":"-12.5","amount":"-12.5"`),
			"foreign account":      replace(`"account":{`, `"account":{"resourceId":"card-1",`),
			"amount no number":     replace(`"-12.5"`, `"-12,50"`),
			"two signs":            replace(`"-12.5"`, `"+-12.5"`),
			"two minus signs":      replace(`"-12.5"`, `"--12.5"`),
			"sign at the end":      replace(`"-12.5"`, `"12.5-"`),
			"huge exponent":        replace(`"-12.5"`, `4e999999999`),
			"bad currency":         replace(`"currency":"EUR"`, `"currency":"eur"`),
			"list missing":         replace(`"balances":[`, `"records":[`),
			"null amount":          replace(`"-12.5"`, `null`),
			"null amount object":   replace(`{"currency":"EUR","amount":"-12.5"}`, `null`),
			"debits are positive":  replace(`"balances":[`, `"debitAccounting":true,"balances":[`),
		},
		Example: providertest.Example{
			Body: `{"account":{"iban":"DE02120300000000202051"},"balances":[` +
				`{"balanceType":"closingBooked","balanceAmount":{"currency":"EUR","amount":"-12.5"},"referenceDate":"2026-11-19"},` +
				`{"balanceType":"INTERIM_AVAILABLE","balanceAmount":{"currency":"EUR","amount":187.5}},` +
				`{"balanceType":"expected","balanceAmount":{"currency":"JPY","amount":"+100.0"}},` +
				`{"balanceType":"authorised","balanceAmount":{"currency":"EUR","amount":"-0.00"}}]}`,
			Want: []string{"CLBD -12.50 EUR DBIT", "ITAV 187.50 EUR CRDT", "XPCD 100 JPY CRDT", "OTHR 0.00 EUR CRDT"},
		},
	}
}

func both(first, second providertest.Mutation) providertest.Mutation {
	return func(h http.Header, body []byte) []byte { return second(h, first(h, body)) }
}
