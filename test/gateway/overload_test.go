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

const river = "/v1/aspsps/" + mastercardsim.RiverBank

// A held bank keeps calls to Wood Bank until it is opened, once it is shut. The others behind the same provider answer.
type heldBank struct {
	arrived chan struct{}

	mu   sync.Mutex
	gate chan struct{} // nil while it is open
}

func newHeldBank() *heldBank { return &heldBank{arrived: make(chan struct{}, 1000)} }

func (h *heldBank) front(_ string, bank http.Handler) http.Handler {
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

// shut holds calls from now on, until open is called or the test ends.
func (h *heldBank) shut(t *testing.T) (open func()) {
	gate := make(chan struct{})
	h.mu.Lock()
	h.gate = gate
	h.mu.Unlock()
	open = sync.OnceFunc(func() {
		h.mu.Lock()
		h.gate = nil
		h.mu.Unlock()
		close(gate)
	})
	t.Cleanup(open)
	return open
}

// withLimits is the world's configuration with bounds, and with a second client whose key is "other". Unless oldnew says
// otherwise, calls may be held for minutes.
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

// An answered is what came of a request.
type answered struct {
	status int
	header http.Header
	body   string
}

func (a answered) refused() bool {
	return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, `"code":"OVERLOADED"`) && a.header.Get("Retry-After") == "1"
}

func (a answered) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// ask makes one request, from whatever goroutine. Without an answer the status is 0.
func ask(url string, header ...string) answered {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answered{body: err.Error()}
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return answered{body: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answered{body: err.Error()}
	}
	return answered{resp.StatusCode, resp.Header, string(body)}
}

// under are the headers of a request under a consent, and of an attended one.
func under(consent string) []string { return []string{"Consent-ID", consent} }

func present(consent string) []string {
	return []string{"Consent-ID", consent, "PSU-IP-Address", "203.0.113.7"}
}
func fresh() string { return mastercardsim.FreshConsent + uuid.NewString() }

// asking makes n requests at once, each as its number says.
func asking(n int, one func(i int) answered) <-chan answered {
	all := make(chan answered, n)
	for i := range n {
		go func() { all <- one(i) }()
	}
	return all
}

func awaitArrivals(t *testing.T, h *heldBank, n int) {
	t.Helper()
	for range n {
		select {
		case <-h.arrived:
		case <-time.After(2 * time.Minute):
			t.Fatal("in vain waited for a call")
		}
	}
}

// A bank that does not answer gets so many calls and no more. Who comes besides is refused at once or gets what is kept,
// no slot is taken for him, and other banks are answered meanwhile.
func TestSlowBank(t *testing.T) {
	const places = 3
	bank := newHeldBank()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: bank.front})
	p := serve(t, withLimits(t, w, fmt.Sprintf("{perASPSP: %d}", places)))
	kept := fresh()
	gatewaytest.Eventually(t, "a list is kept", func() bool {
		return strings.Contains(ask(p.API+wood+"/accounts", present(kept)...).header.Get("Cache-Status"), "hit")
	})
	open := bank.shut(t)
	held := asking(places, func(i int) answered {
		if i == 0 {
			return ask(p.API+wood+"/accounts", under(fresh())...)
		}
		return ask(p.API+wood+balances, present(fresh())...)
	})
	awaitArrivals(t, bank, places)

	alone := fresh()
	for name, a := range map[string]answered{
		"attended list":       ask(p.API+wood+"/accounts", present(fresh())...),
		"unattended list":     ask(p.API+wood+"/accounts", under(alone)...),
		"attended balances":   ask(p.API+wood+balances, present(fresh())...),
		"unattended balances": ask(p.API+wood+balances, under(alone)...),
		"a new list demanded": ask(p.API+wood+"/accounts", append(present(kept), "Cache-Control", "no-cache")...),
	} {
		if !a.refused() {
			t.Errorf("%s: %v", name, a)
		}
	}
	if a := ask(p.API+wood+"/unattended-access", under(alone)...); !strings.Contains(a.body, `"used":0`) {
		t.Errorf("what was refused is counted: %v", a)
	}
	old := ask(p.API+wood+"/accounts", append(present(kept), "Cache-Control", "max-age=0")...)
	if old.status != 200 || !strings.Contains(old.body, `"staleReason":"provider_unavailable"`) {
		t.Errorf("what is kept: %v", old)
	}
	for name, a := range map[string]answered{
		"a fresh list":      ask(p.API+wood+"/accounts", present(kept)...),
		"behind the same":   ask(p.API+river+"/accounts", present(fresh())...),
		"behind another":    ask(p.API+"/v1/aspsps/"+sandbox.MyPOS+"/accounts", append(present(mypossim.GoodConsent), "Provider-Authorization", "Bearer "+mypossim.GoodToken)...),
		"the bank's policy": ask(p.API + wood),
	} {
		if a.status != 200 || strings.Contains(a.body, `"state":"open"`) {
			t.Errorf("%s: %v", name, a)
		}
	}
	_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	if want := `ais_overload_refusals_total{ais_aspsp_id="` + mastercardsim.WoodBank + `",reason="aspsp"`; !strings.Contains(metrics, want) {
		t.Errorf("no %s in the metrics", want)
	}
	open()
	for range places {
		if a := <-held; a.status != 200 {
			t.Errorf("held: %v", a)
		}
	}
	if a := ask(p.API+wood+balances, present(fresh())...); a.status != 200 {
		t.Errorf("afterwards: %v", a)
	}
}

