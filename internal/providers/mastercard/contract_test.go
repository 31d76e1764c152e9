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
	providertest.Run(t, subject(t))
}

func subject(t *testing.T) providertest.Subject {
	t.Helper()
	return providertest.Subject{
		Open:     Open,
		Settings: goodSettings(t),
		Simulator: func(l *aspspsim.Ledger) http.Handler {
			return mastercardsim.New(mastercardsim.Config{ConsumerKey: consumerKey, PublicKey: &signingKey().PublicKey, Ledger: l})
		},
		Query:           query(func(q *canonical.Query) { q.Consent = mastercardsim.ConsentHostile }),
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
			"null record":          replaced(t, `"accounts":[`, `"accounts":[null,`),
			"missing id or amount": replaced(t, `"resourceId":"account1",`, ``),
			"foreign request":      replaced(t, `"xRequestId":"`, `"xRequestId":"0`),
			"wrong type of list":   replaced(t, `"accounts":[`, `"accounts":{"a":1},"was":[`),
			"duplicate member":     replaced(t, `"currency":"USD"`, `"currency":"USD","Currency":"EUR"`),
			"duplicate account":    replaced(t, `"resourceId":"`+mastercardsim.Account+`"`, `"resourceId":"account1"`),
			"id that is a path":    replaced(t, `"resourceId":"account1"`, `"resourceId":".."`),
			"error in a success":   replaced(t, `{"originalRequestInfo"`, `{"Errors":{"Error":[{"ReasonCode":"PROVIDER_ERROR"}]},"originalRequestInfo"`),
		},
		BalancesMutations: map[string]providertest.Mutation{
			"null record":          replaced(t, `"balances":[`, `"balances":[null,`),
			"missing id or amount": replaced(t, `,"amount":102.56`, ``),
			"foreign request":      replaced(t, `"xRequestId":"`, `"xRequestId":"0`),
			"wrong type of list":   replaced(t, `"balances":[`, `"balances":"none","was":[`),
			"duplicate member":     replaced(t, `"amount":102.56`, `"amount":102.56,"amount":1`),
			"foreign account":      replaced(t, `"resourceId":"`, `"resourceId":"x`),
			"amount no number":     replaced(t, `"amount":102.56`, `"amount":"many"`),
			"huge exponent":        replaced(t, `"amount":102.56`, `"amount":1e999999999`),
			"bad currency":         replaced(t, `"currency":"GBP"`, `"currency":"pound"`),
			"missing indicator":    replaced(t, `"creditDebitIndicator":"CREDIT",`, ``),
		},
		Signed: providertest.Example{Body: signed, Want: []string{
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

// replaced changes the first place where an answer says a thing. It must be there: a mutation that changes
// nothing tests nothing.
func replaced(t *testing.T, old, with string) providertest.Mutation {
	t.Helper()
	return func(_ http.Header, body []byte) []byte {
		if !strings.Contains(string(body), old) {
			t.Errorf("%s is not in the answer", old)
		}
		return bytes.Replace(body, []byte(old), []byte(with), 1)
	}
}
