package adapterconfig_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/adapterconfig"
)

func TestSettings(t *testing.T) {
	https, loopback := &url.URL{Scheme: "https", Host: "bank.example"}, &url.URL{Scheme: "https", Host: "127.0.0.1"}
	for name, tt := range map[string]struct {
		chain, key config.File
		base       *url.URL
		want       []string
	}{
		"not required":       {base: loopback},
		"no base URL":        {},
		"required":           {base: https, want: []string{"clientCertificateFile", "clientKeyFile"}},
		"key missing":        {base: loopback, chain: config.InMemoryFile([]byte("x")), want: []string{"clientCertificateFile", "clientKeyFile"}},
		"no PEM":             {base: https, chain: config.InMemoryFile([]byte("x")), key: config.InMemoryFile([]byte("y")), want: []string{"clientCertificateFile", "clientKeyFile"}},
		"certificate missed": {base: loopback, key: config.InMemoryFile([]byte("y")), want: []string{"clientCertificateFile", "clientKeyFile"}},
	} {
		var faults config.Faults
		if c := adapterconfig.ClientCertificate(tt.chain, tt.key, &faults, nil, &url.URL{Scheme: "http", Host: "localhost"}, tt.base); c != nil {
			t.Errorf("%s: a certificate", name)
		}
		var got []string
		for _, f := range faults {
			got = append(got, f.Path)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for content, ok := range map[string]bool{" key\n": true, "": false, "two\nlines": false, "ключ": false} {
		var faults config.Faults
		key := adapterconfig.HeaderKey(config.InMemoryFile([]byte(content)), "apiKeyFile", &faults)
		if (len(faults) == 0) != ok || ok && key.Reveal() != strings.TrimSpace(content) {
			t.Errorf("%q: %v", content, faults)
		}
	}
}
