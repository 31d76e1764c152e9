package obiesim

import (
	"context"
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
	testASPSP = "4f1e2d3c-0000-4000-8000-000000000004"
	testID    = "a552babc-7081-44e7-9361-61eb17e0bfd9"
	path3     = "/open-banking/v3.1/aisp"
	path4     = "/open-banking/v4.0/aisp"
)

func start(t *testing.T, banks ...Bank) (base string, log *aspspsim.CallLog) {
	t.Helper()
	log = aspspsim.NewCallLog(func() time.Time { return time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC) })
	for i := range banks {
		banks[i].ASPSP = testASPSP
	}
	server := httptest.NewServer(New(Config{Log: log, Banks: banks}))
	t.Cleanup(server.Close)
	return server.URL, log
}

func request(t *testing.T, url, consent string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"X-Fapi-Interaction-Id": {testID}, "Authorization": {"Bearer " + Token(consent)},
		"User-Agent": {""}, // which makes net/http send none
	}
	return r
}

func attended(r *http.Request) *http.Request {
	r.Header.Set("X-Fapi-Customer-Ip-Address", "203.0.113.7")
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

func TestResponses(t *testing.T) {
	base, log := start(t, Bank{Bulk: true}, Bank{Path: "/clyde", Version: V4})
	list := do(t, request(t, base+path3+"/accounts", GoodConsent))
	if list.status != 200 || list.header.Get("X-Fapi-Interaction-Id") != testID || !strings.Contains(list.body, `"AccountSubType":"CurrentAccount"`) {
		t.Errorf("list: %+v", list)
	}
	list4 := do(t, attended(request(t, base+"/clyde"+path4+"/accounts", GoodConsent)))
	if list4.status != 200 || !strings.Contains(list4.body, `"AccountTypeCode":"CACC"`) || strings.Contains(list4.body, "AccountSubType") {
		t.Errorf("list of version 4: %+v", list4)
	}
	bulk := do(t, attended(request(t, base+path3+"/balances", "any")))
	if bulk.status != 200 || strings.Count(bulk.body, `"CreditDebitIndicator"`) != 5 {
		t.Errorf("bulk: %+v", bulk)
	}
	single := do(t, attended(request(t, base+path3+"/accounts/"+GoodAccount+"/balances", GoodConsent)))
	if single.status != 200 || strings.Count(single.body, `"CreditDebitIndicator"`) != 2 || !strings.Contains(single.body, `"TotalPages":1`) {
		t.Errorf("single: %+v", single)
	}
	if r := do(t, attended(request(t, base+path3+"/accounts/1/balances", GoodConsent))); r.status != 400 || !strings.Contains(r.body, "Resource.NotFound") {
		t.Errorf("unknown account: %+v", r)
	}
	for _, missing := range []string{"/clyde" + path4 + "/balances", path4 + "/accounts", path3 + "/accounts/x", path3 + "/accounts//balances"} {
		if r := do(t, attended(request(t, base+missing, GoodConsent))); r.status != 404 {
			t.Errorf("%s: %+v", missing, r)
		}
	}
	want := []aspspsim.Call{
		{Consent: GoodConsent},
		{Consent: GoodConsent, Attended: true},
		{Consent: "any", Account: AllAccounts, Attended: true},
		{Consent: GoodConsent, Account: GoodAccount, Attended: true},
		{Consent: GoodConsent, Account: "1", Attended: true},
	}
	calls := log.Calls()
	for i := range calls {
		calls[i].At, calls[i].ASPSP = time.Time{}, ""
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("call log (-want +got):\n%s", diff)
	}
}

func TestPagesOfTheSimulator(t *testing.T) {
	base, _ := start(t, Bank{PageSize: 25, Bulk: true})
	for path, want := range map[string]string{
		"/accounts":         `"Next":"` + base + path3 + `/accounts?page=2"`,
		"/accounts?page=2":  `"Next":"` + base + path3 + `/accounts?page=3"`,
		"/accounts?page=9":  `{"Data":{"Account":[]},`,
		"/balances?page=4":  `"Next":"` + base + path3 + `/balances?page=5"`,
		"/balances?page=5":  `"Meta":{"TotalPages":5}`,
		"/accounts?page=03": `"Meta":{"TotalPages":3}`,
	} {
		r := do(t, attended(request(t, base+path3+path, ManyConsent)))
		if r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := do(t, attended(request(t, base+path3+"/accounts?page=3", ManyConsent))); strings.Contains(r.body, "Next") {
		t.Errorf("after the last page: %s", r.body)
	}
}

// TestStrictness checks invalid requests, each with one fault.
func TestStrictness(t *testing.T) {
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	base, log := start(t, Bank{FinancialID: "0015800000jfAbcAAB"})
	good := func() *http.Request {
		r := request(t, base+path3+"/accounts", GoodConsent)
		r.Header.Set("X-Fapi-Financial-Id", "0015800000jfAbcAAB")
		return r
	}
	if r := do(t, good()); r.status != 200 {
		t.Fatalf("a valid request: %+v", r)
	}
	for name, tt := range map[string]struct {
		spoil  func(*http.Request)
		status int
	}{
		"consent header":              {set("Consent-Id", GoodConsent), 400},
		"request id":                  {set("X-Request-Id", testID), 400},
		"no interaction id":           {set("X-Fapi-Interaction-Id"), 400},
		"interaction id is no UUID":   {set("X-Fapi-Interaction-Id", "1"), 400},
		"address of another standard": {set("Psu-Ip-Address", "203.0.113.7"), 400},
		"address is none":             {set("X-Fapi-Customer-Ip-Address", "here"), 400},
		"two addresses":               {set("X-Fapi-Customer-Ip-Address", "203.0.113.7", "203.0.113.8"), 400},
		"date is none":                {set("X-Fapi-Auth-Date", "yesterday"), 400},
		"user agent of a program":     {set("User-Agent", "Go-http-client/1.1"), 400},
		"trace context":               {set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), 400},
		"financial id":                {set("X-Fapi-Financial-Id", "another"), 400},
		"no token":                    {set("Authorization"), 400},
		"no bearer":                   {set("Authorization", "Basic eDp5"), 400},
		"unknown token":               {set("Authorization", "Bearer invented"), 401},
		"expired token":               {set("Authorization", "Bearer "+ExpiredToken), 401},
		"query":                       {func(r *http.Request) { r.URL.RawQuery = "size=5" }, 400},
		"page zero":                   {func(r *http.Request) { r.URL.RawQuery = "page=0" }, 400},
		"method":                      {func(r *http.Request) { r.Method = http.MethodPost }, 405},
		"body":                        {func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), 2 }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			tt.spoil(r)
			if got := do(t, r); got.status != tt.status {
				t.Errorf("%+v", got)
			}
		})
	}
	if n := len(log.Calls()); n != 1 {
		t.Errorf("%d calls were counted, want 1", n)
	}
}

