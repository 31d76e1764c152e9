package mastercard

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	consumerKey = "WFQHgP6gI01ZxbpqUzdWQ_GpDVrym3dhY6Q9X3PZe4ba3850!3b9f3d6593d04a0c"
	requestID   = "6f1c9f7e-3b52-4c0e-9d0e-0f6a54c3a001"
)

var signingKey = sync.OnceValue(func() *rsa.PrivateKey { return rsaKey(2048) })

func rsaKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// encryptedPEM returns the signing key as PEM encrypted by RFC 1421, which old versions of openssl
// write.
func encryptedPEM(t *testing.T, password string, alg x509.PEMCipher) []byte {
	t.Helper()
	der := x509.MarshalPKCS1PrivateKey(signingKey())
	block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", der, []byte(password), alg) //nolint:staticcheck // what is read must be written
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func p12(t *testing.T, e *pkcs12.Encoder, password string) []byte {
	t.Helper()
	content, err := e.Encode(signingKey(), certificate(t).Leaf, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// certificate returns a self-signed certificate of the signing key.
func certificate(t *testing.T) *certtest.Pair {
	t.Helper()
	return certtest.New(t, x509.Certificate{}, nil, signingKey())
}

// settings returns a decode function that reads YAML and secret files like the configuration.
func settings(t *testing.T, lines string, files map[string][]byte) func(any) error {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		lines += "\n" + name + ": " + path
	}
	return func(into any) error { return yaml.UnmarshalWithOptions([]byte(lines), into, yaml.Strict()) }
}

func goodSettings(t *testing.T) func(any) error {
	t.Helper()
	return settings(t, `consumerKey: "`+consumerKey+`"`, map[string][]byte{
		keyFile: pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey())),
	})
}

// newEnv returns an environment like that of cmd, with a counter that has a high limit.
func newEnv(t *testing.T, base string) providers.Env {
	t.Helper()
	return newEnvWithTimeout(t, base, 30*time.Second)
}

func newEnvWithTimeout(t *testing.T, base string, timeout time.Duration) providers.Env {
	t.Helper()
	st := redistest.OpenAt(t, redistest.Shared(t))
	policies := map[string]config.Unattended{}
	for id := range mastercardsim.Names {
		policies[id] = config.Unattended{Limit: 1000, Window: time.Hour, Unit: config.UnitConsent}
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	w := upstream.New(upstream.Config{Provider: "mastercard", Timeout: timeout, Counter: unattended.New(st.Counter, policies).Within(redistest.CommandTimeout)})
	return providers.Env{BaseURL: u, Client: w.Client}
}

func open(t *testing.T, base string) providers.Provider {
	t.Helper()
	p, err := Open(goodSettings(t), newEnv(t, base))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// openOnSimulator opens the adapter on a simulator with a high limit, mounted at a prefix.
func openOnSimulator(t *testing.T) (providers.Provider, *aspspsim.CallLog) {
	t.Helper()
	callLog := aspspsim.NewCallLog(time.Now)
	for id := range mastercardsim.Names {
		callLog.SetPolicy(id, aspspsim.Policy{Limit: 1000, Window: time.Hour, Unit: aspspsim.PerConsent})
	}
	server := httptest.NewServer(mastercardsim.New(mastercardsim.Config{
		ConsumerKey: consumerKey, PublicKey: &signingKey().PublicKey, Log: callLog,
	}))
	t.Cleanup(server.Close)
	return open(t, server.URL+"/openbanking/connect/api/"), callLog
}

func query(change func(*canonical.Query)) canonical.Query {
	q := canonical.Query{ASPSP: mastercardsim.WoodBank, Consent: mastercardsim.Consent, RequestID: requestID}
	if change != nil {
		change(&q)
	}
	return q
}

func attended(q *canonical.Query) {
	q.PSU = &canonical.PSU{
		IP: netip.MustParseAddr("203.0.113.7"), UserAgent: "Mozilla/5.0 <x>", Port: 4711,
		DeviceID: "0d2c1a7e-1111-4222-8333-444455556666", GeoLocation: "GEO:52.5;13.4",
	}
}

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	return ""
}

func TestOpenReadsKeys(t *testing.T) {
	t.Parallel()
	pkcs1 := pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey()))
	tests := []struct {
		name     string
		key      []byte
		password []byte
	}{
		{name: "PKCS#1", key: pkcs1},
		{name: "PKCS#8", key: []byte(certificate(t).KeyPEM)},
		{name: "certificate first, as openssl pkcs12 -nodes writes it", key: slices.Concat(
			[]byte("Bag Attributes\n    friendlyName: keyalias\n"), []byte(certificate(t).PEM), pkcs1)},
		{name: "PKCS#12 with AES", key: p12(t, pkcs12.Modern, "keystore password"), password: []byte("keystore password")},
		{name: "PKCS#12 with AES and PBMAC1", key: p12(t, pkcs12.Modern2026, "p"), password: []byte("p\n")},
		{name: "PKCS#12 with 3DES", key: p12(t, pkcs12.LegacyDES, "pässwort"), password: []byte("pässwort\r\n")},
		{name: "PKCS#12 with RC2", key: p12(t, pkcs12.LegacyRC2, "p "), password: []byte("p \n")},
		{name: "PEM with AES-256", key: encryptedPEM(t, "keystore password", x509.PEMCipherAES256), password: []byte("keystore password")},
		{name: "PEM with AES-128", key: encryptedPEM(t, "p ", x509.PEMCipherAES128), password: []byte("p \n")},
		{name: "PEM with 3DES, certificate first", password: []byte("pässwort\r\n"), key: slices.Concat(
			[]byte(certificate(t).PEM), encryptedPEM(t, "pässwort", x509.PEMCipher3DES))},
		{name: "PEM that is not encrypted, and a password", key: pkcs1, password: []byte("p")},
		{name: "PKCS#12 without a password", key: p12(t, pkcs12.Passwordless, "")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{ConsumerKey: consumerKey, SigningKeyFile: config.InMemoryFile(test.key)}
			if test.password != nil {
				cfg.SigningKeyPasswordFile = config.InMemoryFile(test.password)
			}
			key, faults := cfg.check(nil)
			if err := faults.Err(); err != nil {
				t.Fatal(err)
			}
			if !key.Equal(signingKey()) {
				t.Error("another key was read")
			}
		})
	}
}