// Those who share a call to a bank that does not answer take half of all places and no more.
func TestSlowBankDoesNotTakeEveryPlace(t *testing.T) {
	const all, callers = 12, 20
	bank := newHeldBank()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: bank.front})
	p := serve(t, withLimits(t, w, fmt.Sprintf("{inFlight: %d}", all)))
	open, consent := bank.shut(t), fresh()
	held := asking(all/2, func(int) answered { return ask(p.API+wood+"/accounts", under(consent)...) })
	awaitArrivals(t, bank, 1)
	gatewaytest.Eventually(t, "half of the places are taken", func() bool { return active(t, p) >= all/2 })
	for range callers {
		for _, header := range [][]string{under(consent), present(consent)} {
			if a := ask(p.API+wood+"/accounts", header...); !a.refused() {
				t.Errorf("one more: %v", a)
			}
		}
		if a := ask(p.API+river+"/accounts", present(fresh())...); a.status != 200 {
			t.Errorf("another bank: %v", a)
		}
	}
	open()
	for range all / 2 {
		if a := <-held; a.status != 200 {
			t.Errorf("held: %v", a)
		}
	}
	if n := reached(w.Ledger)[consent]; n != 1 {
		t.Errorf("%d calls, want one", n)
	}
}

// active is how many requests are under way, as the metrics tell.
func active(t *testing.T, p *process) int {
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

// One client does not take the places of another.
func TestClientDoesNotTakeEveryPlace(t *testing.T) {
	bank := newHeldBank()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: bank.front})
	p := serve(t, withLimits(t, w, "{perClient: 2}"))
	open := bank.shut(t)
	held := asking(2, func(int) answered { return ask(p.API+wood+balances, present(fresh())...) })
	awaitArrivals(t, bank, 2)
	for _, path := range []string{"/v1/aspsps", wood, river + "/accounts", wood + "/unattended-access"} {
		if a := ask(p.API+path, present(fresh())...); !a.refused() {
			t.Errorf("%s: %v", path, a)
		}
	}
	if a := ask(p.API+river+"/accounts", append(present(fresh()), "X-API-Key", "other")...); a.status != 200 {
		t.Errorf("another client: %v", a)
	}
	if a := ask(p.API+"/v1/aspsps", "X-API-Key", "nobody"); a.status != 401 {
		t.Errorf("nobody: %v", a)
	}
	if _, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics"); !strings.Contains(metrics, `ais_overload_refusals_total{reason="client"`) {
		t.Error("the refusals are not counted")
	}
	open()
	for range 2 {
		if a := <-held; a.status != 200 {
			t.Errorf("held: %v", a)
		}
	}
	if a := ask(p.API + "/v1/aspsps"); a.status != 200 {
		t.Errorf("afterwards: %v", a)
	}
}

