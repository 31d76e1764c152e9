package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// startProxy starts an HTTP proxy that connects each tunnel to address. It returns its URL and a
// function that returns the requests it has received.
func startProxy(t *testing.T, address string) (url string, requests func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.Method+" "+r.Host)
		mu.Unlock()
		out, err := net.Dial("tcp", address)
		if err != nil || r.Method != http.MethodConnect {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { defer in.Close(); _, _ = io.Copy(in, out) }()
		_, _ = io.Copy(out, in)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), all...)
	}
}

// TestProxyAndCA: the gateway uses the environment's proxy only with `proxy: environment`, and
// accepts certificates of the configured CA.
func TestProxyAndCA(t *testing.T) {
	const host = "bank.example.com" // only the proxy can reach it
	var secure *httptest.Server     // the simulator over TLS, with a certificate for example.com
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(provider string, bank http.Handler) http.Handler {
		if provider == "mastercard" {
			secure = httptest.NewTLSServer(bank)
		}
		return bank
	}})
	t.Cleanup(secure.Close)
	ca := t.TempDir() + "/ca.pem"
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	for _, tt := range []struct {
		name, keys string
		env        func(proxy string) []string
		status     int
		proxied    bool
	}{
		{"proxy and CA", "proxy: environment, caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, 200, true},
		{"no CA", "proxy: environment, ", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, 503, true},
		{"not configured", "caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p, "ALL_PROXY=" + p} }, 503, false},
		{"none", "proxy: none, caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, 503, false},
		{"not for this host", "proxy: environment, caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p, "NO_PROXY=.example.com"} }, 503, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy, requests := startProxy(t, secure.Listener.Addr().String())
			file := gatewaytest.EditConfig(t, w, func(text string) string {
				// The gateway refuses the sandbox's key if providers are not on loopback.
				text = strings.Replace(text, sha256Hex(sandbox.Key), sha256Hex(ownKey), 1)
				return regexp.MustCompile(`mastercard: \{baseURL: "[^"]*"`).ReplaceAllString(text, "mastercard: {"+tt.keys+`baseURL: "https://`+host+`"`)
			})
			p := serve(t, file, append([]string{"NO_PROXY=", "no_proxy="}, tt.env(proxy)...)...)
			consent := freshConsent()
			for _, header := range [][]string{attendedHeaders(freshConsent()), unattendedHeaders(consent)} {
				if resp := get(p.API+woodPath+balancesPath, append(header, "X-API-Key", ownKey)...); resp.status != tt.status {
					t.Errorf("%q: %v", header, resp)
				}
			}
			if resp := get(p.API+woodPath+"/unattended-access", append(unattendedHeaders(consent), "X-API-Key", ownKey)...); strings.Contains(resp.body, `"used":1`) != (tt.status == 200) {
				t.Errorf("counted calls: %v", resp)
			}
			for _, request := range requests() {
				if request != "CONNECT "+host+":443" {
					t.Errorf("the proxy received %s", request)
				}
			}
			if n := len(requests()); n > 0 != tt.proxied {
				t.Errorf("the proxy received %d requests", n)
			}
		})
	}
}

// TestInvalidProxy: an invalid proxy URL in the environment is a fault. The fault does not contain
// the URL, which may have a password.
func TestInvalidProxy(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.ReplaceInConfig(t, w, "mypos: {", "mypos: {proxy: environment, ")
	for proxy, fault := range map[string]bool{
		"": false, "http://u:CANARY@127.0.0.1:1": false, "127.0.0.1:1": false,
		"https://u:CANARY@127.0.0.1:1": true, "socks5://CANARY:1": true, "http://CANARY:%zz": true,
	} {
		check := exec.Command(gatewaytest.Binary(), "check", "--config", file)
		check.Env = append(check.Environ(), "HTTPS_PROXY="+proxy)
		out, err := check.CombinedOutput()
		if (err != nil) != fault || fault && !strings.Contains(string(out), "providers.mypos.proxy (line 9): ") || strings.Contains(string(out), "CANARY") {
			t.Errorf("%q: %v\n%s", proxy, err, out)
		}
	}
}

// ownKey is an API key that is not the sandbox's.
const ownKey = "key-of-the-test-with-a-proxy"

// sha256Hex returns the SHA-256 of an API key in hexadecimal.
func sha256Hex(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
