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

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// calling is a client that trusts an authority, and shows its certificate if it has one, whoever is asked to vouch for it.
func calling(ca *authority, own ...tls.Certificate) *http.Client {
	own = append(own, tls.Certificate{}) // which is none
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs: ca.pool(), MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own[0], nil },
	}}}
}

// shown is the name in the certificate that a new connection is shown.
func shown(t *testing.T, address string, ca *authority, own tls.Certificate) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// Nobody calls the API without a certificate that its authority vouches for; both are renewed while requests go on.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, callers, later, strangers := founded(t, "ca"), founded(t, "callers"), founded(t, "later"), founded(t, "strangers")
	certificate, key := ca.issue("first")
	secrets := mounted(t, map[string]string{"tls.crt": certificate, "tls.key": key, "ca.crt": callers.pem})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+
		"', keyFile: '"+secrets.path("tls.key")+"', clientCAFile: '"+secrets.path("ca.crt")+"'}, ")
	p := serve(t, file)
	address := strings.TrimPrefix(p.API, "http://")
	p.API = "https://" + address
	list := request(t, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent)
	caller, latecomer := callers.pair("caller"), later.pair("latecomer")
	good := calling(ca, caller)
	lets := func(who string, client *http.Client, in bool) {
		t.Helper()
		status, body := do(client, list)
		if in && status != http.StatusOK || !in && (status != 0 || !strings.Contains(body, "tls: ")) {
			t.Errorf("%s: %d %s", who, status, body)
		}
	}
	lets("a caller", good, true)
	lets("nobody", calling(ca), false)
	lets("a stranger", calling(ca, strangers.pair("caller")), false)
	lets("who comes too early", calling(ca, latecomer), false)
	lets("the gateway's own certificate", calling(ca, ca.pair("caller")), false)
	if status, body := do(good, request(t, p.API+wood, "X-API-Key", "none")); status != http.StatusUnauthorized {
		t.Errorf("a certificate is no key: %d %s", status, body)
	}
	resp, err := good.Do(list)
	if err != nil || resp.Proto != "HTTP/1.1" || resp.TLS.Version != tls.VersionTLS13 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	if resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != http.StatusOK {
		t.Errorf("admin: %d %s", resp.StatusCode, body)
	}
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{caller}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		conn.Close()
		t.Error("TLS 1.1 is spoken")
	}

	stop := steadily(t, good, list)
	next, nextKey := ca.issue("second")
	secrets.swap(map[string]string{"tls.crt": next, "tls.key": nextKey, "ca.crt": callers.pem + later.pem})
	p.awaits(renewed, "server_tls", 1)
	if name := shown(t, address, ca, caller); name != "second" {
		t.Errorf("new connections are shown %q", name)
	}
	lets("who came too early", calling(ca, latecomer), true)
	stop()

	// Who is no longer vouched for has one answer more on a connection that stands, and no other connection.
	old := dialled(t, address, ca, caller)
	if closing := old(); closing {
		t.Error("a connection ends that was made just now")
	}
	lets("a caller", good, true)
	secrets.swap(map[string]string{"ca.crt": later.pem})
	p.awaits(renewed, "server_tls", 2)
	if closing := old(); !closing {
		t.Error("a connection from before goes on")
	}
	good.CloseIdleConnections()
	lets("who was vouched for", good, false)
	lets("who is", calling(ca, latecomer), true)
	refused := p.lines("client connection failed", "")
	if len(refused) < 5 || strings.Contains(strings.Join(refused, ""), "127.0.0.1") {
		t.Errorf("of those who were refused is logged: %v", refused)
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialled is one connection that makes a request each time, and says whether the answer ends it.
func dialled(t *testing.T, address string, ca *authority, own tls.Certificate) func() bool {
	t.Helper()
	conn := tls.Client(dial(t, address), &tls.Config{ServerName: "127.0.0.1", RootCAs: ca.pool(), Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	answers := bufio.NewReader(conn)
	return func() bool {
		t.Helper()
		r := request(t, "https://"+address+"/v1/aspsps")
		if err := r.Write(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, r)
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

// With TLS too, callers who are slow are cut off: in the handshake, in a header, and on a connection that has served.
func TestSlowCallersOverTLS(t *testing.T) {
	t.Parallel()
	ca := founded(t, "ca")
	certificate, key := ca.issue("api")
	secrets := mounted(t, map[string]string{"tls.crt": certificate, "tls.key": key})
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, "))
	address := strings.TrimPrefix(p.API, "http://")
	if status, body := do(calling(ca), request(t, "https://"+address+"/v1/aspsps")); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %d", resp.StatusCode)
	}
	headers := tls.Client(dial(t, address), &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	if _, err := io.WriteString(headers, "GET /v1/aspsps HTTP/1.1\r\nHost: a\r\nX-A: "); err != nil {
		t.Fatal(err)
	}
	hello := dial(t, address)
	if _, err := hello.Write([]byte{22, 3, 1, 2, 0}); err != nil {
		t.Fatal(err)
	}
	for who, conn := range map[string]net.Conn{"in the handshake": hello, "in a header": headers} {
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			if late, ok := err.(net.Error); ok && late.Timeout() { //nolint:errorlint // as it is returned
				t.Errorf("who is slow %s is borne", who)
			}
		}
	}
}

// A certificate that is not for the API is a fault of the file, before anything listens.
func TestTLSFaultsAreTold(t *testing.T) {
	ca := founded(t, "ca")
	certificate, _ := ca.issue("api")
	_, other := ca.issue("api")
	secrets := mounted(t, map[string]string{"tls.crt": certificate, "tls.key": other})
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
				t.Errorf("%s: no %s in %q", command, want, out)
			}
		}
	}
}
