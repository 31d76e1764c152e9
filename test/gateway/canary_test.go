package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// Canaries in providers' responses, instead of the simulators' values. The amounts have many
// digits, so that they do not occur by chance.
const (
	canaryIBAN    = "DE08701500007734512896"
	canaryBBAN    = "77345128961234"
	canaryName    = "Zerlinde Kanarienvogel"
	canaryHolder  = "Hildegunde Gelbschnabel"
	canaryBalance = "773451.28"
	canaryText    = "Zwitscher-4711-0815"
)

// Canaries in requests.
const (
	canaryKey     = "wrong-key-of-Tirilist-58203"
	canaryToken   = "sandbox-token-of-Tirilist-99417"
	canaryAddress = "203.0.113.99"
	canaryCaller  = "127.0.0.77" // the callers' address
	canaryDevice  = "9c5b9a0e-7e55-4a77-9b1e-7d2f35c1aa01"
	canaryRequest = "Piepmatz-31337"
)

// Canaries in both: account ids, which are those of accountsInFront at the simulators.
const (
	canaryElmAccount        = "Konto-Zeisig-55021"
	canaryKingfisherAccount = "Konto-Eisvogel-55022"
)

// accountsInFront alternates canaries and ids of the simulators' accounts.
var accountsInFront = []string{canaryElmAccount, "card-1", canaryKingfisherAccount, obiesim.GoodAccount}

// secretHeader is the header with the canary that Elm Bank and Kingfisher Bank get as a fixed header.
const secretHeader = "X-Client-Secret"

// responders write a provider's response, by a description of it. next is the simulator.
var responders = map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
	"success": func(w http.ResponseWriter, r *http.Request, next http.Handler) { rewriteResponse(w, r, next, "") },
	"success and an unsolicited response": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rewriteResponse(w, r, next, "HTTP/1.1 200 "+canaryText+"\r\n\r\n"+canaryName)
	},
	"error":             errorResponse(http.StatusBadRequest, "application/json"),
	"login page":        errorResponse(http.StatusUnauthorized, "text/html"),
	"too many requests": errorResponse(http.StatusTooManyRequests, "application/json"),
	"server error":      errorResponse(http.StatusInternalServerError, "text/plain"),
	"redirect":          errorResponse(http.StatusFound, "text/html"),
	"not JSON":          errorResponse(http.StatusOK, "text/html"),
	"unknown content encoding": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Encoding", canaryText)
		_, _ = io.WriteString(w, canaryName)
	},
	"wrong JSON types": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_, _ = io.WriteString(w, `{"accounts":"`+canaryName+`","account":["`+canaryIBAN+`"],"balances":{"`+canaryText+`":1},"originalRequestInfo":"`+canaryText+
			`","Data":{"Account":"`+canaryName+`","Balance":{"`+canaryText+`":"`+canaryIBAN+`"}}}`)
	},
	"response to another request": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_, _ = io.WriteString(w, `{"originalRequestInfo":{"xRequestId":"`+canaryText+`"},"accounts":[{"accountNumber":"`+canaryBBAN+`","iban":"`+canaryIBAN+
			`","currency":"`+canaryText+`","status":"`+canaryName+`","cashAccountType":"`+canaryText+`"}],"account":{"accountNumber":"`+canaryBBAN+`","resourceId":"`+canaryBBAN+`"},"balances":[],"Data":{"Account":[{"AccountId":"`+canaryBBAN+`","Currency":"`+canaryText+`"}],"Balance":[{"AccountId":"`+canaryBBAN+`"}]}}`)
	},
	"link to another server": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		link := `"https://` + canaryText + `.example/` + canaryIBAN + `?token=` + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + `"`
		_, _ = io.WriteString(w, `{"accounts":[],"balances":[],"_links":{"next":`+link+`},"Data":{"Account":[],"Balance":[]},"Links":{"Next":`+link+`}}`)
	},
	"truncated body": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeRaw(w, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"accounts\":[{\"iban\":\""+canaryIBAN)
	},
	"not HTTP": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeRaw(w, canaryText+" "+canaryName+"\r\n\r\n")
	},
	"malformed header": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeRaw(w, "HTTP/1.1 200 OK\r\n"+canaryName+"\r\n\r\n")
	},
	"malformed status": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeRaw(w, "HTTP/1.1 "+canaryText+"\r\n\r\n")
	},
	"malformed chunk": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeRaw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+canaryText+"\r\n")
	},
}