func TestOpenNamesFaults(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	broken := config.Faults{{Path: "providers.mastercard." + keyFile, Detail: "file does not exist (relative paths start at the working directory)"}}
	legacy := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}}
	tests := []struct {
		name  string
		cfg   Config
		known config.Faults
		want  []string // paths
		says  string
	}{
		{name: "nothing", want: []string{keyConsumer, keyFile}},
		{name: "consumer key with a quote", cfg: Config{ConsumerKey: `a"b!c`}, want: []string{keyConsumer, keyFile}},
		{name: "consumer key with a new line", cfg: Config{ConsumerKey: "a!b\n"}, want: []string{keyConsumer, keyFile}},
		{name: "known already", cfg: Config{ConsumerKey: "a!b"}, known: broken, want: []string{"providers.mastercard." + keyFile}},
		{name: "rubbish", cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile([]byte(secret))}, want: []string{keyFile}},
		{
			name: "wrong password", want: []string{keyPassword},
			cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(p12(t, pkcs12.Modern, "right")), SigningKeyPasswordFile: config.InMemoryFile([]byte(secret))},
		},
		{name: "no password", want: []string{keyPassword}, cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(p12(t, pkcs12.Modern, "right"))}},
		{name: "short key", want: []string{keyFile}, cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile([]byte(certtest.New(t, x509.Certificate{}, nil, rsaKey(1024)).KeyPEM))}},
		{name: "elliptic key", want: []string{keyFile}, cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile([]byte(certtest.New(t, x509.Certificate{}, nil, ec).KeyPEM))}},
		{name: "elliptic key, SEC 1", want: []string{keyFile}, cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(pemOf("EC PRIVATE KEY", ecDER))}},
		{
			name: "encrypted PKCS#8", want: []string{keyFile}, says: "must not be encrypted PKCS#8",
			cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(pemOf("ENCRYPTED PRIVATE KEY", []byte{1})), SigningKeyPasswordFile: config.InMemoryFile([]byte(secret))},
		},
		{
			name: "encrypted PEM, no password", want: []string{keyPassword}, says: "is required because signingKeyFile is encrypted",
			cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(encryptedPEM(t, "right", x509.PEMCipherAES256))},
		},
		{
			name: "encrypted PEM, broken", want: []string{keyFile},
			cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(pem.EncodeToMemory(legacy)), SigningKeyPasswordFile: config.InMemoryFile([]byte(secret))},
		},
		{name: "broken key", want: []string{keyFile}, cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(pemOf("PRIVATE KEY", []byte{1}))}},
		{name: "certificate alone", want: []string{keyFile}, cfg: Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile([]byte(certificate(t).PEM))}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(func(into any) error { *into.(*Config) = test.cfg; return test.known.Err() }, providers.Env{})
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Open: %v, want faults", err)
			}
			var paths []string
			for _, f := range faults {
				paths = append(paths, f.Path)
			}
			if diff := cmp.Diff(test.want, paths); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want a fault that says %q", err, test.says)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the faults hold a secret")
			}
		})
	}
}

