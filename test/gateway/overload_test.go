package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

const riverPath = "/v1/aspsps/" + mastercardsim.RiverBank

// blockingASPSP holds calls to Wood Bank while it is blocked. Other ASPSPs of the same provider
// respond.
type blockingASPSP struct {
	arrived chan struct{}

	mu   sync.Mutex
	gate chan struct{} // nil while calls are not held
}

func newBlockingASPSP() *blockingASPSP { return &blockingASPSP{arrived: make(chan struct{}, 1000)} }

func (h *blockingASPSP) front(_ string, bank http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.mu.Lock()
		gate := h.gate
		h.mu.Unlock()
		if gate != nil && bytes.Contains(body, []byte(mastercardsim.WoodBank)) {
			h.arrived <- struct{}{}
			<-gate
		}
		bank.ServeHTTP(rw, r)
	})
}

// block holds calls from now on, until unblock is called or the test ends.
func (h *blockingASPSP) block(t *testing.T) (unblock func()) {
	gate := make(chan struct{})
	h.mu.Lock()
	h.gate = gate
	h.mu.Unlock()
	unblock = sync.OnceFunc(func() {
		h.mu.Lock()
		h.gate = nil
		h.mu.Unlock()
		close(gate)
	})
	t.Cleanup(unblock)
	return unblock
}

// withLimits returns a configuration with server.limits, with a second client whose key is "other",
// and with the replacements in oldnew. Without oldnew, a call to Mastercard may take five minutes.
func withLimits(t *testing.T, w *sandbox.Sandbox, limits string, oldnew ...string) string {
	t.Helper()
	if len(oldnew) == 0 {
		oldnew = []string{`consumerKey:`, `timeout: 5m, consumerKey:`}
	}
	sum := sha256.Sum256([]byte("other"))
	second := "    - {name: other, sha256: " + hex.EncodeToString(sum[:]) + ", scopes: [\"accounts:read\"]}\n"
	return gatewaytest.ReplaceInConfig(t, w, append(oldnew,
		`adminAddress: "127.0.0.1:0"}`, `adminAddress: "127.0.0.1:0", limits: `+limits+`}`, "providers:\n", second+"providers:\n")...)
}

// response is a response of the gateway. The status is 0 if there is none.
type response struct {
	status int
	header http.Header
	body   string
}

// overloaded reports whether the gateway refused the request with OVERLOADED.
func (a response) overloaded() bool {
	return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, `"code":"OVERLOADED"`) && a.header.Get("Retry-After") == "1"
}

func (a response) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// get sends a request. It may be called from any goroutine, because it does not fail the test.
// header alternates names and values.
func get(url string, header ...string) response {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return response{body: err.Error()}
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return response{body: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{body: err.Error()}
	}
	return response{resp.StatusCode, resp.Header, string(body)}
}

// unattendedHeaders returns the headers of an unattended request under a consent.
func unattendedHeaders(consent string) []string { return []string{"Consent-ID", consent} }

// attendedHeaders returns the headers of an attended request under a consent.
func attendedHeaders(consent string) []string {
	return []string{"Consent-ID", consent, "PSU-IP-Address", "203.0.113.7"}
}

// freshConsent returns an unused consent at an ASPSP of Mastercard.
func freshConsent() string { return mastercardsim.FreshConsent + uuid.NewString() }

// concurrently calls one for 0 to n-1 in goroutines of their own, and returns a channel of the
// responses.
func concurrently(n int, one func(i int) response) <-chan response {
	all := make(chan response, n)
	for i := range n {
		go func() { all <- one(i) }()
	}
	return all
}

// waitForCalls waits until n calls are held.
func waitForCalls(t *testing.T, h *blockingASPSP, n int) {
	t.Helper()
	for range n {
		select {
		case <-h.arrived:
		case <-time.After(2 * time.Minute):
			t.Fatal("timed out waiting for a call")
		}
	}
}