// many lets the bank have so many accounts that a list does not fit into what systems keep for a connection.
func many(_ string, bank http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		bank.ServeHTTP(answer, r)
		var list map[string]any
		accounts := []any(nil)
		if json.Unmarshal(answer.Body.Bytes(), &list) == nil {
			accounts, _ = list["accounts"].([]any)
		}
		if len(accounts) == 0 {
			rw.WriteHeader(answer.Code)
			_, _ = rw.Write(answer.Body.Bytes())
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

// unreads is how often unread asks: more than the system takes on its own account.
const unreads = 8

// unread asks for something time and again, and reads nothing of the answers.
func unread(t *testing.T, p *process, path string, header ...string) net.Conn {
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
	if _, err := io.WriteString(conn, strings.Repeat(request+"\r\n", unreads)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Callers who do not read what they asked for keep their places until they are cut off. While all places are taken
// everybody is refused at once, and afterwards nobody.
func TestCallersWhoDoNotRead(t *testing.T) {
	t.Parallel()
	const all = 4
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: many})
	p := serve(t, withLimits(t, w, fmt.Sprintf("{inFlight: %d}", all), `consumerKey:`, `timeout: 30s, consumerKey:`, `mypos: {`, `mypos: {timeout: 30s, `))
	consent := fresh()
	var size int
	gatewaytest.Eventually(t, "the list is kept", func() bool {
		a := ask(p.API+wood+"/accounts", present(consent)...)
		size = len(a.body)
		return strings.Contains(a.header.Get("Cache-Status"), "hit")
	})
	var conns []net.Conn
	for range all {
		conns = append(conns, unread(t, p, wood+"/accounts", present(consent)...))
	}
	settled := 0
	gatewaytest.Eventually(t, "every place is taken, and stays so", func() bool {
		settled++
		if n := active(t, p); n != all {
			settled = 0
			if n < all && len(conns) < 50 { // one of them came while an earlier request had its place
				conns = append(conns, unread(t, p, wood+"/accounts", present(consent)...))
			}
		}
		time.Sleep(20 * time.Millisecond)
		return settled > 10 // long before the first one is cut off, after more than a minute
	})
	for _, path := range []string{"/v1/aspsps", wood, wood + "/accounts", wood + balances, wood + "/unattended-access"} {
		if a := ask(p.API+path, present(fresh())...); !a.refused() {
			t.Errorf("%s: %v", path, a)
		}
	}
	if a := ask(p.API + "/openapi.yaml"); a.status != 200 {
		t.Errorf("the contract: %v", a)
	}
	if _, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics"); !strings.Contains(metrics, `ais_overload_refusals_total{reason="in_flight"`) {
		t.Error("the refusals are not counted")
	}
	conns[0].Close()
	gatewaytest.Eventually(t, "a place is free", func() bool { return ask(p.API+"/v1/aspsps").status == 200 })
	gatewaytest.Eventually(t, "callers who do not read are cut off", func() bool { return active(t, p) == 0 })
	_ = conns[1].SetDeadline(time.Now().Add(2 * time.Minute))
	if rest, _ := io.ReadAll(conns[1]); len(rest) >= unreads*size {
		t.Errorf("all answers of %d bytes each were there to be read", size)
	}
}

// Callers who send a body that no call has, and do not end it, are cut off on every route.
func TestCallersWhoNeverEnd(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	began := time.Now()
	ends := make(chan string)
	n := 0
	for _, line := range []string{
		"GET /v1/aspsps", "GET " + wood, "GET " + wood + "/accounts", "GET " + wood + balances, "GET " + wood + "/unattended-access",
		"DELETE " + wood + "/cached-data", "GET /openapi.yaml", "GET /nowhere", "POST /v1/aspsps",
	} {
		for _, body := range []string{"Content-Length: 100\r\n\r\nx", "Content-Length: 100000000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nx"} {
			n++
			go func() {
				conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
				if err != nil {
					ends <- err.Error()
					return
				}
				defer conn.Close()
				_ = conn.SetDeadline(began.Add(5 * time.Minute))
				_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: a\r\nX-API-Key: "+sandbox.Key+"\r\nConsent-ID: a\r\n"+body)
				if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
					ends <- line + ", " + body[:17] + ": " + err.Error()
					return
				}
				ends <- ""
			}()
		}
	}
	for range n {
		if end := <-ends; end != "" {
			t.Error(end)
		}
	}
	gatewaytest.Eventually(t, "none of them is under way", func() bool { return active(t, p) == 0 })
}

// Connections without an end do not take the files that calls to banks need: beyond a number, one waits for another.
func TestConnectionsAreBounded(t *testing.T) {
	const most = 4 + 64
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, withLimits(t, w, "{inFlight: 1}"))
	http.DefaultClient.CloseIdleConnections()
	for {
		var conns []net.Conn
		began := time.Now()
		for range most {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		one := asking(1, func(int) answered { return ask(p.API + "/v1/aspsps") })
		early := false
		select {
		case a := <-one:
			if early = time.Since(began) > 4*time.Second; !early { // connections without a request end after five
				t.Fatalf("one connection more is served: %v", a)
			}
		case <-time.After(time.Second):
		}
		for _, conn := range conns {
			conn.Close()
		}
		if early {
			continue // the machine was too slow to see anything
		}
		if a := <-one; a.status != 200 {
			t.Errorf("once others have gone: %v", a)
		}
		return
	}
}

// Callers who keep connections open on which they ask nothing more do not take those of others.
func TestIdleConnectionsLockNobodyOut(t *testing.T) {
	const most = 4 + 64
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, withLimits(t, w, "{inFlight: 1}"))
	http.DefaultClient.CloseIdleConnections()
	for range 2 * most {
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
	if a := ask(p.API + "/v1/aspsps"); a.status != 200 {
		t.Errorf("the next caller: %v", a)
	}
}