// errorResponse returns a responder that sends a status, with canaries wherever a response can have
// text.
func errorResponse(status int, contentType string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Location", "https://"+canaryText+".example/"+canaryIBAN)
		h.Set("Set-Cookie", "a="+canaryText)
		h.Set("WWW-Authenticate", `Bearer error_description="`+canaryName+`"`)
		h.Set("X-Request-Id", canaryText)
		h.Set("Retry-After", canaryText)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"Errors":{"Error":[{"Source":"ASPSP","ReasonCode":%q,"Description":%q,"Details":%q}]},"tppMessages":[{"category":"ERROR","code":%q,"text":%q,"path":%q}],"code":%q,"description":%q,`+
			`"Data":{"ErrorCode":%q,"Message":%q,"Path":%q}}`,
			canaryIBAN, canaryName+" "+canaryIBAN, canaryText, canaryIBAN, canaryName+" "+canaryBBAN, "/accounts/"+canaryBBAN, canaryText, canaryName,
			canaryIBAN, canaryName+" "+canaryBBAN, canaryText)
	}
}

// rewriteResponse sends the simulator's response with canaries instead of its names, numbers and
// amounts. more is sent after the response on the same connection.
func rewriteResponse(w http.ResponseWriter, r *http.Request, next http.Handler, more string) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, r)
	body := strings.NewReplacer(
		"BG57INTF40015004462007", canaryIBAN, "20000055779911", canaryBBAN, "Jane Roe", canaryHolder, "John Doe", canaryHolder,
		"Main account", canaryName, "SandboxASPSP1 Account 1", canaryName, "102.56", canaryBalance, "4.200", canaryBalance,
		"E-Money", canaryText,
		"498765xxxxxx1234", canaryBBAN, "320.10", canaryBalance, "Haupt", canaryName, "Erika Beispiel", canaryHolder, "DE02120300000000202051", canaryIBAN,
		"80200110203345", canaryBBAN, "57.36", canaryBalance, "Everyday account", canaryName, "Ms Jordan Sample", canaryHolder, "GB29NWBK60161331926819", canaryIBAN,
		accountsInFront[1], accountsInFront[0], `"`+accountsInFront[3]+`"`, `"`+accountsInFront[2]+`"`,
	).Replace(recorder.Body.String())
	writeRaw(w, fmt.Sprintf("HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nX-Canary: %s\r\nContent-Length: %d\r\n\r\n%s%s",
		recorder.Code, canaryText, len(body), body, more))
}

// writeRaw writes a response to the connection as it is, and closes the connection a little later.
func writeRaw(w http.ResponseWriter, response string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, response)
	time.AfterFunc(100*time.Millisecond, func() { _ = conn.Close() })
}

// canaryProviders selects the responder for a call by its consent, and records what reaches the
// providers.
type canaryProviders struct {
	mu         sync.Mutex
	responder  map[string]string // by consent
	received   bytes.Buffer      // what reached the providers
	duringCall func()            // called during each call with the responder "success"
}

func (a *canaryProviders) front(_ string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.mu.Lock()
		fmt.Fprintln(&a.received, r.URL.EscapedPath(), r.Header, string(body))
		respond := "success"
		for consent, name := range a.responder {
			if r.Header.Get("Consent-ID") == consent || r.Header.Get("Authorization") == "Bearer "+obiesim.Token(consent) || strings.Contains(string(body), `"`+consent+`"`) {
				respond = name
			}
		}
		r.Header.Del(secretHeader)
		r.URL.Path = strings.NewReplacer(accountsInFront...).Replace(r.URL.Path)
		duringCall := a.duringCall
		a.mu.Unlock()
		if respond == "success" {
			duringCall()
		}
		responders[respond](w, r, next)
	})
}

// hostileHeaders returns headers with a canary in each value that can have one. It alternates names
// and values.
func hostileHeaders(token string) []string {
	return []string{
		"Provider-Authorization", "Bearer " + token, "PSU-User-Agent", canaryRequest, "PSU-Geo-Location", "GEO:48.1;" + canaryRequest,
		"PSU-Device-ID", canaryDevice, "PSU-IP-Port", "61999", "TPP-Customer-ID", canaryRequest, "Merchant-ID", canaryRequest, "Merchant-Name", canaryRequest,
		"User-Agent", canaryRequest, "Cookie", "session=" + canaryRequest, "Referer", "https://a.example/" + canaryRequest, "Forwarded", "for=" + canaryRequest,
		"X-Forwarded-For", canaryAddress, "X-Real-IP", canaryAddress, "Accept", canaryRequest, "Accept-Language", canaryRequest, "Origin", canaryRequest,
		"Traceparent", "00-" + strings.ReplaceAll(uuid.NewString(), "-", "") + "-00f067aa0ba902b7-01", "Tracestate", "vendor=" + canaryRequest,
		"Baggage", "user=" + canaryRequest, "X-B3-TraceId", canaryRequest, "X-Amzn-Trace-Id", canaryRequest, "X-" + canaryRequest, canaryRequest,
	}
}

// canaryClient sends requests with canaries to a gateway, and records the responses.
type canaryClient struct {
	t         *testing.T
	p         *process
	client    *http.Client
	problems  strings.Builder // the header of each response, and the body unless the status is 200
	successes strings.Builder // the bodies of responses with status 200
	statuses  map[int]int
	tokens    []string // that name the consent
}

// send sends a request and records the response. header alternates names and values; an empty value
// removes a header.
func (f *canaryClient) send(method, path string, body io.Reader, header ...string) {
	f.t.Helper()
	req, err := http.NewRequest(method, f.p.API, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.URL.Opaque = path
	req.Header.Set("X-API-Key", sandbox.Key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	f.statuses[resp.StatusCode]++
	fmt.Fprintln(&f.problems, resp.Status, resp.Header)
	if resp.StatusCode == http.StatusOK {
		f.successes.Write(text)
	} else {
		f.problems.Write(text)
	}
}

// sendRaw sends bytes that are not a valid request, and records the response.
func (f *canaryClient) sendRaw(text string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.p.API, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, text)
	response, _ := io.ReadAll(conn)
	f.problems.Write(response)
}

// sendToAllResponders requests lists and balances of all providers, attended and unattended, with
// each responder. It returns the consents that it used.
func (f *canaryClient) sendToAllResponders(a *canaryProviders) (consents []string) {
	for _, name := range slices.Sorted(maps.Keys(responders)) {
		for _, user := range []bool{true, false} {
			var sources []map[string]any
			for _, bank := range []struct{ path, consent, account, token string }{
				{woodPath, mastercardsim.FreshConsent + "Konsens-" + uuid.NewString(), mastercardsim.Account, canaryToken},
				{"/v1/aspsps/" + sandbox.MyPOS, uuid.NewString(), mypossim.GoodAccount, mypossim.GoodToken},
				{"/v1/aspsps/" + sandbox.ElmBank, "Konsens-" + uuid.NewString(), canaryElmAccount, berlingroupsim.TokenPrefix + canaryToken},
				{"/v1/aspsps/" + sandbox.KingfisherBank, uuid.NewString(), canaryKingfisherAccount, ""},
			} {
				if bank.token == "" {
					bank.token = obiesim.Token(bank.consent)
					f.tokens = append(f.tokens, bank.token)
				}
				consents = append(consents, bank.consent)
				a.mu.Lock()
				a.responder[bank.consent] = name
				a.mu.Unlock()
				header := append(hostileHeaders(bank.token), "Consent-ID", bank.consent)
				if user {
					header = append(header, "PSU-IP-Address", canaryAddress)
				} else { // headers about the user are allowed only in attended requests
					header = append(header, "PSU-User-Agent", "", "PSU-Geo-Location", "", "PSU-Device-ID", "", "PSU-IP-Port", "")
				}
				f.send(http.MethodGet, bank.path+"/accounts?q="+canaryRequest, nil, header...)
				f.send(http.MethodGet, bank.path+"/accounts/"+bank.account+"/balances", strings.NewReader(canaryRequest), header...)
				f.send(http.MethodGet, bank.path+"/unattended-access?accountId="+canaryBBAN, nil, header...)
				sources = append(sources, map[string]any{
					"aspspId": strings.TrimPrefix(bank.path, "/v1/aspsps/"), "consentId": bank.consent, "providerAuthorization": "Bearer " + bank.token,
					"accountIds": []string{bank.account, canaryBBAN},
				})
			}
			f.aggregate(sources, user)
		}
	}
	return consents
}

// aggregate requests the lists and balances of all sources in one request, and repeats it.
func (f *canaryClient) aggregate(sources []map[string]any, user bool) {
	f.t.Helper()
	body, err := json.Marshal(map[string]any{"include": []string{"balances"}, "sources": sources})
	if err != nil {
		f.t.Fatal(err)
	}
	header := []string{"Content-Type", "application/json", "Idempotency-Key", canaryBBAN + "-" + uuid.NewString(), "TPP-Customer-ID", canaryRequest}
	if user {
		header = append(header, "PSU-IP-Address", canaryAddress, "PSU-User-Agent", canaryRequest, "PSU-Device-ID", canaryDevice)
	}
	for range 2 {
		f.send(http.MethodPost, "/v1/aggregations", bytes.NewReader(body), header...)
	}
}

// sendInvalid sends requests with each kind of error.
func (f *canaryClient) sendInvalid(consent string) {
	good := append(hostileHeaders(canaryToken), "Consent-ID", consent, "PSU-IP-Address", canaryAddress)
	for _, tt := range []struct {
		method, path string
		header       []string
	}{
		{"GET", woodPath + "/accounts", []string{"X-API-Key", canaryKey}},
		{"GET", woodPath + "/accounts", []string{"X-API-Key", "", "Authorization", "Bearer " + canaryKey}},
		{"GET", woodPath + "/accounts", []string{"X-API-Key", "", "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(canaryKey))}},
		{"GET", woodPath + "/accounts", []string{"Authorization", "Bearer " + canaryKey}},
		{"GET", woodPath + "/accounts", []string{"Consent-ID", consent + strings.Repeat("x", 300)}},
		{"GET", woodPath + "/accounts", []string{"PSU-IP-Address", canaryRequest}},
		{"GET", woodPath + "/accounts", []string{"PSU-Device-ID", canaryRequest}},
		{"GET", woodPath + "/accounts", []string{"X-Request-ID", canaryRequest}},
		{"GET", woodPath + "/accounts", []string{"Cache-Control", "max-age=" + canaryRequest}},
		{"GET", woodPath + "/accounts", []string{"Traceparent", canaryRequest}},
		{"GET", woodPath + "/accounts", []string{"Provider-Authorization", canaryRequest}},
		{"GET", "/v1/aspsps/" + canaryRequest + "/accounts", nil},
		{"GET", "/v1/aspsps/" + uuid.NewString() + "/accounts", nil},
		{"GET", woodPath + "/accounts/" + canaryIBAN + "/balances", nil},
		{"GET", woodPath + "/accounts/%FF" + canaryIBAN + "/balances", nil},
		{"GET", woodPath + "/accounts/" + canaryIBAN + "%0D%0AX-A:/balances", nil},
		{"GET", woodPath + "/accounts/" + canaryIBAN + "/transactions", nil},
		{"GET", woodPath + "/unattended-access?accountId=" + canaryIBAN + "&accountId=%zz", nil},
		{"GET", "/" + canaryRequest, nil},
		{"POST", woodPath + "/accounts?" + canaryRequest, nil},
		{canaryRequest, woodPath + "/accounts", nil},
		{"DELETE", woodPath + "/cached-data", nil},
		{"POST", "/v1/aggregations", []string{"Content-Type", "application/json", "Idempotency-Key", canaryRequest}},
		{"OPTIONS", "*", nil},
	} {
		f.send(tt.method, tt.path, strings.NewReader(`{"a":"`+canaryRequest+`"}`), append(slices.Clone(good), tt.header...)...)
	}
	f.sendRaw(canaryRequest + "\r\n\r\n")
	f.sendRaw("GET /" + canaryRequest + " HTTP/9.9\r\n\r\n")
	f.sendRaw("GET / HTTP/1.1\r\nHost: " + canaryRequest + "\r\n" + canaryRequest + "\r\n\r\n")
	f.sendRaw("GET / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat(canaryRequest, 4000) + "\r\n\r\n")
	f.sendRaw("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + canaryRequest + "\r\n\r\n")
	for _, path := range []string{
		"/readyz?a=" + canaryRequest, "/" + canaryRequest, "/debug/pprof/" + canaryRequest, "/debug/pprof/profile?seconds=" + canaryRequest,
	} {
		resp, body := gatewaytest.Call(f.t, http.MethodGet, f.p.Admin+path)
		fmt.Fprintln(&f.problems, resp.Status, resp.Header, body)
	}
}

// startCollector starts an OTLP receiver. It returns its URL and a function that returns what it
// has received, by path.
func startCollector(t *testing.T) (url string, sent func() map[string]string) {
	var mu sync.Mutex
	bodies := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies["OTLP "+r.URL.Path] += string(body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return server.URL, func() map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(bodies)
	}
}

// monitorRedis returns the commands that Redis executes from now on. password is that of Redis, ""
// for none.
func monitorRedis(t *testing.T, address, password string) *gatewaytest.Output {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	commands := []string{"MONITOR"}
	if password != "" {
		commands = []string{fmt.Sprintf("AUTH %q", password), "MONITOR"}
	}
	lines := bufio.NewReader(conn)
	for _, command := range commands {
		_, _ = fmt.Fprintf(conn, "%s\r\n", command)
		if ok, err := lines.ReadString('\n'); err != nil || ok != "+OK\r\n" {
			t.Fatal(ok, err)
		}
	}
	executed := &gatewaytest.Output{}
	go func() { _, _ = io.Copy(executed, lines) }()
	return executed
}

// withCanarySecrets returns a configuration with secrets that are canaries, with audit records in a
// file, and with profiles. It adds the secrets to canaries.
func withCanarySecrets(t *testing.T, w *sandbox.Sandbox, canaries map[string]string) (config, auditFile string) {
	dir := t.TempDir()
	auditFile = filepath.Join(dir, "audit.log")
	auditKey := make([]byte, 32)
	_, _ = rand.Read(auditKey)
	canaries["key of audit records"] = base64.StdEncoding.EncodeToString(auditKey)
	writeFile(t, filepath.Join(dir, "audit-key"), canaries["key of audit records"]+"\n")
	for name, file := range map[string]string{"key of lists": "cache-key", "key of account keys": "account-key", "key of myPOS": "mypos-key"} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(w.ConfigFile), file))
		if err != nil {
			t.Fatal(err)
		}
		canaries[name] = string(text)
	}
	pem, err := os.ReadFile(filepath.Join(filepath.Dir(w.ConfigFile), "signing-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	canaries["signing key"] = strings.Split(string(pem), "\n")[5]
	canaries["fixed header"] = "Gefieder-9034-geheim"
	writeFile(t, filepath.Join(dir, "header"), canaries["fixed header"])
	options := "options: {headerFiles: {" + secretHeader + ": '" + filepath.Join(dir, "header") + "'}, "
	return gatewaytest.EditConfig(t, w, func(text string) string {
		text = strings.Replace(text, "server: {", "server: {profiling: true, ", 1)
		text = strings.ReplaceAll(text, "{baseURL: ", "{timeout: 2m, baseURL: ")
		text = strings.NewReplacer("options: {withBalance", options+"withBalance", "options: {version: v4.0", options+"version: v4.0").Replace(text)
		text = regexp.MustCompile(`name: (Wood Bank|myPOS|Elm Bank|Kingfisher Bank), provider: \w+`).
			ReplaceAllString(text, "$0, breaker: {consecutiveFailures: 100000, minimumCalls: 100000}")
		return text + "audit: {output: file, file: '" + auditFile + "', keyFile: '" + filepath.Join(dir, "audit-key") + "'}\n"
	}), auditFile
}

// TestCanaries: personal data and secrets from requests, providers' responses and the configuration
// reach no output except the response to the request.
func TestCanaries(t *testing.T) {
	canaries := map[string]string{
		"IBAN": canaryIBAN, "account number": canaryBBAN, "name": canaryName, "holder": canaryHolder, "balance": canaryBalance,
		"provider's text": canaryText, "wrong API key": canaryKey, "API key": sandbox.Key, "token": canaryToken, "token of myPOS": mypossim.GoodToken,
		"user's address": canaryAddress, "caller's address": canaryCaller, "device": canaryDevice, "caller's text": canaryRequest,
		"account": mastercardsim.Account, "account of myPOS": mypossim.GoodAccount,
		"account of Elm Bank": canaryElmAccount, "account of Kingfisher Bank": canaryKingfisherAccount, "consumer key": "sandbox-consumer!sandbox-project",
		"password of Redis": "Schnabel-1203-geheim", "password of the collector": "Feder-7781-geheim",
	}
	providers := &canaryProviders{responder: map[string]string{}}
	server := redistest.Start(t, "--requirepass", canaries["password of Redis"])
	passwordFile := filepath.Join(t.TempDir(), "password")
	writeFile(t, passwordFile, canaries["password of Redis"])
	w := gatewaytest.NewSandboxWith(t, sandbox.Options{Front: providers.front, Redis: fmt.Sprintf("{addresses: ['%s'], passwordFile: '%s'}", server.Addr, passwordFile)})
	config, auditFile := withCanarySecrets(t, w, canaries)
	otlp, sent := startCollector(t)
	p := serve(t, config,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+otlp, "OTEL_EXPORTER_OTLP_HEADERS=x-key="+canaries["password of the collector"],
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_PROPAGATORS=tracecontext,baggage,b3,xray",
	)
	commands := monitorRedis(t, server.Addr, canaries["password of Redis"])
	f := &canaryClient{t: t, p: p, statuses: map[int]int{}, client: &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(canaryCaller)}}).DialContext,
	}}}
	profiles := &profiles{t: t, admin: p.Admin, texts: map[string]string{}}
	providers.mu.Lock()
	providers.duringCall = profiles.readAll
	providers.mu.Unlock()
	var consents []string
	profiles.record(func() { consents = append(consents, f.sendToAllResponders(providers)...) })
	f.sendInvalid(consents[0])
	profiles.readAll()
	for i, consent := range consents {
		canaries[fmt.Sprintf("consent %d", i)] = consent
	}
	for i, token := range f.tokens {
		canaries[fmt.Sprintf("token %d", i)] = token
	}
	_, plain := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	_, exemplars := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	_, ready := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
	gatewaytest.Eventually(t, "net/http has logged an unsolicited response", func() bool {
		return strings.Contains(p.Stdout.String()+p.Stderr.String(), "library output suppressed") || strings.Contains(p.Stderr.String(), "Unsolicited")
	})
	dump := dumpRedis(t, &redis.Options{Addr: server.Addr, Password: canaries["password of Redis"]})
	p.Terminate()
	p.Wait()
	audited, err := os.ReadFile(auditFile)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{
		"log": p.Stdout.String(), "standard error": p.Stderr.String(), "audit records": string(audited), "/metrics": plain,
		"/metrics with exemplars": exemplars, "/readyz": ready, "problems": f.problems.String(), "Redis": dump, "commands to Redis": commands.String(),
	}
	maps.Copy(places, sent())
	maps.Copy(places, profiles.texts)
	for _, found := range search(places, canaries) {
		t.Errorf("%s contains %s, encoded as: %s", found.place, found.canary, found.encoding)
	}
	f.assertPlanted(providers, places, canaries)
	assertAudited(t, string(audited), p.Stdout.String(), consents)
}

// assertPlanted checks that the canaries were in requests and responses, and that each searched
// place had content.
func (f *canaryClient) assertPlanted(providers *canaryProviders, places, canaries map[string]string) {
	f.t.Helper()
	for _, name := range []string{"IBAN", "account number", "name", "holder", "balance", "provider's text", "account of Elm Bank", "account of Kingfisher Bank"} {
		if !strings.Contains(f.successes.String(), canaries[name]) {
			f.t.Errorf("no response contains the canary %s", name)
		}
	}
	for _, name := range []string{"token of myPOS", "user's address", "device", "caller's text", "account", "account of myPOS", "key of myPOS", "consent 0", "consent 1", "consent 2", "token 0", "fixed header", "account of Elm Bank", "account of Kingfisher Bank"} {
		if !strings.Contains(providers.received.String(), canaries[name]) {
			f.t.Errorf("the canary %s reached no provider", name)
		}
	}
	for _, status := range []int{200, 400, 401, 404, 405, 429, 502} {
		if f.statuses[status] == 0 {
			f.t.Errorf("no response has status %d", status)
		}
	}
	for place, mark := range map[string]string{
		"log": `"msg":"request"`, "audit records": `"record":"audit"`, "/metrics": "ais_unattended_slots_total", "/readyz": "ready",
		"/metrics with exemplars": `# {`, "problems": `"code":"PROVIDER_INVALID_RESPONSE"`, "Redis": "ais:1:aggregations:", "commands to Redis": `:lease:`,
		"/debug/pprof/allocs": "ais-gateway/internal/api.", "/debug/pprof/cmdline": "--config", "/debug/pprof/goroutine": "ais-gateway/internal/api.",
		"/debug/pprof/goroutine?debug=1": "ais-gateway/internal/api.", "/debug/pprof/goroutine?debug=2": "ais-gateway/internal/api.",
		"OTLP /v1/traces": "/v1/accounts/{accountNumber}/balances", "OTLP /v1/metrics": "ais.unattended.slots", "OTLP /v1/logs": "duration_ms",
	} {
		if !strings.Contains(places[place], mark) {
			f.t.Errorf("%s does not contain %s, so it was not searched in full", place, mark)
		}
	}
	if strings.Contains(places["log"], `"dropped":`) || !strings.Contains(places["/metrics"], `ais_telemetry_dropped_total{signal="span"} 0`) {
		f.t.Error("the gateway itself tried to write keys that are not allowed")
	}
}

