package berlingroupsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/providers/aspspsim"
)

const (
	testASPSP = "4f1e2d3c-0000-4000-8000-000000000003"
	testID    = "a552babc-7081-44e7-9361-61eb17e0bfd9"
)

// start serves banks. The first one without an id gets testASPSP.
func start(t *testing.T, cfg Config) (base string, callLog *aspspsim.CallLog) {
	t.Helper()
	cfg.Log = aspspsim.NewCallLog(time.Now)
	if cfg.Banks == nil {
		cfg.Banks = []Bank{{}}
	}
	cfg.Banks[0].ASPSP = testASPSP
	server := httptest.NewServer(New(cfg))
	t.Cleanup(server.Close)
	return server.URL, cfg.Log
}

func request(t *testing.T, url, consent string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"X-Request-Id": {testID}, "Consent-Id": {consent},
		"User-Agent": {""}, // which makes net/http send none
	}
	return r
}

type result struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, r *http.Request) result {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return result{resp.StatusCode, resp.Header, string(body)}
}

func TestAnswers(t *testing.T) {
	base, callLog := start(t, Config{})
	list := do(t, request(t, base+"/v1/accounts", GoodConsent))
	if list.status != 200 || strings.Contains(list.body, `"balances":[`) || !strings.Contains(list.body, `"_links":{"balances":{"href":"/v1/accounts/7f-19:a%2F2/balances"}}`) {
		t.Errorf("list: %+v", list)
	}
	if with := do(t, request(t, base+"/v1/accounts?withBalance=true", "any text")); strings.Count(with.body, `"balances":[`) != 3 {
		t.Errorf("list with balances: %+v", with)
	}
	r := request(t, base+"/v1/accounts/card-1/balances", GoodConsent)
	r.Header["Psu-Ip-Address"] = []string{"203.0.113.7"}
	balances := do(t, r)
	want := `{"account":{"maskedPan":"498765xxxxxx1234"},"balances":[{"balanceType":"nonInvoiced","balanceAmount":{"currency":"EUR","amount":"-320.10"}}]}`
	if diff := cmp.Diff(want, balances.body); diff != "" || balances.header.Get("X-Request-ID") != testID {
		t.Errorf("balances: %v\n%s", balances.header, diff)
	}
	if r := do(t, request(t, base+"/v1/accounts/1/balances", GoodConsent)); r.status != 404 || !strings.Contains(r.body, "RESOURCE_UNKNOWN") {
		t.Errorf("unknown account: %+v", r)
	}
	calls := callLog.Calls()
	if len(calls) != 4 || calls[0].Account != "" || calls[2].Account != "card-1" || !calls[2].Attended || calls[1].Consent != "any text" || calls[0].ASPSP != testASPSP {
		t.Errorf("record: %+v", calls)
	}
}