// TestNoPasswordOpensAnother tries many wrong passwords, because the padding of RFC 1421 looks
// right for one in 256.
func TestNoPasswordOpensAnother(t *testing.T) {
	t.Parallel()
	cfg := Config{ConsumerKey: "a!b", SigningKeyFile: config.InMemoryFile(encryptedPEM(t, "right", x509.PEMCipherAES256))}
	for n := range 2000 {
		cfg.SigningKeyPasswordFile = config.InMemoryFile(fmt.Appendf(nil, "wrong %d", n))
		key, faults := cfg.check(nil)
		if key != nil || len(faults) != 1 || faults[0].Path != keyPassword {
			t.Fatalf("password %d: %v", n, faults)
		}
	}
}

func TestOpenPassesOnWhatDecodeSays(t *testing.T) {
	t.Parallel()
	p, err := Open(settings(t, "consumerKey: a!b\nconsumerSecret: x", nil), providers.Env{})
	if err == nil || p != nil || !strings.Contains(err.Error(), "consumerSecret") {
		t.Fatalf("Open: %v, %v, want an error on consumerSecret", p, err)
	}
}

func TestRequestsAreExactlyAsTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	const account = `aa:q648383844dhhfHhTV`
	tests := []struct {
		name    string
		change  func(*canonical.Query)
		account string
		path    string
	}{
		{name: "accounts-unattended", path: "/api/accounts"},
		{name: "accounts-attended", change: attended, path: "/api/accounts"},
		{name: "accounts-ipv6-merchant", path: "/api/accounts", change: func(q *canonical.Query) {
			q.PSU = &canonical.PSU{IP: netip.MustParseAddr("2001:db8:0::1")}
			q.Customer, q.Merchant = "customer-9", &canonical.Merchant{ID: "m-1", Name: "Müller & Söhne"}
		}},
		{name: "balances-unattended", account: account, path: "/api/accounts/account/balances"},
		{name: "balances-attended", account: "../a/b%2F", change: attended, path: "/api/accounts/account/balances"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got *http.Request
			var body []byte
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				body, _ = io.ReadAll(r.Body)
				_, _ = io.WriteString(w, `{"originalRequestInfo":{}}`)
			}))
			defer server.Close()
			p := open(t, server.URL+"/api")
			var err error
			if test.account == "" {
				_, err = p.Accounts(t.Context(), query(test.change))
			} else {
				_, err = p.Balances(t.Context(), query(test.change), test.account)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Method != http.MethodPost || got.RequestURI != test.path {
				t.Errorf("sent %s %s, want POST %s", got.Method, got.RequestURI, test.path)
			}
			for name := range got.Header {
				if !slices.Contains([]string{"Accept", "Authorization", "Connection", "Content-Length", "Content-Type"}, name) {
					t.Errorf("header %s was sent", name)
				}
			}
			golden(t, "request-"+test.name+".json", body)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestSimulatorLetsTheAdapterIn(t *testing.T) {
	t.Parallel()
	p, callLog := openOnSimulator(t)
	for id, name := range mastercardsim.Names {
		for _, change := range []func(*canonical.Query){nil, attended} {
			q := query(change)
			q.ASPSP, q.Consent = id, mastercardsim.FreshConsent+name
			accounts, err := p.Accounts(t.Context(), q)
			if err != nil || len(accounts) < 2 {
				t.Fatalf("%s: %d accounts, %v", name, len(accounts), err)
			}
			for _, a := range accounts {
				b, err := p.Balances(t.Context(), q, a.ID)
				if err != nil || len(b.Balances) < 2 {
					t.Fatalf("%s, %s: %d balances, %v", name, a.ID, len(b.Balances), err)
				}
				if !slices.ContainsFunc(b.Balances, func(b canonical.Balance) bool { return b.Amount.Indicator() == canonical.Debit }) {
					t.Errorf("%s, %s: no debit", name, a.ID)
				}
			}
		}
	}
	if n := len(callLog.Calls()); n != 2*3*3 {
		t.Errorf("the ASPSPs saw %d calls, want 18", n)
	}
}

func TestRefusalsOfTheSimulator(t *testing.T) {
	t.Parallel()
	p, _ := openOnSimulator(t)
	tests := []struct {
		consent string
		kind    canonical.Kind
		origin  canonical.Origin
		reason  string
		status  int
	}{
		{mastercardsim.ConsentExpired, canonical.ConsentExpired, canonical.OriginProvider, "INVALID_TOKEN", 400},
		{mastercardsim.ConsentRevoked, canonical.ConsentInvalid, canonical.OriginProvider, "INVALID_TOKEN", 400},
		{"nobody:gave this", canonical.ConsentInvalid, canonical.OriginProvider, "INVALID_TOKEN", 400},
		{mastercardsim.ConsentUnlinked, canonical.AccountUnknown, canonical.OriginProvider, "PROVIDER_ERROR", 400},
		{mastercardsim.ConsentExhausted, canonical.UnattendedLimit, canonical.OriginASPSP, "PROVIDER_ERROR", 400},
		{mastercardsim.ConsentNewSCA, canonical.ConsentExpired, canonical.OriginProvider, "PROVIDER_ERROR", 400},
		{mastercardsim.ConsentMalformed, canonical.ProviderRejected, canonical.OriginProvider, "FORMAT_ERROR", 400},
		{mastercardsim.ConsentProviderError, canonical.ProviderError, canonical.OriginProvider, "PROVIDER_ERROR", 400},
		{mastercardsim.ConsentSeveral, canonical.ConsentExpired, canonical.OriginProvider, "INVALID_TOKEN", 400},
		{mastercardsim.ConsentUnauthorized, canonical.ProviderRejected, canonical.OriginProvider, "AUTHENTICATION_FAILED", 401},
		{mastercardsim.ConsentForbidden, canonical.ProviderRejected, canonical.OriginProvider, "PERMISSION_DENIED", 403},
		{mastercardsim.ConsentThrottled, canonical.ProviderThrottled, canonical.OriginProvider, "TOO_MANY_REQUESTS", 429},
		{mastercardsim.ConsentServerError, canonical.ProviderError, canonical.OriginProvider, "INTERNAL_SERVER_ERROR", 500},
		{mastercardsim.ConsentUnavailable, canonical.ProviderUnavailable, canonical.OriginProvider, "SERVICE_UNAVAILABLE", 503},
		{mastercardsim.ConsentTimeout, canonical.ProviderTimeout, canonical.OriginProvider, "", 504},
	}
	for _, test := range tests {
		t.Run(test.consent, func(t *testing.T) {
			t.Parallel()
			q := query(attended) // an unattended refusal would close the unit for the second read
			q.Consent = test.consent
			_, listErr := p.Accounts(t.Context(), q)
			_, balancesErr := p.Balances(t.Context(), q, mastercardsim.Account)
			for _, err := range []error{listErr, balancesErr} {
				var got *canonical.Error
				if !errors.As(err, &got) {
					t.Fatalf("%v, want %s", err, test.kind)
				}
				if got.Kind != test.kind || got.Origin != test.origin || got.Upstream.ReasonCode != test.reason || got.Upstream.HTTPStatus != test.status {
					t.Errorf("%v, upstream %+v, want %+v", got, got.Upstream, test)
				}
			}
		})
	}
	if _, err := p.Balances(t.Context(), query(attended), "nobody's"); kind(err) != canonical.AccountUnknown {
		t.Errorf("balances of an unknown account: %v", err)
	}
}

func TestReadIsBoundedAndCanBeGivenUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	p, err := Open(goodSettings(t), newEnvWithTimeout(t, server.URL, 2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Accounts(t.Context(), query(attended)); kind(err) != canonical.ProviderTimeout {
		t.Errorf("accounts: %v, want a timeout", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Balances(ctx, query(attended), "a"); kind(err) != canonical.Canceled {
		t.Errorf("balances: %v, want that it was canceled", err)
	}
}

// recordingClient records the requests of an adapter, with the fields for the counter and
// telemetry.
type recordingClient []providers.Request

func (c *recordingClient) Read(_ context.Context, _ canonical.Query, r providers.Request) (providers.Response, error) {
	*c = append(*c, r)
	return providers.Response{Status: http.StatusOK, Body: []byte(`{"originalRequestInfo":{}}`)}, nil
}

func TestWhatCounterAndTelemetryAreTold(t *testing.T) {
	t.Parallel()
	var calls recordingClient
	env := newEnv(t, "https://sandbox.example/openbanking/connect/api/")
	env.Client = func(providers.ClientConfig) providers.Client { return &calls }
	p, err := Open(goodSettings(t), env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Accounts(t.Context(), query(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Balances(t.Context(), query(nil), "a/b"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range calls {
		got = append(got, r.Method+" "+r.URL.String()+" as "+r.Route+" of "+r.Account)
	}
	want := []string{
		"POST https://sandbox.example/openbanking/connect/api/accounts as /accounts of ",
		"POST https://sandbox.example/openbanking/connect/api/accounts/account/balances as /accounts/account/balances of a/b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
