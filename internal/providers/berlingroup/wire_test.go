package berlingroup

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
)

// TestAccountIDs checks ids from resourceId and from links.
func TestAccountIDs(t *testing.T) {
	for account, want := range map[string]string{
		`{"resourceId":"a","_links":{"balances":{"href":"/v1/accounts/b/balances"}}}`: "a",
		`{"resourceId":" a "}`:                                                                           " a ",
		`{"resourceId":12345678901234567890}`:                                                            "12345678901234567890",
		`{"resourceId":" ","_links":{"account":"/v1/accounts/b"}}`:                                       "b",
		`{"_links":{"balances":{"href":"/v1/accounts/a%252Fb/balances"}}}`:                               "a%2Fb",
		`{"_links":{"balances":{"href":"accounts/a/balances"}}}`:                                         "a",
		`{"_links":{"balances":{"href":"https://x.example/p/v1/accounts/a/balances?x=1#y"}}}`:            "a",
		`{"_links":{"balances":null,"account":{"href":"/v1/accounts/a"}}}`:                               "a",
		`{"_links":{"balances":{"href":"/v1/accounts/b/balances"},"account":{"href":"/v1/accounts/a"}}}`: "b",
		`{"_links":{"balances":{"href":"/v1/accounts/balances/balances"}}}`:                              "balances",
		`{"_links":{"balances":{"href":"/v1/accounts/%D0%BA%D0%BB%D1%8E%D1%87/balances"}}}`:              "ключ",
		`{"_links":{"balances":{"href":"/v1/balances/a"}}}`:                                              "",
		`{"_links":{"balances":{"href":"/v1/accounts/a/b/balances"}}}`:                                   "",
		`{"_links":{"balances":{"href":"/v1/card-accounts/a/balances"}}}`:                                "",
		`{"_links":{"balances":{"href":"/v1/accounts/balances"}}}`:                                       "",
		`{"_links":{"balances":{"href":"/v1/accounts//balances"}}}`:                                      "",
		`{"_links":{"balances":{"href":"/v1/accounts/%zz/balances"}}}`:                                   "",
		`{"_links":{"balances":{"href":"/v1/accounts/../balances"}}}`:                                    "..",
		`{"_links":{"transactions":{"href":"/v1/accounts/a/transactions"}}}`:                             "",
		`{"_links":[]}`:             "",
		`{"_links":{"account":{}}}`: "",
		`{}`:                        "",
	} {
		var w wireAccount
		if err := json.Unmarshal([]byte(account), &w); err != nil {
			t.Fatal(err)
		}
		if got := w.id(); got != want {
			t.Errorf("%s has id %q, want %q", account, got, want)
		}
	}
}

// TestCards checks that no full card number leaves the adapter.
func TestCards(t *testing.T) {
	const pan = "4111111111111111"
	for account, want := range map[string]string{
		`{"resourceId":"a","pan":"` + pan + `","maskedPan":"411111******1111"}`:                 "PAN 411111******1111",
		`{"resourceId":"a","pan":"4111 1111 1111 1111"}`:                                        "PAN 411111******1111",
		`{"resourceId":"a","maskedPan":"` + pan + `"}`:                                          "PAN 411111******1111",
		`{"resourceId":"a","bban":"` + pan + `","cashAccountType":"CARD"}`:                      "PAN 411111******1111",
		`{"resourceId":"a","bban":"` + pan + `","cashAccountType":"CreditCard"}`:                "PAN 411111******1111",
		`{"resourceId":"` + pan + `","cashAccountType":"CARD"}`:                                 "error",
		`{"resourceId":"` + pan + `","pan":"` + pan + `"}`:                                      "error",
		`{"cashAccountType":"CARD","_links":{"balances":"/v1/accounts/` + pan + `/balances"}}`:  "error",
		`{"resourceId":"a","pan":"` + pan + `"},{"resourceId":"a","pan":"4111110000001111"}`:    "error",
		`{"resourceId":"a","pan":"` + pan + `"},{"resourceId":"a","pan":"4111-1111-1111-1111"}`: "PAN 411111******1111",
	} {
		p := serve(t, responds(http.StatusOK, `{"accounts":[`+account+`]}`), Options{}, nil)
		all, err := p.Accounts(t.Context(), testQuery())
		if want == "error" {
			if failure := wantKind(t, err, canonical.ProviderInvalidResponse); strings.Contains(failure.Error(), "4111") {
				t.Errorf("%s: %v", account, failure)
			}
			continue
		}
		if err != nil || len(all) != 1 || string(all[0].Identification.Scheme)+" "+all[0].Identification.Value != want || all[0].OtherIdentifications != nil {
			t.Errorf("%s: %+v, %v", account, all, err)
		}
	}
	p := serve(t, responds(http.StatusOK, `{"account":{"pan":"`+pan+`"},"balances":[]}`), Options{}, nil)
	if got, err := p.Balances(t.Context(), testQuery(), "a"); err != nil || got.Identification.Value != "411111******1111" {
		t.Errorf("balances: %+v, %v", got, err)
	}
}

