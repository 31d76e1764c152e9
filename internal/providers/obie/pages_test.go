package obie

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/obie/obiesim"
)

// pageOf returns a page of any read with a link and a number of pages, either of which may be "".
func pageOf(account, next, total string) string {
	if next != "" {
		next = fmt.Sprintf(`"Next":%q`, next)
	}
	if total != "" {
		total = `"TotalPages":` + total
	}
	return fmt.Sprintf(`{"Data":{"Account":[{"AccountId":%q}],"Balance":[%s]},"Links":{%s},"Meta":{%s}}`, account, balanceOf(account), next, total)
}

// TestLinks checks which links to a next page are followed, for each read. Nothing is sent to
// another server.
func TestLinks(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	const secret = "sandbox-aac-good"
	for name, tt := range map[string]struct {
		next   string // of the first page; HOST is the server's host, and PATH the path of the request
		second string // the request for the second page; "" if the link is refused
	}{
		"absolute":                {"http://HOST/bankPATH?page=2", "/bankPATH?page=2"},
		"without a host":          {"/bankPATH?page=2", "/bankPATH?page=2"},
		"query alone":             {"?page=2", "/bankPATH?page=2"},
		"below a proxy":           {"http://HOSTPATH?page=2", "/bankPATH?page=2"},
		"with a fragment":         {"http://HOST/bankPATH?page=2#top", "/bankPATH?page=2"},
		"to another host":         {other.URL + "/bankPATH?page=2", ""},
		"to another host, //":     {strings.TrimPrefix(other.URL, "http:") + "/bankPATH?page=2", ""},
		"to another port":         {"http://127.0.0.1:1/bankPATH?page=2", ""},
		"to another scheme":       {"https://HOST/bankPATH?page=2", ""},
		"to a file":               {"file:///etc/passwd", ""},
		"in a circle":             {"http://HOST/bankPATH", ""},
		"with a user":             {"http://user:password@HOST/bankPATH?page=2", ""},
		"with the token":          {"http://HOST/bankPATH?page=2&access_token=" + secret, ""},
		"with the token, escaped": {"http://HOST/bankPATH?page=2&access_token=sandbox%2Daac%2Dgood", ""},
		"with the token as path":  {"http://HOST/bankPATH/" + secret, ""},
		"longer than can be":      {"http://HOST/bankPATH?page=" + strings.Repeat("2", 5000), ""},
		"no URL":                  {"http://HOST/%zz", ""},
		"out of the base":         {"http://HOST/bank/%2e%2e/admin", ""},
		"up, below the base":      {"http://HOST/bank/../admin", "/bank/admin"},
	} {
		for _, read := range []struct{ name, path string }{
			{"accounts", "/open-banking/v3.1/aisp/accounts"},
			{"balances", "/open-banking/v3.1/aisp/accounts/22289/balances"},
			{"all balances", "/open-banking/v3.1/aisp/balances"},
		} {
			t.Run(name+", "+read.name, func(t *testing.T) {
				var got []string
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					got = append(got, r.RequestURI)
					next := ""
					if len(got) == 1 {
						next = strings.NewReplacer("HOST", r.Host, "PATH", read.path).Replace(tt.next)
					}
					fmt.Fprint(w, pageOf("22289", next, ""))
				}))
				defer server.Close()
				p := openAll(t, server.URL+"/bank", map[string]Options{testASPSP: {AllBalances: true}})
				err := reads(p, testQuery())[read.name](t)
				want := []string{"/bank" + read.path}
				if tt.second == "" {
					failure := wantKind(t, err, canonical.ProviderInvalidResponse)
					if text := failure.Error(); strings.Contains(text, "http:") || strings.Contains(text, secret) {
						t.Errorf("the error contains the link: %s", text)
					}
				} else {
					want = append(want, strings.ReplaceAll(tt.second, "PATH", read.path))
					if err != nil {
						t.Error(err)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
			})
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests were sent to another server", n)
	}
}