// TestSlowASPSP: an ASPSP that does not respond gets perASPSP concurrent calls. Further requests
// are refused immediately or get the cached list, and take no slot. Requests to other ASPSPs
// succeed.
func TestSlowASPSP(t *testing.T) {
	const perASPSP = 3
	bank := newBlockingASPSP()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: bank.front})
	p := serve(t, withLimits(t, w, fmt.Sprintf("{perASPSP: %d}", perASPSP)))
	cached := freshConsent()
	gatewaytest.Eventually(t, "a list is cached", func() bool {
		return strings.Contains(get(p.API+woodPath+"/accounts", attendedHeaders(cached)...).header.Get("Cache-Status"), "hit")
	})
	unblock := bank.block(t)
	held := concurrently(perASPSP, func(i int) response {
		if i == 0 {
			return get(p.API+woodPath+"/accounts", unattendedHeaders(freshConsent())...)
		}
		return get(p.API+woodPath+balancesPath, attendedHeaders(freshConsent())...)
	})
	waitForCalls(t, bank, perASPSP)

	refused := freshConsent()
	for name, resp := range map[string]response{
		"attended list":       get(p.API+woodPath+"/accounts", attendedHeaders(freshConsent())...),
		"unattended list":     get(p.API+woodPath+"/accounts", unattendedHeaders(refused)...),
		"attended balances":   get(p.API+woodPath+balancesPath, attendedHeaders(freshConsent())...),
		"unattended balances": get(p.API+woodPath+balancesPath, unattendedHeaders(refused)...),
		"no-cache":            get(p.API+woodPath+"/accounts", append(attendedHeaders(cached), "Cache-Control", "no-cache")...),
	} {
		if !resp.overloaded() {
			t.Errorf("%s: %v", name, resp)
		}
	}
	if resp := get(p.API+woodPath+"/unattended-access", unattendedHeaders(refused)...); !strings.Contains(resp.body, `"used":0`) {
		t.Errorf("a refused request is counted: %v", resp)
	}
	stale := get(p.API+woodPath+"/accounts", append(attendedHeaders(cached), "Cache-Control", "max-age=0")...)
	if stale.status != 200 || !strings.Contains(stale.body, `"staleReason":"provider_unavailable"`) {
		t.Errorf("the stale list: %v", stale)
	}
	for name, resp := range map[string]response{
		"a fresh list":                  get(p.API+woodPath+"/accounts", attendedHeaders(cached)...),
		"an ASPSP of the same provider": get(p.API+riverPath+"/accounts", attendedHeaders(freshConsent())...),
		"an ASPSP of another provider":  get(p.API+"/v1/aspsps/"+sandbox.MyPOS+"/accounts", append(attendedHeaders(mypossim.GoodConsent), "Provider-Authorization", "Bearer "+mypossim.GoodToken)...),
		"the ASPSP's policy":            get(p.API + woodPath),
	} {
		if resp.status != 200 || strings.Contains(resp.body, `"state":"open"`) {
			t.Errorf("%s: %v", name, resp)
		}
	}
	_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	if want := `ais_overload_refusals_total{ais_aspsp_id="` + mastercardsim.WoodBank + `",reason="aspsp"`; !strings.Contains(metrics, want) {
		t.Errorf("the metrics do not contain %s", want)
	}
	unblock()
	for range perASPSP {
		if resp := <-held; resp.status != 200 {
			t.Errorf("held: %v", resp)
		}
	}
	if resp := get(p.API+woodPath+balancesPath, attendedHeaders(freshConsent())...); resp.status != 200 {
		t.Errorf("afterwards: %v", resp)
	}
}

// TestSlowASPSPLeavesInFlightCapacity: requests that share a call to an ASPSP that does not respond
// take at most half of inFlight.
func TestSlowASPSPLeavesInFlightCapacity(t *testing.T) {
	const inFlight, callers = 12, 20
	bank := newBlockingASPSP()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: bank.front})
	p := serve(t, withLimits(t, w, fmt.Sprintf("{inFlight: %d}", inFlight)))
	unblock, consent := bank.block(t), freshConsent()
	held := concurrently(inFlight/2, func(int) response { return get(p.API+woodPath+"/accounts", unattendedHeaders(consent)...) })
	waitForCalls(t, bank, 1)
	gatewaytest.Eventually(t, "half of inFlight is used", func() bool { return activeRequests(t, p) >= inFlight/2 })
	for range callers {
		for _, header := range [][]string{unattendedHeaders(consent), attendedHeaders(consent)} {
			if resp := get(p.API+woodPath+"/accounts", header...); !resp.overloaded() {
				t.Errorf("a further request: %v", resp)
			}
		}
		if resp := get(p.API+riverPath+"/accounts", attendedHeaders(freshConsent())...); resp.status != 200 {
			t.Errorf("another ASPSP: %v", resp)
		}
	}
	unblock()
	for range inFlight / 2 {
		if resp := <-held; resp.status != 200 {
			t.Errorf("held: %v", resp)
		}
	}
	if n := callsByConsent(w.CallLog)[consent]; n != 1 {
		t.Errorf("%d calls, want one", n)
	}
}

