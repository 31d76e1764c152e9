package obie

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/providers/upstream"
)

// TestFaults reads the keys and the options of ASPSPs from a file, as the configuration does.
func TestFaults(t *testing.T) {
	ca := certtest.CA(t, "QTSP")
	tpp := ca.Issue("TPP")
	dir := t.TempDir()
	for name, content := range map[string]string{"cert.pem": tpp.PEM + ca.PEM, "cert.key": tpp.KeyPEM, "secret": "Rosebud-4711\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const loopback = "{baseURL: http://127.0.0.1:8443"
	certificate := ", clientCertificateFile: " + filepath.Join(dir, "cert.pem") + ", clientKeyFile: " + filepath.Join(dir, "cert.key")
	noCertificate := []string{
		"clientCertificateFile: is required with an https baseURL", "clientKeyFile: is required with an https baseURL",
	}
	for _, tt := range []struct {
		name     string
		provider string
		options  string
		want     []string
	}{
		{name: "base URL of the provider", provider: loopback + "}", options: "{}"},
		{name: "base URL of the ASPSP", provider: "{}", options: loopback + ", version: v4.0, allBalances: true}"},
		{name: "https", provider: "{baseURL: https://api.bank.example" + certificate + "}", options: "{version: v3.1}"},
		{name: "https of the ASPSP", provider: loopback + certificate + "}", options: "{baseURL: https://api.bank.example/x}"},
		{name: "https without a certificate", provider: "{baseURL: https://api.bank.example}", options: "{}", want: noCertificate},
		{name: "https of the ASPSP without a certificate", provider: loopback + "}", options: "{baseURL: https://api.bank.example}", want: noCertificate},
		{name: "https of the ASPSP on loopback", provider: "{}", options: "{baseURL: https://127.0.0.1:8443}"},
		{name: "all headers and codes", provider: loopback + "}", options: "{headers: {x-fapi-financial-id: a, x-bank: b}, headerFiles: {x-key: " + filepath.Join(dir, "secret") + "}, codes: {U011: CONSENT_INVALID, UK.OBIE.X: CONSENT_EXPIRED}}"},
		{name: "no base URL", provider: "{}", options: "{}", want: []string{
			"aspsps[0].options.baseURL: is missing: neither the ASPSP nor its provider has a baseURL",
		}},
		{
			name: "all at once", provider: loopback + ", secret: x}", options: `{baseURL: "http://bank.example", version: v2, bulk: true,
			headers: {authorization: x, X-Fapi-Interaction-Id: x, x-fapi-auth-date: x, "a b": x, x-bank: ""}, codes: {" ": CONSENT_INVALID, A: CONSENT, B: FORMAT_ERROR, UK.OBIE.a: CONSENT_INVALID}}`,
			want: []string{
				"secret: unknown key; known keys: baseURL, caFile, clientCertificateFile, clientKeyFile, proxy, timeout",
				"aspsps[0].options.bulk: unknown key; known keys: allBalances, baseURL, codes, headerFiles, headers, version",
				"aspsps[0].options.version: must be v3.1 or v4.0",
				"aspsps[0].options.baseURL: must be https (http only for loopback addresses)",
				"aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed",
				"aspsps[0].options.headers: contains a name that is not a header name",
				"aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed",
				"aspsps[0].options.headers: contains a value that is empty or not printable ASCII",
				"aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed",
				"aspsps[0].options.codes: contains a word that is blank or occurs twice",
				"aspsps[0].options.codes: contains a value that is no code of a problem that a provider's error can mean",
				"aspsps[0].options.codes: contains a value that is no code of a problem that a provider's error can mean",
				"aspsps[0].options.codes: contains a word that is blank or occurs twice",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The rest of the configuration file is missing, which is not tested here.
			whole, _ := config.Read([]byte("providers:\n  obie: " + tt.provider +
				"\naspsps:\n  - {id: " + testASPSP + ", name: X, provider: obie, options: " + tt.options + "}\n"))
			if whole == nil {
				t.Fatal("no configuration")
			}
			base, err := url.Parse(whole.Providers["obie"].BaseURL)
			if err != nil {
				t.Fatal(err)
			}
			decode, path := whole.OptionsDecoder(0)
			p, err := Open(whole.Decoder("obie"), providers.Env{
				BaseURL: base, Client: upstream.New(upstream.Config{}).Client,
				ASPSPs: []providers.ASPSP{{ID: testASPSP, Path: path, Options: decode}},
			})
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
		})
	}
}

func TestErrorsOfDecodeArePassedOn(t *testing.T) {
	broken := errors.New("broken")
	fails := func(any) error { return broken }
	if _, err := Open(fails, providers.Env{}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if _, err := Open(noSettings, providers.Env{ASPSPs: []providers.ASPSP{{Options: fails}}}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

// TestClientCertificate calls a bank that requires a certificate.
func TestClientCertificate(t *testing.T) {
	ca := certtest.CA(t, "QTSP")
	tpp := ca.Issue("TPP")
	server := httptest.NewUnstartedServer(obiesim.New(obiesim.Config{
		Log: newLog(), RequireClientCertificate: true, Banks: []obiesim.Bank{{ASPSP: testASPSP}},
	}))
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.Pool(), MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		settings func(any) error
		accounts int
	}{
		"none": {noSettings, 0},
		"own": {func(into any) error {
			*into.(*Config) = Config{
				ClientCertificateFile: config.InMemoryFile([]byte(tpp.PEM + ca.PEM)), ClientKeyFile: config.InMemoryFile([]byte(tpp.KeyPEM)),
			}
			return nil
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			transport := upstream.New(upstream.Config{Provider: "obie", Timeout: 30 * time.Second, Roots: roots})
			p, err := Open(tt.settings, providers.Env{
				BaseURL: base, Client: transport.Client, ASPSPs: []providers.ASPSP{{ID: testASPSP, Options: options(Options{})}},
			})
			if err != nil {
				t.Fatal(err)
			}
			all, err := p.Accounts(t.Context(), testQuery())
			if len(all) != tt.accounts || (err != nil) != (tt.accounts == 0) {
				t.Errorf("%d accounts, %v", len(all), err)
			}
			if expiry := p.(providers.CertificateHolder).NotAfter(); expiry.IsZero() != (tt.accounts == 0) {
				t.Errorf("the certificate expires %v", expiry)
			}
		})
	}
}
