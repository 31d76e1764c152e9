package berlingroup

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

const (
	testASPSP     = "4f1e2d3c-0000-4000-8000-000000000003"
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
		ASPSP: testASPSP, Consent: berlingroupsim.GoodConsent, RequestID: testRequestID,
		Customer: "customer-1", Merchant: &canonical.Merchant{ID: "m-1", Name: "Shop"},
	}
}

func noSettings(any) error { return nil }

// entry returns an ASPSP of the configuration.
func entry(id string, o Options) providers.ASPSP {
	return providers.ASPSP{ID: id, Path: "aspsps[0].options", Options: func(into any) error {
		*into.(*Options) = o
		return nil
	}}
}

// counter returns a counter with a limit, on a separate Redis.
func counter(t *testing.T, limit int) *unattended.Counter {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Start(t).Addr)
	return unattended.New(st.Counter, map[string]config.Unattended{
		testASPSP: {Limit: limit, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}).Within(redistest.CommandTimeout)
}

// serve opens the adapter on a test server. Without a counter it accepts attended queries only.
func serve(t *testing.T, h http.Handler, o Options, c *unattended.Counter) *provider {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := upstream.New(upstream.Config{Provider: "berlingroup", Timeout: 30 * time.Second, Counter: c})
	p, err := Open(noSettings, providers.Env{BaseURL: base, ASPSPs: []providers.ASPSP{entry(testASPSP, o)}, Client: transport.Client})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*provider)
}

