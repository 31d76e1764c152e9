package mypos

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/upstream"
)

// pair is a client certificate with its key and CA.
type pair struct {
	chain, key []byte // PEM; the chain ends in the authority
	authority  *x509.CertPool
}

func issue(t *testing.T) pair {
	t.Helper()
	ca := certtest.CA(t, "QTSP")
	tpp := ca.Issue("TPP")
	return pair{chain: []byte(tpp.PEM + ca.PEM), key: []byte(tpp.KeyPEM), authority: ca.Pool()}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func (p pair) settings(into any) error {
	*into.(*Config) = Config{
		APIKeyFile: config.InMemoryFile([]byte(testKey)), ClientCertificateFile: config.InMemoryFile(p.chain), ClientKeyFile: config.InMemoryFile(p.key),
	}
	return nil
}

func TestClientCertificate(t *testing.T) {
	client := issue(t)
	sim := mypossim.New(mypossim.Config{
		APIKey: testKey, Log: aspspsim.NewCallLog(time.Now), ASPSP: testASPSP, RequireClientCertificate: true,
	})
	server := httptest.NewUnstartedServer(sim)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client.authority, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	p := open(t, server.URL, 5*time.Second, client.settings, upstream.Config{Counter: counter(t), Roots: roots})
	for name, q := range map[string]canonical.Query{"attended": testQuery(), "unattended": unattendedQuery()} {
		if got, err := p.Accounts(t.Context(), q); err != nil || len(got) != 3 {
			t.Errorf("%s: %d accounts, %v", name, len(got), err)
		}
	}
	stranger := open(t, server.URL, 5*time.Second, issue(t).settings, upstream.Config{Counter: counter(t), Roots: roots})
	if _, err := stranger.Accounts(t.Context(), testQuery()); err == nil {
		t.Error("a certificate of another authority is let in")
	}
}

// TestFaults reads settings from files, as the configuration does.
func TestFaults(t *testing.T) {
	good, other := issue(t), issue(t)
	const secret = "Rosebud-4711"
	files := map[string]string{
		"key": testKey + "\n", "blank": " \n\t", "lines": secret + "\n" + secret, "control": secret + "\x00", "umlaut": "ü" + secret,
		"cert.pem": string(good.chain), "cert.key": string(good.key), "other.key": string(other.key), "no.pem": secret,
		"encrypted.key": string(block("ENCRYPTED PRIVATE KEY", []byte(secret))),
		"odd.key":       string(block("PRIVATE KEY", []byte(secret))),
		"broken.pem":    string(block("CERTIFICATE", []byte(secret))),
		"both.pem":      string(good.key) + string(good.chain),
	}
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const https, loopback = "https://mp-psd2-api.mypos.com", "http://127.0.0.1:8443"
	const named, four, six = "https://localhost:8443", "https://127.0.0.1:8443", "https://[::1]:8443"
	tests := []struct {
		name           string
		base           string
		key, cert, pem string // apiKeyFile, clientCertificateFile, clientKeyFile
		more           string // a further line
		want           []string
	}{
		{name: "good", base: https, key: "key", cert: "cert.pem", pem: "cert.key"},
		{name: "good on loopback", base: loopback, key: "key"},
		{name: "good on loopback with certificate", base: loopback, key: "key", cert: "cert.pem", pem: "cert.key"},
		{name: "all in one file", base: https, key: "key", cert: "both.pem", pem: "both.pem"},
		{name: "nothing", base: https, want: []string{"apiKeyFile: is missing", "clientCertificateFile: is required with an https baseURL", "clientKeyFile: is required with an https baseURL"}},
		{name: "nothing on loopback", base: loopback, want: []string{"apiKeyFile: is missing"}},
		{name: "certificate alone", base: loopback, key: "key", cert: "cert.pem", want: []string{"clientKeyFile: is missing: certificate and key must be set together"}},
		{name: "key alone", base: loopback, key: "key", pem: "cert.key", want: []string{"clientCertificateFile: is missing: certificate and key must be set together"}},
		{name: "https on loopback by name", base: named, key: "key"},
		{name: "https on loopback, IPv4", base: four, key: "key"},
		{name: "https on loopback, IPv6", base: six, key: "key"},
		{name: "https on loopback with certificate", base: four, key: "key", cert: "cert.pem", pem: "cert.key"},
		{name: "https on loopback, certificate alone", base: four, key: "key", cert: "cert.pem", want: []string{"clientKeyFile: is missing: certificate and key must be set together"}},
		{name: "https on loopback, key alone", base: named, key: "key", pem: "cert.key", want: []string{"clientCertificateFile: is missing: certificate and key must be set together"}},
		{name: "https beyond loopback, loopback in its name", base: "https://localhost.example.com", key: "key", cert: "cert.pem", want: []string{"clientKeyFile: is required with an https baseURL"}},
		{name: "blank API key", base: loopback, key: "blank", want: []string{"apiKeyFile: file contains no key"}},
		{name: "API key of two lines", base: loopback, key: "lines", want: []string{"apiKeyFile: file must contain a single line of printable ASCII characters"}},
		{name: "API key with control", base: loopback, key: "control", want: []string{"apiKeyFile: file must contain a single line of printable ASCII characters"}},
		{name: "API key beyond ASCII", base: loopback, key: "umlaut", want: []string{"apiKeyFile: file must contain a single line of printable ASCII characters"}},
		{name: "key of another certificate", base: https, key: "key", cert: "cert.pem", pem: "other.key", want: []string{"clientKeyFile: must be the private key of clientCertificateFile"}},
		{name: "unreadable key", base: https, key: "key", cert: "cert.pem", pem: "odd.key", want: []string{"clientKeyFile: must be the private key of clientCertificateFile"}},
		{name: "encrypted key", base: https, key: "key", cert: "cert.pem", pem: "encrypted.key", want: []string{"clientKeyFile: file must contain an unencrypted private key in PEM"}},
		{name: "swapped", base: https, key: "key", cert: "cert.key", pem: "cert.pem", want: []string{"clientCertificateFile: file must contain a PEM certificate", "clientKeyFile: file must contain an unencrypted private key in PEM"}},
		{name: "broken certificate", base: https, key: "key", cert: "broken.pem", pem: "cert.key", want: []string{"clientCertificateFile: file must contain a PEM certificate"}},
		{name: "all at once", base: https, key: "lines", cert: "no.pem", pem: "no.pem", want: []string{
			"apiKeyFile: file must contain a single line of printable ASCII characters",
			"clientCertificateFile: file must contain a PEM certificate", "clientKeyFile: file must contain an unencrypted private key in PEM",
		}},
		{name: "absent files are not missing besides", base: https, key: "none", cert: "none", pem: "cert.key", more: "apiKey: " + secret, want: []string{
			"apiKeyFile: file does not exist (relative paths start at the working directory)", "clientCertificateFile: file does not exist (relative paths start at the working directory)",
			"apiKey: unknown key; known keys: apiKeyFile, baseURL, caFile, clientCertificateFile, clientKeyFile, proxy, timeout",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			text.WriteString("providers:\n  mypos:\n    baseURL: " + tt.base + "\n")
			for _, line := range [][2]string{{"apiKeyFile", tt.key}, {"clientCertificateFile", tt.cert}, {"clientKeyFile", tt.pem}} {
				if line[1] != "" {
					text.WriteString("    " + line[0] + ": " + filepath.Join(dir, line[1]) + "\n")
				}
			}
			if tt.more != "" {
				text.WriteString("    " + tt.more + "\n")
			}
			// The rest of the configuration file is missing, which is not tested here.
			whole, _ := config.Read([]byte(text.String()))
			base, err := url.Parse(tt.base)
			if err != nil {
				t.Fatal(err)
			}
			wire := upstream.New(upstream.Config{Provider: "mypos", Timeout: 30 * time.Second})
			p, err := Open(whole.Decoder("mypos"), providers.Env{BaseURL: base, Client: wire.Client})
			var faults config.Faults
			if err != nil && !errors.As(err, &faults) {
				t.Fatalf("error is no Faults: %v", err)
			}
			if (p == nil) != (err != nil) {
				t.Errorf("provider is %v beside error %v", p, err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Path+": "+f.Detail)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("a file's content is in the error: %v", err)
			}
		})
	}
}

func TestDecodeErrorIsPassedOn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Open(func(any) error { return broken }, providers.Env{}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

// TestNoBaseURL checks that other faults are reported without a base URL.
func TestNoBaseURL(t *testing.T) {
	_, err := Open(func(any) error { return nil }, providers.Env{})
	if want := (config.Faults{{Path: "apiKeyFile", Detail: "is missing"}}); !cmp.Equal(err, error(want)) {
		t.Errorf("error is %v", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	// No server can listen on port 0.
	p := open(t, "http://127.0.0.1:0", 30*time.Second, testSettings, upstream.Config{})
	if key := p.(*provider).apiKey; key.Reveal() != testKey || strings.Contains(key.String(), testKey) {
		t.Errorf("key is %s", key)
	}
	_, err := p.Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderUnavailable)
	for _, secret := range []string{testKey, mypossim.GoodToken, mypossim.GoodConsent} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("secret in error: %v", err)
		}
	}
}
