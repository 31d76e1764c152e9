package gateway_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// newTLSClient returns a client that trusts an authority. It sends its own certificate, if
// there is one.
func newTLSClient(ca *certtest.Pair, own ...*certtest.Pair) *http.Client {
	config := ca.Client(own...)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: config}}
}

// serverName returns the name in the certificate that the server sends on a new connection.
func serverName(t *testing.T, address string, ca, own *certtest.Pair) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, ca.Client(own))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// TestMutualTLS: with clientCAFile, the API accepts only clients with a certificate of that
// authority. The server's certificate and the authority are replaced under load.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, clientCA, laterCA, otherCA := certtest.CA(t, "ca"), certtest.CA(t, "callers"), certtest.CA(t, "later"), certtest.CA(t, "strangers")
	first, second := ca.Issue("first"), ca.Issue("second")
	secrets := newVolume(t, map[string]string{"tls.crt": first.PEM, "tls.key": first.KeyPEM, "ca.crt": clientCA.PEM})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+
		"', keyFile: '"+secrets.path("tls.key")+"', clientCAFile: '"+secrets.path("ca.crt")+"'}, ")
	p := serve(t, file)
	address := strings.TrimPrefix(p.API, "http://")
	p.API = "https://" + address
	list := newRequest(t, p.API+woodPath+"/accounts", "Consent-ID", mastercardsim.Consent)
	caller, laterCaller := clientCA.Issue("caller"), laterCA.Issue("latecomer")
	good := newTLSClient(ca, caller)
	expect := func(name string, client *http.Client, accepted bool) {
		t.Helper()
		status, body := do(client, list)
		if accepted && status != http.StatusOK || !accepted && (status != 0 || !strings.Contains(body, "tls: ")) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	expect("a caller", good, true)
	expect("no certificate", newTLSClient(ca), false)
	expect("another authority", newTLSClient(ca, otherCA.Issue("caller")), false)
	expect("an authority that is not configured yet", newTLSClient(ca, laterCaller), false)
	expect("the server's authority", newTLSClient(ca, ca.Issue("caller")), false)
	if status, body := do(good, newRequest(t, p.API+woodPath, "X-API-Key", "none")); status != http.StatusUnauthorized {
		t.Errorf("a certificate with a wrong API key: %d %s", status, body)
	}
	resp, err := good.Do(list)
	if err != nil || resp.Proto != "HTTP/1.1" || resp.TLS.Version != tls.VersionTLS13 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	if resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != http.StatusOK {
		t.Errorf("admin: %d %s", resp.StatusCode, body)
	}
	config := ca.Client(caller)
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	conn, err := tls.Dial("tcp", address, config)
	if err == nil {
		conn.Close()
		t.Error("the API accepts TLS 1.1")
	}

	stop := sendSteadily(t, good, list)
	secrets.swap(map[string]string{"tls.crt": second.PEM, "tls.key": second.KeyPEM, "ca.crt": clientCA.PEM + laterCA.PEM})
	p.waitForLog(reloadedMsg, "server_tls", 1)
	if name := serverName(t, address, ca, caller); name != "second" {
		t.Errorf("the certificate on a new connection is %q", name)
	}
	expect("the added authority", newTLSClient(ca, laterCaller), true)
	stop()

	// After its authority is removed, a caller gets one more response on an open connection, and no
	// new connection.
	old := dialTLS(t, address, ca, caller)
	if closing := old(); closing {
		t.Error("the response on a new connection has `Connection: close`")
	}
	expect("a caller", good, true)
	secrets.swap(map[string]string{"ca.crt": laterCA.PEM})
	p.waitForLog(reloadedMsg, "server_tls", 2)
	if closing := old(); !closing {
		t.Error("the response on an earlier connection does not have `Connection: close`")
	}
	good.CloseIdleConnections()
	expect("the removed authority", good, false)
	expect("the remaining authority", newTLSClient(ca, laterCaller), true)
	refused := p.logLines("client connection failed", "")
	if len(refused) < 5 || strings.Contains(strings.Join(refused, ""), "127.0.0.1") {
		t.Errorf("log lines of refused connections: %v", refused)
	}
}

// dial opens a TCP connection until the test ends.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialTLS opens a connection. It returns a function that sends a request on it and reports whether
// the response announces that the connection closes.
func dialTLS(t *testing.T, address string, ca, own *certtest.Pair) func() bool {
	t.Helper()
	conn := tls.Client(dial(t, address), ca.Client(own))
	reader := bufio.NewReader(conn)
	return func() bool {
		t.Helper()
		r := newRequest(t, "https://"+address+"/v1/aspsps")
		if err := r.Write(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(reader, r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %v", resp.StatusCode, err)
		}
		return resp.Close
	}
}

// TestSlowCallersOverTLS: with TLS, the gateway closes connections of callers that are slow in the
// handshake or in the header. It refuses plain HTTP.
func TestSlowCallersOverTLS(t *testing.T) {
	t.Parallel()
	ca := certtest.CA(t, "ca")
	api := ca.Issue("api")
	secrets := newVolume(t, map[string]string{"tls.crt": api.PEM, "tls.key": api.KeyPEM})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, "))
	address := strings.TrimPrefix(p.API, "http://")
	if status, body := do(newTLSClient(ca), newRequest(t, "https://"+address+"/v1/aspsps")); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP gets %d", resp.StatusCode)
	}
	headers := tls.Client(dial(t, address), ca.Client())
	if _, err := io.WriteString(headers, "GET /v1/aspsps HTTP/1.1\r\nHost: a\r\nX-A: "); err != nil {
		t.Fatal(err)
	}
	hello := dial(t, address)
	if _, err := hello.Write([]byte{22, 3, 1, 2, 0}); err != nil {
		t.Fatal(err)
	}
	for phase, conn := range map[string]net.Conn{"handshake": hello, "header": headers} {
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			if late, ok := err.(net.Error); ok && late.Timeout() { //nolint:errorlint // as it is returned
				t.Errorf("the gateway does not close a connection that is slow in the %s", phase)
			}
		}
	}
}

// TestTLSFaultsAreReported: certificate files of the API that are invalid or do not match are
// faults of the configuration.
func TestTLSFaultsAreReported(t *testing.T) {
	ca := certtest.CA(t, "ca")
	secrets := newVolume(t, map[string]string{"tls.crt": ca.Issue("api").PEM, "tls.key": ca.Issue("api").KeyPEM})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"', clientCAFile: '"+secrets.path("tls.key")+"'}, ")
	for _, command := range []string{"check", "serve"} {
		p := start(t, nil, command, "--config", file)
		out := ""
		if code := p.Wait(); code == 1 {
			out = p.Stdout.String() + p.Stderr.String()
		}
		for _, want := range []string{"server.tls.keyFile (line 2): ", "server.tls.clientCAFile (line 2): "} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the output has no %s: %q", command, want, out)
			}
		}
	}
}
