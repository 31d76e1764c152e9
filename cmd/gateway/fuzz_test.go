package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"

	contract "ais-gateway/api"
	gateway "ais-gateway/cmd/gateway"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

const wood = "/v1/aspsps/" + mastercardsim.WoodBank

// inProcess runs the service in the test's process, so that coverage guides the fuzzing. It uses
// the given bad servers, or simulators for other providers. Its breakers stay closed.
func inProcess(f *testing.F, servers ...*badServer) (api string, logs *gatewaytest.Output) {
	f.Helper()
	w, err := sandbox.Start(context.Background(), sandbox.Options{
		Address: "127.0.0.1:0", Redis: "{mode: standalone, addresses: ['" + redistest.Start(f).Addr + "']}",
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(w.Stop)
	file, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		f.Fatal(err)
	}
	text := string(file)
	for _, s := range servers {
		text = withBaseURL(text, s, badTimeout)
	}
	entry := regexp.MustCompile(`\{id: [^,]*, name: [^,]*, provider: \w+`)
	text = entry.ReplaceAllString(text, "$0, breaker: {consecutiveFailures: 4294967295, minimumCalls: 4294967295}")
	name := filepath.Join(f.TempDir(), "gateway.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	logs = &gatewaytest.Output{}
	api, stop, err := gateway.Run(context.Background(), name, logs)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(stop)
	return api, logs
}

// FuzzResponse checks for random bytes from a provider that the caller gets a response of the
// contract in time, that nothing panics, and that no text of the provider is in a problem or in the
// log.
func FuzzResponse(f *testing.F) {
	var banks []*badServer
	for _, provider := range badProviders {
		banks = append(banks, openBadServer(f, provider))
	}
	api, logs := inProcess(f, banks...)
	validate := responseValidator(f)
	for _, answer := range seedResponses() {
		for i := range 4 * len(banks) {
			f.Add(byte(i/4), i&1 != 0, i&2 != 0, []byte(answer))
		}
	}
	client := &http.Client{Timeout: badTimeout + 10*time.Second}
	f.Fuzz(func(t *testing.T, provider byte, balances, attended bool, answer []byte) {
		bank, consent := banks[int(provider)%len(banks)], uuid.NewString()
		bank.respondTo(consent, func(conn *badConn, q providerRequest) {
			of := strings.NewReplacer("{requestId}", q.requestID, "{account}", accountOf(q.provider), "{length}", fmt.Sprint(len(q.good())), "{good}", q.good(),
				"{host}", q.host)
			_, _ = of.WriteString(conn, string(answer))
		})
		defer bank.respondTo(consent, nil)
		route, path := "/v1/aspsps/{aspspId}/accounts", "/v1/aspsps/"+aspspOf(bank.provider)+"/accounts"
		if balances {
			route, path = route+"/{accountId}/balances", path+"/"+accountOf(bank.provider)+"/balances"
		}
		req, err := http.NewRequest(http.MethodGet, api+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"X-Api-Key": {sandbox.Key}, "Consent-Id": {consent}, "Provider-Authorization": {"Bearer " + consent}}
		if attended {
			req.Header.Set("PSU-IP-Address", "203.0.113.7")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if bank.calls(consent) == 0 {
			t.Error("no call arrived")
		}
		if err := validate(route, req, resp, body); err != nil {
			t.Errorf("%d %s is not in the contract: %v", resp.StatusCode, body, err)
		}
		if resp.StatusCode == http.StatusInternalServerError || resp.StatusCode == http.StatusBadRequest {
			t.Errorf("answered %d %s", resp.StatusCode, body)
		}
		if out := fmt.Sprint(resp.Header, string(body)); resp.StatusCode != http.StatusOK && strings.Contains(out, canary) {
			t.Error("a problem contains text of the provider: " + out)
		}
		checkLog(t, logs)
	})
}

// checkLog fails the test if the log has text of providers or callers, or an error. It empties the
// log.
func checkLog(t *testing.T, o *gatewaytest.Output) {
	t.Helper()
	if text := o.Take(); strings.Contains(text, canary) || strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("the log: %s", text)
	}
}

// responseValidator returns a function that returns an error if a response is not as in the
// contract. Extensible enums of the contract are treated as closed.
func responseValidator(f *testing.F) func(route string, req *http.Request, resp *http.Response, body []byte) error {
	f.Helper()
	document, err := openapi3.NewLoader().LoadFromData(bytes.ReplaceAll(contract.Contract, []byte("x-extensible-enum:"), []byte("enum:")))
	if err != nil {
		f.Fatal(err)
	}
	return func(route string, req *http.Request, resp *http.Response, body []byte) error {
		item := document.Paths.Value(route)
		options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
		in := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: req, Options: options,
				Route: &routers.Route{Spec: document, Path: route, PathItem: item, Method: req.Method, Operation: item.GetOperation(req.Method)},
			},
			Status: resp.StatusCode, Header: resp.Header, Options: options,
		}
		return openapi3filter.ValidateResponse(context.Background(), in.SetBodyBytes(body))
	}
}

