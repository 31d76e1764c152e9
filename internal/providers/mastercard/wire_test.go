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
	"ais-gateway/internal/providers/adapter"
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
		`{"originalRequestInfo":{"xRequestId":"` + requestID + `"},"Errors":null}`,
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
		`{"account":{"resourceId":"x","balances":[]}}`,
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
		"empty":                     ``,
		"no JSON":                   `<html>`,
		"null":                      `null`,
		"list":                      `[]`,
		"nothing of ours":           `{"hello":"world"}`,
		"null list":                 `{"originalRequestInfo":{"xRequestId":"` + requestID + `"},"accounts":null}`,
		"null list without an echo": `{"accounts":null}`,
		"errors alone":              `{"Errors":{"Error":[]}}`,
		"an error alone":            `{"originalRequestInfo":{},"errors":{"error":[{"ReasonCode":"PROVIDER_ERROR"}]}}`,
		"an error beside":           `{"Errors":{"Error":[{"ReasonCode":"PROVIDER_ERROR"}]},"accounts":[]}`,
		"a word beside":             `{"errors":"timeout","accounts":[]}`,
		"code beside":               `{"errors":[{},500],"accounts":[]}`,
		"another request":           `{"originalRequestInfo":{"xRequestId":"00000000-0000-4000-8000-000000000000"},"accounts":[]}`,
		"list is an object":         `{"accounts":{}}`,
		"null record":               one(`null`),
		"no id":                     one(`{}`),
		"null id":                   one(`{"resourceId":null}`),
		"list for id":               one(`{"resourceId":[7]}`),
		"truth for id":              one(`{"resourceId":true}`),
		"half a character":          one(`{"resourceId":"a\ud83d"}`),
		"long id":                   one(`{"resourceId":"` + strings.Repeat("ä", 257) + `"}`),
		"id .":                      one(`{"resourceId":"."}`),
		"id ..":                     one(`{"resourceId":".."}`),
		"control in id":             one(`{"resourceId":"a\u0000"}`),
		"delete in id":              one(`{"resourceId":"a\u007f"}`),
		"id twice":                  one(`{"resourceId":"a"},{"resourceId":"a","currency":"EUR"}`),
		"another card":              one(`{"resourceId":"a","schemeName":"PAN","accountNumber":"5413330000000019"},{"resourceId":"a","schemeName":"PAN","accountNumber":"5413339999990019"}`),
		"id is a PAN":               one(`{"resourceId":"5413330000000019","accountType":"CARD"}`),
		"id is a PAN, apart":        one(`{"resourceId":"5413 3300 0000 0019","accountType":"CreditCard"}`),
		"id is a PAN by its scheme": one(`{"resourceId":"5413330000000019","schemeName":"UK.OBIE.PAN","accountNumber":"541333******0019"}`),
		"id is a PAN as a number":   one(`{"resourceId":5413330000000019,"accountType":"CARD"}`),
		"member twice":              one(`{"resourceId":"a","resourceId":"b"}`),
		"currency":                  one(`{"resourceId":"a","currency":"eur"}`),
		"word for relations":        one(`{"resourceId":"a","accountPsuRelations":"Owner"}`),
		"second is bad":             one(`{"resourceId":"a"},{"resourceId":""}`),
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

// one returns a response with one balance, whose members may be replaced.
func one(change ...string) []byte {
	balance := `{"balanceAmount":{"currency":"GBP","amount":1},"balanceType":"CLBD","creditDebitIndicator":"Credit","dateTime":"2019-03-21T10:33:13Z"}`
	return []byte(`{"account":{"resourceId":"x","balances":[` + strings.NewReplacer(change...).Replace(balance) + `]}}`)
}

// TestEmptyEchoIsAMissingOne checks that empty ids of the request and the account are accepted.
func TestEmptyEchoIsAMissingOne(t *testing.T) {
	t.Parallel()
	for _, nothing := range []string{`""`, `" "`, `null`, `[]`, `{}`} {
		if _, err := readAccounts([]byte(`{"originalRequestInfo":{"xRequestId":`+nothing+`},"accounts":[]}`), requestID); err != nil {
			t.Errorf("accounts, request %s: %v", nothing, err)
		}
		if _, err := readBalances([]byte(`{"originalRequestInfo":{"xRequestId":`+nothing+`},"account":{}}`), requestID, "x"); err != nil {
			t.Errorf("balances, request %s: %v", nothing, err)
		}
		if nothing == `" "` {
			continue // an id may be of white space
		}
		if _, err := readBalances([]byte(`{"account":{"resourceId":`+nothing+`}}`), requestID, "x"); err != nil {
			t.Errorf("account %s: %v", nothing, err)
		}
	}
}

func TestBalancesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"nothing of ours":  []byte(`{"accounts":[]}`),
		"no JSON":          []byte(`{"account":`),
		"errors beside":    []byte(`{"account":{},"Errors":{"Error":{"ReasonCode":"X"}}}`),
		"another request":  []byte(`{"originalRequestInfo":{"xRequestId":"x"},"account":{}}`),
		"another account":  []byte(`{"account":{"resourceId":"X"}}`),
		"null record":      []byte(`{"account":{"balances":[null]}}`),
		"null list":        []byte(`{"account":{"resourceId":"x","balances":null}}`),
		"null account":     []byte(`{"originalRequestInfo":{},"account":null}`),
		"no object":        []byte(`{"account":{"balances":{}}}`),
		"no amount":        one(`,"amount":1`, ``),
		"null amount":      one(`"amount":1`, `"amount":null`),
		"no balanceAmount": one(`"balanceAmount":{"currency":"GBP","amount":1},`, ``),
		"empty amount":     one(`"amount":1`, `"amount":""`),
		"word for amount":  one(`"amount":1`, `"amount":"NaN"`),
		"huge exponent":    one(`"amount":1`, `"amount":1e999999999`),
		"too precise":      one(`"amount":1`, `"amount":1e-65`),
		"list for amount":  one(`"amount":1`, `"amount":[1]`),
		"negative residue": one(`"amount":1`, `"amount":-5.684341886080802e-14`),
		"negative credit":  one(`"amount":1`, `"amount":-1`),
		"no currency":      one(`"currency":"GBP",`, ``),
		"currency":         one(`GBP`, `gbp`),
		"no indicator":     one(`"creditDebitIndicator":"Credit",`, ``),
		"unknown side":     one(`Credit`, `Both`),
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
		{`".64"`, "Credit", "0.64", canonical.Credit},
		{`" 5 "`, "Debit", "-5.00", canonical.Debit},
		{`5.684341886080802e-14`, "DEBIT", "-0.00000000000005684341886080802", canonical.Debit},
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

// An invalid dateTime does not invalidate its balance.
func TestTimes(t *testing.T) {
	t.Parallel()
	type shown struct{ Time, Date, Text string }
	for raw, want := range map[string]shown{
		`null`:                        {},
		`""`:                          {},
		`"2019-03-21T10:33:13.001Z"`:  {Time: "2019-03-21T10:33:13.001Z"},
		`"2026-11-20T00:30:00+01"`:    {Time: "2026-11-19T23:30:00Z"},
		`"2019-03-21"`:                {Date: "2019-03-21"},
		`"2019-03-21T10:33:13"`:       {Text: "2019-03-21T10:33:13"},
		`"0000-01-01T00:00:00Z"`:      {Text: "0000-01-01T00:00:00Z"},
		`"0001-01-01T00:00:00+01:00"`: {Text: "0001-01-01T00:00:00+01:00"},
		`"9999-12-31T23:59:59-01:00"`: {Text: "9999-12-31T23:59:59-01:00"},
		`"yesterday\u0000"`:           {Text: "yesterday"},
		`"\ud83d"`:                    {Text: `"\ud83d"`},
		`1553164393`:                  {Text: "1553164393"},
		`true`:                        {Text: "true"},
		`{"at":"2019-03-21"}`:         {Text: `{"at":"2019-03-21"}`},
		`[]`:                          {},
	} {
		got, err := readBalances(one(`"2019-03-21T10:33:13Z"`, raw), requestID, "x")
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		b, is := got.Balances[0], shown{}
		if is.Date, is.Text = b.ReferenceDate, b.ProviderDateTime; !b.ReferenceTime.IsZero() {
			is.Time = b.ReferenceTime.Format(time.RFC3339Nano)
		}
		if is != want {
			t.Errorf("%s is read as %+v, want %+v", raw, is, want)
		}
	}
	if got, err := readBalances(one(`,"dateTime":"2019-03-21T10:33:13Z"`, ``), requestID, "x"); err != nil || got.Balances[0].ProviderDateTime != "" {
		t.Errorf("without a dateTime: %+v, %v", got, err)
	}
}

