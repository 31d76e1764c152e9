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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// What is planted in the answers of banks, in the place of what the simulators say. The amounts have many digits, so that
// they are found nowhere by chance.
const (
	canaryIBAN    = "DE08701500007734512896"
	canaryBBAN    = "77345128961234"
	canaryName    = "Zerlinde Kanarienvogel"
	canaryHolder  = "Hildegunde Gelbschnabel"
	canaryBalance = "773451.28"
	canaryText    = "Zwitscher-4711-0815"
)

// What is planted in requests.
const (
	canaryKey     = "wrong-key-of-Tirilist-58203"
	canaryToken   = "sandbox-token-of-Tirilist-99417"
	canaryAddress = "203.0.113.99"
	canaryCaller  = "127.0.0.77" // from where callers call
	canaryDevice  = "9c5b9a0e-7e55-4a77-9b1e-7d2f35c1aa01"
	canaryRequest = "Piepmatz-31337"
)

// ways are how a provider may answer, whatever is asked.
var ways = map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
	"well": func(w http.ResponseWriter, r *http.Request, next http.Handler) { rewritten(w, r, next, "") },
	"with bytes that nobody asked for": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rewritten(w, r, next, "HTTP/1.1 200 "+canaryText+"\r\n\r\n"+canaryName)
	},
	"with an error":     refusing(http.StatusBadRequest, "application/json"),
	"with a login page": refusing(http.StatusUnauthorized, "text/html"),
	"with a refusal":    refusing(http.StatusTooManyRequests, "application/json"),
	"with a breakdown":  refusing(http.StatusInternalServerError, "text/plain"),
	"with another page": refusing(http.StatusFound, "text/html"),
	"with no JSON":      refusing(http.StatusOK, "text/html"),
	"with another encoding": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Encoding", canaryText)
		_, _ = io.WriteString(w, canaryName)
	},
	"with other types": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_, _ = io.WriteString(w, `{"accounts":"`+canaryName+`","account":["`+canaryIBAN+`"],"balances":{"`+canaryText+`":1},"originalRequestInfo":"`+canaryText+`"}`)
	},
	"of another request": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_, _ = io.WriteString(w, `{"originalRequestInfo":{"xRequestId":"`+canaryText+`"},"accounts":[{"accountNumber":"`+canaryBBAN+`","iban":"`+canaryIBAN+
			`","currency":"`+canaryText+`","status":"`+canaryName+`","cashAccountType":"`+canaryText+`"}],"account":{"accountNumber":"`+canaryBBAN+`","resourceId":"`+canaryBBAN+`"},"balances":[]}`)
	},
	"half": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		spoken(w, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"accounts\":[{\"iban\":\""+canaryIBAN)
	},
	"with no HTTP": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		spoken(w, canaryText+" "+canaryName+"\r\n\r\n")
	},
	"with no header": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		spoken(w, "HTTP/1.1 200 OK\r\n"+canaryName+"\r\n\r\n")
	},
	"with no status": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		spoken(w, "HTTP/1.1 "+canaryText+"\r\n\r\n")
	},
	"with a bad chunk": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		spoken(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+canaryText+"\r\n")
	},
}

