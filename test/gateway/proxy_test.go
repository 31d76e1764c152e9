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

// connector is a proxy that leads to address, whomever it is asked for, and says whom that was.
func connector(t *testing.T, address string) (url string, asked func() []string) {
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

// A provider is called through the environment's proxy only where the configuration says so, and is believed if the
// configured authority vouches for it.
func TestProxyAndCA(t *testing.T) {
	const host = "bank.example.com" // which only the proxy knows
	var secure *httptest.Server     // the same bank over TLS, with a certificate for names below example.com
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(provider string, bank http.Handler) http.Handler {
		if provider == "mastercard" {
			secure = httptest.NewTLSServer(bank)
		}
		return bank
	}})
	t.Cleanup(secure.Close)
	ca := t.TempDir() + "/ca.pem"
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	for _, tt := range []struct {
		name, keys string
		env        func(proxy string) []string
		status     int
		asked      bool
	}{
		{"proxy and CA", "proxy: environment, caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, 200, true},
		{"no CA", "proxy: environment, ", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, 503, true},
		{"not configured", "caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p, "ALL_PROXY=" + p} }, 503, false},
		{"none", "proxy: none, caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, 503, false},
		{"not for this host", "proxy: environment, caFile: '" + ca + "', ", func(p string) []string { return []string{"HTTPS_PROXY=" + p, "NO_PROXY=.example.com"} }, 503, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy, asked := connector(t, secure.Listener.Addr().String())
			file := gatewaytest.EditConfig(t, w, func(text string) string {
				// The sandbox's key is refused where providers are not on this machine.
				text = strings.Replace(text, hashed(sandbox.Key), hashed(ownKey), 1)
				return regexp.MustCompile(`mastercard: \{baseURL: "[^"]*"`).ReplaceAllString(text, "mastercard: {"+tt.keys+`baseURL: "https://`+host+`"`)
			})
			p := serve(t, file, append([]string{"NO_PROXY=", "no_proxy="}, tt.env(proxy)...)...)
			consent := fresh()
			for _, header := range [][]string{present(fresh()), under(consent)} {
				if a := ask(p.API+wood+balances, append(header, "X-API-Key", ownKey)...); a.status != tt.status {
					t.Errorf("%q: %v", header, a)
				}
			}
			if a := ask(p.API+wood+"/unattended-access", append(under(consent), "X-API-Key", ownKey)...); strings.Contains(a.body, `"used":1`) != (tt.status == 200) {
				t.Errorf("counted: %v", a)
			}
			for _, request := range asked() {
				if request != "CONNECT "+host+":443" {
					t.Errorf("the proxy was asked %s", request)
				}
			}
			if n := len(asked()); n > 0 != tt.asked {
				t.Errorf("the proxy was asked %d times", n)
			}
		})
	}
}

// A proxy that cannot be used is a fault, and no reason to call without one. Its URL, which may hold a password, is not told.
func TestProxyThatCannotBeUsed(t *testing.T) {
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

const ownKey = "key-of-the-test-with-a-proxy"

func hashed(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