// seedResponses returns complete responses. Names in braces are replaced by values of the request.
func seedResponses() []string {
	const ok, closed = "HTTP/1.1 200 OK\r\nX-Request-ID: {requestId}\r\nContent-Type: application/json\r\n", "Connection: close\r\n\r\n"
	return []string{
		ok + "Content-Length: {length}\r\n\r\n{good}",
		ok + closed + `{"originalRequestInfo":{"xRequestId":"{requestId}"},"accounts":[{"resourceId":"{account}","accountNumber":"70000170000005","currency":"USD","accountType":"CACC","schemeName":"BBAN","holderName":"` + canary + `","iban":"BG57INTF40015004462007","status":"enabled","cashAccountType":"E-Money","accountPsuRelations":[{"typeOfRelation":"Owner"}]}],"account":{"resourceId":"{account}","accountNumber":"{account}","iban":"BG57INTF40015004462007","balances":[{"balanceAmount":{"currency":"GBP","amount":102.56},"balanceType":"Available","creditDebitIndicator":"CREDIT","dateTime":"2019-03-21T10:33:13.001Z"}]},"balances":[{"amount":-4.200,"currency":"PLN","balanceType":"available"}]}`,
		ok + closed + `{"accounts":[],"pagination":{"page":1,"size":10,"total":1,"totalPages":1}}`,
		ok + closed + `{"accounts":[{"accountNumber":"1"}],"pagination":{"page":0,"total":2}}`,
		ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: " + canary + "\r\n\r\n",
		ok + "Content-Encoding: gzip\r\n" + closed + "\x1f\x8b\x08",
		ok + closed + `{"accounts":[{"_links":{"balances":{"href":"/v1/accounts/{account}/balances"}},"currency":"PLN","cashAccountType":"CARD","maskedPan":"555555XXXXXX4444","usage":"PRIV","ownerName":"` + canary + `","balances":[]}],"account":{"iban":"BG57INTF40015004462007"},"balances":[{"balanceAmount":{"currency":"PLN","amount":"-4.20"},"balanceType":"CLOSING_BOOKED","lastChangeDateTime":"2026-11-20 08:00:01","referenceDate":null}],"tppMessages":[{"category":"WARNING","code":"X"}]}`,
		ok + closed + `{"accounts":[],"balances":[],"_links":{"next":{"href":"http://{host}/v1/accounts?page=2"}}}`,
		ok + closed + `{"Data":{"Account":[{"AccountId":"{account}","Currency":"GBP","AccountType":"Personal","AccountSubType":"CreditCard","Nickname":"` + canary + `","Account":[{"SchemeName":"UK.OBIE.SortCodeAccountNumber","Identification":"80200110203345","Name":"` + canary + `"},{"SchemeName":"UK.OBIE.PAN","Identification":"5555555555554444"}]}],"Balance":[{"AccountId":"{account}","Amount":{"Amount":"4.20","Currency":"GBP","SubType":"BaseCurrency"},"CreditDebitIndicator":"Debit","Type":"InterimBooked","DateTime":"2026-11-20T08:00:01Z"}]},"Meta":{"TotalPages":1}}`,
		ok + closed + `{"Data":{"Account":[],"Balance":[]},"Links":{"Next":"?page=2"},"Meta":{"TotalPages":3}}`,
		"HTTP/1.1 403 No\r\n" + closed + `{"Code":"403","Message":"` + canary + `","Errors":[{"ErrorCode":"UK.OBIE.Reauthenticate","Message":"` + canary + `","Path":"` + canary + `"}]}`,
		"HTTP/1.1 400 No\r\n" + closed + `{"Errors":{"Error":[{"Source":"OBC","ReasonCode":" PROVIDER_ERROR ","Description":"New SCA required"},{"Description":"` + canary + `","ReasonCode":"` + canary + `"}]}}`,
		"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=" + canary + "\r\n" + closed + `{"tppMessages":[{"category":"ERROR","code":"CONSENT_EXPIRED","text":"` + canary + `"}]}`,
		"HTTP/1.1 429 No\r\nRetry-After: 99999\r\n" + closed + `{"code":429,"description":"Maximum access quota is reached! ` + canary + `"}`,
		"HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n" + closed + "<html>" + canary,
		"HTTP/1.1 302 Found\r\nLocation: http://" + canary + "/\r\n" + closed,
		"HTTP/1.1 103 Early Hints\r\nLink: <" + canary + ">\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 404 No\r\n\r\n" + canary, "HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "SSH-2.0-" + canary + "\r\n", "",
	}
}

