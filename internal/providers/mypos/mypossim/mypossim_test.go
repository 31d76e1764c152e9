package mypossim

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/providers/aspspsim"
)

const (
	testKey   = "aGDmxHAmpMWUL1txqCsjEcOS"
	testASPSP = "4f1e2d3c-0000-4000-8000-000000000002"
	testID    = "a552babc-7081-44e7-9361-61eb17e0bfd9"
)

var testNow = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func start(t *testing.T, change func(*Config)) (base string, callLog *aspspsim.CallLog) {
	t.Helper()
	now := func() time.Time { return testNow }
	cfg := Config{APIKey: testKey, Log: aspspsim.NewCallLog(now), ASPSP: testASPSP, Now: now}
	if change != nil {
		change(&cfg)
	}
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
		"X-Request-Id": {testID}, "Consent-Id": {consent}, "Authorization": {"Bearer " + GoodToken}, "Api-Key": {testKey},
		"User-Agent": {""}, // which makes net/http send none
	}
	return r
}

type result struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, c *http.Client, r *http.Request) result {
	t.Helper()
	resp, err := c.Do(r)
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
	base, callLog := start(t, nil)
	list := do(t, http.DefaultClient, request(t, base+"/v1/accounts?withBalance=true", GoodConsent))
	if list.status != 200 || !strings.Contains(list.body, `"pagination":{"page":1,"page_size":20,"total":3}`) {
		t.Errorf("list: %+v", list)
	}
	r := request(t, base+"/v1/accounts/50044620073/balances", uuid.NewString())
	r.Header["Psu-Ip-Address"] = []string{"203.0.113.7"}
	balances := do(t, http.DefaultClient, r)
	want := `{"account":{"accountNumber":"50044620073","iban":"BG57INTF40015004462007"},"balances":[` +
		`{"amount":4.200,"currency":"PLN","balanceType":"available"},{"amount":-17.355,"currency":"PLN","balanceType":"interimBooked"}]}`
	if diff := cmp.Diff(want, balances.body); diff != "" || balances.header.Get("X-Request-ID") != testID {
		t.Errorf("balances: %v\n%s", balances.header, diff)
	}
	if r := do(t, http.DefaultClient, request(t, base+"/v1/accounts/50044620099/balances", GoodConsent)); !strings.HasPrefix(r.body, `{"account":{"accountNumber":"50044620099"},`) {
		t.Errorf("balances without an IBAN: %+v", r)
	}
	if r := do(t, http.DefaultClient, request(t, base+"/v1/accounts/1/balances", GoodConsent)); r.status != 404 || !strings.Contains(r.body, "RESOURCE_UNKNOWN") {
		t.Errorf("unknown account: %+v", r)
	}
	calls := callLog.Calls()
	if len(calls) != 4 || calls[0].Account != "" || calls[0].Attended || calls[1].Account != "50044620073" || !calls[1].Attended || calls[0].ASPSP != testASPSP {
		t.Errorf("record: %+v", calls)
	}
}

func TestPagesOfTheSimulator(t *testing.T) {
	base, _ := start(t, func(c *Config) { c.Spelling, c.PageSize = CamelCase, 25 })
	for query, want := range map[string]string{
		"":                 `"pagination":{"currentPage":1,"pageSize":25,"totalCount":60}`,
		"?page=3":          `"pagination":{"currentPage":3,"pageSize":25,"totalCount":60}`,
		"?page=9":          `"accounts":[],"pagination":{"currentPage":9`,
		"?page=2&size=100": `"accounts":[],"pagination":{"currentPage":2,"pageSize":100`,
	} {
		r := request(t, base+"/v1/accounts"+query, ManyConsent)
		r.Header["Psu-Ip-Address"] = []string{"203.0.113.7"}
		if g := do(t, http.DefaultClient, r); !strings.Contains(g.body, want) {
			t.Errorf("%q: %d %s", query, g.status, g.body)
		}
	}
}

