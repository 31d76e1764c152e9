package berlingroup

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
)

// TestNextLinks checks links to the next page of the account list. {other} is the URL of another
// server, which must not be called; {base} is the base URL of the ASPSP.
func TestNextLinks(t *testing.T) {
	for _, tt := range []struct {
		name, link string
		calls      int64 // of the ASPSP
		want       canonical.Kind
	}{
		{"object, relative", `{"href":"/psd2/v1/accounts?page=2"}`, 2, ""},
		{"text, relative", `"/psd2/v1/accounts?page=2"`, 2, ""},
		{"absolute", `{"href":"{base}/v1/accounts?page=2"}`, 2, ""},
		{"a path that the bank sees without its prefix", `{"href":"/v1/accounts?page=2"}`, 2, ""},
		{"a query alone", `{"href":"?page=2"}`, 2, ""},
		{"null", `null`, 1, ""},
		{"empty object", `{}`, 1, ""},
		{"href null", `{"href":null}`, 1, ""},
		{"blank", `{"href":" "}`, 1, ""},
		{"another host", `{"href":"{other}/psd2/v1/accounts?page=2"}`, 1, canonical.ProviderInvalidResponse},
		{"another host without a scheme", `{"href":"//{other}/psd2/v1/accounts?page=2"}`, 1, canonical.ProviderInvalidResponse},
		{"another scheme", `{"href":"https://{address}/psd2/v1/accounts?page=2"}`, 1, canonical.ProviderInvalidResponse},
		{"no web scheme", `{"href":"file:///psd2/v1/accounts?page=2"}`, 1, canonical.ProviderInvalidResponse},
		{"a user", `{"href":"http://user:pass@{address}/psd2/v1/accounts?page=2"}`, 1, canonical.ProviderInvalidResponse},
		{"the token", `{"href":"/psd2/v1/accounts?page=2&access_token=` + berlingroupsim.GoodToken + `"}`, 1, canonical.ProviderInvalidResponse},
		{"the token, escaped", `{"href":"/psd2/v1/accounts?page=2&t=` + strings.ReplaceAll(berlingroupsim.GoodToken, "-", "%2D") + `"}`, 1, canonical.ProviderInvalidResponse},
		{"the page itself", `{"href":"/psd2/v1/accounts"}`, 1, canonical.ProviderInvalidResponse},
		{"up", `{"href":"/psd2/v1/%2e%2e/%2e%2e/admin?page=2"}`, 1, canonical.ProviderInvalidResponse},
		{"too long", `{"href":"/psd2/v1/accounts?page=` + strings.Repeat("2", 5000) + `"}`, 1, canonical.ProviderInvalidResponse},
		{"no URL", `{"href":"http://%zz"}`, 1, canonical.ProviderInvalidResponse},
		{"a list", `["/psd2/v1/accounts?page=2"]`, 1, canonical.ProviderInvalidResponse},
		{"an object of another form", `{"href":{"url":"/psd2/v1/accounts?page=2"}}`, 1, canonical.ProviderInvalidResponse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var calls, stray atomic.Int64
			other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stray.Add(1) }))
			defer other.Close()
			bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1); r.URL.Query().Get("page") != "" {
					fmt.Fprint(w, `{"accounts":[{"resourceId":"b"}]}`)
					return
				}
				link := strings.NewReplacer("{base}", "http://"+r.Host+"/psd2", "//{other}", "//"+strings.TrimPrefix(other.URL, "http://"),
					"{other}", other.URL, "{address}", r.Host).Replace(tt.link)
				fmt.Fprint(w, `{"accounts":[{"resourceId":"a"}],"_links":{"next":`+link+`}}`)
			}))
			defer bank.Close()
			p := serve(t, http.NotFoundHandler(), Options{BaseURL: bank.URL + "/psd2"}, nil)
			q := testQuery()
			q.Token = berlingroupsim.GoodToken
			all, err := p.Accounts(t.Context(), q)
			if tt.want == "" && (err != nil || int64(len(all)) != tt.calls) {
				t.Errorf("%d accounts, %v", len(all), err)
			}
			if tt.want != "" {
				wantKind(t, err, tt.want)
			}
			if calls.Load() != tt.calls || stray.Load() != 0 || all != nil && err != nil {
				t.Errorf("%d calls, want %d; %d calls of another server; %d accounts", calls.Load(), tt.calls, stray.Load(), len(all))
			}
		})
	}
}