// TestEndlessPages checks that a bank with 10,000 pages ends a read, with and without the number of
// pages.
func TestEndlessPages(t *testing.T) {
	for _, total := range []string{"", "10000"} {
		for _, read := range []string{"accounts", "balances", "all balances"} {
			t.Run(read+" "+total, func(t *testing.T) {
				calls := 0
				p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					calls++
					account := fmt.Sprint(calls)
					if read == "balances" {
						account = "22289"
					}
					fmt.Fprint(w, pageOf(account, fmt.Sprintf("http://%s%s?page=%d", r.Host, r.URL.Path, calls+1), total))
				}), Options{AllBalances: true}, nil)
				wantKind(t, reads(p, testQuery())[read](t), canonical.ProviderInvalidResponse)
				if want := map[string]int{"": 200, "10000": 1}[total]; calls != want {
					t.Errorf("%d calls, want %d", calls, want)
				}
			})
		}
	}
}

// TestEachPageTakesASlot checks the count of unattended reads of several pages.
func TestEachPageTakesASlot(t *testing.T) {
	for _, read := range []string{"accounts", "all balances"} {
		t.Run(read, func(t *testing.T) {
			log := newLog()
			bank := obiesim.Bank{ASPSP: testASPSP, Bulk: true, PageSize: map[string]int{"accounts": 1, "all balances": 2}[read]}
			p := serve(t, obiesim.New(obiesim.Config{Log: log, Banks: []obiesim.Bank{bank}}), Options{AllBalances: true}, counter(t, 4))
			if err := reads(p, unattendedQuery())[read](t); err != nil {
				t.Fatal(err)
			}
			if n := len(log.Calls()); n != 3 {
				t.Fatalf("%d calls, want 3", n)
			}
			failure := wantKind(t, reads(p, unattendedQuery())[read](t), canonical.UnattendedLimit)
			if failure.Slots == nil || failure.Slots.Needed != 3 {
				t.Errorf("slots %+v", failure.Slots)
			}
			if n := len(log.Calls()); n != 4 {
				t.Errorf("%d calls, want 4: the list stops after its first page", n)
			}
		})
	}
}

// TestPageNumbers checks what a number of pages means that contradicts the links.
func TestPageNumbers(t *testing.T) {
	for total, want := range map[string]canonical.Kind{
		"1": "", "0": "", "-1": "", `"1"`: "", `"x"`: "", "null": "", "1.0": "",
		"2": canonical.ProviderInvalidResponse, `"2"`: canonical.ProviderInvalidResponse, "99999999999999999999": canonical.ProviderInvalidResponse,
		`{}`: canonical.ProviderInvalidResponse,
	} {
		p := serve(t, answers(pageOf("22289", "", total)), Options{}, nil)
		_, err := p.Accounts(t.Context(), testQuery())
		if want == "" && err != nil {
			t.Errorf("%s: %v", total, err)
		}
		if want != "" {
			wantKind(t, err, want)
		}
	}
}

// TestPagesRepeatAccounts checks pages that list an account again.
func TestPagesRepeatAccounts(t *testing.T) {
	list := func(second string) *provider {
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				fmt.Fprint(w, pageOf("1", "?page=2", "2"))
				return
			}
			fmt.Fprint(w, second)
		}), Options{}, nil)
	}
	if all, err := list(pageOf("1", "", "2")).Accounts(t.Context(), testQuery()); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	_, err := list(`{"Data":{"Account":[{"AccountId":"1","Currency":"EUR"}]}}`).Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderInvalidResponse)
	// The second number of the same account differs only in digits that are masked.
	const card = `{"Data":{"Account":[{"AccountId":"1","Account":[{"SchemeName":"UK.OBIE.PAN","Identification":%q}]}]},"Links":{"Next":%q}}`
	first := true
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		number, next := "5413331111111119", "?page=2"
		if !first {
			number, next = "5413332222221119", ""
		}
		first = false
		fmt.Fprintf(w, card, number, next)
	}), Options{}, nil)
	_, err = p.Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderInvalidResponse)
}

// TestTokenIsNotInURL checks that no read puts the token or the consent into a URL or a header other
// than Authorization.
func TestTokenIsNotInURL(t *testing.T) {
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri, _ := url.QueryUnescape(r.RequestURI)
		if strings.Contains(uri, obiesim.GoodConsent) {
			t.Error("the URL contains the token")
		}
		for name, values := range r.Header {
			if name != "Authorization" && strings.Contains(strings.Join(values, " "), obiesim.GoodConsent) {
				t.Errorf("the header %s contains the token", name)
			}
		}
		fmt.Fprint(w, pageOf("22289", "", ""))
	}), Options{}, nil)
	for _, call := range reads(p, testQuery()) {
		if err := call(t); err != nil {
			t.Error(err)
		}
	}
}