// TestLimit checks the bank's own count, which knows the consent by its token.
func TestLimit(t *testing.T) {
	for _, version := range []string{V3, V4} {
		base, log := start(t, Bank{Version: version, Bulk: true})
		url := base + "/open-banking/" + version + "/aisp/accounts"
		for i := range 4 {
			if r := do(t, request(t, url, "a")); r.status != 200 {
				t.Errorf("call %d: %+v", i+1, r)
			}
		}
		r := do(t, request(t, url, "a"))
		if r.status != 429 || r.header.Get("Retry-After") != "86400" || !strings.Contains(r.body, "unattended") {
			t.Errorf("fifth call: %+v", r)
		}
		if r := do(t, request(t, url, "b")); r.status != 200 {
			t.Errorf("another consent: %+v", r)
		}
		if r := do(t, attended(request(t, url, "a"))); r.status != 200 {
			t.Errorf("attended: %+v", r)
		}
		if n := len(log.Breaches()); n != 1 {
			t.Errorf("%d breaches", n)
		}
	}
}

// TestDelay checks that a slow bank does not count the call of a client that has left, and that
// another bank of the simulator is not slow.
func TestDelay(t *testing.T) {
	log := aspspsim.NewCallLog(time.Now)
	sim := New(Config{Log: log, Banks: []Bank{{ASPSP: testASPSP, Delay: time.Hour}, {ASPSP: testASPSP, Path: "/prompt"}}})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	slow := request(t, path3+"/accounts", GoodConsent).WithContext(ctx)
	slow.Header.Del("User-Agent")
	done := make(chan struct{})
	go func() {
		defer close(done)
		sim.ServeHTTP(httptest.NewRecorder(), slow)
	}()
	prompt := httptest.NewRecorder()
	r := request(t, "/prompt"+path3+"/accounts", GoodConsent)
	r.Header.Del("User-Agent")
	sim.ServeHTTP(prompt, r)
	if prompt.Code != http.StatusOK {
		t.Errorf("status %d of a prompt bank", prompt.Code)
	}
	leave()
	<-done
	if n := len(log.Calls()); n != 1 {
		t.Errorf("%d calls were counted, want 1", n)
	}
}
