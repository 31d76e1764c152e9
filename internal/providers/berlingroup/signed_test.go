package berlingroup

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/upstream"
)

// qseal returns a certificate for signatures with an RSA key.
func qseal(t *testing.T) *certtest.Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return certtest.New(t, x509.Certificate{Subject: pkix.Name{CommonName: "TPP"}}, certtest.CA(t, "QTSP"), key)
}

// signedBy returns settings with the certificate and key of a pair.
func signedBy(certificate, key string) func(any) error {
	return func(into any) error {
		*into.(*Config) = Config{
			SigningCertificateFile: config.InMemoryFile([]byte(certificate)), SigningKeyFile: config.InMemoryFile([]byte(key)),
		}
		return nil
	}
}

// TestSignedRequests tests that a bank which verifies signatures accepts the list, all its pages, and
// balances, and that it refuses requests without a signature or of another certificate, which is no
// fault of the user.
func TestSignedRequests(t *testing.T) {
	seal, other := qseal(t), qseal(t)
	for name, tt := range map[string]struct {
		settings func(any) error
		want     canonical.Kind
	}{
		"signed":              {signedBy(seal.PEM, seal.KeyPEM), ""},
		"not signed":          {noSettings, canonical.ProviderRejected},
		"another certificate": {signedBy(other.PEM, other.KeyPEM), canonical.ProviderRejected},
	} {
		t.Run(name, func(t *testing.T) {
			callLog := aspspsim.NewCallLog(time.Now)
			server := httptest.NewServer(berlingroupsim.New(berlingroupsim.Config{
				Log: callLog, Banks: []berlingroupsim.Bank{{ASPSP: testASPSP, PageSize: 20}}, Verify: aspspsim.SignatureVerifier(seal.Leaf),
			}))
			t.Cleanup(server.Close)
			base, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			transport := upstream.New(upstream.Config{Provider: "berlingroup", Timeout: 30 * time.Second})
			p, err := Open(tt.settings, providers.Env{BaseURL: base, ASPSPs: []providers.ASPSP{entry(testASPSP, Options{})}, Client: transport.Client})
			if err != nil {
				t.Fatal(err)
			}
			q := testQuery()
			q.Consent, q.Token = berlingroupsim.ManyConsent, berlingroupsim.GoodToken
			all, err := p.Accounts(t.Context(), q)
			if tt.want != "" {
				if failure := wantKind(t, err, tt.want); failure.TokenRejected {
					t.Error("the token is rejected")
				}
				return
			}
			if err != nil || len(all) != berlingroupsim.ManyCount {
				t.Fatalf("%d accounts, %v", len(all), err)
			}
			if got, err := p.Balances(t.Context(), q, all[0].ID); err != nil || len(got.Balances) == 0 {
				t.Errorf("%d balances, %v", len(got.Balances), err)
			}
			if calls := len(callLog.Calls()); calls != berlingroupsim.ManyCount/20+1 {
				t.Errorf("%d calls were accepted", calls)
			}
			if expiry := p.(providers.CertificateHolder).NotAfter(); !expiry.Equal(seal.Leaf.NotAfter) {
				t.Errorf("the first certificate expires at %v, want %v", expiry, seal.Leaf.NotAfter)
			}
		})
	}
}

func TestSigningFaults(t *testing.T) {
	_, err := Open(signedBy(qseal(t).PEM, ""), providers.Env{BaseURL: &url.URL{Scheme: "http", Host: "localhost"}})
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %v, want Faults", err)
	}
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	if diff := cmp.Diff([]string{"signingKeyFile"}, paths); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}
