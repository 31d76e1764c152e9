package gateway_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// A kept connection makes one request after the other.
type kept struct {
	net.Conn
	responses *bufio.Reader
}

// dialKept connects to a URL's host.
func dialKept(t *testing.T, url string) *kept {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
	return &kept{conn, bufio.NewReader(conn)}
}

// get sends a request, and returns its status and whether the response ends the connection.
func (k *kept) get(path string, headers ...string) (status int, closes bool, err error) {
	text := "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
	if len(headers) == 0 {
		text = "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	}
	if _, err := io.WriteString(k, strings.TrimSuffix(text, "\r\n\r\n")+"\r\n\r\n"); err != nil {
		return 0, false, err
	}
	return k.read()
}

func (k *kept) read() (status int, closes bool, err error) {
	resp, err := http.ReadResponse(k.responses, nil)
	if err != nil {
		return 0, false, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close, err
}

// ended waits until the other side has closed the connection, without another response.
func (k *kept) ended() error {
	rest, err := io.ReadAll(k.responses)
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes more: %.80q", len(rest), rest)
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// Connections of clients are kept while there are others without credentials, of which the oldest goes first. Every
// response after which its connection ends says so.
func TestIdleConnectionsOfClientsStay(t *testing.T) {
	const most = (4 + 64) / 2
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, withLimits(t, w, "{inFlight: 1}"))
	http.DefaultClient.CloseIdleConnections()
	strangers := make([]*kept, most)
	for i := range strangers {
		strangers[i] = dialKept(t, p.API)
		if status, closes, err := strangers[i].get("/openapi.yaml"); status != 200 || closes || err != nil {
			t.Fatalf("stranger %d: %d, closes %v, %v", i, status, closes, err)
		}
	}
	ended := make(chan error, most) // a message for each stranger whose connection ends
	for _, s := range strangers {
		go func() { ended <- s.ended() }()
	}
	const key = "X-API-Key: " + sandbox.Key
	clients := make([]*kept, most)
	for i := range clients {
		clients[i] = dialKept(t, p.API)
		if status, closes, err := clients[i].get("/v1/aspsps", key); status != 200 || closes || err != nil {
			t.Fatalf("client %d: %d, closes %v, %v", i, status, closes, err)
		}
		if err := <-ended; err != nil { // the one that has been idle longest, without a response to nothing
			t.Errorf("a stranger: %v", err)
		}
	}
	for name, headers := range map[string][]string{"one more client": {key}, "one more stranger": nil, "a wrong key": {"X-API-Key: wrong"}} {
		one := dialKept(t, p.API)
		if status, closes, err := one.get("/v1/aspsps", headers...); !closes || err != nil {
			t.Errorf("%s: %d, closes %v, %v", name, status, closes, err)
		}
		if err := one.ended(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, c := range clients {
		if status, closes, err := c.get("/v1/aspsps", key); status != 200 || closes || err != nil {
			t.Errorf("client %d, again: %d, closes %v, %v", i, status, closes, err)
		}
	}
}

// A request whose end two readers can see in different places is refused, and nothing that follows it on its connection is
// taken for a request: on both ports, with TLS and without.
func TestRequestsWithTwoEnds(t *testing.T) {
	ca := founded(t, "ca")
	certificate, key := ca.issue("api")
	secrets := mounted(t, map[string]string{"tls.crt": certificate, "tls.key": key})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	plain := serve(t, w.ConfigFile)
	secure := serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, "))
	const smuggled = "GET /v1/aspsps HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: " + sandbox.Key + "\r\n\r\n"
	requests := map[string]string{
		"both":                "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both, the other way": "HTTP/1.1\r\nHost: 127.0.0.1\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n",
		"two lengths":         "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"chunks in HTTP/1.0":  "HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a folded header":     "HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
		"a line that ends so": "HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	}
	secureAPI := func() *kept {
		conn := tls.Client(dialKept(t, secure.API).Conn, &tls.Config{ServerName: "127.0.0.1", RootCAs: ca.pool(), MinVersion: tls.VersionTLS12})
		return &kept{conn, bufio.NewReader(conn)}
	}
	for port, dial := range map[string]func() *kept{
		"API":       func() *kept { return dialKept(t, plain.API) },
		"TLS":       secureAPI,
		"the admin": func() *kept { return dialKept(t, plain.Admin) },
	} {
		path, good := "/v1/aspsps", "/openapi.yaml"
		if port == "the admin" {
			path, good = "/livez", "/livez"
		}
		for name, request := range requests {
			conn := dial()
			if status, closes, err := conn.get(good); status != 200 || closes || err != nil {
				t.Fatalf("%s: %d, closes %v, %v", port, status, closes, err)
			}
			if _, err := io.WriteString(conn, "GET "+path+" "+request+smuggled); err != nil {
				t.Fatal(err)
			}
			if status, closes, err := conn.read(); status != 400 || !closes || err != nil {
				t.Errorf("%s, %s: %d, closes %v, %v", port, name, status, closes, err)
			}
			if err := conn.ended(); err != nil {
				t.Errorf("%s, %s: %v", port, name, err)
			}
		}
		conn := dial()
		if status, closes, err := conn.get(good, "Content-Length: 3", "", "abcGET "+good+" HTTP/1.1", "Host: 127.0.0.1"); status != 200 || closes || err != nil {
			t.Errorf("%s, a body: %d, closes %v, %v", port, status, closes, err)
		}
		if status, closes, err := conn.read(); status != 200 || closes || err != nil {
			t.Errorf("%s, behind a body: %d, closes %v, %v", port, status, closes, err)
		}
		if status, closes, err := conn.get(good, "Transfer-Encoding: chunked", "", "0"); status != 200 || !closes || err != nil {
			t.Errorf("%s, chunks: %d, closes %v, %v", port, status, closes, err)
		}
	}
}

// The admin address on this machine responds to this machine's own names, and to no web page that gives itself its address.
func TestAdminRefusesOtherHosts(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	for host, want := range map[string]int{"localhost:9090": 200, "127.0.0.1": 200, "[::1]:1": 200, "evil.example": 421, "evil.example:9090": 421} {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			r := request(t, p.Admin+path)
			r.Host = host
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s%s: %d %v", host, path, resp.StatusCode, resp.Header)
			}
		}
	}
}