// An empty or ignored part does not invalidate the rest of the response.
func TestHarmlessParts(t *testing.T) {
	t.Parallel()
	for _, errors := range []string{
		`null`, `[]`, `{}`, `""`, `" "`, `{"Error":[]}`, `{"Error":null}`, `{"Error":{}}`, `{"error":[]}`, `{"Error":""}`, `[{}]`, `[null]`, `false`, `0`,
	} {
		for _, name := range []string{"Errors", "errors", "ERRORS"} {
			part := `"` + name + `":` + errors + `,`
			if got, err := readAccounts([]byte(`{`+part+`"accounts":[{"resourceId":"r1","currency":"GBP"}]}`), requestID); err != nil || len(got) != 1 {
				t.Errorf("%s: %v, %v", part, got, err)
			}
			body := strings.Replace(string(one()), `{`, `{`+part, 1)
			if got, err := readBalances([]byte(body), requestID, "x"); err != nil || len(got.Balances) != 1 {
				t.Errorf("%s: %v, %v", part, got, err)
			}
		}
	}
	for _, account := range []string{
		`"accountPsuRelations":[null]`, `"accountPsuRelations":{}`, `"accountPsuRelations":""`, `"accountPsuRelations":[{"typeOfRelation":null},{}]`,
		`"holderName":[]`, `"name":{}`, `"x":"\ud83d"`, `"` + strings.Repeat("x", 300) + `":[true]`, `"balances":"none"`,
	} {
		for _, rest := range []string{`"originalRequestInfo":[]`, `"originalRequestInfo":""`, `"warnings":[{"Errors":1}]`, `"_links":7`} {
			got, err := readAccounts([]byte(`{`+rest+`,"accounts":[{"resourceId":"r1",`+account+`}]}`), requestID)
			if want := (canonical.Account{ID: "r1", Type: canonical.AccountTypeOther}); err != nil || len(got) != 1 || !cmp.Equal(want, got[0]) {
				t.Errorf("%.80s, %s: %+v, %v", account, rest, got, err)
			}
		}
	}
}

func TestMostAccounts(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{10_000: true, 10_001: false} {
		var list strings.Builder
		for i := range n {
			fmt.Fprintf(&list, `,{"resourceId":%d}`, i)
		}
		got, err := readAccounts([]byte(`{"accounts":[`+list.String()[1:]+`]}`), requestID)
		if (err == nil) != ok || ok && len(got) != n {
			t.Errorf("%d accounts: %d, %v", n, len(got), err)
		}
	}
}

