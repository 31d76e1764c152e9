package chart_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// secrets are the contents of the files that operators put into Secrets.
type secrets struct{ certificate, key, signing, store, sealing []byte }

// password is the password of Redis and of all key stores. It contains the characters that a shell
// or Redis's configuration must quote.
const password = `pass "word" $HOME \ 'x' #`

// newSecrets returns secrets with new keys and certificates.
func newSecrets(t testing.TB) secrets {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	signer, err := x509.CreateCertificate(rand.Reader, template, template, signing.Public(), signing)
	must(t, err)
	parsed, err := x509.ParseCertificate(signer)
	must(t, err)
	store, err := pkcs12.Modern.Encode(signing, parsed, nil, password)
	must(t, err)
	sealing := make([]byte, 32)
	_, err = rand.Read(sealing)
	must(t, err)
	return secrets{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		signing:     pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(signing)}),
		store:       store,
		sealing:     []byte(base64.StdEncoding.EncodeToString(sealing) + "\n"),
	}
}

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content returns the content of a file of that name.
func (s secrets) content(file string) []byte {
	switch filepath.Base(file) {
	case "tls.crt", "ca.crt", "callers-ca.crt":
		return s.certificate
	case "tls.key":
		return s.key
	case "key.pem":
		return s.signing
	case "key.p12":
		return s.store
	case "key":
		return s.sealing
	default:
		return []byte(password)
	}
}
