package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	apiKey = "a-caller's-key"
	bank   = "4f1e2d3c-0000-4000-8000-000000000001"
)

// get sends a GET request with headers, given as names and values, and returns the status and the
// body.
func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// configure writes a configuration to the path where Kubernetes would mount it.
func configure(t *testing.T, root, provider string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
server: {address: "127.0.0.1:0", adminAddress: "127.0.0.1:0"}
redis: {mode: embedded}
clients: {apiKeys: [{name: caller, sha256: %x, scopes: ["accounts:read"]}]}
providers: {mastercard: {baseURL: "%s", consumerKey: "a!b", signingKeyFile: /etc/ais-gateway/key.pem}}
aspsps: [{id: %s, name: Wood Bank, provider: mastercard}]
`, sha256.Sum256([]byte(apiKey)), provider, bank)
	dir := filepath.Join(root, "etc", "ais-gateway")
	if err := errors.Join(
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "gateway.yaml"), []byte(config), 0o644),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o644),
	); err != nil {
		t.Fatal(err)
	}
}

// provider starts a TLS server that counts the requests that arrive. The image's certificate
// authorities do not include its certificate.
func provider(t *testing.T) (*httptest.Server, *atomic.Int64) {
	var calls atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, &calls
}

// TestServe: the image's entrypoint serves as user 65532 without capabilities on a read-only file
// system, writes nothing, and does not call a provider whose certificate it cannot verify.
func TestServe(t *testing.T) {
	server, calls := provider(t)
	root := unpacked(t)
	configure(t, root, server.URL)
	before := contents(t, root)
	p := container{Root: root, Args: []string{"serve", "--config", "/etc/ais-gateway/gateway.yaml"}}.start(t)
	api, admin := p.listening(t)
	status := read(t, fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	user := os.Getuid() // the user of the namespace, as seen from outside of it
	if user == 0 {
		user = uid
	}
	for _, want := range []string{`CapPrm:\t0{16}`, `CapEff:\t0{16}`, fmt.Sprintf(`Uid:\t%d\t`, user)} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(status) {
			t.Errorf("the status of the process has no %s:\n%s", want, status)
		}
	}
	if code, body := get(t, admin+"/readyz"); code != http.StatusOK || !strings.Contains(body, `"status":"ready"`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := get(t, api+"/v1/aspsps"); code != http.StatusUnauthorized {
		t.Errorf("without a key: %d %s", code, body)
	}
	if code, body := get(t, api+"/v1/aspsps", "X-API-Key", apiKey); code != http.StatusOK || !strings.Contains(body, bank) {
		t.Errorf("with a key: %d %s", code, body)
	}
	// The image's certificate authorities do not include that of the provider.
	if code, body := accounts(t, api); code != http.StatusServiceUnavailable || calls.Load() != 0 {
		t.Errorf("%d calls reached a provider that is not trusted: %d %s", calls.Load(), code, body)
	}
	p.stop(t)
	if after := contents(t, root); after != before {
		t.Errorf("files have changed: before\n%safter\n%s", before, after)
	}
}

// accounts reads the accounts of the bank through the gateway.
func accounts(t *testing.T, api string) (int, string) {
	t.Helper()
	return get(t, api+"/v1/aspsps/"+bank+"/accounts", "X-API-Key", apiKey, "Consent-ID", "c", "PSU-IP-Address", "203.0.113.7")
}

// TestRootsFileIsRead: the binary trusts a certificate authority that is added to the image's file.
func TestRootsFileIsRead(t *testing.T) {
	server, calls := provider(t)
	root := unpacked(t)
	configure(t, root, server.URL)
	file, err := os.OpenFile(filepath.Join(root, rootsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		err = errors.Join(pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	p := container{Root: root, Args: []string{"serve", "--config", "/etc/ais-gateway/gateway.yaml"}}.start(t)
	api, _ := p.listening(t)
	if code, body := accounts(t, api); calls.Load() == 0 {
		t.Errorf("the provider received no call: %d %s\n%s", code, body, &p.stdout)
	}
	p.stop(t)
}

// TestContainer: a process cannot write to the file system, and the entrypoint prints the version
// of the image.
func TestContainer(t *testing.T) {
	root := unpacked(t)
	p := container{Root: root, Args: []string{"sandbox"}}.start(t)
	if code := p.code(t); code != 1 || !regexp.MustCompile(`/tmp/.*(read-only file system|permission denied)`).MatchString(p.stderr.String()) {
		t.Errorf("exit %d\n%s%s", code, &p.stdout, &p.stderr)
	}
	p = container{Root: root, Args: []string{"version"}}.start(t)
	if code := p.code(t); code != 0 || !bytes.Equal([]byte(p.stdout.String()), []byte("gateway "+tested+"\n")) {
		t.Errorf("exit %d\n%s%s", code, &p.stdout, &p.stderr)
	}
}
