package obie

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/obie/obiesim"
)

const summer = "2026-07-20T08:30:00Z"

func identification(scheme canonical.Scheme, value string) canonical.Identification {
	return canonical.Identification{Scheme: scheme, Value: value}
}

// TestAccounts compares whole lists of banks with different habits.
func TestAccounts(t *testing.T) {
	sort, iban := canonical.SchemeSortCode, canonical.SchemeIBAN
	good := []canonical.Account{
		{
			ID: "22289", Identification: identification(iban, "GB29NWBK60161331926819"),
			OtherIdentifications: []canonical.Identification{identification(sort, "80200110203345")},
			Currency:             "GBP", Type: "CACC", ProviderType: "CurrentAccount", Status: "enabled", HolderType: "personal",
			HolderName: "Ms Jordan Sample", Name: "Everyday account", Nickname: "Bills",
		},
		{
			ID: "31820", Identification: identification(sort, "80200110203348"), Currency: "GBP", Type: "SVGS", ProviderType: "Savings",
			Status: "enabled", HolderType: "personal", HolderName: "Ms Jordan Sample",
		},
		{
			ID: "41007", Identification: identification(canonical.SchemePAN, "541333******0019"), Currency: "GBP", Type: "CARD",
			ProviderType: "CreditCard", Status: "disabled", HolderType: "personal", HolderName: "Ms Jordan Sample",
		},
	}
	version4Words := slices.Clone(good)
	for i, code := range []string{"CACC", "SVGS", "CARD"} {
		version4Words[i].ProviderType = code
	}
	for name, tt := range map[string]struct {
		bank obiesim.Bank
		want []canonical.Account
	}{
		"version 3": {obiesim.Bank{}, good},
		"version 4": {obiesim.Bank{Version: obiesim.V4}, version4Words},
		"in pages":  {obiesim.Bank{PageSize: 1}, good},
		"odd": {obiesim.Bank{Odd: true}, []canonical.Account{
			{
				ID: "odd-1", Identification: identification(iban, "GB29NWBK60161331926819"),
				OtherIdentifications: []canonical.Identification{identification(sort, "80200110203399")},
				Currency:             "GBP", Type: "CACC", ProviderType: "CurrentAccount", Status: "enabled", HolderType: "personal", HolderName: "MR ROBIN EXAMPLE",
			},
			{ID: "odd-2", Currency: "GBP", Type: "OTHR", ProviderType: "EMoney", Status: "pending", HolderType: "personal"},
			{
				ID: "odd-3", Identification: identification(canonical.SchemeProvider, "+447700900123"), Currency: "GBP", Type: "CACC",
				ProviderType: "CurrentAccount", Status: "enabled", HolderType: "personal", HolderName: "Robin Example",
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := simulate(t, tt.bank, Options{Version: tt.bank.Version})
			got, err := p.Accounts(t.Context(), testQuery())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// text returns balances as texts: type, word, amount, and when.
func text(all []canonical.Balance) []string {
	var lines []string
	for _, b := range all {
		at := ""
		if !b.ReferenceTime.IsZero() {
			at = b.ReferenceTime.Format(time.RFC3339)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprint(b.Type, " ", b.ProviderType, " ", b.Amount.Value(), " ", b.Amount.Currency(), " ", at, b.ReferenceDate, b.ProviderDateTime)))
	}
	return lines
}

func TestAllBalances(t *testing.T) {
	for name, tt := range map[string]struct {
		bank obiesim.Bank
		want map[string][]string
	}{
		"version 3, in pages": {obiesim.Bank{Bulk: true, PageSize: 2}, map[string][]string{
			"22289": {"ITBD InterimBooked -12.50 GBP 2026-11-20T08:00:01Z", "ITAV InterimAvailable 57.36 GBP 2026-11-20T08:00:01Z"},
			"31820": {"CLBD ClosingBooked 1520.00 GBP 2026-11-20T08:00:01Z", "FWAV ForwardAvailable 0.00 GBP 2026-11-20T08:00:01Z"},
			"41007": {"OTHR InterimCleared -310.07 GBP 2026-11-20T08:00:01Z"},
		}},
		"odd": {obiesim.Bank{Bulk: true, Odd: true}, map[string][]string{
			"odd-1": {"ITBD INTERIMBOOKED 7.00 GBP " + summer, "ITAV INTERIMAVAILABLE -3.10 GBP " + summer},
			"odd-2": {"ITBD InterimBooked 0.00 GBP 2026-11-20T08:00:01Z", "ITBD InterimBooked 5.00 GBP " + summer},
			"odd-3": {"ITBD InterimBooked 1.00 GBP 2026-11-20T08:00:01"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := simulate(t, tt.bank, Options{AllBalances: true})
			all, err := p.AllBalances(t.Context(), testQuery())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for id, sheet := range all {
				got[id] = text(sheet.Balances)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for id := range all {
				single, err := p.Balances(t.Context(), testQuery(), id)
				if diff := cmp.Diff(tt.want[id], text(single.Balances)); err != nil || diff != "" {
					t.Errorf("alone: %v\n%s", err, diff)
				}
			}
		})
	}
}

// TestBulkIsNotOffered reads all balances of a bank that has no such path.
func TestBulkIsNotOffered(t *testing.T) {
	p, _ := simulate(t, obiesim.Bank{}, Options{AllBalances: true})
	_, err := p.AllBalances(t.Context(), testQuery())
	if failure := wantKind(t, err, canonical.ProviderRejected); !strings.Contains(failure.Detail, "does not offer") {
		t.Errorf("detail %q", failure.Detail)
	}
}

func TestCapabilities(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		p, _ := simulate(t, obiesim.Bank{}, Options{AllBalances: bulk})
		want := providers.Capabilities{AllBalances: bulk}
		if got := providers.CapabilitiesOf(p, testASPSP); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := providers.RequirementsOf(p, testASPSP); got != (providers.Requirements{Token: true}) {
			t.Errorf("requires %+v", got)
		}
	}
}

// TestHeader compares the whole header of each request.
func TestHeader(t *testing.T) {
	var got http.Header
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		fmt.Fprint(w, `{"Data":{"Account":[],"Balance":[]}}`)
	}), Options{
		AllBalances: true, Headers: map[string]string{"x-fapi-financial-id": "0015800000jfAbcAAB"},
		HeaderFiles: map[string]config.File{"x-key": config.InMemoryFile([]byte("Rosebud-4711\n"))},
	}, counter(t, 100))
	want := http.Header{
		"Accept": {"application/json"}, "Authorization": {"Bearer " + obiesim.Token(obiesim.GoodConsent)},
		"X-Fapi-Interaction-Id": {testRequestID}, "X-Fapi-Financial-Id": {"0015800000jfAbcAAB"}, "X-Key": {"Rosebud-4711"},
	}
	attended := maps.Clone(want)
	attended["X-Fapi-Customer-Ip-Address"], attended["X-Customer-User-Agent"] = []string{"203.0.113.7"}, []string{"Mozilla/5.0"}
	noAgent, odd := testQuery(), testQuery()
	noAgent.PSU.UserAgent, odd.PSU.UserAgent = "", "Браузер"
	attendedWithoutAgent := maps.Clone(attended)
	delete(attendedWithoutAgent, "X-Customer-User-Agent")
	v6, attendedByV6 := testQuery(), maps.Clone(attended)
	v6.PSU.IP = netip.MustParseAddr("2001:db8::1")
	attendedByV6["X-Fapi-Customer-Ip-Address"] = []string{"2001:db8::1"}
	for name, tt := range map[string]struct {
		q    canonical.Query
		want http.Header
	}{
		"attended": {testQuery(), attended}, "unattended": {unattendedQuery(), want}, "IPv6": {v6, attendedByV6},
		"no user agent": {noAgent, attendedWithoutAgent}, "a user agent that is not ASCII": {odd, attendedWithoutAgent},
	} {
		for read, call := range reads(p, tt.q) {
			t.Run(name+" "+read, func(t *testing.T) {
				if err := call(t); err != nil {
					t.Fatal(err)
				}
				got.Del("Connection")
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

// reads returns all reads of the adapter for a query.
func reads(p *provider, q canonical.Query) map[string]func(*testing.T) error {
	return map[string]func(*testing.T) error{
		"accounts": func(t *testing.T) error {
			all, err := p.Accounts(t.Context(), q)
			if err != nil && all != nil {
				t.Error("accounts beside an error")
			}
			return err
		},
		"balances": func(t *testing.T) error {
			sheet, err := p.Balances(t.Context(), q, obiesim.GoodAccount)
			if err != nil && sheet.Balances != nil {
				t.Error("balances beside an error")
			}
			return err
		},
		"all balances": func(t *testing.T) error {
			all, err := p.AllBalances(t.Context(), q)
			if err != nil && all != nil {
				t.Error("balances beside an error")
			}
			return err
		},
	}
}

func TestPaths(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.RequestURI)
		fmt.Fprint(w, `{"Data":{"Account":[],"Balance":[]}}`)
	}))
	defer server.Close()
	for _, tt := range []struct{ base, version, want string }{
		{server.URL, "", "/open-banking/v3.1/aisp"},
		{server.URL + "/", "v3.1", "/open-banking/v3.1/aisp"},
		{server.URL + "/psd2/thames", "v4.0", "/psd2/thames/open-banking/v4.0/aisp"},
	} {
		got = nil
		p := serve(t, nil, Options{BaseURL: tt.base, Version: tt.version}, nil)
		if _, err := p.Accounts(t.Context(), testQuery()); err != nil {
			t.Error(err)
		}
		if _, err := p.Balances(t.Context(), testQuery(), "a/../b?c"); err != nil {
			t.Error(err)
		}
		if _, err := p.AllBalances(t.Context(), testQuery()); err != nil {
			t.Error(err)
		}
		want := []string{"GET " + tt.want + "/accounts", "GET " + tt.want + "/accounts/a%2F..%2Fb%3Fc/balances", "GET " + tt.want + "/balances"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestNothingIsSent checks that a query that cannot succeed is not sent.
func TestNothingIsSent(t *testing.T) {
	p := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a call was made") }), Options{}, nil)
	noToken, lines := testQuery(), testQuery()
	noToken.Token, lines.Token = "", "a\r\nb"
	for name, q := range map[string]canonical.Query{"no token": noToken, "a token of two lines": lines} {
		for read, call := range reads(p, q) {
			failure := wantKind(t, call(t), canonical.FormatError)
			if len(failure.Faults) != 1 || failure.Faults[0].Name != "Provider-Authorization" {
				t.Errorf("%s, %s: %+v", name, read, failure.Faults)
			}
		}
	}
	_, err := p.Balances(t.Context(), testQuery(), "..")
	wantKind(t, err, canonical.FormatError)
	other := testQuery()
	other.ASPSP = "4f1e2d3c-0000-4000-8000-000000000009"
	_, err = p.Accounts(t.Context(), other)
	wantKind(t, err, canonical.ASPSPUnknown)
}

// TestUnlistedAccount reads all balances with an account that the list does not have: the adapter
// keeps it under its own id.
func TestUnlistedAccount(t *testing.T) {
	p := serve(t, answers(`{"Data":{"Balance":[`+balanceOf("22289")+`,`+balanceOf("unlisted")+`]}}`), Options{AllBalances: true}, nil)
	all, err := p.AllBalances(t.Context(), testQuery())
	if err != nil || len(all) != 2 || len(all["unlisted"].Balances) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	for _, id := range []string{``, `"AccountId":"",`, `"AccountId":"..",`, `"AccountId":"` + strings.Repeat("x", 257) + `",`} {
		body := `{"Data":{"Balance":[` + strings.Replace(balanceOf("x"), `"AccountId":"x",`, id, 1) + `]}}`
		p := serve(t, answers(body), Options{AllBalances: true}, nil)
		_, err := p.AllBalances(t.Context(), testQuery())
		wantKind(t, err, canonical.ProviderInvalidResponse)
	}
	// In the response for one account the id is an echo, which may be missing.
	p = serve(t, answers(`{"Data":{"Balance":[`+strings.Replace(balanceOf("x"), `"AccountId":"x",`, "", 1)+`]}}`), Options{}, nil)
	if sheet, err := p.Balances(t.Context(), testQuery(), "22289"); err != nil || len(sheet.Balances) != 1 {
		t.Errorf("%v, %v", sheet, err)
	}
}

func balanceOf(account string) string {
	return `{"AccountId":"` + account + `","CreditDebitIndicator":"Credit","Type":"InterimBooked",` +
		`"DateTime":"2026-11-20T08:00:01Z","Amount":{"Amount":"1.00","Currency":"GBP"}}`
}

// TestLocalCurrency reads a balance that is repeated in the currency of the country.
func TestLocalCurrency(t *testing.T) {
	const entry = `{"AccountId":"1","CreditDebitIndicator":"Credit","Type":%q,"DateTime":"2026-11-20T08:00:01Z","Amount":{"Amount":"1.00","Currency":%q,"SubType":%q}}`
	page := func(entries ...string) string { return `{"Data":{"Balance":[` + strings.Join(entries, ",") + `]}}` }
	base, local := fmt.Sprintf(entry, "InterimBooked", "GBP", "BaseCurrency"), fmt.Sprintf(entry, "InterimBooked", "EUR", "LocalCurrency")
	for name, tt := range map[string]struct {
		body string
		want []string
	}{
		"base and local":            {page(base, local), []string{"ITBD InterimBooked 1.00 GBP 2026-11-20T08:00:01Z"}},
		"local first, codes of v4":  {page(fmt.Sprintf(entry, "itbd", "EUR", "LCUR"), fmt.Sprintf(entry, "itbd", "GBP", "BCUR")), []string{"ITBD itbd 1.00 GBP 2026-11-20T08:00:01Z"}},
		"local alone":               {page(local), []string{"ITBD InterimBooked 1.00 EUR 2026-11-20T08:00:01Z"}},
		"local, of another balance": {page(local, fmt.Sprintf(entry, "Expected", "GBP", "BaseCurrency")), []string{"ITBD InterimBooked 1.00 EUR 2026-11-20T08:00:01Z", "XPCD Expected 1.00 GBP 2026-11-20T08:00:01Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			sheet, err := serve(t, answers(tt.body), Options{}, nil).Balances(t.Context(), testQuery(), "1")
			if diff := cmp.Diff(tt.want, text(sheet.Balances)); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// TestLocalCurrencyOnAnotherPage reads a balance whose repetition is on the page before, and names
// its account, which the other one does not.
func TestLocalCurrencyOnAnotherPage(t *testing.T) {
	const balance = `{%s"CreditDebitIndicator":"Credit","Type":"InterimBooked","DateTime":"2026-11-20T08:00:01Z","Amount":{"Amount":"1.00","Currency":%q,"SubType":%q}}`
	pages := []string{
		`{"Data":{"Balance":[` + fmt.Sprintf(balance, `"AccountId":"1",`, "EUR", "LocalCurrency") + `]},"Links":{"Next":"?page=2"}}`,
		`{"Data":{"Balance":[` + fmt.Sprintf(balance, ``, "GBP", "BaseCurrency") + `]},"Links":"","Meta":[]}`,
	}
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := pages[0]
		if r.URL.RawQuery != "" {
			page = pages[1]
		}
		_, _ = io.WriteString(w, page)
	}), Options{}, nil)
	sheet, err := p.Balances(t.Context(), testQuery(), "1")
	if diff := cmp.Diff([]string{"ITBD InterimBooked 1.00 GBP 2026-11-20T08:00:01Z"}, text(sheet.Balances)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestCardNumberAsID checks that a full card number is no id of a card account: by its type, by its
// code of version 4, and by its number.
func TestCardNumberAsID(t *testing.T) {
	const id = `"AccountId":"5413330000000019"`
	for _, tt := range []struct {
		version, account string
		refused          bool
	}{
		{"v3.1", `{` + id + `,"AccountSubType":"ChargeCard"}`, true},
		{"v3.1", `{` + id + `,"AccountSubType":"PrePaidCard"}`, true},
		{"v4.0", `{` + id + `,"AccountTypeCode":"CARD"}`, true},
		{"v3.1", `{` + id + `,"Account":[{"SchemeName":"UK.OBIE.PAN","Identification":"4111111111111111"}]}`, true},
		{"v3.1", `{` + id + `,"AccountSubType":"Savings"}`, false},
	} {
		p := serve(t, answers(`{"Data":{"Account":[`+tt.account+`]}}`), Options{Version: tt.version}, nil)
		all, err := p.Accounts(t.Context(), testQuery())
		if !tt.refused {
			if err != nil || len(all) != 1 {
				t.Errorf("%s: %v", tt.account, err)
			}
			continue
		}
		if failure := wantKind(t, err, canonical.ProviderInvalidResponse); strings.Contains(failure.Error(), "5413") {
			t.Errorf("the error contains the number: %v", failure)
		}
	}
}

// TestBlankTextsAreLeftOut reads an account whose texts are blank.
func TestBlankTextsAreLeftOut(t *testing.T) {
	p := serve(t, answers(`{"Data":{"Account":[{"AccountId":"1","Currency":" ","Status":" ","SwitchStatus":"UK.CASS.SwitchCompleted","Nickname":" ","Description":"\t","AccountType":" ",`+
		`"AccountSubType":" ","Account":[{"SchemeName":"UK.OBIE.IBAN","Identification":" ","Name":" "}]},`+
		`{"AccountId":"2","Currency":null,"Account":null,"Nickname":null}]},"Links":null,"Meta":null}`), Options{}, nil)
	got, err := p.Accounts(t.Context(), testQuery())
	want := []canonical.Account{{ID: "1", Type: "OTHR"}, {ID: "2", Type: "OTHR"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestConcurrentASPSPs checks that one adapter serves many ASPSPs, each with its own options.
func TestConcurrentASPSPs(t *testing.T) {
	log := newLog()
	server := httptest.NewServer(obiesim.New(obiesim.Config{Log: log, Banks: []obiesim.Bank{
		{ASPSP: "a", Path: "/thames"}, {ASPSP: "b", Path: "/clyde", Version: obiesim.V4, Bulk: true, FinancialID: "0015800000jfAbcAAB"},
	}}))
	defer server.Close()
	p := openAll(t, server.URL, map[string]Options{
		"a": {BaseURL: server.URL + "/thames"},
		"b": {BaseURL: server.URL + "/clyde", Version: "v4.0", AllBalances: true, Headers: map[string]string{"x-fapi-financial-id": "0015800000jfAbcAAB"}},
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			q, word := testQuery(), "CurrentAccount"
			if q.ASPSP = "a"; i%2 == 1 {
				q.ASPSP, word = "b", "CACC"
			}
			all, err := p.Accounts(t.Context(), q)
			if err != nil || len(all) != 3 || all[0].ProviderType != word {
				t.Errorf("%s: %v, %v", q.ASPSP, all, err)
			}
		})
	}
	wg.Wait()
	calls := map[string]int{}
	for _, c := range log.Calls() {
		calls[c.ASPSP]++
	}
	if diff := cmp.Diff(map[string]int{"a": 10, "b": 10}, calls); diff != "" {
		t.Error(diff)
	}
}
