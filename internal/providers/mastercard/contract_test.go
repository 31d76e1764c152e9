package mastercard

import (
	"net/http"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/providertest"
	"ais-gateway/internal/providers/providertest/faultproxy"
)

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, harness(t))
}

func harness(t *testing.T) providertest.Harness {
	t.Helper()
	return providertest.Harness{
		Open:     Open,
		Settings: goodSettings(t),
		Simulator: func(l *aspspsim.CallLog) http.Handler {
			return mastercardsim.New(mastercardsim.Config{ConsumerKey: consumerKey, PublicKey: &signingKey().PublicKey, Log: l})
		},
		Options:         func(any) error { return nil },
		Query:           query(func(q *canonical.Query) { q.Consent = mastercardsim.ConsentHostile }),
		Token:           func(string) canonical.Secret { return "" },
		Account:         mastercardsim.Account,
		HostileAccounts: mastercardsim.HostileAccounts,
		ManyAccounts:    mastercardsim.ConsentMany,
		ManyCount:       mastercardsim.ManyAccounts,
		Refusals: map[canonical.Kind]string{
			canonical.ConsentExpired:      mastercardsim.ConsentExpired,
			canonical.ConsentInvalid:      mastercardsim.ConsentRevoked,
			canonical.AccountUnknown:      mastercardsim.ConsentUnlinked,
			canonical.UnattendedLimit:     mastercardsim.ConsentExhausted,
			canonical.ProviderRejected:    mastercardsim.ConsentUnauthorized,
			canonical.ProviderThrottled:   mastercardsim.ConsentThrottled,
			canonical.ProviderError:       mastercardsim.ConsentServerError,
			canonical.ProviderUnavailable: mastercardsim.ConsentUnavailable,
			canonical.ProviderTimeout:     mastercardsim.ConsentTimeout,
		},
		AccountsMutations: map[string]providertest.Mutation{
			"null record":          faultproxy.Replace(t, `"accounts":[`, `"accounts":[null,`),
			"missing id or amount": faultproxy.Replace(t, `"resourceId":"account1",`, ``),
			"foreign request":      faultproxy.Replace(t, `"xRequestId":"`, `"xRequestId":"0`),
			"wrong type of list":   faultproxy.Replace(t, `"accounts":[`, `"accounts":{"a":1},"was":[`),
			"duplicate member":     faultproxy.Replace(t, `"currency":"USD"`, `"currency":"USD","Currency":"EUR"`),
			"duplicate account":    faultproxy.Replace(t, `"resourceId":"`+mastercardsim.Account+`"`, `"resourceId":"account1"`),
			"id that is a path":    faultproxy.Replace(t, `"resourceId":"account1"`, `"resourceId":".."`),
			"error in a success":   faultproxy.Replace(t, `{"originalRequestInfo"`, `{"Errors":{"Error":[{"ReasonCode":"PROVIDER_ERROR"}]},"originalRequestInfo"`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":          faultproxy.Replace(t, `"balances":[`, `"balances":[null,`),
			"missing id or amount": faultproxy.Replace(t, `,"amount":102.56`, ``),
			"foreign request":      faultproxy.Replace(t, `"xRequestId":"`, `"xRequestId":"0`),
			"wrong type of list":   faultproxy.Replace(t, `"balances":[`, `"balances":"none","was":[`),
			"duplicate member":     faultproxy.Replace(t, `"amount":102.56`, `"amount":102.56,"amount":1`),
			"foreign account":      faultproxy.Replace(t, `"resourceId":"`, `"resourceId":"x`),
			"amount no number":     faultproxy.Replace(t, `"amount":102.56`, `"amount":"many"`),
			"huge exponent":        faultproxy.Replace(t, `"amount":102.56`, `"amount":1e999999999`),
			"bad currency":         faultproxy.Replace(t, `"currency":"GBP"`, `"currency":"pound"`),
			"missing indicator":    faultproxy.Replace(t, `"creditDebitIndicator":"CREDIT",`, ``),
		},
		Example: providertest.Example{Body: signed, Want: []string{
			"ITAV 102.56 GBP CRDT", "ITAV -20.00 GBP DBIT", "CLBD 0.00 GBP CRDT", "OTHR -5.00 GBP DBIT", "ITBD 12345678901234.99 GBP CRDT",
			"XPCD -4.20 PLN DBIT", "INFO -4.205 PLN DBIT", "PRCD 100 JPY CRDT",
		}},
	}
}

const signed = `{"originalRequestInfo":{"xRequestId":"{requestId}"},"account":{"resourceId":"` + mastercardsim.Account + `","balances":[
{"balanceAmount":{"currency":"GBP","amount":102.56},"balanceType":"Available","creditDebitIndicator":"CREDIT"},
{"balanceAmount":{"currency":"GBP","amount":20},"balanceType":"Available","creditDebitIndicator":"Debit"},
{"balanceAmount":{"currency":"GBP","amount":0},"balanceType":"closingBooked","creditDebitIndicator":"DEBIT"},
{"balanceAmount":{"currency":"GBP","amount":-5.0},"balanceType":"nonInvoiced","creditDebitIndicator":"DBIT"},
{"balanceAmount":{"currency":"GBP","amount":12345678901234.99},"balanceType":"Current","creditDebitIndicator":"credit"},
{"balanceAmount":{"currency":"PLN","amount":"4.200"},"balanceType":"XPCD","creditDebitIndicator":"Debit"},
{"balanceAmount":{"currency":"PLN","amount":4.205},"balanceType":"Information","creditDebitIndicator":"Debit"},
{"balanceAmount":{"currency":"JPY","amount":1e2},"balanceType":"PreviouslyClosedBooked","creditDebitIndicator":"Credit"}]}}`