// TestStrictness checks invalid requests, each with one fault.
func TestStrictness(t *testing.T) {
	const list, balances = "/v1/accounts", "/v1/accounts/50044620073/balances"
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	tests := []struct {
		name   string
		path   string
		change func(*http.Request)
		want   int
	}{
		{name: "good", path: list, want: 200},
		{name: "all that is listed", path: balances, want: 200, change: func(r *http.Request) {
			r.Header["Psu-Ip-Address"], r.Header["Psu-Ip-Port"] = []string{"2001:db8::1"}, []string{"65535"}
			r.Header["Psu-Device-Id"], r.Header["Psu-Geo-Location"] = []string{testID}, []string{"GEO:1;2"}
			r.Header["Accept"], r.Header["Accept-Encoding"] = []string{"application/json"}, []string{"gzip"}
		}},
		{name: "request id missing", path: list, change: set("X-Request-Id"), want: 400},
		{name: "request id twice", path: list, change: set("X-Request-Id", testID, testID), want: 400},
		{name: "request id no UUID", path: list, change: set("X-Request-Id", "1"), want: 400},
		{name: "request id without dashes", path: list, change: set("X-Request-Id", strings.ReplaceAll(testID, "-", "")), want: 400},
		{name: "consent missing", path: list, change: set("Consent-Id"), want: 400},
		{name: "consent no UUID", path: list, change: set("Consent-Id", "GFiTpF3:EBy5xGqQMatk"), want: 400},
		{name: "token missing", path: list, change: set("Authorization"), want: 400},
		{name: "token empty", path: list, change: set("Authorization", "Bearer "), want: 400},
		{name: "token of another kind", path: list, change: set("Authorization", "Basic abc"), want: 400},
		{name: "token in two parts", path: list, change: set("Authorization", "Bearer a b"), want: 400},
		{name: "token expired", path: list, change: set("Authorization", "Bearer "+ExpiredToken), want: 401},
		{name: "token unknown", path: list, change: set("Authorization", "Bearer x"), want: 401},
		{name: "key missing", path: list, change: set("Api-Key"), want: 400},
		{name: "key wrong", path: list, change: set("Api-Key", "x"), want: 403},
		{name: "address ill-formed", path: list, change: set("Psu-Ip-Address", "300.1.1.1"), want: 400},
		{name: "address empty", path: list, change: set("Psu-Ip-Address", ""), want: 400},
		{name: "address twice", path: list, change: set("Psu-Ip-Address", "203.0.113.7", "203.0.113.7"), want: 400},
		{name: "port 0", path: list, change: set("Psu-Ip-Port", "0"), want: 400},
		{name: "port too high", path: list, change: set("Psu-Ip-Port", "65536"), want: 400},
		{name: "device no UUID", path: list, change: set("Psu-Device-Id", "phone"), want: 400},
		{name: "place empty", path: list, change: set("Psu-Geo-Location", ""), want: 400},
		{name: "place too long", path: list, change: set("Psu-Geo-Location", strings.Repeat("x", 257)), want: 400},
		{name: "trace context", path: list, change: set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), want: 400},
		{name: "baggage", path: list, change: set("Baggage", "a=b"), want: 400},
		{name: "caller's key", path: list, change: set("X-Api-Key", "x"), want: 400},
		{name: "client's name", path: list, change: set("User-Agent", "Go-http-client/1.1"), want: 400},
		{name: "user's browser", path: list, change: set("Psu-User-Agent", "Mozilla/5.0"), want: 400},
		{name: "content type", path: list, change: set("Content-Type", "application/json"), want: 400},
		{name: "body", path: list, want: 400, change: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), 2
		}},
		{name: "POST", path: list, change: func(r *http.Request) { r.Method = http.MethodPost }, want: 405},
		{name: "unknown query", path: list + "?dateFrom=2026-01-01", want: 400},
		{name: "page 0", path: list + "?page=0", want: 400},
		{name: "page no number", path: list + "?page=two", want: 400},
		{name: "page twice", path: list + "?page=1&page=1", want: 400},
		{name: "size too large", path: list + "?size=101", want: 400},
		{name: "withBalance no boolean", path: list + "?withBalance=1", want: 400},
		{name: "query broken", path: list + "?page=%zz", want: 400},
		{name: "query on balances", path: balances + "?page=1", want: 400},
		{name: "trailing slash", path: list + "/", want: 404},
		{name: "account alone", path: list + "/50044620073", want: 404},
		{name: "no account", path: list + "//balances", want: 404},
		{name: "account of two segments", path: list + "/a/b/balances", want: 404},
		{name: "another version", path: "/v2/accounts", want: 404},
		{name: "root", path: "/", want: 404},
		{name: "account decoded once", path: list + "/a%252Fb/balances", want: 200},
		{name: "account with an escaped slash", path: list + "/a%2Fb/balances", want: 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base, callLog := start(t, nil)
			r := request(t, base+tt.path, GoodConsent)
			if tt.change != nil {
				tt.change(r)
			}
			g := do(t, http.DefaultClient, r)
			if g.status != tt.want {
				t.Errorf("%d %s, want %d", g.status, g.body, tt.want)
			}
			if refused := tt.want >= 400 && tt.want != 401; refused != (len(callLog.Calls()) == 0) {
				t.Errorf("record: %+v", callLog.Calls())
			}
			if tt.want == 400 && !strings.Contains(g.body, "FORMAT_ERROR") {
				t.Errorf("answers %s", g.body)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	base, callLog := start(t, nil)
	consent := uuid.NewString()
	for i := range 6 {
		g := do(t, http.DefaultClient, request(t, base+"/v1/accounts", consent))
		want := http.StatusOK
		if i >= 4 {
			want = http.StatusTooManyRequests
		}
		if g.status != want {
			t.Errorf("call %d: %d %s", i+1, g.status, g.body)
		}
		if i >= 4 && (g.header.Get("Retry-After") != "86400" || !strings.Contains(g.body, "ACCESS_EXCEEDED")) {
			t.Errorf("call %d: %v %s", i+1, g.header, g.body)
		}
	}
	r := request(t, base+"/v1/accounts", consent)
	r.Header["Psu-Ip-Address"] = []string{"203.0.113.7"}
	if g := do(t, http.DefaultClient, r); g.status != http.StatusOK {
		t.Errorf("attended: %d", g.status)
	}
	if n := len(callLog.Breaches()); n != 2 {
		t.Errorf("%d breaches, want 2", n)
	}
}

func TestRefusals(t *testing.T) {
	retry := map[string]string{
		Consent429Exceeded: "3600", Consent429Throttled: "7", Consent503: "Fri, 20 Nov 2026 10:02:00 GMT",
	}
	for consent, want := range refusals {
		t.Run(consent, func(t *testing.T) {
			base, callLog := start(t, nil)
			for _, path := range []string{"/v1/accounts", "/v1/accounts/50044620073/balances"} {
				g := do(t, http.DefaultClient, request(t, base+path, strings.ToUpper(consent)))
				if diff := cmp.Diff(fmt.Sprint(want.status, want.body), fmt.Sprint(g.status, g.body)); diff != "" {
					t.Error(diff)
				}
				if g.header.Get("Retry-After") != retry[consent] {
					t.Errorf("Retry-After is %q, want %q", g.header.Get("Retry-After"), retry[consent])
				}
			}
			if n := len(callLog.Calls()); n != 2 {
				t.Errorf("%d calls recorded", n)
			}
		})
	}
}

func TestCertificateIsDemanded(t *testing.T) {
	sim := New(Config{APIKey: testKey, Log: aspspsim.NewCallLog(time.Now), ASPSP: testASPSP, RequireClientCertificate: true})
	server := httptest.NewUnstartedServer(sim)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	g := do(t, server.Client(), request(t, server.URL+"/v1/accounts", GoodConsent))
	if g.status != http.StatusUnauthorized || !strings.Contains(g.body, "CERTIFICATE_MISSING") {
		t.Errorf("%d %s", g.status, g.body)
	}
}

func TestRequestIDIsEchoed(t *testing.T) {
	base, _ := start(t, nil)
	for _, path := range []string{"/v1/accounts", "/v1/accounts/1/balances", "/nowhere"} {
		r := request(t, base+path, Consent503)
		if g := do(t, http.DefaultClient, r); g.header.Get("X-Request-ID") != testID {
			t.Errorf("%s echoes %q", path, g.header.Get("X-Request-ID"))
		}
	}
	r := request(t, base+"/v1/accounts", GoodConsent)
	r.Header["X-Request-Id"] = []string{"<script>"}
	if g := do(t, http.DefaultClient, r); g.header.Get("X-Request-ID") != "" {
		t.Errorf("echoes %q", g.header.Get("X-Request-ID"))
	}
}
