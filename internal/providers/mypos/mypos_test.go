package mypos

import (
	"bytes"
	stdcmp "cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/dialect"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	testASPSP     = "4f1e2d3c-0000-4000-8000-000000000002"
	testKey       = "aGDmxHAmpMWUL1txqCsjEcOS"
	testRequestID = "A552babc-7081-44e7-9361-61eb17e0bfd9" // a capital letter: it must arrive unchanged
)

// testQuery returns an attended query, which needs no counter.
func testQuery() canonical.Query {
	q := unattendedQuery()
	q.PSU = &canonical.PSU{
		IP: netip.MustParseAddr("203.0.113.7"), Port: 50123, UserAgent: "Mozilla/5.0",
		DeviceID: "99435c7e-ad88-49ec-a2ad-99ddcb1f5555", GeoLocation: "GEO:52.506931;13.144558",
	}
	return q
}

// unattendedQuery returns the same query without the user.
func unattendedQuery() canonical.Query {
	return canonical.Query{
		ASPSP: testASPSP, Consent: mypossim.GoodConsent, Token: mypossim.GoodToken, RequestID: testRequestID,
		Customer: "customer-1", Merchant: &canonical.Merchant{ID: "m-1", Name: "Shop"},
	}
}

func testSettings(into any) error {
	*into.(*Config) = Config{APIKeyFile: config.InMemoryFile([]byte("  " + testKey + "\n"))}
	return nil
}

// counter returns a counter with a high limit, on a separate Redis.
func counter(t *testing.T) *unattended.Counter {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Start(t).Addr)
	return unattended.New(st.Counter, map[string]config.Unattended{
		testASPSP: {Limit: 1000, Window: 24 * time.Hour, Unit: config.UnitResource},
	}).Within(redistest.CommandTimeout)
}

