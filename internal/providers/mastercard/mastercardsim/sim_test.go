package mastercardsim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	oauth "github.com/mastercard/oauth1-signer-go"

	"ais-gateway/internal/providers/aspspsim"
)

const (
	consumerKey = "abc!def"
	requestID   = "6f1c9f7e-3b52-4c0e-9d0e-0f6a54c3a001"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

type caller struct {
	t       *testing.T
	url     string
	client  *http.Client
	callLog *aspspsim.CallLog
}

// serve mounts a simulator at a prefix.
func serve(t *testing.T, secure bool, now func() time.Time) caller {
	t.Helper()
	callLog := aspspsim.NewCallLog(time.Now)
	mux := http.NewServeMux()
	mux.Handle("/connect/api/", http.StripPrefix("/connect/api", New(Config{
		ConsumerKey: consumerKey, PublicKey: &key().PublicKey, Log: callLog, Now: now,
	})))
	server := httptest.NewUnstartedServer(mux)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	client := server.Client()
	client.Transport.(*http.Transport).DisableCompression = true
	return caller{t, server.URL + "/connect/api", client, callLog}
}

func (c caller) request(path, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {""}}
	return r
}

func (c caller) sign(r *http.Request, body string) *http.Request {
	c.t.Helper()
	value, err := oauth.GetAuthorizationHeader(r.URL, r.Method, []byte(body), consumerKey, key())
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", value)
	return r
}

func (c caller) do(r *http.Request) (int, string) {
	c.t.Helper()
	resp, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if strings.HasPrefix(r.URL.Path, "/connect/api/") && resp.Header.Get("Correlation-Id") == "" {
		c.t.Error("the answer has no Correlation-Id")
	}
	return resp.StatusCode, string(body)
}

func (c caller) post(path, body string) (int, string) {
	c.t.Helper()
	return c.do(c.sign(c.request(path, body), body))
}

func info(consent, more string) string {
	return fmt.Sprintf(`{"requestInfo":{"xRequestId":%q,"consentId":%q,"aspspId":%q%s}}`, requestID, consent, WoodBank, more)
}

func balancesOf(consent, account string) string {
	id, err := json.Marshal(account)
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(info(consent, ""), "}") + `,"accountId":` + string(id) + "}"
}

func TestAnswersAreThoseRecorded(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		c := serve(t, secure, nil)
		status, body := c.post("/accounts", info(Consent, `,"isLivePsuRequest":true,"psuIPAddress":"2001:db8::1","psuAgent":"x"`))
		const account = `{"resourceId":"account1","currency":"USD","accountHolderType":"Personal","holderName":"John Doe","accountType":"ASTC01",`
		if status != 200 || !strings.Contains(body, `{"originalRequestInfo":{"xRequestId":"`+requestID+`"},"accounts":[`+account) {
			t.Errorf("accounts: %d %s", status, body)
		}
		status, body = c.post("/accounts/account/balances", balancesOf(Consent, Account))
		const first = `{"balanceAmount":{"currency":"GBP","amount":102.56},"balanceType":"Available","creditDebitIndicator":"CREDIT","dateTime":"2019-03-21T10:33:13.001Z"}`
		if status != 200 || !strings.Contains(body, first) || strings.Count(body, `"Available"`) != 2 {
			t.Errorf("balances: %d %s", status, body)
		}
	}
}

func TestAmountsKeepTheirDigits(t *testing.T) {
	t.Parallel()
	c := serve(t, false, nil)
	body := strings.Replace(balancesOf(Consent, "PL61109010140000071219812874"), WoodBank, strings.ToUpper(RiverBank), 1)
	if _, got := c.post("/accounts/account/balances", body); !strings.Contains(got, `"amount":4.200}`) {
		t.Errorf("4.200 is not in %s", got)
	}
}

func TestEveryConsentAnswers(t *testing.T) {
	t.Parallel()
	statuses := map[string]int{
		ConsentUnauthorized: 401, ConsentForbidden: 403, ConsentThrottled: 429, ConsentServerError: 500, ConsentUnavailable: 503, ConsentTimeout: 504,
	}
	c := serve(t, false, nil)
	for consent := range refusals {
		want := statuses[consent]
		if want == 0 {
			want = 400
		}
		status, body := c.post("/accounts", info(consent, ""))
		if status != want || want == 504 == json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s", consent, status, body)
		}
	}
	if status, body := c.post("/accounts", info(ConsentMany, "")); status != 200 || strings.Count(body, "resourceId") != ManyAccounts {
		t.Errorf("many: %d", status)
	}
	for _, id := range append([]string{Account}, HostileAccounts...) {
		live := strings.Replace(balancesOf(ConsentHostile, id), `"requestInfo":{`, `"requestInfo":{"isLivePsuRequest":true,"psuIPAddress":"203.0.113.7",`, 1)
		status, body := c.post("/accounts/account/balances", live)
		if status != 200 || strings.Count(body, "balanceAmount") < 2 {
			t.Errorf("%q: %d %s", id, status, body)
		}
	}
}

