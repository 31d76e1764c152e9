package berlingroup

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/upstream"
)

// TestFaults reads the configuration of a provider with two ASPSPs, as the gateway does. No fault
// contains a value.
func TestFaults(t *testing.T) {
	const secret, remote, loopback = "Rosebud-4711", "https://psd2.bank.example/berlingroup", "http://127.0.0.1:8443"
	ca := certtest.CA(t, "QTSP")
	tpp := ca.Issue("TPP")
	dir := t.TempDir()
	for name, content := range map[string]string{
		"cert": tpp.PEM + ca.PEM, "key": tpp.KeyPEM, "other": ca.Issue("Other").KeyPEM, "header": secret + "\n", "lines": secret + "\n" + secret,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const certificate = "clientCertificateFile: DIR/cert; clientKeyFile: DIR/key"
	const oneErrorKind = "contains a value that is no code of a problem that a provider's error can mean"
	tests := []struct {
		name, base, keys string // of the provider; keys are separated by semicolons
		first, second    string // options
		want             []string
	}{
		{name: "no options on loopback", base: loopback},
		{name: "all options", base: loopback, keys: certificate, first: "{baseURL: https://psd2.bank.example/xs2a, version: v3, headers: {aspsp-code: ABC}, " +
			"headerFiles: {X-IBM-Client-Id: DIR/header}, withBalance: true, requireToken: true, codes: {Gone: CONSENT_EXPIRED}, balanceTypes: {available: ITAV, x_y: OTHR}}"},
		{name: "remote provider without a certificate", base: remote, want: []string{
			"clientCertificateFile: is required with an https baseURL", "clientKeyFile: is required with an https baseURL",
		}},
		{name: "remote ASPSP without a certificate", base: loopback, second: "{baseURL: " + remote + "}", want: []string{
			"clientCertificateFile: is required with an https baseURL", "clientKeyFile: is required with an https baseURL",
		}},
		{name: "every ASPSP on loopback", base: remote, first: "{baseURL: " + loopback + "/a}", second: "{baseURL: " + loopback + "/b}"},
		{name: "key of another certificate", base: remote, keys: "clientCertificateFile: DIR/cert; clientKeyFile: DIR/other", want: []string{
			"clientKeyFile: must be the private key of clientCertificateFile",
		}},
		{name: "baseURL", base: loopback, first: "{baseURL: http://user@psd2.bank.example?x=1}", second: "{baseURL: psd2}", want: []string{
			"aspsps[0].options.baseURL: must be https (http only for loopback addresses)", "aspsps[0].options.baseURL: must not contain a user or password",
			"aspsps[0].options.baseURL: must not contain a query", "aspsps[1].options.baseURL: must be an absolute https URL",
		}},
		{name: "version of two segments", base: loopback, first: "{version: a/v1}", want: []string{"aspsps[0].options.version: must be one segment of a path, such as v1"}},
		{name: "version that leads up", base: loopback, first: "{version: '..'}", want: []string{"aspsps[0].options.version: must be one segment of a path, such as v1"}},
		{name: "version with a query", base: loopback, first: "{version: 'v1?x'}", want: []string{"aspsps[0].options.version: must be one segment of a path, such as v1"}},
		{name: "reserved headers", base: loopback, first: "{headers: {consent-id: " + secret + ", psu-ip-address: 192.0.2.1, signature: x, user-agent: x, host: x, authorization: x}}", want: []string{
			"aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed", "aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed",
			"aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed", "aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed",
			"aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed", "aspsps[0].options.headers: contains a header that the gateway sets itself, or that must not be fixed",
		}},
		{name: "headers and their files", base: loopback, first: "{headers: {A: x, 'a b': x, C: ''}, headerFiles: {A: DIR/header, B: DIR/lines, D: DIR/none}}", want: []string{
			"aspsps[0].options.headerFiles.D: file does not exist (relative paths start at the working directory)",
			"aspsps[0].options.headers: contains a value that is empty or not printable ASCII", "aspsps[0].options.headers: contains a name that is not a header name",
			"aspsps[0].options.headerFiles: contains a header twice, or one that headers contains as well",
			"aspsps[0].options.headerFiles.B: file must contain a single line of printable ASCII characters",
		}},
		{name: "codes", base: loopback, first: "{codes: {A: CONSENT_GONE, b: NOT_FOUND, c: PROVIDER_ERROR, C: PROVIDER_ERROR, ' ': PROVIDER_ERROR}}", want: []string{
			"aspsps[0].options.codes: contains a word that is blank or occurs twice", "aspsps[0].options.codes: " + oneErrorKind,
			"aspsps[0].options.codes: " + oneErrorKind, "aspsps[0].options.codes: contains a word that is blank or occurs twice",
		}},
		{name: "balance types", base: loopback, first: "{balanceTypes: {a: available, b: itav, c_d: ITAV, CD: ITAV}}", want: []string{
			"aspsps[0].options.balanceTypes: contains a value that is no ISO 20022 balance type", "aspsps[0].options.balanceTypes: contains a value that is no ISO 20022 balance type",
			"aspsps[0].options.balanceTypes: contains a word that is blank or occurs twice",
		}},
		{name: "unknown keys and wrong types", base: loopback, keys: "signingKey: " + secret, first: "{withBalances: true, version: 1}", second: "{withBalance: maybe}", want: []string{
			"signingKey: unknown key; known keys: baseURL, caFile, clientCertificateFile, clientKeyFile, proxy, signingCertificateFile, signingKeyFile, timeout",
			"aspsps[0].options.withBalances: unknown key; known keys: balanceTypes, baseURL, codes, headerFiles, headers, requireToken, version, withBalance",
			"aspsps[0].options.version: must be a string (quote it if it looks like a number or a boolean)", "aspsps[1].options.withBalance: must be true or false",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := "providers:\n  berlingroup:\n    baseURL: " + tt.base + "\n"
			for key := range strings.SplitSeq(tt.keys, "; ") {
				text += "    " + key + "\n"
			}
			text += "aspsps:\n"
			for _, options := range []string{tt.first, tt.second} {
				text += "  - provider: berlingroup\n"
				if options != "" {
					text += "    options: " + options + "\n"
				}
			}
			got, err := openFile(t, strings.ReplaceAll(text, "DIR", dir), tt.base)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("a value is in the error: %v", err)
			}
		})
	}
}

