// Package certtest makes certificates for tests. Only tests and other test support import it.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Pair is a certificate with its private key.
type Pair struct {
	tls.Certificate        // its Leaf is the parsed certificate
	PEM             string // the certificate
	KeyPEM          string // the private key, in PKCS #8

	t testing.TB
}

// CA returns a self-signed certificate of an authority.
func CA(t testing.TB, name string) *Pair {
	t.Helper()
	return New(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
}

// Issue returns a certificate of the authority for servers on 127.0.0.1 and for clients.
func (p *Pair) Issue(name string) *Pair {
	p.t.Helper()
	return New(p.t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, p, nil)
}

// New returns a certificate as the template describes it, valid for 90 days if the template has no
// NotAfter. Without an issuer it is self-signed. Without a key it has a new one on P-256.
func New(t testing.TB, template x509.Certificate, issuer *Pair, key crypto.Signer) *Pair {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if key == nil {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().AddDate(0, 0, 90)
	}
	parent, signer := &template, crypto.PrivateKey(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	p := &Pair{PEM: encode("CERTIFICATE", certificate), KeyPEM: encode("PRIVATE KEY", private), t: t}
	p.Certificate, err = tls.X509KeyPair([]byte(p.PEM), []byte(p.KeyPEM))
	must(err)
	return p
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Write writes the certificate and the key to files in a temporary directory of the test.
func (p *Pair) Write() (certificateFile, keyFile string) {
	p.t.Helper()
	dir := p.t.TempDir()
	certificateFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	err := errors.Join(os.WriteFile(certificateFile, []byte(p.PEM), 0o600), os.WriteFile(keyFile, []byte(p.KeyPEM), 0o600))
	if err != nil {
		p.t.Fatal(err)
	}
	return certificateFile, keyFile
}

// Pool returns a pool with the certificate.
func (p *Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Leaf)
	return pool
}

// Client returns the configuration of a client of a server on 127.0.0.1. The client trusts the
// authority. It sends its own certificate, if there is one, even if the server does not accept its
// issuer.
func (p *Pair) Client(own ...*Pair) *tls.Config {
	c := &tls.Config{RootCAs: p.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if len(own) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own[0].Certificate, nil }
	}
	return c
}