// assertAudited checks that each log line of a request under /v1 has an audit record with the same
// values, and that each consent has the same hash in all records.
func assertAudited(t *testing.T, audited, log string, consents []string) {
	t.Helper()
	byRequest, hashes := map[string]map[string]any{}, map[string]int{}
	for line := range strings.Lines(audited) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("an audit record is not JSON: %s", line)
		}
		if r["outcome"] == nil { // records of sources have one
			byRequest[r["request_id"].(string)] = r
		}
		if hash, _ := r["consent_hash"].(string); hash != "" {
			hashes[hash]++
		}
	}
	if len(hashes) != len(consents)+1 { // one consent is also used with an unknown ASPSP
		t.Errorf("%d hashes of %d consents", len(hashes), len(consents))
	}
	requests := 0
	for line := range strings.Lines(log) {
		var l map[string]any
		if json.Unmarshal([]byte(line), &l) != nil || l["msg"] != "request" {
			continue
		}
		r := byRequest[l["request_id"].(string)]
		if route, _ := l["route"].(string); r == nil && route == "" {
			continue // not under /v1
		}
		requests++
		for _, key := range []string{"client", "route", "aspsp_id", "provider", "attended", "status", "code", "cache", "slots", "duration_ms", "trace_id", "method"} {
			if r[key] != l[key] {
				t.Errorf("%s is %v in the record and %v in the log: %s", key, r[key], l[key], line)
			}
		}
	}
	if requests < 6*len(responders) {
		t.Errorf("%d requests", requests)
	}
}

// dumpRedis returns all keys and values of a Redis.
func dumpRedis(t *testing.T, o *redis.Options) string {
	t.Helper()
	rdb := redis.NewClient(o)
	defer rdb.Close()
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, key := range keys {
		dump, err := rdb.Dump(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(key + dump)
	}
	return all.String()
}