// TestIdentifications checks that all numbers are kept in the order of preference.
func TestIdentifications(t *testing.T) {
	body := `{"accounts":[{"resourceId":"a","msisdn":"+491700000000","bban":"120300000000202051","iban":"DE02 1203 0000 0000 2020 51"},` +
		`{"resourceId":"b","iban":"DE03120300000000202051"}]}`
	p := serve(t, responds(http.StatusOK, body), Options{}, nil)
	all, err := p.Accounts(t.Context(), testQuery())
	if err != nil {
		t.Fatal(err)
	}
	want := []canonical.Account{
		{
			ID: "a", Type: canonical.AccountTypeOther, Identification: canonical.Identification{Scheme: "IBAN", Value: "DE02120300000000202051"},
			OtherIdentifications: []canonical.Identification{{Scheme: "BBAN", Value: "120300000000202051"}, {Scheme: "PROVIDER", Value: "+491700000000"}},
		},
		{ID: "b", Type: canonical.AccountTypeOther, Identification: canonical.Identification{Scheme: "BBAN", Value: "DE03120300000000202051"}},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

// TestReference checks where dates and times go.
func TestReference(t *testing.T) {
	for balance, want := range map[string]string{
		`{"lastChangeDateTime":"2026-11-20T08:00:01+0100"}`:                          "2026-11-20T07:00:01Z||",
		`{"lastChangeDateTime":"2026-11-20"}`:                                        "|2026-11-20|",
		`{"lastChangeDateTime":"2026-11-20","referenceDate":"2026-11-19"}`:           "|2026-11-19|",
		`{"referenceDate":"2026-11-19T00:00:00Z"}`:                                   "2026-11-19T00:00:00Z||",
		`{"referenceDate":"2026-11-19T00:00:00"}`:                                    "||2026-11-19T00:00:00",
		`{"referenceDate":"19.11.2026","lastChangeDateTime":"2026-11-20T08:00:01Z"}`: "2026-11-20T08:00:01Z||19.11.2026",
		`{"referenceDate":"19.11.2026","lastChangeDateTime":"yesterday"}`:            "||yesterday",
		`{"referenceDate":"2026-11-31"}`:                                             "||2026-11-31",
		`{"lastChangeDateTime":1763625601}`:                                          "||1763625601",
		`{"lastChangeDateTime":"","referenceDate":""}`:                               "||",
	} {
		var w wireBalance
		if err := json.Unmarshal([]byte(balance), &w); err != nil {
			t.Fatal(err)
		}
		at, date, unread := w.reference()
		text := ""
		if !at.IsZero() {
			text = at.Format("2006-01-02T15:04:05Z07:00")
		}
		if got := text + "|" + date + "|" + unread; got != want {
			t.Errorf("%s is %s, want %s", balance, got, want)
		}
	}
}

// TestInvalidAnswers checks responses that are refused as a whole.
func TestInvalidAnswers(t *testing.T) {
	const good = `{"balanceType":"expected","balanceAmount":{"currency":"EUR","amount":"1"}}`
	for _, body := range []string{
		`{"balances":[` + good + `,{"balanceType":"expected"}]}`,
		`{"balances":[` + good + `,{"balanceType":"expected","balanceAmount":null}]}`,
		`{"balances":[{"balanceType":"expected","balanceAmount":{"currency":"EUR","amount":true}}]}`,
		`{"balances":[{"balanceType":["expected"],"balanceAmount":{"currency":"EUR","amount":"1"}}]}`,
		`{"balances":[` + good + `],"debitAccounting":true}`,
		`{"balances":[` + good + `],"debitAccounting":"true"}`,
		`{"account":"DE02120300000000202051","balances":[` + good + `]}`,
		`{"account":{"resourceId":"A"},"balances":[` + good + `]}`,
		`{"balances":null}`,
		`{"tppMessages":[{"category":"ERROR","code":"X"}],"balances":[]}`,
		`{"tppMessages":"X","balances":[]}`,
	} {
		p := serve(t, responds(http.StatusOK, body), Options{}, nil)
		_, err := p.Balances(t.Context(), testQuery(), "a")
		wantKind(t, err, canonical.ProviderInvalidResponse)
	}
	for _, body := range []string{
		`{"balances":[` + good + `],"debitAccounting":false,"account":{"resourceId":"a"},"cardAccount":{}}`,
		`{"balances":[` + good + `],"debitAccounting":null,"account":[],"_links":null,"tppMessages":[]}`,
	} {
		p := serve(t, responds(http.StatusOK, body), Options{}, nil)
		if got, err := p.Balances(t.Context(), testQuery(), "a"); err != nil || len(got.Balances) != 1 {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}
