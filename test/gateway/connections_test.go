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

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// persistentConn is a connection for several requests, one after the other.
type persistentConn struct {
	net.Conn
	responses *bufio.Reader
}

// dialPersistent connects to the host of a URL.
func dialPersistent(t *testing.T, url string) *persistentConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
	return &persistentConn{conn, bufio.NewReader(conn)}
}

// get sends a request. It returns the status, and whether the response announces that the
// connection closes.
func (k *persistentConn) get(path string, headers ...string) (status int, closes bool, err error) {
	text := "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
	if len(headers) == 0 {
		text = "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	}
	if _, err := io.WriteString(k, strings.TrimSuffix(text, "\r\n\r\n")+"\r\n\r\n"); err != nil {
		return 0, false, err
	}
	return k.readResponse()
}

// readResponse reads a response. It returns the status, and whether the response announces that the
// connection closes.
func (k *persistentConn) readResponse() (status int, closes bool, err error) {
	resp, err := http.ReadResponse(k.responses, nil)
	if err != nil {
		return 0, false, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close, err
}

// waitForClose waits until the gateway closes the connection. It returns an error if the gateway
// sends anything before that.
func (k *persistentConn) waitForClose() error {
	rest, err := io.ReadAll(k.responses)
	if len(rest) > 0 {
		return fmt.Errorf("%d more bytes: %.80q", len(rest), rest)
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// TestIdleClientConnectionsAreKept: if there are too many connections, the gateway closes the
// longest idle one without credentials. It does not close those of clients. A response after which
// the connection closes has `Connection: close`.
func TestIdleClientConnectionsAreKept(t *testing.T) {
	const maxConns = (4 + 64) / 2
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, withLimits(t, w, "{inFlight: 1}"))
	http.DefaultClient.CloseIdleConnections()
	anonymous := make([]*persistentConn, maxConns)
	for i := range anonymous {
		anonymous[i] = dialPersistent(t, p.API)
		if status, closes, err := anonymous[i].get("/openapi.yaml"); status != 200 || closes || err != nil {
			t.Fatalf("anonymous connection %d: %d, closes %v, %v", i, status, closes, err)
		}
	}
	closed := make(chan error, maxConns) // a message for each anonymous connection that closes
	for _, s := range anonymous {
		go func() { closed <- s.waitForClose() }()
	}
	const key = "X-API-Key: " + sandbox.Key
	clients := make([]*persistentConn, maxConns)
	for i := range clients {
		clients[i] = dialPersistent(t, p.API)
		if status, closes, err := clients[i].get("/v1/aspsps", key); status != 200 || closes || err != nil {
			t.Fatalf("client %d: %d, closes %v, %v", i, status, closes, err)
		}
		if err := <-closed; err != nil { // the one that has been idle longest; it must close without another response
			t.Errorf("an anonymous connection: %v", err)
		}
	}
	for name, headers := range map[string][]string{"one more client": {key}, "one more anonymous connection": nil, "a wrong key": {"X-API-Key: wrong"}} {
		one := dialPersistent(t, p.API)
		if status, closes, err := one.get("/v1/aspsps", headers...); !closes || err != nil {
			t.Errorf("%s: %d, closes %v, %v", name, status, closes, err)
		}
		if err := one.waitForClose(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, c := range clients {
		if status, closes, err := c.get("/v1/aspsps", key); status != 200 || closes || err != nil {
			t.Errorf("client %d, again: %d, closes %v, %v", i, status, closes, err)
		}
	}
}

// TestAmbiguousRequestEnds: a request whose end is ambiguous gets 400, and the bytes after it are
// not read as a request. This holds on both ports, with and without TLS.
func TestAmbiguousRequestEnds(t *testing.T) {
	ca := certtest.CA(t, "ca")
	api := ca.Issue("api")
	secrets := newVolume(t, map[string]string{"tls.crt": api.PEM, "tls.key": api.KeyPEM})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	plain := serve(t, w.ConfigFile)
	secure := serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, "))
	const smuggled = "GET /v1/aspsps HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: " + sandbox.Key + "\r\n\r\n"
	requests := map[string]string{
		"both headers":           "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both headers, reversed": "HTTP/1.1\r\nHost: 127.0.0.1\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n",
		"two lengths":            "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"chunks in HTTP/1.0":     "HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a folded header":        "HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
		"a bare line feed":       "HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	}
	secureAPI := func() *persistentConn {
		conn := tls.Client(dialPersistent(t, secure.API).Conn, ca.Client())
		return &persistentConn{conn, bufio.NewReader(conn)}
	}
	for port, dial := range map[string]func() *persistentConn{
		"API":       func() *persistentConn { return dialPersistent(t, plain.API) },
		"TLS":       secureAPI,
		"the admin": func() *persistentConn { return dialPersistent(t, plain.Admin) },
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
			if status, closes, err := conn.readResponse(); status != 400 || !closes || err != nil {
				t.Errorf("%s, %s: %d, closes %v, %v", port, name, status, closes, err)
			}
			if err := conn.waitForClose(); err != nil {
				t.Errorf("%s, %s: %v", port, name, err)
			}
		}
		conn := dial()
		if status, closes, err := conn.get(good, "Content-Length: 3", "", "abcGET "+good+" HTTP/1.1", "Host: 127.0.0.1"); status != 200 || closes || err != nil {
			t.Errorf("%s, a body: %d, closes %v, %v", port, status, closes, err)
		}
		if status, closes, err := conn.readResponse(); status != 200 || closes || err != nil {
			t.Errorf("%s, after a body: %d, closes %v, %v", port, status, closes, err)
		}
		if status, closes, err := conn.get(good, "Transfer-Encoding: chunked", "", "0"); status != 200 || !closes || err != nil {
			t.Errorf("%s, chunks: %d, closes %v, %v", port, status, closes, err)
		}
	}
}

// TestAdminRefusesOtherHosts: on loopback, the admin address accepts only `localhost` and IP
// addresses as Host, so that no web page can reach it by DNS rebinding.
func TestAdminRefusesOtherHosts(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {profiling: true, "))
	for host, want := range map[string]int{"localhost:9090": 200, "127.0.0.1": 200, "[::1]:1": 200, "evil.example": 421, "evil.example:9090": 421} {
		for _, path := range []string{"/livez", "/readyz", "/metrics", "/debug/pprof/heap"} {
			r := newRequest(t, p.Admin+path)
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