// refusing answers with canaries wherever an answer has text.
func refusing(status int, contentType string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Location", "https://"+canaryText+".example/"+canaryIBAN)
		h.Set("Set-Cookie", "a="+canaryText)
		h.Set("WWW-Authenticate", `Bearer error_description="`+canaryName+`"`)
		h.Set("X-Request-Id", canaryText)
		h.Set("Retry-After", canaryText)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"Errors":{"Error":[{"Source":"ASPSP","ReasonCode":%q,"Description":%q,"Details":%q}]},"tppMessages":[{"category":"ERROR","code":%q,"text":%q,"path":%q}],"code":%q,"description":%q}`,
			canaryIBAN, canaryName+" "+canaryIBAN, canaryText, canaryIBAN, canaryName+" "+canaryBBAN, "/accounts/"+canaryBBAN, canaryText, canaryName)
	}
}

// rewritten answers as the simulator does, with canaries in the place of its names, numbers and amounts; more follows the
// answer on its connection.
func rewritten(w http.ResponseWriter, r *http.Request, next http.Handler, more string) {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	body := strings.NewReplacer(
		"BG57INTF40015004462007", canaryIBAN, "20000055779911", canaryBBAN, "Jane Roe", canaryHolder, "John Doe", canaryHolder,
		"Main account", canaryName, "SandboxASPSP1 Account 1", canaryName, "102.56", canaryBalance, "4.200", canaryBalance,
		"E-Money", canaryText,
	).Replace(answer.Body.String())
	spoken(w, fmt.Sprintf("HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nX-Canary: %s\r\nContent-Length: %d\r\n\r\n%s%s",
		answer.Code, canaryText, len(body), body, more))
}

// raw writes an answer byte by byte, and ends its connection a little later.
func spoken(w http.ResponseWriter, answer string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, answer)
	time.AfterFunc(100*time.Millisecond, func() { _ = conn.Close() })
}

// An aviary is banks and the consents by which they know how to answer.
type aviary struct {
	mu  sync.Mutex
	way map[string]string // by consent
	got bytes.Buffer      // what reached the providers
}

func (a *aviary) front(_ string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.mu.Lock()
		fmt.Fprintln(&a.got, r.URL.EscapedPath(), r.Header, string(body))
		answer := ways["well"]
		for consent, way := range a.way {
			if r.Header.Get("Consent-ID") == consent || strings.Contains(string(body), `"`+consent+`"`) {
				answer = ways[way]
			}
		}
		a.mu.Unlock()
		answer(w, r, next)
	})
}

// hostile are headers with a canary in every value that may hold one.
func hostile(token string) []string {
	return []string{
		"Provider-Authorization", "Bearer " + token, "PSU-User-Agent", canaryRequest, "PSU-Geo-Location", "GEO:48.1;" + canaryRequest,
		"PSU-Device-ID", canaryDevice, "PSU-IP-Port", "61999", "TPP-Customer-ID", canaryRequest, "Merchant-ID", canaryRequest, "Merchant-Name", canaryRequest,
		"User-Agent", canaryRequest, "Cookie", "session=" + canaryRequest, "Referer", "https://a.example/" + canaryRequest, "Forwarded", "for=" + canaryRequest,
		"X-Forwarded-For", canaryAddress, "X-Real-IP", canaryAddress, "Accept", canaryRequest, "Accept-Language", canaryRequest, "Origin", canaryRequest,
		"Traceparent", "00-" + strings.ReplaceAll(uuid.NewString(), "-", "") + "-00f067aa0ba902b7-01", "Tracestate", "vendor=" + canaryRequest,
		"Baggage", "user=" + canaryRequest, "X-B3-TraceId", canaryRequest, "X-Amzn-Trace-Id", canaryRequest, "X-" + canaryRequest, canaryRequest,
	}
}

// A flock asks, and keeps what was answered.
type flock struct {
	t         *testing.T
	p         *process
	client    *http.Client
	problems  strings.Builder // what is no success, and every header
	successes strings.Builder // bodies
	statuses  map[int]int
}

func (f *flock) ask(method, path string, body io.Reader, header ...string) {
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

// say writes to the API what is no request.
func (f *flock) say(text string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.p.API, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, text)
	answer, _ := io.ReadAll(conn)
	f.problems.Write(answer)
}

// everyWay asks both providers, with and without the user, for lists and balances, in each way of answering.
func (f *flock) everyWay(a *aviary) (consents []string) {
	for _, way := range slices.Sorted(maps.Keys(ways)) {
		for _, user := range []bool{true, false} {
			for _, bank := range []struct{ path, consent, account, token string }{
				{wood, mastercardsim.FreshConsent + "Konsens-" + uuid.NewString(), mastercardsim.Account, canaryToken},
				{"/v1/aspsps/" + sandbox.MyPOS, uuid.NewString(), mypossim.GoodAccount, mypossim.GoodToken},
			} {
				consents = append(consents, bank.consent)
				a.mu.Lock()
				a.way[bank.consent] = way
				a.mu.Unlock()
				header := append(hostile(bank.token), "Consent-ID", bank.consent)
				if user {
					header = append(header, "PSU-IP-Address", canaryAddress)
				} else { // what is said of a user belongs to one
					header = append(header, "PSU-User-Agent", "", "PSU-Geo-Location", "", "PSU-Device-ID", "", "PSU-IP-Port", "")
				}
				f.ask(http.MethodGet, bank.path+"/accounts?q="+canaryRequest, nil, header...)
				f.ask(http.MethodGet, bank.path+"/accounts/"+bank.account+"/balances", strings.NewReader(canaryRequest), header...)
				f.ask(http.MethodGet, bank.path+"/unattended-access?accountId="+canaryBBAN, nil, header...)
			}
		}
	}
	return consents
}

// wrongly asks in all ways in which a request may be wrong.
func (f *flock) wrongly(consent string) {
	good := append(hostile(canaryToken), "Consent-ID", consent, "PSU-IP-Address", canaryAddress)
	for _, tt := range []struct {
		method, path string
		header       []string
	}{
		{"GET", wood + "/accounts", []string{"X-API-Key", canaryKey}},
		{"GET", wood + "/accounts", []string{"X-API-Key", "", "Authorization", "Bearer " + canaryKey}},
		{"GET", wood + "/accounts", []string{"X-API-Key", "", "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(canaryKey))}},
		{"GET", wood + "/accounts", []string{"Authorization", "Bearer " + canaryKey}},
		{"GET", wood + "/accounts", []string{"Consent-ID", consent + strings.Repeat("x", 300)}},
		{"GET", wood + "/accounts", []string{"PSU-IP-Address", canaryRequest}},
		{"GET", wood + "/accounts", []string{"PSU-Device-ID", canaryRequest}},
		{"GET", wood + "/accounts", []string{"X-Request-ID", canaryRequest}},
		{"GET", wood + "/accounts", []string{"Cache-Control", "max-age=" + canaryRequest}},
		{"GET", wood + "/accounts", []string{"Traceparent", canaryRequest}},
		{"GET", wood + "/accounts", []string{"Provider-Authorization", canaryRequest}},
		{"GET", "/v1/aspsps/" + canaryRequest + "/accounts", nil},
		{"GET", "/v1/aspsps/" + uuid.NewString() + "/accounts", nil},
		{"GET", wood + "/accounts/" + canaryIBAN + "/balances", nil},
		{"GET", wood + "/accounts/%FF" + canaryIBAN + "/balances", nil},
		{"GET", wood + "/accounts/" + canaryIBAN + "%0D%0AX-A:/balances", nil},
		{"GET", wood + "/accounts/" + canaryIBAN + "/transactions", nil},
		{"GET", wood + "/unattended-access?accountId=" + canaryIBAN + "&accountId=%zz", nil},
		{"GET", "/" + canaryRequest, nil},
		{"POST", wood + "/accounts?" + canaryRequest, nil},
		{canaryRequest, wood + "/accounts", nil},
		{"DELETE", wood + "/cached-data", nil},
		{"OPTIONS", "*", nil},
	} {
		f.ask(tt.method, tt.path, strings.NewReader(`{"a":"`+canaryRequest+`"}`), append(slices.Clone(good), tt.header...)...)
	}
	f.say(canaryRequest + "\r\n\r\n")
	f.say("GET /" + canaryRequest + " HTTP/9.9\r\n\r\n")
	f.say("GET / HTTP/1.1\r\nHost: " + canaryRequest + "\r\n" + canaryRequest + "\r\n\r\n")
	f.say("GET / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat(canaryRequest, 4000) + "\r\n\r\n")
	f.say("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + canaryRequest + "\r\n\r\n")
	for _, path := range []string{"/readyz?a=" + canaryRequest, "/" + canaryRequest, "/debug/pprof/goroutine?debug=2"} {
		resp, body := gatewaytest.Call(f.t, http.MethodGet, f.p.Admin+path)
		fmt.Fprintln(&f.problems, resp.Status, resp.Header, body)
	}
}

// A collector is an OTLP receiver that keeps what it is sent.
func collector(t *testing.T) (url string, sent func() map[string]string) {
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

// monitored returns the commands that Redis executes from now on. password is that of Redis, "" for none.
func monitored(t *testing.T, address, password string) *gatewaytest.Output {
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
	told := &gatewaytest.Output{}
	go func() { _, _ = io.Copy(told, lines) }()
	return told
}

// secretFiles writes the configuration of a gateway that keeps its audit records in a file, with secrets that are canaries.
func secretFiles(t *testing.T, w *sandbox.Sandbox, canaries map[string]string) (config, auditFile string) {
	dir := t.TempDir()
	auditFile = filepath.Join(dir, "audit.log")
	auditKey := make([]byte, 32)
	_, _ = rand.Read(auditKey)
	canaries["key of audit records"] = base64.StdEncoding.EncodeToString(auditKey)
	write(t, filepath.Join(dir, "audit-key"), canaries["key of audit records"]+"\n")
	for name, file := range map[string]string{"key of lists": "cache-key", "key of myPOS": "mypos-key"} {
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
	const patient = ", breaker: {consecutiveFailures: 100000, minimumCalls: 100000}}"
	return gatewaytest.EditConfig(t, w, func(text string) string {
		text = strings.Replace(text, "name: Wood Bank, provider: mastercard}", "name: Wood Bank, provider: mastercard"+patient, 1)
		text = strings.Replace(text, "name: myPOS, provider: mypos}", "name: myPOS, provider: mypos"+patient, 1)
		return text + "audit: {output: file, file: '" + auditFile + "', keyFile: '" + filepath.Join(dir, "audit-key") + "'}\n"
	}), auditFile
}

// Whatever callers send, banks answer and operators configure, comes out nowhere but in the answer to who asked.
func TestCanaries(t *testing.T) {
	canaries := map[string]string{
		"IBAN": canaryIBAN, "account number": canaryBBAN, "name": canaryName, "holder": canaryHolder, "balance": canaryBalance,
		"provider's text": canaryText, "wrong API key": canaryKey, "API key": sandbox.Key, "token": canaryToken, "token of myPOS": mypossim.GoodToken,
		"user's address": canaryAddress, "caller's address": canaryCaller, "device": canaryDevice, "caller's text": canaryRequest,
		"account": mastercardsim.Account, "account of myPOS": mypossim.GoodAccount, "consumer key": "sandbox-consumer!sandbox-project",
		"password of Redis": "Schnabel-1203-geheim", "password of the collector": "Feder-7781-geheim",
	}
	birds := &aviary{way: map[string]string{}}
	server := redistest.Start(t, "--requirepass", canaries["password of Redis"])
	passwordFile := filepath.Join(t.TempDir(), "password")
	write(t, passwordFile, canaries["password of Redis"])
	w := gatewaytest.NewSandboxWith(t, sandbox.Options{Front: birds.front, Redis: fmt.Sprintf("{addresses: ['%s'], passwordFile: '%s'}", server.Addr, passwordFile)})
	config, auditFile := secretFiles(t, w, canaries)
	otlp, sent := collector(t)
	p := serve(t, config,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+otlp, "OTEL_EXPORTER_OTLP_HEADERS=x-key="+canaries["password of the collector"],
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_PROPAGATORS=tracecontext,baggage,b3,xray",
	)
	redisTold := monitored(t, server.Addr, canaries["password of Redis"])
	f := &flock{t: t, p: p, statuses: map[int]int{}, client: &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(canaryCaller)}}).DialContext,
	}}}
	consents := f.everyWay(birds)
	f.wrongly(consents[0])
	for i, consent := range consents {
		canaries[fmt.Sprintf("consent %d", i)] = consent
	}
	_, plain := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	_, exemplars := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	_, ready := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
	gatewaytest.Eventually(t, "Go has said that a provider sent what nobody asked for", func() bool {
		return strings.Contains(p.Stdout.String()+p.Stderr.String(), "library output suppressed") || strings.Contains(p.Stderr.String(), "Unsolicited")
	})
	dump := everythingOf(t, &redis.Options{Addr: server.Addr, Password: canaries["password of Redis"]})
	p.Terminate()
	p.Wait()
	audited, err := os.ReadFile(auditFile)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{
		"log": p.Stdout.String(), "standard error": p.Stderr.String(), "audit records": string(audited), "/metrics": plain,
		"/metrics with exemplars": exemplars, "/readyz": ready, "problems": f.problems.String(), "Redis": dump, "what Redis was told": redisTold.String(),
	}
	maps.Copy(places, sent())
	for _, found := range search(places, canaries) {
		t.Errorf("%s: %s stands there %s", found.place, found.canary, found.form)
	}
	f.flew(birds, places, canaries)
	recorded(t, string(audited), p.Stdout.String(), consents)
}

// flew holds that the canaries did fly, and that every place was looked at when there was something in it.
func (f *flock) flew(birds *aviary, places, canaries map[string]string) {
	f.t.Helper()
	for _, name := range []string{"IBAN", "account number", "name", "balance", "provider's text"} {
		if !strings.Contains(f.successes.String(), canaries[name]) {
			f.t.Errorf("%s is in no answer: it was planted nowhere", name)
		}
	}
	for _, name := range []string{"token of myPOS", "user's address", "device", "caller's text", "account", "account of myPOS", "key of myPOS", "consent 0", "consent 1"} {
		if !strings.Contains(birds.got.String(), canaries[name]) {
			f.t.Errorf("%s reached no provider: it was planted nowhere", name)
		}
	}
	for _, status := range []int{200, 400, 401, 404, 405, 429, 502} {
		if f.statuses[status] == 0 {
			f.t.Errorf("nothing was answered %d", status)
		}
	}
	for place, mark := range map[string]string{
		"log": `"msg":"request"`, "audit records": `"record":"audit"`, "/metrics": "ais_unattended_slots_total", "/readyz": "ready",
		"/metrics with exemplars": `# {`, "problems": `"code":"PROVIDER_INVALID_RESPONSE"`, "Redis": "ais:1:accounts:", "what Redis was told": `:lease:`,
		"OTLP /v1/traces": "/v1/accounts/{accountNumber}/balances", "OTLP /v1/metrics": "ais.unattended.slots", "OTLP /v1/logs": "duration_ms",
	} {
		if !strings.Contains(places[place], mark) {
			f.t.Errorf("%s has no %s: nothing can be said about it", place, mark)
		}
	}
	if strings.Contains(places["log"], `"dropped":`) || !strings.Contains(places["/metrics"], `ais_telemetry_dropped_total{signal="span"} 0`) {
		f.t.Error("the gateway itself tries to tell what nothing allows")
	}
}

// recorded holds that each line of the log about a request under /v1 has its audit record, and that a consent is known
// again in them.
func recorded(t *testing.T, audited, log string, consents []string) {
	t.Helper()
	byRequest, hashes := map[string]map[string]any{}, map[string]int{}
	for line := range strings.Lines(audited) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("no JSON: %s", line)
		}
		byRequest[r["request_id"].(string)] = r
		if hash, _ := r["consent_hash"].(string); hash != "" {
			hashes[hash]++
		}
	}
	if len(hashes) != len(consents)+1 { // one of them also at a bank that is none
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
	if requests < 6*len(ways) {
		t.Errorf("%d requests", requests)
	}
}

// everythingOf is all keys and values of a Redis.
func everythingOf(t *testing.T, o *redis.Options) string {
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
