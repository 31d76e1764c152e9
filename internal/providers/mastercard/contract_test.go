package mastercard

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/providertest"
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
			"null record":          replace(t, `"accounts":[`, `"accounts":[null,`),
			"missing id or amount": replace(t, `"resourceId":"account1",`, ``),
			"foreign request":      replace(t, `"xRequestId":"`, `"xRequestId":"0`),
			"wrong type of list":   replace(t, `"accounts":[`, `"accounts":{"a":1},"was":[`),
			"duplicate member":     replace(t, `"currency":"USD"`, `"currency":"USD","Currency":"EUR"`),
			"duplicate account":    replace(t, `"resourceId":"`+mastercardsim.Account+`"`, `"resourceId":"account1"`),
			"id that is a path":    replace(t, `"resourceId":"account1"`, `"resourceId":".."`),
			"error in a success":   replace(t, `{"originalRequestInfo"`, `{"Errors":{"Error":[{"ReasonCode":"PROVIDER_ERROR"}]},"originalRequestInfo"`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":          replace(t, `"balances":[`, `"balances":[null,`),
			"missing id or amount": replace(t, `,"amount":102.56`, ``),
			"foreign request":      replace(t, `"xRequestId":"`, `"xRequestId":"0`),
			"wrong type of list":   replace(t, `"balances":[`, `"balances":"none","was":[`),
			"duplicate member":     replace(t, `"amount":102.56`, `"amount":102.56,"amount":1`),
			"foreign account":      replace(t, `"resourceId":"`, `"resourceId":"x`),
			"amount no number":     replace(t, `"amount":102.56`, `"amount":"many"`),
			"huge exponent":        replace(t, `"amount":102.56`, `"amount":1e999999999`),
			"bad currency":         replace(t, `"currency":"GBP"`, `"currency":"pound"`),
			"missing indicator":    replace(t, `"creditDebitIndicator":"CREDIT",`, ``),
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

// replace returns a Mutation that replaces the first occurrence of a text. It panics if there is
// none, because the mutation would change nothing.
func replace(t *testing.T, old, with string) providertest.Mutation {
	t.Helper()
	return func(_ http.Header, body []byte) []byte {
		if !strings.Contains(string(body), old) {
			t.Errorf("%s is not in the answer", old)
		}
		return bytes.Replace(body, []byte(old), []byte(with), 1)
	}
}