// simulate opens the adapter on a simulator of one bank, whose limit is high.
func simulate(t *testing.T, b berlingroupsim.Bank, o Options) (*provider, *aspspsim.CallLog) {
	t.Helper()
	b.ASPSP = testASPSP
	callLog := aspspsim.NewCallLog(time.Now)
	callLog.SetPolicy(testASPSP, aspspsim.Policy{Limit: 1000, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	return serve(t, berlingroupsim.New(berlingroupsim.Config{Log: callLog, Banks: []berlingroupsim.Bank{b}}), o, nil), callLog
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

// recorder keeps the requests that it passes on.
type recorder struct {
	next     http.Handler
	mu       sync.Mutex
	requests []*http.Request
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	r.mu.Unlock()
	r.next.ServeHTTP(w, req)
}

func TestRequests(t *testing.T) {
	unattended, attended := unattendedQuery(), testQuery()
	attended.Token = berlingroupsim.GoodToken
	bare := unattendedQuery()
	bare.PSU = &canonical.PSU{IP: netip.MustParseAddr("2001:db8::7"), UserAgent: "Bröwser"}
	always := http.Header{
		"Accept": {"application/json"}, "Consent-Id": {berlingroupsim.GoodConsent}, "X-Request-Id": {testRequestID},
		"Aspsp-Code": {"ABC"}, "X-Ibm-Client-Id": {"secret-id"},
	}
	for _, tt := range []struct {
		name  string
		query canonical.Query
		read  func(*provider, canonical.Query) error
		uri   string
		more  http.Header
	}{
		{name: "list, unattended", query: unattended, read: readAccounts, uri: "/psd2/v3/accounts"},
		{name: "list with balances", query: unattended, read: readAccountsWithBalances, uri: "/psd2/v3/accounts?withBalance=true"},
		{name: "balances, attended, with a token", query: attended, read: readBalancesOf("7f-19:a/2"), uri: "/psd2/v3/accounts/7f-19:a%2F2/balances", more: http.Header{
			"Authorization": {"Bearer " + berlingroupsim.GoodToken}, "Psu-Ip-Address": {"203.0.113.7"}, "Psu-Ip-Port": {"50123"},
			"Psu-User-Agent": {"Mozilla/5.0"}, "Psu-Device-Id": {"99435c7e-ad88-49ec-a2ad-99ddcb1f5555"}, "Psu-Geo-Location": {"GEO:52.506931;13.144558"},
		}},
		{name: "attended, IPv6, a browser beyond ASCII", query: bare, read: readAccounts, uri: "/psd2/v3/accounts", more: http.Header{"Psu-Ip-Address": {"2001:db8::7"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bank := berlingroupsim.Bank{
				ASPSP: testASPSP, Path: "/psd2", Version: "v3", Headers: map[string]string{"aspsp-code": "ABC", "X-IBM-Client-Id": "secret-id"},
			}
			r := &recorder{next: berlingroupsim.New(berlingroupsim.Config{Log: aspspsim.NewCallLog(time.Now), Banks: []berlingroupsim.Bank{bank}})}
			server := httptest.NewServer(r)
			defer server.Close()
			p := serve(t, http.NotFoundHandler(), Options{
				BaseURL: server.URL + "/psd2/", Version: "v3", WithBalance: true, Headers: map[string]string{"aspsp-code": "ABC"},
				HeaderFiles: map[string]config.File{"x-ibm-client-id": config.InMemoryFile([]byte("secret-id\n"))},
			}, counter(t, 4))
			if err := tt.read(p, tt.query); err != nil {
				t.Fatal(err)
			}
			r.requests[0].Header.Del("Connection") // of an unattended call, which does not share connections
			want := always.Clone()
			maps.Copy(want, tt.more)
			if diff := cmp.Diff(want, r.requests[0].Header); diff != "" || r.requests[0].RequestURI != tt.uri || len(r.requests) != 1 {
				t.Errorf("%d requests, %s (-want +got):\n%s", len(r.requests), r.requests[0].RequestURI, diff)
			}
		})
	}
}

func readAccounts(p *provider, q canonical.Query) error {
	_, err := p.Accounts(context.Background(), q)
	return err
}

func readAccountsWithBalances(p *provider, q canonical.Query) error {
	_, err := p.AccountsWithBalances(context.Background(), q)
	return err
}

func readBalancesOf(account string) func(*provider, canonical.Query) error {
	return func(p *provider, q canonical.Query) error {
		_, err := p.Balances(context.Background(), q, account)
		return err
	}
}

// TestAccountsWithBalances checks that one call returns what Accounts and Balances return.
func TestAccountsWithBalances(t *testing.T) {
	for name, bank := range map[string]berlingroupsim.Bank{"usual": {}, "odd": {Odd: true}, "unasked": {WithBalance: berlingroupsim.Unasked}} {
		t.Run(name, func(t *testing.T) {
			p, callLog := simulate(t, bank, Options{WithBalance: true})
			all, err := p.AccountsWithBalances(t.Context(), testQuery())
			if err != nil || len(callLog.Calls()) != 1 {
				t.Fatalf("%d calls, %v", len(callLog.Calls()), err)
			}
			accounts, err := p.Accounts(t.Context(), testQuery())
			if err != nil || len(accounts) != len(all) {
				t.Fatalf("%d accounts, want %d, %v", len(accounts), len(all), err)
			}
			for i, a := range all {
				if diff := cmp.Diff(accounts[i], a.Account); diff != "" {
					t.Error(diff)
				}
				one, err := p.Balances(t.Context(), testQuery(), a.Account.ID)
				if diff := cmp.Diff(one.Balances, a.Balances, compareAmounts); diff != "" || err != nil {
					t.Errorf("balances of account %d: %v\n%s", i, err, diff)
				}
			}
		})
	}
}

var compareAmounts = cmp.Transformer("amount", func(a canonical.Amount) string { return a.Value() + " " + a.Currency() })

// TestWithBalanceHabits checks banks that do not add balances to the list.
func TestWithBalanceHabits(t *testing.T) {
	p, _ := simulate(t, berlingroupsim.Bank{WithBalance: berlingroupsim.Ignored}, Options{WithBalance: true})
	all, err := p.AccountsWithBalances(t.Context(), testQuery())
	if err != nil || len(all) != 3 || all[0].Balances != nil {
		t.Errorf("ignored: %d accounts, %v", len(all), err)
	}
	p, _ = simulate(t, berlingroupsim.Bank{WithBalance: berlingroupsim.Rejected}, Options{WithBalance: true})
	_, err = p.AccountsWithBalances(t.Context(), testQuery())
	if failure := wantKind(t, err, canonical.ProviderRejected); failure.Upstream.ReasonCode != "PARAMETER_NOT_SUPPORTED" {
		t.Errorf("rejected: %+v", failure.Upstream)
	}
	if _, err := p.Accounts(t.Context(), testQuery()); err != nil {
		t.Errorf("a list without balances: %v", err)
	}
}

// TestBalancesOfTheList checks lists with balances that Accounts ignores, and AccountsWithBalances
// does not.
func TestBalancesOfTheList(t *testing.T) {
	const good = `[{"balanceAmount":{"currency":"EUR","amount":"1"}}]`
	for _, body := range []string{
		`{"accounts":[{"resourceId":"a","balances":"none"}]}`, `{"accounts":[{"resourceId":"a","balances":{}}]}`,
		`{"accounts":[{"resourceId":"a","balances":[null]}]}`, `{"accounts":[{"resourceId":"a","balances":[{}]}]}`,
		`{"accounts":[{"resourceId":"a","balances":[]},{"resourceId":"a"}]}`,
		`{"accounts":[{"resourceId":"a","balances":` + good + `},{"resourceId":"a","balances":[]}]}`,
		`{"accounts":[{"resourceId":"a","debitAccounting":true,"balances":` + good + `}]}`,
	} {
		p := serve(t, responds(http.StatusOK, body), Options{WithBalance: true}, nil)
		if all, err := p.Accounts(t.Context(), testQuery()); err != nil || len(all) != 1 {
			t.Errorf("%s: %d accounts, %v", body, len(all), err)
		}
		all, err := p.AccountsWithBalances(t.Context(), testQuery())
		wantKind(t, err, canonical.ProviderInvalidResponse)
		if all != nil {
			t.Errorf("%s: an error with %d accounts", body, len(all))
		}
	}
	same := `{"resourceId":"a","balances":` + good + `}`
	p := serve(t, responds(http.StatusOK, `{"accounts":[`+same+`,`+same+`,{"resourceId":"b","balances":null}]}`), Options{WithBalance: true}, nil)
	all, err := p.AccountsWithBalances(t.Context(), testQuery())
	if err != nil || len(all) != 2 || len(all[0].Balances) != 1 || all[1].Balances != nil {
		t.Errorf("an account that is listed twice: %+v, %v", all, err)
	}
}

// TestManyASPSPs checks that each ASPSP has its own options.
func TestManyASPSPs(t *testing.T) {
	const first, second, unknown = "4f1e2d3c-0000-4000-8000-00000000000a", "4f1e2d3c-0000-4000-8000-00000000000b", "4f1e2d3c-0000-4000-8000-00000000000c"
	callLog := aspspsim.NewCallLog(time.Now)
	server := httptest.NewServer(berlingroupsim.New(berlingroupsim.Config{Log: callLog, Banks: []berlingroupsim.Bank{
		{ASPSP: first, Path: "/first", RequireToken: true, NoEcho: true}, {ASPSP: second, Path: "/second/bank", Version: "v2", Odd: true},
	}}))
	defer server.Close()
	transport := upstream.New(upstream.Config{Provider: "berlingroup", Timeout: 30 * time.Second})
	opened, err := Open(noSettings, providers.Env{Client: transport.Client, ASPSPs: []providers.ASPSP{
		entry(first, Options{BaseURL: server.URL + "/first", RequireToken: true, Codes: map[string]string{"x": "CONSENT_EXPIRED"}}),
		entry(second, Options{BaseURL: server.URL + "/second/bank", Version: "v2", WithBalance: true, BalanceTypes: map[string]string{"AUTHORISED": "INFO"}}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if providers.RequirementsOf(opened, first) != (providers.Requirements{Token: true}) || providers.RequirementsOf(opened, second).Token {
		t.Error("requirements are wrong")
	}
	if providers.CapabilitiesOf(opened, first).ListWithBalances || !providers.CapabilitiesOf(opened, second).ListWithBalances {
		t.Error("capabilities are wrong")
	}
	q := testQuery()
	q.ASPSP = first
	_, err = opened.Accounts(t.Context(), q)
	wantKind(t, err, canonical.FormatError)
	_, err = opened.Balances(t.Context(), q, "")
	if failure := wantKind(t, err, canonical.FormatError); len(failure.Faults) != 2 {
		t.Errorf("faults %+v", failure.Faults)
	}
	q.Token = berlingroupsim.GoodToken
	if all, err := opened.Accounts(t.Context(), q); err != nil || len(all) != 3 {
		t.Errorf("first: %d accounts, %v", len(all), err)
	}
	q.ASPSP, q.Token = second, ""
	balances, err := opened.Balances(t.Context(), q, berlingroupsim.GoodAccount)
	if err != nil || len(balances.Balances) != 5 || balances.Balances[4].Type != canonical.Information {
		t.Errorf("second: %+v, %v", balances, err)
	}
	q.ASPSP = unknown
	_, err = opened.Accounts(t.Context(), q)
	wantKind(t, err, canonical.ASPSPUnknown)
	_, err = opened.Balances(t.Context(), q, "a")
	wantKind(t, err, canonical.ASPSPUnknown)
	var seen []string
	for _, c := range callLog.Calls() {
		seen = append(seen, c.ASPSP)
	}
	if diff := cmp.Diff([]string{first, second}, seen); diff != "" {
		t.Error(diff)
	}
	q.ASPSP = second
	listed, err := opened.(providers.ListerWithBalances).AccountsWithBalances(t.Context(), q)
	if err != nil || len(listed) == 0 || len(listed[0].Balances) != 5 || listed[0].Balances[4].Type != canonical.Information {
		t.Errorf("second, with the list: %+v, %v", listed, err)
	}
}

// TestEmptyList checks a consent that covers no account.
func TestEmptyList(t *testing.T) {
	p, _ := simulate(t, berlingroupsim.Bank{}, Options{})
	q := testQuery()
	q.Consent = berlingroupsim.NoneConsent
	if all, err := p.Accounts(t.Context(), q); err != nil || len(all) != 0 {
		t.Errorf("%d accounts, %v", len(all), err)
	}
}
