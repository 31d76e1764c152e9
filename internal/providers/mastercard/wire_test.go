package mastercard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/upstream"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestRecordedAccounts(t *testing.T) {
	t.Parallel()
	got, err := readAccounts(file(t, "answer-accounts.json"), strings.ToUpper(requestID))
	if err != nil {
		t.Fatal(err)
	}
	want := []canonical.Account{{
		ID: "account1", Identification: canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "70000170000005"},
		Currency: "USD", Type: canonical.AccountTypeOther, ProviderType: "ASTC01", HolderType: "personal",
		HolderName: "John Doe", Name: "My savings account", Nickname: "Holiday savings", Relations: []string{"Owner"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

func TestRecordedBalances(t *testing.T) {
	t.Parallel()
	got, err := readBalances(file(t, "answer-balances.json"), requestID, "aa:q648383844dhhfHhTV")
	if err != nil {
		t.Fatal(err)
	}
	want := canonical.AccountBalances{Name: "SandboxASPSP1 Account 1", Balances: []canonical.Balance{
		{
			Type: canonical.InterimAvailable, ProviderType: "Available", Amount: amount(t, "102.56"),
			ReferenceTime: time.Date(2019, 3, 21, 10, 33, 13, 1e6, time.UTC),
		},
		{
			Type: canonical.InterimAvailable, ProviderType: "Available", Amount: amount(t, "102.56"),
			ReferenceTime: time.Date(2019, 3, 22, 10, 33, 13, 1e6, time.UTC),
		},
		{Type: canonical.InterimBooked, ProviderType: "Current", Amount: amount(t, "-47.1")},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(canonical.Amount{})); diff != "" {
		t.Errorf("balances (-want +got):\n%s", diff)
	}
}

func amount(t *testing.T, number string) canonical.Amount {
	t.Helper()
	a, err := canonical.ParseAmount(number, "GBP")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAccountsThatAreSparse(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"originalRequestInfo":{}}`,
		`{"originalRequestInfo":{"xRequestId":"` + requestID + `"},"accounts":null,"Errors":null}`,
		`{"originalRequestInfo":{"xRequestId":null}}`,
		`{"accounts":[]}`,
	} {
		if got, err := readAccounts([]byte(body), requestID); err != nil || got == nil || len(got) != 0 {
			t.Errorf("%s: %v, %v, want an empty list", body, got, err)
		}
	}
	got, err := readAccounts([]byte(`{"accounts":[{"resourceId":"x","currency":null,"accountPsuRelations":[{}],"new":{"a":[1]}}]}`), requestID)
	want := []canonical.Account{{ID: "x", Type: canonical.AccountTypeOther}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestBalancesThatAreSparse(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"originalRequestInfo":{}}`, `{"originalRequestInfo":{"xRequestId":null}}`, `{"account":{}}`, `{"account":{"resourceId":null}}`,
		`{"account":{"resourceId":"x","balances":null}}`, `{"account":{"resourceId":"x","balances":[]}}`,
	} {
		if got, err := readBalances([]byte(body), requestID, "x"); err != nil || got.Balances == nil || len(got.Balances) != 0 {
			t.Errorf("%s: %v, %v, want no balances", body, got, err)
		}
	}
}

func TestAccountsThatAreRefused(t *testing.T) {
	t.Parallel()
	one := func(account string) string { return `{"accounts":[` + account + `]}` }
	for name, body := range map[string]string{
		"empty":             ``,
		"no JSON":           `<html>`,
		"null":              `null`,
		"list":              `[]`,
		"nothing of ours":   `{"hello":"world"}`,
		"errors alone":      `{"Errors":{"Error":[]}}`,
		"errors beside":     `{"originalRequestInfo":{},"errors":{"error":[]}}`,
		"another request":   `{"originalRequestInfo":{"xRequestId":"00000000-0000-4000-8000-000000000000"},"accounts":[]}`,
		"empty request":     `{"originalRequestInfo":{"xRequestId":""},"accounts":[]}`,
		"list is an object": `{"accounts":{}}`,
		"null record":       one(`null`),
		"no id":             one(`{}`),
		"null id":           one(`{"resourceId":null}`),
		"number for id":     one(`{"resourceId":7}`),
		"long id":           one(`{"resourceId":"` + strings.Repeat("ä", 257) + `"}`),
		"id .":              one(`{"resourceId":"."}`),
		"id ..":             one(`{"resourceId":".."}`),
		"control in id":     one(`{"resourceId":"a\u0000"}`),
		"delete in id":      one(`{"resourceId":"a\u007f"}`),
		"id twice":          one(`{"resourceId":"a"},{"resourceId":"a"}`),
		"member twice":      one(`{"resourceId":"a","resourceId":"b"}`),
		"currency":          one(`{"resourceId":"a","currency":"eur"}`),
		"null relation":     one(`{"resourceId":"a","accountPsuRelations":[null]}`),
		"second is bad":     one(`{"resourceId":"a"},{"resourceId":""}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readAccounts([]byte(body), requestID)
			if kind(err) != canonical.ProviderInvalidResponse || got != nil {
				t.Errorf("%v, %v, want an invalid response", got, err)
			}
		})
	}
	if _, err := readAccounts([]byte(one(`{"resourceId":"`+strings.Repeat("ä", 256)+`"}`)), requestID); err != nil {
		t.Errorf("256 characters: %v", err)
	}
	if got, err := readAccounts([]byte(one(`{"resourceId":"a\ufffd"}`)), requestID); err != nil || got[0].ID != "a\ufffd" {
		t.Errorf("a replacement character: %v, %v", got, err)
	}
}

// one is an answer with one balance, whose members may be replaced.
func one(change ...string) []byte {
	balance := `{"balanceAmount":{"currency":"GBP","amount":1},"balanceType":"CLBD","creditDebitIndicator":"Credit","dateTime":"2019-03-21T10:33:13Z"}`
	return []byte(`{"account":{"resourceId":"x","balances":[` + strings.NewReplacer(change...).Replace(balance) + `]}}`)
}

func TestBalancesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"nothing of ours":  []byte(`{"accounts":[]}`),
		"no JSON":          []byte(`{"account":`),
		"errors beside":    []byte(`{"account":{},"Errors":{}}`),
		"another request":  []byte(`{"originalRequestInfo":{"xRequestId":"x"},"account":{}}`),
		"empty request":    []byte(`{"originalRequestInfo":{"xRequestId":""},"account":{}}`),
		"empty account":    []byte(`{"account":{"resourceId":""}}`),
		"another account":  []byte(`{"account":{"resourceId":"X"}}`),
		"null record":      []byte(`{"account":{"balances":[null]}}`),
		"no object":        []byte(`{"account":{"balances":{}}}`),
		"no amount":        one(`,"amount":1`, ``),
		"null amount":      one(`"amount":1`, `"amount":null`),
		"no balanceAmount": one(`"balanceAmount":{"currency":"GBP","amount":1},`, ``),
		"empty amount":     one(`"amount":1`, `"amount":""`),
		"word for amount":  one(`"amount":1`, `"amount":"NaN"`),
		"huge exponent":    one(`"amount":1`, `"amount":1e999999999`),
		"too precise":      one(`"amount":1`, `"amount":0.1234567890123456789`),
		"negative credit":  one(`"amount":1`, `"amount":-1`),
		"no currency":      one(`"currency":"GBP",`, ``),
		"currency":         one(`GBP`, `gbp`),
		"no indicator":     one(`"creditDebitIndicator":"Credit",`, ``),
		"unknown side":     one(`Credit`, `Both`),
		"time":             one(`13Z`, `13`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readBalances(body, requestID, "x")
			if kind(err) != canonical.ProviderInvalidResponse || got.Balances != nil {
				t.Errorf("%v, %v, want an invalid response", got, err)
			}
		})
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		number, indicator string
		want              string
		side              canonical.Indicator
	}{
		{`102.56`, "CREDIT", "102.56", canonical.Credit},
		{`"102.56"`, "Credit", "102.56", canonical.Credit},
		{`4.200`, "Debit", "-4.20", canonical.Debit},
		{`4.205`, " debit ", "-4.205", canonical.Debit},
		{`-5`, "DBIT", "-5.00", canonical.Debit},
		{`0`, "Debit", "0.00", canonical.Credit},
		{`-0.00`, "crdt", "0.00", canonical.Credit},
		{`1e2`, "CRDT", "100.00", canonical.Credit},
		{`12345678901234.99`, "Credit", "12345678901234.99", canonical.Credit},
	}
	for _, test := range tests {
		got, err := readBalances(one(`"amount":1`, `"amount":`+test.number, `Credit`, test.indicator), requestID, "x")
		if err != nil {
			t.Errorf("%s %s: %v", test.number, test.indicator, err)
			continue
		}
		if a := got.Balances[0].Amount; a.Value() != test.want || a.Indicator() != test.side {
			t.Errorf("%s %s: %s %s, want %s %s", test.number, test.indicator, a.Value(), a.Indicator(), test.want, test.side)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "0001-01-01T00:00:00Z",
		"2019-03-21T10:33:13Z":           "2019-03-21T10:33:13Z",
		"2019-03-21T10:33:13.001Z":       "2019-03-21T10:33:13.001Z",
		"2019-03-21T10:33:13.1234567Z":   "2019-03-21T10:33:13.1234567Z",
		"2026-11-20T00:30:00+01:00":      "2026-11-19T23:30:00Z",
		"2026-11-20T00:30:00.5+0100":     "2026-11-19T23:30:00.5Z",
		"2026-11-20T00:30:00-0530":       "2026-11-20T06:00:00Z",
		"2019-03-21T10:33:13":            "unreadable",
		"2019-03-21T10:33Z":              "unreadable",
		"2019-03-21":                     "unreadable",
		"2019-03-21 10:33:13Z":           "unreadable",
		"2019-03-21T1:33:13Z":            "unreadable",
		"2019-03-21T10:33:13,5Z":         "unreadable",
		"2019-02-30T10:33:13Z":           "unreadable",
		"2019-03-21T25:33:13Z":           "unreadable",
		"9999-12-31T23:59:59-01:00":      "unreadable",
		"0000-01-01T00:00:00+01:00":      "unreadable",
		"1553164393":                     "unreadable",
		"Thu, 21 Mar 2019 10:33:13 GMT":  "unreadable",
		"2019-03-21T10:33:13Z and after": "unreadable",
	} {
		got := "unreadable"
		if at, ok := readTime(text); ok {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q is read as %s, want %s", text, got, want)
		}
	}
}

func TestBalanceWords(t *testing.T) {
	t.Parallel()
	want := map[string]canonical.BalanceType{
		// Berlin Group
		"closingBooked": "CLBD", "openingBooked": "OPBD", "interimBooked": "ITBD", "interimAvailable": "ITAV",
		"forwardAvailable": "FWAV", "expected": "XPCD", "nonInvoiced": "OTHR",
		// UK OBIE
		"ClosingBooked": "CLBD", "OpeningBooked": "OPBD", "PreviouslyClosedBooked": "PRCD", "InterimBooked": "ITBD",
		"InterimAvailable": "ITAV", "ClosingAvailable": "CLAV", "OpeningAvailable": "OPAV", "ForwardAvailable": "FWAV",
		"Expected": "XPCD", "Information": "INFO", "ClosingCleared": "OTHR", "InterimCleared": "OTHR", "OpeningCleared": "OTHR",
		// STET and ISO 20022
		"CLBD": "CLBD", "XPCD": "XPCD", "VALU": "OTHR", "OTHR": "OTHR", " itav ": "ITAV",
		// Polish API
		"bookingBalance": "ITBD", "availableBalance": "ITAV",
		// OBC's sandbox
		"Current": "ITBD", "Available": "ITAV", "AVAILABLE": "ITAV",
		"": "OTHR", "avail": "OTHR",
	}
	rows := map[string]bool{}
	for word, code := range want {
		got, err := readBalances(one(`CLBD`, word), requestID, "x")
		if err != nil {
			t.Fatal(err)
		}
		if b := got.Balances[0]; b.Type != code || b.ProviderType != word {
			t.Errorf("%q is read as %s, own word %q, want %s", word, b.Type, b.ProviderType, code)
		}
		rows[strings.ToLower(word)] = true
	}
	for row := range balanceWords {
		if !rows[row] {
			t.Errorf("row %q of the table is not tested", row)
		}
	}
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		scheme, number string
		want           canonical.Identification
	}{
		{"IBAN", "DE89 3704 0044 0532 0130 00", canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "DE89370400440532013000"}},
		{"iban", "DE88370400440532013000", canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "DE88370400440532013000"}},
		{"BBAN", "7000", canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "7000"}},
		{"PAN", "5555555555554444", canonical.Identification{Scheme: canonical.SchemePAN, Value: "555555******4444"}},
		{" sortcodeaccountnumber ", "20000055779911", canonical.Identification{Scheme: canonical.SchemeSortCode, Value: "20000055779911"}},
		{"SortCodeAccountNumber", "20000055779911", canonical.Identification{Scheme: canonical.SchemeSortCode, Value: "20000055779911"}},
		{"Wallet", "w-1", canonical.Identification{Scheme: canonical.SchemeProvider, Value: "w-1"}},
		{"", "w-1", canonical.Identification{Scheme: canonical.SchemeProvider, Value: "w-1"}},
		{"IBAN", "", canonical.Identification{}},
	}
	rows := map[string]bool{}
	for _, test := range tests {
		body := fmt.Sprintf(`{"accounts":[{"resourceId":"x","schemeName":%q,"accountNumber":%q}]}`, test.scheme, test.number)
		got, err := readAccounts([]byte(body), requestID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got[0].Identification); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.scheme, diff)
		}
		rows[fold(test.scheme)] = true
	}
	for row := range schemes {
		if !rows[row] {
			t.Errorf("row %q of the table is not tested", row)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add(file(f, "answer-accounts.json"))
	f.Fuzz(func(t *testing.T, body []byte) {
		accounts, err := readAccounts(body, requestID)
		if err != nil {
			if kind(err) != canonical.ProviderInvalidResponse || accounts != nil {
				t.Fatalf("%v with %v", err, accounts)
			}
			return
		}
		seen := map[string]bool{}
		for _, a := range accounts {
			if seen[a.ID] || !upstream.Addressable(a.ID) || a.Currency != "" && !canonical.ValidCurrency(a.Currency) || len(a.Type) != 4 {
				t.Fatalf("%+v was accepted", a)
			}
			if (a.Identification.Scheme == "") != (a.Identification.Value == "") {
				t.Fatalf("%+v identifies by halves", a)
			}
			seen[a.ID] = true
		}
		if accounts == nil {
			t.Fatal("success without a list")
		}
	})
}

func FuzzBalances(f *testing.F) {
	const account = "aa:q648383844dhhfHhTV"
	f.Add(file(f, "answer-balances.json"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readBalances(body, requestID, account)
		if err != nil {
			if kind(err) != canonical.ProviderInvalidResponse || got.Balances != nil {
				t.Fatalf("%v with %v", err, got)
			}
			return
		}
		if got.Balances == nil {
			t.Fatal("success without a list")
		}
		for _, b := range got.Balances {
			again, err := canonical.ParseAmount(b.Amount.Value(), b.Amount.Currency())
			if err != nil || again.Value() != b.Amount.Value() || again.Indicator() != b.Amount.Indicator() || len(b.Type) != 4 {
				t.Fatalf("%+v was accepted: %v", b, err)
			}
			if _, err := b.ReferenceTime.MarshalText(); err != nil {
				t.Fatalf("%v cannot be answered: %v", b.ReferenceTime, err)
			}
		}
	})
}