// endless returns a handler of a bank with a number of pages, each with one account.
func endless(pages int, calls *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := calls.Add(1)
		fmt.Fprintf(w, `{"accounts":[{"resourceId":"%d"}],"balances":[]`, n)
		if n < int64(pages) {
			fmt.Fprintf(w, `,"_links":{"next":{"href":"?page=%d"}}`, n+1)
		}
		fmt.Fprint(w, "}")
	})
}

// TestManyPages checks that pages end: by their number, and by the slots of an unattended read.
func TestManyPages(t *testing.T) {
	var calls atomic.Int64
	p := serve(t, endless(10_000, &calls), Options{}, counter(t, 4))
	all, err := p.Accounts(t.Context(), testQuery())
	if wantKind(t, err, canonical.ProviderInvalidResponse); all != nil || calls.Load() > 1000 {
		t.Errorf("%d accounts of %d calls", len(all), calls.Load())
	}
	calls.Store(0)
	all, err = p.Accounts(t.Context(), unattendedQuery())
	failure := wantKind(t, err, canonical.UnattendedLimit)
	if failure.Origin != canonical.OriginGateway || failure.Slots == nil || all != nil || calls.Load() != 4 {
		t.Errorf("%+v after %d calls", failure, calls.Load())
	}
}

// TestPagesAreCounted checks that each page of an unattended read takes a slot, and that a circle of
// pages ends.
func TestPagesAreCounted(t *testing.T) {
	var calls atomic.Int64
	p := serve(t, endless(3, &calls), Options{}, counter(t, 3))
	if all, err := p.Accounts(t.Context(), unattendedQuery()); err != nil || len(all) != 3 {
		t.Errorf("%d accounts, %v", len(all), err)
	}
	_, err := p.Accounts(t.Context(), unattendedQuery())
	if wantKind(t, err, canonical.UnattendedLimit); calls.Load() != 3 {
		t.Errorf("%d calls", calls.Load())
	}
	circle := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := map[string]string{"": "2", "2": "3", "3": "2"}[r.URL.Query().Get("page")]
		fmt.Fprint(w, `{"accounts":[{"resourceId":"a"}],"_links":{"next":"?page=`+next+`"}}`)
	}), Options{}, nil)
	_, err = circle.Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderInvalidResponse)
}

// TestPagesOfBalances checks that balances on further pages are not lost.
func TestPagesOfBalances(t *testing.T) {
	const balance = `{"balanceType":"expected","balanceAmount":{"currency":"EUR","amount":"1"}}`
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			fmt.Fprint(w, `{"account":{"iban":"DE02120300000000202051"},"balances":[`+balance+`],"_links":{"next":{"href":"?page=2"},"account":"/v1/accounts/a"}}`)
			return
		}
		fmt.Fprint(w, `{"balances":[`+balance+`,`+balance+`]}`)
	}), Options{}, nil)
	got, err := p.Balances(t.Context(), testQuery(), "a")
	if err != nil || len(got.Balances) != 3 || got.Identification.IBAN() != "DE02120300000000202051" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLinksOfAccountsAreNotFollowed checks that only the id is used of an account's links.
func TestLinksOfAccountsAreNotFollowed(t *testing.T) {
	var stray atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stray.Add(1) }))
	defer other.Close()
	var paths []string
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		fmt.Fprint(w, `{"accounts":[{"_links":{"balances":"`+other.URL+`/v9/accounts/a%2Fb/balances"}}],"balances":[]}`)
	}), Options{}, nil)
	all, err := p.Accounts(t.Context(), testQuery())
	if err != nil || len(all) != 1 || all[0].ID != "a/b" {
		t.Fatalf("%+v, %v", all, err)
	}
	if _, err := p.Balances(t.Context(), testQuery(), all[0].ID); err != nil || stray.Load() != 0 || paths[1] != "/v1/accounts/a%2Fb/balances" {
		t.Errorf("%d calls of another server, paths %v, %v", stray.Load(), paths, err)
	}
}