// activeRequests returns the number of requests in progress, from the metrics.
func activeRequests(t *testing.T, p *process) int {
	t.Helper()
	_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	for line := range strings.Lines(metrics) {
		if rest, ok := strings.CutPrefix(line, `http_server_active_requests{http_request_method="GET"} `); ok {
			var n int
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// TestClientLimit: a client beyond perClient is refused, and other clients are not.
func TestClientLimit(t *testing.T) {
	bank := newBlockingASPSP()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: bank.front})
	p := serve(t, withLimits(t, w, "{perClient: 2}"))
	unblock := bank.block(t)
	held := concurrently(2, func(int) response { return get(p.API+woodPath+balancesPath, attendedHeaders(freshConsent())...) })
	waitForCalls(t, bank, 2)
	for _, path := range []string{"/v1/aspsps", woodPath, riverPath + "/accounts", woodPath + "/unattended-access"} {
		if resp := get(p.API+path, attendedHeaders(freshConsent())...); !resp.overloaded() {
			t.Errorf("%s: %v", path, resp)
		}
	}
	if resp := get(p.API+riverPath+"/accounts", append(attendedHeaders(freshConsent()), "X-API-Key", "other")...); resp.status != 200 {
		t.Errorf("another client: %v", resp)
	}
	if resp := get(p.API+"/v1/aspsps", "X-API-Key", "nobody"); resp.status != 401 {
		t.Errorf("an unknown key: %v", resp)
	}
	if _, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics"); !strings.Contains(metrics, `ais_overload_refusals_total{reason="client"`) {
		t.Error("the metrics do not count the refusals")
	}
	unblock()
	for range 2 {
		if resp := <-held; resp.status != 200 {
			t.Errorf("held: %v", resp)
		}
	}
	if resp := get(p.API + "/v1/aspsps"); resp.status != 200 {
		t.Errorf("afterwards: %v", resp)
	}
}

// addAccounts adds so many accounts to the simulator's lists that a response does not fit into the
// buffers of a connection.
func addAccounts(_ string, bank http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		bank.ServeHTTP(recorder, r)
		var list map[string]any
		accounts := []any(nil)
		if json.Unmarshal(recorder.Body.Bytes(), &list) == nil {
			accounts, _ = list["accounts"].([]any)
		}
		if len(accounts) == 0 {
			rw.WriteHeader(recorder.Code)
			_, _ = rw.Write(recorder.Body.Bytes())
			return
		}
		for i := range 250 {
			list["accounts"] = append(list["accounts"].([]any), map[string]any{
				"resourceId": fmt.Sprint("more-", i), "currency": "EUR", "accountNumber": fmt.Sprint(i), "schemeName": "BBAN",
				"name": strings.Repeat("n", 1800), "holderName": strings.Repeat("h", 1800),
			})
		}
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(list)
	})
}

// unreadRequests is the number of requests of sendWithoutReading. Their responses are larger than
// the system's buffers.
const unreadRequests = 8