// TestHabits checks that the responses of every bank are JSON, and what differs between banks.
func TestHabits(t *testing.T) {
	for _, tt := range []struct {
		name, path, consent string
		bank                Bank
		status              int
		has, hasNot         string
	}{
		{"ignored", "/v1/accounts?withBalance=true", GoodConsent, Bank{WithBalance: Ignored}, 200, "", `"balances":[`},
		{"rejected", "/v1/accounts?withBalance=true", GoodConsent, Bank{WithBalance: Rejected}, 400, "PARAMETER_NOT_SUPPORTED", ""},
		{"rejected, not asked", "/v1/accounts", GoodConsent, Bank{WithBalance: Rejected}, 200, "", ""},
		{"unasked", "/v1/accounts", GoodConsent, Bank{WithBalance: Unasked}, 200, `"balances":[`, ""},
		{"first page", "/v1/accounts?withBalance=true", ManyConsent, Bank{PageSize: 25}, 200, `"next":{"href":"/v1/accounts?page=2&withBalance=true"}`, ""},
		{"last page", "/v1/accounts?page=3", ManyConsent, Bank{PageSize: 25}, 200, "account-00060", `"next"`},
		{"page beyond", "/v1/accounts?page=9", ManyConsent, Bank{PageSize: 25}, 200, `"accounts":[]`, `"next"`},
		{"one page", "/v1/accounts", ManyConsent, Bank{}, 200, "account-00060", `"next"`},
		{"none", "/v1/accounts", NoneConsent, Bank{}, 200, `{"accounts":[]}`, ""},
		{"path and version", "/psd2/v3/accounts", GoodConsent, Bank{Path: "/psd2", Version: "v3"}, 200, `"/psd2/v3/accounts/card-1/balances"`, ""},
		{"token missing", "/v1/accounts", GoodConsent, Bank{RequireToken: true}, 400, "Authorization", ""},
		{"fixed header missing", "/v1/accounts", GoodConsent, Bank{Headers: map[string]string{"aspsp-code": "ABC"}}, 400, "Aspsp-Code", ""},
		{"odd list", "/v1/accounts?withBalance=true", HostileConsent, Bank{Odd: true}, 200, `"category":"WARNING"`, ""},
		{"odd page", "/v1/accounts", ManyConsent, Bank{Odd: true, PageSize: 25}, 200, `"next":"http://`, ""},
		{"odd balances", "/v1/accounts/7f-19:a%2F2/balances", GoodConsent, Bank{Odd: true}, 200, `"amount":187.5`, ""},
		{"slow", "/v1/accounts", GoodConsent, Bank{Delay: time.Millisecond}, 200, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, _ := start(t, Config{Banks: []Bank{tt.bank}})
			got := do(t, request(t, base+tt.path, tt.consent))
			if got.status != tt.status || !strings.Contains(got.body, tt.has) || tt.hasNot != "" && strings.Contains(got.body, tt.hasNot) || !json.Valid([]byte(got.body)) {
				t.Errorf("%+v", got)
			}
		})
	}
	base, _ := start(t, Config{Banks: []Bank{{NoEcho: true, Headers: map[string]string{"aspsp-code": "ABC"}, RequireToken: true}}})
	r := request(t, base+"/v1/accounts", GoodConsent)
	r.Header["Aspsp-Code"], r.Header["Authorization"] = []string{"ABC"}, []string{"Bearer " + GoodToken}
	if got := do(t, r); got.status != 200 || got.header.Get("X-Request-ID") != "" {
		t.Errorf("with header and token: %+v", got)
	}
}