// FuzzRequest checks for random bytes from a caller that the service responds with a known status
// or closes the connection in time, and that responses and log do not contain the caller's text.
func FuzzRequest(f *testing.F) {
	api, logs := inProcess(f)
	head := "Host: x\r\nX-API-Key: " + sandbox.Key + "\r\n"
	for _, request := range []string{
		"GET " + wood + "/accounts HTTP/1.1\r\n" + head + "Consent-ID: " + mastercardsim.Consent + "\r\nPSU-IP-Address: 203.0.113.7\r\n\r\n",
		"GET " + wood + "/accounts HTTP/1.1\r\n" + head + "Consent-ID: " + canary + "\r\nCache-Control: only-if-cached\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"GET " + wood + "/accounts/%2e%2e%2F" + canary + "/balances HTTP/1.1\r\n" + head + "Consent-ID: x\r\nconsent-id: y\r\n\r\n",
		"DELETE " + wood + "/cached-data HTTP/1.1\r\n" + head + "Consent-ID: " + canary + "\r\nContent-Length: 3\r\n\r\nabc",
		"GET http://" + canary + "/v1/aspsps?" + canary + " HTTP/1.1\r\n" + head + "Authorization: Bearer " + canary + "\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"POST /" + canary + " HTTP/1.1\r\n" + head + "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /openapi.yaml HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: \r\n\r\n", "\x16\x03\x01", "\r\n\r\n",
	} {
		f.Add([]byte(request))
	}
	known := []int{100, 200, 204, 400, 401, 403, 404, 405, 417, 429, 431, 499, 501, 502, 503, 504, 505}
	f.Fuzz(func(t *testing.T, request []byte) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(api, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		// The second request closes the connection if it is reached, and the timer if not.
		_, _ = io.WriteString(conn, string(request)+"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		defer time.AfterFunc(200*time.Millisecond, func() { _ = conn.(*net.TCPConn).CloseWrite() }).Stop()
		for read := bufio.NewReader(conn); ; {
			method := &http.Request{Method: http.MethodGet}
			if strings.HasPrefix(string(request), http.MethodHead) {
				method.Method = http.MethodHead
			}
			resp, err := http.ReadResponse(read, method)
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() {
				t.Error("no response in time")
			}
			if err != nil {
				break
			}
			body, _ := io.ReadAll(resp.Body)
			if !slices.Contains(known, resp.StatusCode) || strings.Contains(fmt.Sprint(resp.Header, string(body)), canary) {
				t.Errorf("answered %d %v %s", resp.StatusCode, resp.Header, body)
			}
		}
		checkLog(t, logs)
	})
}

// aspspOf returns an ASPSP of the sandbox that the provider serves.
func aspspOf(provider string) string {
	return map[string]string{
		"mastercard": mastercardsim.WoodBank, "mypos": sandbox.MyPOS, "berlingroup": sandbox.ElmBank, "obie": sandbox.HeronBank,
	}[provider]
}
