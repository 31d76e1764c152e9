package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TLSFiles has the paths of the PEM files that a client of a server with TLS needs.
type TLSFiles struct {
	CA          string // the CA certificate of the server
	Certificate string // the client certificate
	Key         string // the private key of the client certificate, in PKCS #8
}

// StartTLS is Start for a server that serves TLS only, with a certificate for 127.0.0.1. It
// requires a client certificate, unless args change that ("--tls-auth-clients", "optional").
func StartTLS(t testing.TB, args ...string) (*Server, TLSFiles) {
	t.Helper()
	dir := t.TempDir()
	files, client, err := writeCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	settings := []string{
		"--tls-ca-cert-file", files.CA, "--tls-cert-file", filepath.Join(dir, "server.crt"),
		"--tls-key-file", filepath.Join(dir, "server.key"), "--tls-auth-clients", "yes",
	}
	return start(t, setup{dir: dir, tls: client, args: append(settings, args...)}), files
}

// writeCertificates writes the certificates of a CA, a server and a client, and returns the files
// and the TLS configuration of the client.
func writeCertificates(dir string) (TLSFiles, *tls.Config, error) {
	files := TLSFiles{
		CA:          filepath.Join(dir, "ca.crt"),
		Certificate: filepath.Join(dir, "client.crt"),
		Key:         filepath.Join(dir, "client.key"),
	}
	ca, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "redistest"},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return files, nil, err
	}
	server, err := issue(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca)
	if err != nil {
		return files, nil, err
	}
	client, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "client"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca)
	if err != nil {
		return files, nil, err
	}
	for path, block := range map[string]*pem.Block{
		files.CA:                         ca.certificate,
		filepath.Join(dir, "server.crt"): server.certificate,
		filepath.Join(dir, "server.key"): server.key,
		files.Certificate:                client.certificate,
		files.Key:                        client.key,
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return files, nil, err
		}
	}
	config, err := files.load()
	return files, config, err
}

func (f TLSFiles) load() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}, nil
}

// issued is a certificate with its private key.
type issued struct {
	parsed           *x509.Certificate
	private          *ecdsa.PrivateKey
	certificate, key *pem.Block
}

// issue makes a certificate with a new key, signed by an issuer or, without one, by its own key.
func issue(template *x509.Certificate, by *issued) (*issued, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, err
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := template, private
	if by != nil {
		parent, signer = by.parsed, by.private
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return &issued{
		parsed: parsed, private: private,
		certificate: &pem.Block{Type: "CERTIFICATE", Bytes: certificate},
		key:         &pem.Block{Type: "PRIVATE KEY", Bytes: key},
	}, nil
}