func TestTheASPSPCountsForItself(t *testing.T) {
	t.Parallel()
	c := serve(t, false, nil)
	for i := range 5 {
		status, body := c.post("/accounts", info(FreshConsent+"one", ""))
		want := 200
		if i == 4 {
			want = 400
			const refused = `{"Errors":{"Error":[{"ReasonCode":" PROVIDER_ERROR ","Description":"ASPSP limit for unattended requests was exceeded"}]}}`
			if body != refused {
				t.Errorf("the fifth is answered %s", body)
			}
		}
		if status != want {
			t.Errorf("call %d: %d", i+1, status)
		}
	}
	if status, _ := c.post("/accounts", info(FreshConsent+"two", "")); status != 200 {
		t.Errorf("another consent: %d", status)
	}
	if status, _ := c.post("/accounts", info(FreshConsent+"one", `,"isLivePsuRequest":true,"psuIPAddress":"203.0.113.7"`)); status != 200 {
		t.Errorf("the user in person: %d", status)
	}
	if n := len(c.callLog.Breaches()); n != 1 {
		t.Errorf("%d breaches on record, want 1", n)
	}
}

func TestOnlyWhatThePagesListIsTaken(t *testing.T) {
	t.Parallel()
	c := serve(t, false, nil)
	live := `,"isLivePsuRequest":true,"psuIPAddress":"203.0.113.7"`
	tests := map[string]struct{ path, body, fault string }{
		"live without address": {"/accounts", info(Consent, `,"isLivePsuRequest":true`), "/requestInfo/psuIPAddress"},
		"address without live": {"/accounts", info(Consent, `,"psuIPAddress":"203.0.113.7"`), "/requestInfo/psuIPAddress"},
		"address is a name":    {"/accounts", info(Consent, `,"isLivePsuRequest":true,"psuIPAddress":"example.org"`), "/requestInfo/psuIPAddress"},
		"unknown at the top":   {"/accounts", strings.Replace(info(Consent, ""), "{", `{"x":1,`, 1), "/x"},
		"account for a list":   {"/accounts", balancesOf(Consent, Account), "/accountId"},
		"no account":           {"/accounts/account/balances", info(Consent, ""), "/accountId"},
		"account inside":       {"/accounts/account/balances", info(Consent, `,"accountId":"a"`), "/requestInfo/accountId"},
		"unknown inside":       {"/accounts", info(Consent, `,"psuPort":1`), "/requestInfo/psuPort"},
		"unknown in merchant":  {"/accounts", info(Consent, `,"merchant":{"id":"1","name":"n","x":"y"}`), "/requestInfo/merchant/x"},
		"half a merchant":      {"/accounts", info(Consent, `,"merchant":{"id":"1"}`), "/requestInfo/merchant/name"},
		"other case":           {"/accounts", info(Consent, `,"PsuAgent":"x"`), "/requestInfo/PsuAgent"},
		"null":                 {"/accounts", info(Consent, `,"psuAgent":null`), "/requestInfo/psuAgent"},
		"null object":          {"/accounts", info(Consent, `,"merchant":null`), "/requestInfo/merchant"},
		"empty":                {"/accounts", info(Consent, live+`,"psuAgent":""`), "/requestInfo/psuAgent"},
		"too long":             {"/accounts", info(strings.Repeat("ä", 257), ""), "/requestInfo/consentId"},
		"no UUID":              {"/accounts", strings.Replace(info(Consent, ""), requestID, "1", 1), "/requestInfo/xRequestId"},
		"no UUID of a bank":    {"/accounts", strings.Replace(info(Consent, ""), WoodBank, WoodBank+"0", 1), "/requestInfo/aspspId"},
		"unknown bank":         {"/accounts", strings.Replace(info(Consent, ""), WoodBank, requestID, 1), "/requestInfo/aspspId"},
		"text for a boolean":   {"/accounts", info(Consent, `,"isLivePsuRequest":"true"`), "/requestInfo/isLivePsuRequest"},
		"member twice":         {"/accounts", info(Consent, `,"psuAgent":"a","psuAgent":"b"`), "/"},
		"list":                 {"/accounts", `[]`, "/"},
		"two documents":        {"/accounts", info(Consent, "") + "{}", "/"},
		"no JSON":              {"/accounts", `{"requestInfo":`, "/"},
		"invalid UTF-8":        {"/accounts", strings.Replace(info("ZZ", ""), "ZZ", "\xff", 1), "/"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := c.post(test.path, test.body)
			if status != 400 || !strings.Contains(body, `"FORMAT_ERROR"`) || !strings.Contains(body, `=`+test.fault+`"`) && !strings.Contains(body, `=`+test.fault+`;`) {
				t.Errorf("%d %s, want a fault of %s", status, body, test.fault)
			}
		})
	}
	t.Cleanup(func() {
		for _, call := range c.callLog.Calls() {
			t.Errorf("an ill-formed call reached the ASPSP: %+v", call)
		}
	})
}