func open(t *testing.T, base string, timeout time.Duration, decode func(any) error, wire upstream.Config) providers.Provider {
	t.Helper()
	wire.Provider, wire.Timeout = "mypos", timeout
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(decode, providers.Env{BaseURL: u, Client: upstream.New(wire).Client})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve opens the adapter on a test server. Without a counter it accepts attended queries only.
func serve(t *testing.T, h http.Handler, c *unattended.Counter) providers.Provider {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return open(t, server.URL, 30*time.Second, testSettings, upstream.Config{Counter: c})
}

// simulator returns a simulator whose ASPSP has a high limit.
func simulator(change func(*mypossim.Config)) (*mypossim.Sim, *aspspsim.CallLog) {
	callLog := aspspsim.NewCallLog(time.Now)
	callLog.SetPolicy(testASPSP, aspspsim.Policy{Limit: 1000, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	cfg := mypossim.Config{APIKey: testKey, Log: callLog, ASPSP: testASPSP}
	if change != nil {
		change(&cfg)
	}
	return mypossim.New(cfg), callLog
}

func simulate(t *testing.T, change func(*mypossim.Config)) (providers.Provider, *aspspsim.CallLog) {
	t.Helper()
	sim, callLog := simulator(change)
	return serve(t, sim, nil), callLog
}

// answers returns a handler that sends the same body to every call.
func answers(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

func wantKind(t *testing.T, err error, want canonical.Kind) *canonical.Error {
	t.Helper()
	var failure *canonical.Error
	if !errors.As(err, &failure) {
		t.Fatalf("error is %v, want a *canonical.Error of %s", err, want)
	}
	if failure.Kind != want {
		t.Fatalf("error is %v, want %s", failure, want)
	}
	return failure
}

var compareAmounts = cmp.Transformer("amount", func(a canonical.Amount) string { return a.Value() + " " + a.Currency() })

func TestAccounts(t *testing.T) {
	p, _ := simulate(t, nil)
	got, err := p.Accounts(t.Context(), testQuery())
	if err != nil {
		t.Fatal(err)
	}
	want := []canonical.Account{
		{
			ID: "50044620073", Identification: canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG57INTF40015004462007"},
			Currency: "PLN", Type: "OTHR", ProviderType: "E-Money", Status: "enabled", Name: "Main account", OtherIdentifications: number("50044620073"),
		},
		{
			ID: "50044620081", Identification: canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG80BNBG96611020345678"},
			Currency: "EUR", Type: "OTHR", ProviderType: "E-Money", Status: "enabled", Name: "Savings", OtherIdentifications: number("50044620081"),
		},
		{
			ID: "50044620099", Identification: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "50044620099"},
			Currency: "EUR", Type: "OTHR", ProviderType: "E-Money", Status: "blocked", Name: "Card",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// number returns the provider's own account number as an additional identification.
func number(value string) []canonical.Identification {
	return []canonical.Identification{{Scheme: canonical.SchemeProvider, Value: value}}
}

func TestAccountsOfFile(t *testing.T) {
	body, err := os.ReadFile("testdata/accounts.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := serve(t, answers(string(body)), nil).Accounts(t.Context(), testQuery())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].ID != "50044620099" {
		t.Errorf("accounts are %+v", got)
	}
}

func TestBalances(t *testing.T) {
	p, _ := simulate(t, nil)
	got, err := p.Balances(t.Context(), testQuery(), "50044620073")
	if err != nil {
		t.Fatal(err)
	}
	want := canonical.AccountBalances{
		Identification: canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG57INTF40015004462007"},
		Balances: []canonical.Balance{
			{Type: canonical.InterimAvailable, ProviderType: "available", Amount: amount(t, "4.200", "PLN")},
			{Type: canonical.InterimBooked, ProviderType: "interimBooked", Amount: amount(t, "-17.355", "PLN")},
		},
	}
	if diff := cmp.Diff(want, got, compareAmounts); diff != "" {
		t.Errorf("balances (-want +got):\n%s", diff)
	}
}

func TestBalancesOfThePage(t *testing.T) {
	body, err := os.ReadFile("testdata/balances.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := serve(t, answers(string(body)), nil).Balances(t.Context(), testQuery(), "50044620073")
	if err != nil {
		t.Fatal(err)
	}
	want := canonical.AccountBalances{
		Identification: canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG57INTF40015004462007"},
		Balances:       []canonical.Balance{{Type: canonical.InterimAvailable, ProviderType: "available", Amount: amount(t, "4.2", "PLN")}},
	}
	if diff := cmp.Diff(want, got, compareAmounts); diff != "" {
		t.Errorf("balances (-want +got):\n%s", diff)
	}
}

func amount(t *testing.T, number, currency string) canonical.Amount {
	t.Helper()
	a, err := canonical.ParseAmount(number, currency)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBalanceTypes(t *testing.T) {
	for word, want := range map[string]canonical.BalanceType{
		"available": "ITAV", "Available": "ITAV", " AVAILABLE ": "ITAV", "closingBooked": "CLBD", "openingBooked": "OPBD",
		"interimBooked": "ITBD", "INTERIM_BOOKED": "ITBD", "interimAvailable": "ITAV", "forwardAvailable": "FWAV", "expected": "XPCD",
		"nonInvoiced": "OTHR", "ITBD": "ITBD", "itav": "ITAV", "booked": "OTHR", "": "OTHR",
	} {
		if got := dialect.BalanceType(word, balanceTypes); got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}

// TestRequests compares requests with golden files.
func TestRequests(t *testing.T) {
	withoutExtras := testQuery()
	withoutExtras.PSU = &canonical.PSU{IP: netip.MustParseAddr("2001:db8::7"), UserAgent: "Mozilla/5.0"}
	tests := []struct {
		name     string
		query    canonical.Query
		balances bool
	}{
		{name: "accounts_unattended", query: unattendedQuery()},
		{name: "accounts_attended", query: testQuery()},
		{name: "accounts_attended_address_only", query: withoutExtras},
		{name: "balances_unattended", query: unattendedQuery(), balances: true},
		{name: "balances_attended", query: testQuery(), balances: true},
	}
	slots := counter(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent bytes.Buffer
			p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintln(&sent, r.Method, r.RequestURI)
				for _, name := range slices.Sorted(maps.Keys(r.Header)) {
					if name != "Connection" { // says how, not what
						fmt.Fprintf(&sent, "%s: %s\n", name, strings.Join(r.Header[name], " | "))
					}
				}
				fmt.Fprint(w, `{"accounts":[],"balances":[]}`)
			}), slots)
			var err error
			if tt.balances {
				_, err = p.Balances(t.Context(), tt.query, "50044620073")
			} else {
				_, err = p.Accounts(t.Context(), tt.query)
			}
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".request", sent.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestBaseURLMayEndInSlash(t *testing.T) {
	for _, suffix := range []string{"", "/", "/psd2/", "/psd2"} {
		var path string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path = r.RequestURI
			fmt.Fprint(w, `{"balances":[]}`)
		}))
		p := open(t, server.URL+suffix, 30*time.Second, testSettings, upstream.Config{})
		if _, err := p.Balances(t.Context(), testQuery(), "1"); err != nil {
			t.Error(err)
		}
		if want := strings.TrimSuffix(suffix, "/") + "/v1/accounts/1/balances"; path != want {
			t.Errorf("base with %q asks for %s, want %s", suffix, path, want)
		}
		server.Close()
	}
}

func TestHostileAccountsStayOneSegment(t *testing.T) {
	p, callLog := simulate(t, nil)
	q := testQuery()
	q.Consent = mypossim.HostileConsent
	list, err := p.Accounts(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range list {
		ids = append(ids, a.ID)
	}
	if diff := cmp.Diff(mypossim.HostileAccounts, ids[3:]); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for _, id := range mypossim.HostileAccounts {
		got, err := p.Balances(t.Context(), q, id)
		if err != nil || len(got.Balances) != 2 {
			t.Errorf("%q: %v, %v", id, got, err)
		}
		calls := callLog.Calls()
		if arrived := calls[len(calls)-1].Account; arrived != id {
			t.Errorf("%q arrives as %q", id, arrived)
		}
	}
}

func TestFaultyQueriesAreNotSent(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*canonical.Query)
		account string
		want    []string
	}{
		{name: "consent is no UUID", change: func(q *canonical.Query) { q.Consent = "GFiTpF3:EBy5xGqQMatk" }, want: []string{"header Consent-ID"}},
		{name: "consent in braces", change: func(q *canonical.Query) { q.Consent = "{" + q.Consent + "}" }, want: []string{"header Consent-ID"}},
		{name: "consent without dashes", change: func(q *canonical.Query) { q.Consent = strings.ReplaceAll(q.Consent, "-", "") }, want: []string{"header Consent-ID"}},
		{name: "no token", change: func(q *canonical.Query) { q.Token = "" }, want: []string{"header Provider-Authorization"}},
		{name: "token with a line break", change: func(q *canonical.Query) { q.Token = "sandbox-a\r\nX-Evil: 1" }, want: []string{"header Provider-Authorization"}},
		{name: "both", change: func(q *canonical.Query) { q.Token, q.Consent = "", "" }, want: []string{"header Consent-ID", "header Provider-Authorization"}},
		{name: "account is a dot", account: ".", want: []string{"path accountId"}},
		{name: "account is two dots", account: "..", want: []string{"path accountId"}},
		{name: "account with a control character", account: "a\x00b", want: []string{"path accountId"}},
		{name: "account is no UTF-8", account: "a\xff", want: []string{"path accountId"}},
		{name: "account too long", account: strings.Repeat("ж", 257), want: []string{"path accountId"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int32
			p := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }), nil)
			q := testQuery()
			if tt.change != nil {
				tt.change(&q)
			}
			if tt.account == "" {
				_, err := p.Accounts(t.Context(), q)
				if diff := cmp.Diff(tt.want, faultNames(wantKind(t, err, canonical.FormatError).Faults)); diff != "" {
					t.Errorf("faults of Accounts (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.want, faultNames(providers.RequirementsOf(p, q.ASPSP).Check(q))); diff != "" {
					t.Errorf("faults of Check (-want +got):\n%s", diff)
				}
			}
			_, err := p.Balances(t.Context(), q, stdcmp.Or(tt.account, "1"))
			if diff := cmp.Diff(tt.want, faultNames(wantKind(t, err, canonical.FormatError).Faults)); diff != "" {
				t.Errorf("faults of Balances (-want +got):\n%s", diff)
			}
			if n := calls.Load(); n != 0 {
				t.Errorf("%d calls were made", n)
			}
		})
	}
	p := serve(t, answers(""), nil)
	if faults := providers.RequirementsOf(p, "").Check(testQuery()); faults != nil {
		t.Errorf("a good query has faults: %v", faults)
	}
}

func faultNames(faults []canonical.FieldError) []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.In+" "+f.Name)
	}
	return names
}

