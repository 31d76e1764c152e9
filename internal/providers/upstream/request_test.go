package upstream

import (
	"net/http"
	"net/url"
	"testing"

	"ais-gateway/internal/providers"
)

// TestHost: the host is sent as the base URL has it, without an empty port.
func TestHost(t *testing.T) {
	for base, want := range map[string]string{
		"https://bank.example.com/x": "bank.example.com", "https://bank.example.com:8443/x": "bank.example.com:8443",
		"https://bank.example.com:/x": "bank.example.com", "https://[2001:db8::1]:/x": "[2001:db8::1]",
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		req := new(client).request(providers.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
		if req.Host != want {
			t.Errorf("%s: host %q", base, req.Host)
		}
	}
}