func TestHeadersThatLeakAreSeen(t *testing.T) {
	t.Parallel()
	c := serve(t, false, nil)
	for _, name := range []string{"Traceparent", "Baggage", "X-Api-Key", "User-Agent", "X-Request-Id", "Cookie", "Accept-Encoding", "Idempotency-Key"} {
		body := info(Consent, "")
		r := c.sign(c.request("/accounts", body), body)
		r.Header.Set(name, "x")
		if status, got := c.do(r); status != 400 || !strings.Contains(got, "FORMAT_ERROR") || !strings.Contains(got, name) {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
	if n := len(c.callLog.Calls()); n != 0 {
		t.Errorf("%d calls reached the ASPSP", n)
	}
}

// strict signs exactly by RFC 5849, which percent-encodes each parameter before the base string is
// built.
func strict(r *http.Request, body string, encode func(string) string) string {
	sum := sha256.Sum256([]byte(body))
	params := map[string]string{
		"oauth_consumer_key": consumerKey, "oauth_nonce": rand.Text(), "oauth_signature_method": "RSA-SHA256",
		"oauth_timestamp": fmt.Sprint(time.Now().Unix()), "oauth_version": "1.0", "oauth_body_hash": base64.StdEncoding.EncodeToString(sum[:]),
	}
	var pairs, header []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		pairs = append(pairs, name+"="+encode(params[name]))
		header = append(header, name+`="`+encode(params[name])+`"`)
	}
	base := "POST&" + percent(r.URL.String()) + "&" + percent(strings.Join(pairs, "&"))
	digest := sha256.Sum256([]byte(base))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key(), crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return "OAuth " + strings.Join(append(header, `oauth_signature="`+percent(base64.StdEncoding.EncodeToString(signature))+`"`), ", ")
}

func TestSignaturesAreVerified(t *testing.T) {
	t.Parallel()
	body := info(Consent, "")
	replace := func(old, with string) func(caller, *http.Request) {
		return func(_ caller, r *http.Request) {
			value := r.Header.Get("Authorization")
			if !strings.Contains(value, old) {
				panic(old)
			}
			r.Header.Set("Authorization", strings.Replace(value, old, with, 1))
		}
	}
	tests := []struct {
		name   string
		change func(caller, *http.Request)
		now    func() time.Time
		want   int
	}{
		{name: "as it is", change: func(caller, *http.Request) {}, want: 200},
		{name: "made without the library", change: func(_ caller, r *http.Request) {
			r.Header.Set("Authorization", strict(r, body, func(s string) string { return s }))
		}, want: 200},
		{name: "by RFC 5849 to the letter", change: func(_ caller, r *http.Request) { r.Header.Set("Authorization", strict(r, body, percent)) }, want: 401},
		{name: "none", change: func(_ caller, r *http.Request) { r.Header.Del("Authorization") }, want: 401},
		{name: "basic", change: func(_ caller, r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") }, want: 401},
		{name: "twice", change: func(_ caller, r *http.Request) {
			r.Header["Authorization"] = append(r.Header["Authorization"], r.Header["Authorization"]...)
		}, want: 401},
		{name: "another consumer", change: replace("abc!def", "abc!deg"), want: 401},
		{name: "another method", change: replace("RSA-SHA256", "RSA-SHA1"), want: 401},
		{name: "another version", change: replace(`"1.0"`, `"1.1"`), want: 401},
		{name: "another nonce", change: replace(`oauth_nonce="`, `oauth_nonce="x`), want: 401},
		{name: "no nonce", change: replace(`oauth_nonce="`, `oauth_once="`), want: 401},
		{name: "another signature", change: replace(`oauth_signature="`, `oauth_signature="AAAA`), want: 401},
		{name: "broken escape", change: replace(`oauth_signature="`, `oauth_signature="%`), want: 401},
		{name: "no base64", change: replace(`oauth_signature="`, `oauth_signature="!`), want: 401},
		{name: "no number for a time", change: replace(`oauth_timestamp="`, `oauth_timestamp="x`), want: 401},
		{name: "without quotes", change: replace(`"1.0"`, `1.0`), want: 401},
		{name: "another path", change: func(_ caller, r *http.Request) { r.URL.Path += "/account/balances" }, want: 401},
		{name: "with a query", change: func(c caller, r *http.Request) { r.URL.RawQuery = "a=b"; c.sign(r, body) }, want: 401},
		{name: "another host", change: func(_ caller, r *http.Request) { r.Host = "example.org" }, want: 401},
		{name: "another body", change: func(_ caller, r *http.Request) {
			r.Body = io.NopCloser(bytes.NewReader(bytes.Repeat([]byte(" "), len(body))))
		}, want: 401},
		{name: "six minutes ago", change: func(caller, *http.Request) {}, now: func() time.Time { return time.Now().Add(6 * time.Minute) }, want: 401},
		{name: "six minutes ahead", change: func(caller, *http.Request) {}, now: func() time.Time { return time.Now().Add(-6 * time.Minute) }, want: 401},
		{name: "four minutes ago", change: func(caller, *http.Request) {}, now: func() time.Time { return time.Now().Add(4 * time.Minute) }, want: 200},
		{name: "used before", change: func(c caller, r *http.Request) {
			if status, _ := c.do(r.Clone(r.Context())); status != 200 {
				panic(status)
			}
			r.Body, _ = r.GetBody()
		}, want: 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, false, test.now)
			r := c.sign(c.request("/accounts", body), body)
			test.change(c, r)
			status, got := c.do(r)
			if status != test.want {
				t.Fatalf("%d %s, want %d", status, got, test.want)
			}
			if status == 401 && (!strings.Contains(got, `"Source":"Gateway","ReasonCode":"AUTHENTICATION_FAILED"`) || !strings.Contains(got, `"Recoverable":false`)) {
				t.Errorf("refused as %s", got)
			}
		})
	}
}

func TestWhatIsNoCall(t *testing.T) {
	t.Parallel()
	c := serve(t, false, nil)
	get := c.request("/accounts", "")
	get.Method = http.MethodGet
	if status, _ := c.do(c.sign(get, "")); status != 405 {
		t.Errorf("GET: %d", status)
	}
	if status, _ := c.post("/accounts/account", info(Consent, "")); status != 404 {
		t.Errorf("another path: %d", status)
	}
	form := c.request("/accounts", "a=b")
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if status, _ := c.do(c.sign(form, "a=b")); status != 415 {
		t.Errorf("a form: %d", status)
	}
	xml := c.request("/accounts", info(Consent, ""))
	xml.Header.Set("Accept", "application/xml")
	if status, _ := c.do(c.sign(xml, info(Consent, ""))); status != 400 {
		t.Errorf("XML: %d", status)
	}
	if status, _ := c.post("/accounts", strings.Repeat(" ", maxBody+1)); status != 413 {
		t.Errorf("a large body: %d", status)
	}
	if status, _ := c.post("/accounts/account/balances", balancesOf(Consent, "nobody's")); status != 400 {
		t.Errorf("an unknown account: %d", status)
	}
	if status, body := c.post("/accounts", info("nobody:gave this", "")); status != 400 || !strings.Contains(body, "INVALID_TOKEN") {
		t.Errorf("an unknown consent: %d", status)
	}
}

func TestAddressesAreThoseOfThePattern(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"203.0.113.7": true, "0.0.0.0": true, "256.1.1.1": false, "1.2.3": false, "01.2.3.4": false,
		"2001:db8::1": true, "::": true, "::1": true, "1:2:3:4:5:6:7:8": true, "::ffff:203.0.113.7": true, "fe80::1%eth0": true,
		"2001:db8::1%eth0": false, "1:2:3:4:5:6:7:8:9": false, "x::1": false, "": false, "203.0.113.7 ": false,
	} {
		if got := ipForm.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestNoncesAreForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	n := nonces{seen: map[string]bool{}}
	at := time.Now()
	if !n.add("a", at) || n.add("a", at) || n.add("a", at.Add(2*maxSkew)) || !n.add("a", at.Add(2*maxSkew+1)) {
		t.Error("a nonce is not remembered as long as it must be")
	}
	for i := range 2 * maxNonces {
		n.add(fmt.Sprint(i), at)
	}
	if len(n.seen) != maxNonces || len(n.used) != maxNonces {
		t.Errorf("%d nonces are remembered, want %d", len(n.seen), maxNonces)
	}
}

func TestNamesAreOfBanks(t *testing.T) {
	t.Parallel()
	if !slices.Equal(slices.Sorted(maps.Keys(Names)), slices.Sorted(maps.Keys(banks))) {
		t.Error("Names and banks differ")
	}
	for id := range Names {
		if _, err := url.Parse("/" + id); err != nil || !uuidForm.MatchString(id) {
			t.Errorf("%s is no UUID", id)
		}
	}
}