// TestStrictness checks invalid requests, each with one fault.
func TestStrictness(t *testing.T) {
	const list, balances = "/v1/accounts", "/v1/accounts/card-1/balances"
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	for _, tt := range []struct {
		name   string
		path   string
		change func(*http.Request)
		want   int
	}{
		{name: "good", path: list, want: 200},
		{name: "all that is documented", path: balances, want: 200, change: func(r *http.Request) {
			for name, value := range map[string]string{
				"Authorization": "Bearer " + GoodToken, "Psu-Ip-Address": "2001:db8::1", "Psu-Ip-Port": "65535", "Psu-Accept": "text/html",
				"Psu-Accept-Language": "de", "Psu-User-Agent": "Mozilla/5.0", "Psu-Http-Method": "GET", "Psu-Device-Id": testID,
				"Psu-Geo-Location": "GEO:52.506931;13.144558", "Accept": "application/json", "Accept-Encoding": "gzip",
			} {
				r.Header[name] = []string{value}
			}
		}},
		{name: "request id missing", path: list, change: set("X-Request-Id"), want: 400},
		{name: "request id twice", path: list, change: set("X-Request-Id", testID, testID), want: 400},
		{name: "request id no UUID", path: list, change: set("X-Request-Id", "1"), want: 400},
		{name: "consent missing", path: list, change: set("Consent-Id"), want: 400},
		{name: "consent too long", path: list, change: set("Consent-Id", strings.Repeat("x", 257)), want: 400},
		{name: "token empty", path: list, change: set("Authorization", "Bearer "), want: 400},
		{name: "token of another kind", path: list, change: set("Authorization", "Basic abc"), want: 400},
		{name: "token expired", path: list, change: set("Authorization", "Bearer "+ExpiredToken), want: 401},
		{name: "token unknown", path: list, change: set("Authorization", "Bearer x"), want: 401},
		{name: "address ill-formed", path: list, change: set("Psu-Ip-Address", "300.1.1.1"), want: 400},
		{name: "port 0", path: list, change: set("Psu-Ip-Port", "0"), want: 400},
		{name: "method unknown", path: list, change: set("Psu-Http-Method", "TRACE"), want: 400},
		{name: "trace context", path: list, change: set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), want: 400},
		{name: "caller's key", path: list, change: set("X-Api-Key", "x"), want: 400},
		{name: "client's name", path: list, change: set("User-Agent", "Go-http-client/1.1"), want: 400},
		{name: "customer", path: list, change: set("Tpp-Customer-Id", "c-1"), want: 400},
		{name: "signature that is not verified", path: list, change: set("Signature", "x"), want: 400},
		{name: "body", path: list, want: 400, change: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), 2
		}},
		{name: "POST", path: list, change: func(r *http.Request) { r.Method = http.MethodPost }, want: 405},
		{name: "unknown query", path: list + "?dateFrom=2026-01-01", want: 400},
		{name: "page of a bank without pages", path: list + "?page=2", want: 400},
		{name: "withBalance no boolean", path: list + "?withBalance=1", want: 400},
		{name: "withBalance twice", path: list + "?withBalance=true&withBalance=true", want: 400},
		{name: "query broken", path: list + "?withBalance=%zz", want: 400},
		{name: "query on balances", path: balances + "?withBalance=true", want: 400},
		{name: "trailing slash", path: list + "/", want: 404},
		{name: "account alone", path: list + "/card-1", want: 404},
		{name: "no account", path: list + "//balances", want: 404},
		{name: "account of two segments", path: list + "/a/b/balances", want: 404},
		{name: "another version", path: "/v2/accounts", want: 404},
		{name: "accounts with a suffix", path: "/v1/accounts-2", want: 404},
		{name: "account decoded once", path: list + "/a%252Fb/balances", want: 200},
		{name: "account with an escaped slash", path: list + "/a%2Fb/balances", want: 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, callLog := start(t, Config{})
			r := request(t, base+tt.path, GoodConsent)
			if tt.change != nil {
				tt.change(r)
			}
			got := do(t, r)
			if got.status != tt.want {
				t.Errorf("%d %s, want %d", got.status, got.body, tt.want)
			}
			if refused := tt.want >= 400 && tt.want != 401; refused != (len(callLog.Calls()) == 0) {
				t.Errorf("record: %+v", callLog.Calls())
			}
			if tt.want == 400 && !strings.Contains(got.body, "FORMAT_ERROR") {
				t.Errorf("answers %s", got.body)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	base, callLog := start(t, Config{Verify: func(r *http.Request, body []byte) error {
		if r.Header.Get("Signature") != "good" || len(body) != 0 {
			return errors.New("wrong signature")
		}
		return nil
	}})
	for _, signature := range []string{"good", "bad", ""} {
		r := request(t, base+"/v1/accounts", GoodConsent)
		r.Header["Digest"], r.Header["Date"], r.Header["Tpp-Signature-Certificate"] = []string{"x"}, []string{"x"}, []string{"x"}
		r.Header["Signature"] = []string{signature}
		got := do(t, r)
		if good := signature == "good"; good != (got.status == 200) || !good && !strings.Contains(got.body, "SIGNATURE_INVALID") {
			t.Errorf("%q: %+v", signature, got)
		}
	}
	if n := len(callLog.Calls()); n != 1 {
		t.Errorf("%d calls recorded", n)
	}
}

func TestLimit(t *testing.T) {
	base, callLog := start(t, Config{})
	for i := range 6 {
		got := do(t, request(t, base+"/v1/accounts", "consent of one user"))
		want := http.StatusOK
		if i >= 4 {
			want = http.StatusTooManyRequests
		}
		if got.status != want || i >= 4 && (got.header.Get("Retry-After") != "" || !strings.Contains(got.body, "ACCESS_EXCEEDED")) {
			t.Errorf("call %d: %+v", i+1, got)
		}
	}
	r := request(t, base+"/v1/accounts", "consent of one user")
	r.Header["Psu-Ip-Address"] = []string{"203.0.113.7"}
	if got := do(t, r); got.status != http.StatusOK {
		t.Errorf("attended: %d", got.status)
	}
	if n := len(callLog.Breaches()); n != 2 {
		t.Errorf("%d breaches, want 2", n)
	}
}

func TestRefusals(t *testing.T) {
	for consent, want := range refusals {
		base, callLog := start(t, Config{})
		for _, path := range []string{"/v1/accounts", "/v1/accounts/card-1/balances"} {
			got := do(t, request(t, base+path, consent))
			if diff := cmp.Diff(fmt.Sprint(want.status, want.body), fmt.Sprint(got.status, got.body)); diff != "" {
				t.Errorf("%s: %s", consent, diff)
			}
			if !strings.Contains(consent, fmt.Sprint(want.status)) || got.body != "" && !json.Valid([]byte(got.body)) {
				t.Errorf("%s answers %d %s", consent, got.status, got.body)
			}
		}
		if n := len(callLog.Calls()); n != 2 {
			t.Errorf("%d calls recorded", n)
		}
	}
}
