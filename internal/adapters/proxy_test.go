package adapters

import (
	"net/url"
	"testing"

	"ais-gateway/internal/config"
)

// TestProxy checks that a proxy is used only if the configuration wants it, and that only one with
// an http URL is accepted.
func TestProxy(t *testing.T) {
	call := &url.URL{Scheme: "https", Host: "bank.example"}
	for _, tt := range []struct {
		name       string
		setting    config.Proxy
		httpsProxy string
		want       string // the proxy; "" for none
		refused    bool
	}{
		{name: "not wanted", setting: config.NoProxy, httpsProxy: "http://proxy.example:3128"},
		{name: "wanted", setting: config.EnvironmentProxy, httpsProxy: "http://proxy.example:3128", want: "http://proxy.example:3128"},
		{name: "not set", setting: config.EnvironmentProxy},
		{name: "https", setting: config.EnvironmentProxy, httpsProxy: "https://proxy.example", refused: true},
		{name: "socks", setting: config.EnvironmentProxy, httpsProxy: "socks5://proxy.example", refused: true},
		{name: "unparsable", setting: config.EnvironmentProxy, httpsProxy: "%zz", refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", tt.httpsProxy)
			t.Setenv("https_proxy", "")
			t.Setenv("NO_PROXY", "")
			t.Setenv("no_proxy", "")
			choose, err := proxyOf(config.Provider{Proxy: tt.setting})
			if (err != nil) != tt.refused {
				t.Fatalf("error %v", err)
			}
			var got string
			if choose != nil {
				proxy, err := choose(call)
				if err != nil {
					t.Fatal(err)
				}
				if proxy != nil {
					got = proxy.String()
				}
			}
			if got != tt.want {
				t.Errorf("proxy %q, want %q", got, tt.want)
			}
		})
	}
}