func TestInvalidAccounts(t *testing.T) {
	record := func(member, value string) string {
		return strings.Replace(`{"accounts":[{"accountNumber":"1","currency":"EUR"}]}`, member, value, 1)
	}
	tests := map[string]string{
		"no JSON":               `<html>`,
		"empty":                 ``,
		"two documents":         `{"accounts":[]}{}`,
		"null":                  `null`,
		"list alone":            `[]`,
		"no list":               `{}`,
		"null list":             `{"accounts":null}`,
		"list is an object":     `{"accounts":{}}`,
		"duplicate member":      `{"accounts":[],"accounts":[]}`,
		"null record":           `{"accounts":[null]}`,
		"no number":             record(`"accountNumber":"1",`, ``),
		"null number":           record(`"1"`, `null`),
		"list for number":       record(`"1"`, `[1]`),
		"number is a PAN":       record(`"1","currency":"EUR"`, `"5413330000000019","cashAccountType":"Card"`),
		"empty number":          record(`"1"`, `""`),
		"number is a dot":       record(`"1"`, `"."`),
		"number is two dots":    record(`"1"`, `".."`),
		"number with control":   record(`"1"`, `"a\u0007"`),
		"number too long":       record(`"1"`, `"`+strings.Repeat("x", 257)+`"`),
		"currency in lower":     record(`EUR`, `eur`),
		"currency too long":     record(`EUR`, `EURO`),
		"currency no text":      record(`"EUR"`, `978`),
		"same account twice":    `{"accounts":[{"accountNumber":"1"},{"accountNumber":"1","currency":"EUR"}]}`,
		"pagination is a list":  `{"accounts":[],"pagination":[]}`,
		"pagination is nothing": `{"accounts":[],"pagination":{}}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, answers(body), nil).Accounts(t.Context(), testQuery())
			wantKind(t, err, canonical.ProviderInvalidResponse)
			if got != nil {
				t.Errorf("accounts beside the error: %v", got)
			}
		})
	}
}

func TestOddButValidAccounts(t *testing.T) {
	tests := map[string]struct {
		body string
		want []canonical.Account
	}{
		"none":            {`{"accounts":[]}`, []canonical.Account{}},
		"null pagination": {`{"accounts":[],"pagination":null}`, []canonical.Account{}},
		"only a number": {`{"accounts":[{"accountNumber":"1","iban":null}]}`, []canonical.Account{{
			ID: "1", Identification: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "1"}, Type: "OTHR",
		}}},
		"IBAN that fails its check": {`{"accounts":[{"accountNumber":"1","iban":"BG00INTF40015004462007"}]}`, []canonical.Account{{
			ID: "1", Identification: canonical.Identification{Scheme: canonical.SchemeBBAN, Value: "BG00INTF40015004462007"}, Type: "OTHR",
			OtherIdentifications: number("1"),
		}}},
		"numbers for texts": {`{"accounts":[{"accountNumber":5.0044620073E10,"name":7}]}`, []canonical.Account{{
			ID: "50044620073", Identification: number("50044620073")[0], Type: "OTHR", Name: "7",
		}}},
		"listed twice": {`{"accounts":[{"accountNumber":"1"},{"accountNumber":"2"},{"accountNumber":"1","x":1}]}`, []canonical.Account{
			{ID: "1", Identification: number("1")[0], Type: "OTHR"}, {ID: "2", Identification: number("2")[0], Type: "OTHR"},
		}},
		"a card": {`{"accounts":[{"accountNumber":"x","iban":"5413330000000019","cashAccountType":"Card"}]}`, []canonical.Account{{
			ID: "x", Identification: canonical.Identification{Scheme: canonical.SchemePAN, Value: "541333******0019"},
			OtherIdentifications: number("x"), Type: "CARD", ProviderType: "Card",
		}}},
		"harmless parts": {`{"tppMessages":[],"errors":{},"accounts":[{"accountNumber":"1","name":[],"iban":{},"x":"\ud83d"}]}`, []canonical.Account{{
			ID: "1", Identification: number("1")[0], Type: "OTHR",
		}}},
		"ISO type, status in capitals, blank IBAN": {`{"accounts":[{"accountNumber":"1","iban":" ","cashAccountType":"CACC","status":"ENABLED"}]}`, []canonical.Account{{
			ID: "1", Identification: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "1"},
			Type: "CACC", ProviderType: "CACC", Status: "enabled",
		}}},
		"number with U+FFFD": {`{"accounts":[{"accountNumber":"\ufffd"}]}`, []canonical.Account{{
			ID: "\ufffd", Identification: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "\ufffd"}, Type: "OTHR",
		}}},
		"unknown members": {`{"accounts":[],"links":{"next":1},"x":null}`, []canonical.Account{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, answers(tt.body), nil).Accounts(t.Context(), testQuery())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("accounts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidBalances(t *testing.T) {
	balance := func(amount, currency string) string {
		return `{"account":{"accountNumber":"1"},"balances":[{"amount":` + amount + `,"currency":` + currency + `,"balanceType":"available"}]}`
	}
	tests := map[string]string{
		"no JSON":             `<html>`,
		"no list":             `{"account":{"accountNumber":"1"}}`,
		"null list":           `{"balances":null}`,
		"list is an object":   `{"balances":{}}`,
		"null record":         `{"balances":[null]}`,
		"foreign account":     `{"account":{"accountNumber":"2"},"balances":[]}`,
		"account is a text":   `{"account":"1","balances":[]}`,
		"no amount":           `{"balances":[{"currency":"EUR"}]}`,
		"null amount":         balance(`null`, `"EUR"`),
		"amount is a word":    balance(`"much"`, `"EUR"`),
		"amount is empty":     balance(`""`, `"EUR"`),
		"amount is an object": balance(`{}`, `"EUR"`),
		"huge exponent":       balance(`1e999999999`, `"EUR"`),
		"too many digits":     balance(`1234567890123456789`, `"EUR"`),
		"no currency":         `{"balances":[{"amount":1}]}`,
		"null currency":       balance(`1`, `null`),
		"currency in lower":   balance(`1`, `"eur"`),
		"currency is numeric": balance(`1`, `978`),
		"duplicate member":    `{"balances":[{"amount":1,"Amount":2,"currency":"EUR"}]}`,
		"type is a list":      `{"balances":[{"amount":1,"currency":"EUR","balanceType":[1]}]}`,
		"too precise":         balance(`1e-65`, `"EUR"`),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, answers(body), nil).Balances(t.Context(), testQuery(), "1")
			wantKind(t, err, canonical.ProviderInvalidResponse)
			if got.Balances != nil {
				t.Errorf("balances beside the error: %v", got)
			}
		})
	}
}

func TestOddButValidBalances(t *testing.T) {
	tests := map[string]struct {
		body string
		want []string
	}{
		"none":                     {`{"account":{"accountNumber":"1"},"balances":[]}`, nil},
		"no account":               {`{"balances":[]}`, nil},
		"empty number":             {`{"account":{"accountNumber":""},"balances":[]}`, nil},
		"empty list for a number":  {`{"account":{"accountNumber":[]},"balances":[]}`, nil},
		"null account":             {`{"account":null,"balances":[]}`, nil},
		"same type twice":          {`{"balances":[{"amount":1.0,"currency":"EUR","balanceType":"available"},{"amount":2,"currency":"EUR","balanceType":"available"}]}`, []string{"ITAV 1.00 EUR", "ITAV 2.00 EUR"}},
		"signs and zero":           {`{"balances":[{"amount":-0.000,"currency":"EUR"},{"amount":-4.205,"currency":"PLN"}]}`, []string{"OTHR 0.00 EUR", "OTHR -4.205 PLN"}},
		"other currencies":         {`{"balances":[{"amount":100.000,"currency":"JPY"},{"amount":1.5,"currency":"BGN"},{"amount":42E-1,"currency":"EUR"}]}`, []string{"OTHR 100 JPY", "OTHR 1.5 BGN", "OTHR 4.20 EUR"}},
		"number in quotes":         {`{"balances":[{"amount":"-4.200","currency":"PLN"}]}`, []string{"OTHR -4.20 PLN"}},
		"number for a text":        {`{"account":{"accountNumber":1},"balances":[{"amount":1,"currency":"EUR","balanceType":1}]}`, []string{"OTHR 1.00 EUR"}},
		"no zero before the point": {`{"balances":[{"amount":"-.64","currency":"EUR"}]}`, []string{"OTHR -0.64 EUR"}},
		"residues of doubles":      {`{"balances":[{"amount":-5.684341886080802e-14,"currency":"GBP"},{"amount":1E-25,"currency":"GBP"}]}`, []string{"OTHR -0.00000000000005684341886080802 GBP", "OTHR 0.0000000000000000000000001 GBP"}},
		"harmless parts":           {`{"tppMessages":[],"errors":[],"account":[],"balances":[{"amount":1,"currency":"EUR","x":{}}]}`, []string{"OTHR 1.00 EUR"}},
		"digits of a float":        {`{"balances":[{"amount":9007199254740993.01,"currency":"EUR"}]}`, []string{"OTHR 9007199254740993.01 EUR"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := serve(t, answers(tt.body), nil).Balances(t.Context(), testQuery(), "1")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range result.Balances {
				got = append(got, string(b.Type)+" "+b.Amount.Value()+" "+b.Amount.Currency())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("balances (-want +got):\n%s", diff)
			}
			if given := strings.Contains(tt.body, `"accountNumber":"1"`) || strings.Contains(tt.body, `"accountNumber":1`); given != (result.Identification == number("1")[0]) || !given && result.Identification != (canonical.Identification{}) {
				t.Errorf("identification is %v", result.Identification)
			}
		})
	}
}

// TestSuccessAndErrorAtOnce checks that a response with data and an error is rejected.
func TestSuccessAndErrorAtOnce(t *testing.T) {
	for messages, contradicts := range map[string]bool{
		`"tppMessages":[{"category":"ERROR","code":"CONSENT_EXPIRED"}]`:                        true,
		`"tppMessages":[{"code":"CONSENT_EXPIRED"}]`:                                           true,
		`"TPPMESSAGES":[{"category":"WARNING","code":"x"},{"category":"ERROR","code":"x"}]`:    true,
		`"tppMessages":{"category":"ERROR","code":"CONSENT_EXPIRED"}`:                          true,
		`"tppMessages":["CONSENT_EXPIRED"]`:                                                    true,
		`"tppMessages":[500]`:                                                                  true,
		`"tppMessages":"timeout"`:                                                              true,
		`"additionalErrors":[{"code":"ACCESS_EXCEEDED"}]`:                                      true,
		`"tppMessages":[{"category":"WARNING","code":"WARNING"}]`:                              false,
		`"tppMessages":[{"category":" warning ","code":"CONSENT_EXPIRED","text":"ends soon"}]`: false,
		`"tppMessages":{"category":"WARNING","code":"CONSENT_EXPIRED"}`:                        false,
		`"tppMessages":[],"additionalErrors":[]`:                                               false,
		`"tppMessages":null,"additionalErrors":{}`:                                             false,
		`"tppMessages":[{},null,{"category":""}]`:                                              false,
		`"tppMessages":""`: false,
	} {
		p := serve(t, answers(`{"accounts":[{"accountNumber":"1"}],"balances":[],`+messages+`}`), nil)
		accounts, listErr := p.Accounts(t.Context(), testQuery())
		_, balancesErr := p.Balances(t.Context(), testQuery(), "1")
		for what, err := range map[string]error{"list": listErr, "balances": balancesErr} {
			if contradicts {
				wantKind(t, err, canonical.ProviderInvalidResponse)
			} else if err != nil {
				t.Errorf("%s beside %s: %v", what, messages, err)
			}
		}
		if contradicts && accounts != nil {
			t.Errorf("accounts beside %s", messages)
		}
	}
}

// TestCardNumberOfBalances checks that a card number is masked although the response does not mark
// it as one.
func TestCardNumberOfBalances(t *testing.T) {
	body := `{"account":{"accountNumber":"1","iban":"5413 3300 0000 0019"},"balances":[]}`
	got, err := serve(t, answers(body), nil).Balances(t.Context(), testQuery(), "1")
	if want := (canonical.Identification{Scheme: canonical.SchemePAN, Value: "541333******0019"}); err != nil || got.Identification != want {
		t.Errorf("%+v, %v", got.Identification, err)
	}
}

func TestEcho(t *testing.T) {
	tests := map[string]struct {
		echo []string
		ok   bool
	}{
		"missing":       {nil, true},
		"same":          {[]string{testRequestID}, true},
		"in other case": {[]string{strings.ToUpper(testRequestID)}, true},
		"another":       {[]string{uuid.NewString()}, false},
		"empty":         {[]string{""}, true},
		"blank":         {[]string{" "}, true},
		"empty, other":  {[]string{"", uuid.NewString()}, false},
		"two":           {[]string{testRequestID, uuid.NewString()}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["X-Request-Id"] = tt.echo
				fmt.Fprint(w, `{"accounts":[],"balances":[]}`)
			}), nil)
			_, listErr := p.Accounts(t.Context(), testQuery())
			_, balancesErr := p.Balances(t.Context(), testQuery(), "1")
			for _, err := range []error{listErr, balancesErr} {
				if tt.ok && err != nil {
					t.Error(err)
				}
				if tt.ok {
					continue
				}
				if failure := wantKind(t, err, canonical.ProviderInvalidResponse); *failure.Upstream != (canonical.UpstreamError{HTTPStatus: 200}) {
					t.Errorf("shows %+v", *failure.Upstream)
				}
			}
		})
	}
}

// TestTimeoutBoundsAllPagesTogether checks that a read times out although each of its pages arrives
// in time.
func TestTimeoutBoundsAllPagesTogether(t *testing.T) {
	var pages atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(500 * time.Millisecond)
		n := pages.Add(1)
		fmt.Fprintf(w, `{"accounts":[{"accountNumber":"%d"}],"pagination":{"page":%d,"size":1,"total":100}}`, n, n)
	}))
	defer server.Close()
	p := open(t, server.URL, 2*time.Second, testSettings, upstream.Config{})
	_, err := p.Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderTimeout)
	if n := pages.Load(); n > 5 {
		t.Errorf("%d pages were asked for", n)
	}
}

func TestCallerGoesAway(t *testing.T) {
	p := serve(t, answers(`{"accounts":[]}`), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Accounts(ctx, testQuery())
	wantKind(t, err, canonical.Canceled)
}