// openFile opens the adapter with a configuration file, and returns its faults.
func openFile(t *testing.T, text, baseURL string) (faults []string, err error) {
	t.Helper()
	whole, _ := config.Read([]byte(text)) // the rest of the file is missing, which is not tested here
	base, err := url.Parse(baseURL)
	if err != nil {
		t.Fatal(err)
	}
	env := providers.Env{BaseURL: base, Client: upstream.New(upstream.Config{Provider: "berlingroup"}).Client}
	for i, id := range []string{"first", "second"} {
		decode, path := whole.OptionsDecoder(i)
		env.ASPSPs = append(env.ASPSPs, providers.ASPSP{ID: id, Options: decode, Path: path})
	}
	p, err := Open(whole.Decoder("berlingroup"), env)
	if (p == nil) != (err != nil) {
		t.Errorf("provider is %v beside error %v", p, err)
	}
	var found config.Faults
	if err != nil && !errors.As(err, &found) {
		t.Fatalf("error is no Faults: %v", err)
	}
	for _, f := range found {
		faults = append(faults, f.Path+": "+f.Detail)
	}
	return faults, err
}

// TestOtherErrors checks errors of decoding that are no faults.
func TestOtherErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Open(func(any) error { return broken }, providers.Env{}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	env := providers.Env{ASPSPs: []providers.ASPSP{{Options: func(any) error { return broken }}}}
	if _, err := Open(noSettings, env); !errors.Is(err, broken) {
		t.Errorf("error of an ASPSP is %v", err)
	}
}

// TestClientCertificate checks that the certificate is sent to the ASPSPs, and its expiry.
func TestClientCertificate(t *testing.T) {
	ca := certtest.CA(t, "QTSP")
	tpp := ca.Issue("TPP")
	server := httptest.NewUnstartedServer(berlingroupsim.New(berlingroupsim.Config{
		Log: aspspsim.NewCallLog(time.Now), Banks: []berlingroupsim.Bank{{ASPSP: testASPSP}}, RequireClientCertificate: true,
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(), MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	settings := func(into any) error {
		*into.(*Config) = Config{ClientCertificateFile: config.InMemoryFile([]byte(tpp.PEM)), ClientKeyFile: config.InMemoryFile([]byte(tpp.KeyPEM))}
		return nil
	}
	transport := upstream.New(upstream.Config{Provider: "berlingroup", Timeout: 30 * time.Second, Roots: roots})
	p, err := Open(settings, providers.Env{Client: transport.Client, ASPSPs: []providers.ASPSP{entry(testASPSP, Options{BaseURL: server.URL})}})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := p.Accounts(t.Context(), testQuery()); err != nil || len(all) != 3 {
		t.Errorf("%d accounts, %v", len(all), err)
	}
	if expiry := p.(providers.CertificateHolder).NotAfter(); expiry.IsZero() {
		t.Error("the expiry is unknown")
	}
}