// A number instead of a string is read as its digits.
func TestNumbersForTexts(t *testing.T) {
	t.Parallel()
	body := `{"accounts":[{"resourceId":7,"accountNumber":9007199254740993,"schemeName":"BBAN","name":1.50,"accountType":5},
		{"resourceId":"8","accountNumber":5.0044620073E10}]}`
	want := []canonical.Account{
		{
			ID: "7", Identification: canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "9007199254740993"},
			Type: canonical.AccountTypeOther, ProviderType: "5", Name: "1.50",
		},
		{
			ID: "8", Identification: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "50044620073"},
			Type: canonical.AccountTypeOther,
		},
	}
	got, err := readAccounts([]byte(body), requestID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := readBalances([]byte(strings.Replace(string(one(`CLBD`, `x`)), `"resourceId":"x"`, `"resourceId":7`, 1)), requestID, "7"); err != nil || len(got.Balances) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// An account that is listed twice with equal content is returned once.
func TestAccountListedTwice(t *testing.T) {
	t.Parallel()
	const account = `{"resourceId":"a","currency":"EUR","accountNumber":"7","accountPsuRelations":[{"typeOfRelation":"Owner"}]`
	body := `{"accounts":[` + account + `},{"resourceId":"b"},` + account + `,"name":null,"balances":1}]}`
	got, err := readAccounts([]byte(body), requestID)
	if err != nil || len(got) != 2 || got[0].ID != "a" || got[1].ID != "b" {
		t.Errorf("%v, %v", got, err)
	}
	for one, other := range map[string]string{
		`"accountPsuRelations":[]`:                                     `"name":null`,
		`"accountPsuRelations":[{"typeOfRelation":" "}]`:               `"x":1`,
		`"accountHolderType":"PERSONAL"`:                               `"accountHolderType":"Personal"`,
		`"accountNumber":"DE89370400440532013000","schemeName":"IBAN"`: `"accountNumber":"DE89 3704 0044 0532 0130 00","schemeName":"UK.OBIE.IBAN"`,
	} {
		body := `{"accounts":[{"resourceId":"a",` + one + `},{"resourceId":"a",` + other + `}]}`
		if got, err := readAccounts([]byte(body), requestID); err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}

// A text of white space is a missing value.
func TestBlankTextsAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, blank := range []string{" ", "\\t\\n", "\u00a0"} {
		body := strings.ReplaceAll(`{"accounts":[{"resourceId":"a","currency":"_","accountHolderType":"_","holderName":"_","accountType":"_",
			"nameClient":"_","name":"_","accountNumber":"_","schemeName":"_","accountPsuRelations":[{"typeOfRelation":"_"}]}]}`, "_", blank)
		want := []canonical.Account{{ID: "a", Type: canonical.AccountTypeOther}}
		if got, err := readAccounts([]byte(body), requestID); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%q: %+v, %v", blank, got, err)
		}
		body = strings.Replace(string(one("CLBD", blank, "2019-03-21T10:33:13Z", blank)), `{"account":{`, `{"account":{"name":"`+blank+`",`, 1)
		got, err := readBalances([]byte(body), requestID, "x")
		if err != nil {
			t.Errorf("%q: %v", blank, err)
			continue
		}
		if b := got.Balances[0]; got.Name != "" || b.Type != canonical.BalanceTypeOther || b.ProviderType != "" || b.ProviderDateTime != "" {
			t.Errorf("%q: %+v", blank, got)
		}
	}
	got, err := readAccounts([]byte(`{"accounts":[{"resourceId":"a","name":" x ","accountType":" SVGS "}]}`), requestID)
	want := []canonical.Account{{ID: "a", Name: " x ", Type: "SVGS", ProviderType: " SVGS "}}
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v, %v", got, err)
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
	const card = "5413330000000019"
	masked := canonical.Identification{Scheme: canonical.SchemePAN, Value: "541333******0019"}
	tests := []struct {
		scheme, number string
		want           canonical.Identification
	}{
		{"IBAN", "DE89 3704 0044 0532 0130 00", canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "DE89370400440532013000"}},
		{"iban", "DE88370400440532013000", canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "DE88370400440532013000"}},
		{"BBAN", "7000", canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "7000"}},
		{"PAN", "5555555555554444", canonical.Identification{Scheme: canonical.SchemePAN, Value: "555555******4444"}},
		{"UK.OBIE.IBAN", "GB29 NWBK 6016 1331 9268 19", canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "GB29NWBK60161331926819"}},
		{"UK.OBIE.BBAN", "7000", canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "7000"}},
		{"UK.OBIE.SORTCODEACCOUNTNUMBER", "20000055779911", canonical.Identification{Scheme: canonical.SchemeSortCode, Value: "20000055779911"}},
		{"Sort_Code Account-Number", "20000055779911", canonical.Identification{Scheme: canonical.SchemeSortCode, Value: "20000055779911"}},
		{"UK.OBIE.Paym", "+447700900000", canonical.Identification{Scheme: canonical.SchemeProvider, Value: "+447700900000"}},
		{"UK.OBIE.PAN", card, masked},
		{"UK.OBIE.Pan", "5413 3300 0000 0019", masked},
		{"maskedPan", card, masked},
		{"CPAN", card, masked},
		{"masked_pan", card, masked},
		{"cardNumber", card, masked},
		{"CARD", card, masked},
		{"Primary Account Number", card, masked},
		{"UK.OBIE.CreditCard", card, masked},
		{"panToken", card, masked},
		{"maskedPan2", card, masked},
		{"maskedPanNumber", card, masked},
		{"maskedpannumber", card, masked},
		{"MASKEDPANNUMBER", card, masked},
		{"tokenPanRef", card, masked},
		{"tokenpanref", card, masked},
		{"PANNumber", card, masked},
		{"UK.OBIE.MaskedPANs", card, masked},
		{"NumeroDeCarte", card, masked},
		{"Kartennummer", card, masked},
		{"kreditkarte", card, masked},
		{"companyAccount", "7000", canonical.Identification{Scheme: canonical.SchemeProvider, Value: "7000"}},
		{"maskedPan", "541333******0019", masked},
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
		rows[normalize(test.scheme)] = true
	}
	for _, scheme := range []string{"", "IBAN", "BBAN", "SortCodeAccountNumber", "Wallet"} {
		for _, kind := range []string{"CARD", "card", "CreditCard", "Charge Card"} {
			body := fmt.Sprintf(`{"accounts":[{"resourceId":"x","accountType":%q,"schemeName":%q,"accountNumber":%q}]}`, kind, scheme, card)
			if got, err := readAccounts([]byte(body), requestID); err != nil || got[0].Identification != masked {
				t.Errorf("%s, %s: %+v, %v", kind, scheme, got, err)
			}
		}
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
			if seen[a.ID] || !adapter.ValidAccountID(a.ID) || a.Currency != "" && !canonical.ValidCurrency(a.Currency) || len(a.Type) != 4 {
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