// sendWithoutReading sends requests on one connection and does not read the responses.
func sendWithoutReading(t *testing.T, p *process, path string, header ...string) net.Conn {
	t.Helper()
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
	conn, err := small.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	request := "GET " + path + " HTTP/1.1\r\nHost: a\r\nX-API-Key: " + sandbox.Key + "\r\n"
	for i := 0; i+1 < len(header); i += 2 {
		request += header[i] + ": " + header[i+1] + "\r\n"
	}
	if _, err := io.WriteString(conn, strings.Repeat(request+"\r\n", unreadRequests)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestCallersThatDoNotRead: callers that do not read their responses use up inFlight until the
// gateway closes their connections. In that time other requests are refused immediately, and
// afterwards they succeed.
func TestCallersThatDoNotRead(t *testing.T) {
	t.Parallel()
	const inFlight = 4
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: addAccounts})
	p := serve(t, withLimits(t, w, fmt.Sprintf("{inFlight: %d}", inFlight), `consumerKey:`, `timeout: 30s, consumerKey:`, `mypos: {`, `mypos: {timeout: 30s, `))
	consent := freshConsent()
	var size int
	gatewaytest.Eventually(t, "the list is cached", func() bool {
		resp := get(p.API+woodPath+"/accounts", attendedHeaders(consent)...)
		size = len(resp.body)
		return strings.Contains(resp.header.Get("Cache-Status"), "hit")
	})
	var conns []net.Conn
	for range inFlight {
		conns = append(conns, sendWithoutReading(t, p, woodPath+"/accounts", attendedHeaders(consent)...))
	}
	settled := 0
	gatewaytest.Eventually(t, "inFlight stays used up", func() bool {
		settled++
		if n := activeRequests(t, p); n != inFlight {
			settled = 0
			if n < inFlight && len(conns) < 50 { // one of them was refused
				conns = append(conns, sendWithoutReading(t, p, woodPath+"/accounts", attendedHeaders(consent)...))
			}
		}
		time.Sleep(20 * time.Millisecond)
		return settled > 10 // long before the gateway closes the first connection, after more than a minute
	})
	for _, path := range []string{"/v1/aspsps", woodPath, woodPath + "/accounts", woodPath + balancesPath, woodPath + "/unattended-access"} {
		if resp := get(p.API+path, attendedHeaders(freshConsent())...); !resp.overloaded() {
			t.Errorf("%s: %v", path, resp)
		}
	}
	if resp := get(p.API + "/openapi.yaml"); resp.status != 200 {
		t.Errorf("the contract: %v", resp)
	}
	if _, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics"); !strings.Contains(metrics, `ais_overload_refusals_total{reason="in_flight"`) {
		t.Error("the metrics do not count the refusals")
	}
	conns[0].Close()
	gatewaytest.Eventually(t, "a request succeeds", func() bool { return get(p.API+"/v1/aspsps").status == 200 })
	gatewaytest.Eventually(t, "the gateway has closed the connections", func() bool { return activeRequests(t, p) == 0 })
	_ = conns[1].SetDeadline(time.Now().Add(2 * time.Minute))
	if rest, _ := io.ReadAll(conns[1]); len(rest) >= unreadRequests*size {
		t.Errorf("the gateway sent all responses, of %d bytes each", size)
	}
}

// TestUnfinishedBodies: on each route, the gateway closes a connection on which a body is sent and
// never finished.
func TestUnfinishedBodies(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	began := time.Now()
	closed := make(chan string)
	n := 0
	for _, line := range []string{
		"GET /v1/aspsps", "GET " + woodPath, "GET " + woodPath + "/accounts", "GET " + woodPath + balancesPath, "GET " + woodPath + "/unattended-access",
		"DELETE " + woodPath + "/cached-data", "GET /openapi.yaml", "GET /nowhere", "POST /v1/aspsps",
	} {
		for _, body := range []string{"Content-Length: 100\r\n\r\nx", "Content-Length: 100000000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nx"} {
			n++
			go func() {
				conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
				if err != nil {
					closed <- err.Error()
					return
				}
				defer conn.Close()
				_ = conn.SetDeadline(began.Add(5 * time.Minute))
				_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: a\r\nX-API-Key: "+sandbox.Key+"\r\nConsent-ID: a\r\n"+body)
				if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
					closed <- line + ", " + body[:17] + ": " + err.Error()
					return
				}
				closed <- ""
			}()
		}
	}
	for range n {
		if failure := <-closed; failure != "" {
			t.Error(failure)
		}
	}
	gatewaytest.Eventually(t, "no request is in progress", func() bool { return activeRequests(t, p) == 0 })
}

// TestConnectionLimit: beyond the maximum number of connections, a new one waits until another one
// closes, so that files are left for calls to providers.
func TestConnectionLimit(t *testing.T) {
	const maxConns = 4 + 64
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, withLimits(t, w, "{inFlight: 1}"))
	http.DefaultClient.CloseIdleConnections()
	for {
		var conns []net.Conn
		began := time.Now()
		for range maxConns {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		further := concurrently(1, func(int) response { return get(p.API + "/v1/aspsps") })
		early := false
		select {
		case resp := <-further:
			if early = time.Since(began) > 4*time.Second; !early { // connections without a request close after five seconds
				t.Fatalf("one more connection is served: %v", resp)
			}
		case <-time.After(time.Second):
		}
		for _, conn := range conns {
			conn.Close()
		}
		if early {
			continue // the machine was too slow for the test
		}
		if resp := <-further; resp.status != 200 {
			t.Errorf("after the others have closed: %v", resp)
		}
		return
	}
}

// TestIdleConnectionsGiveWay: idle connections beyond the maximum number do not keep the next
// caller out.
func TestIdleConnectionsGiveWay(t *testing.T) {
	const maxConns = 4 + 64
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, withLimits(t, w, "{inFlight: 1}"))
	http.DefaultClient.CloseIdleConnections()
	for range 2 * maxConns {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.WriteString(conn, "GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	if resp := get(p.API + "/v1/aspsps"); resp.status != 200 {
		t.Errorf("the next caller: %v", resp)
	}
}
