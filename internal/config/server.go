package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
)

// ServerTLS configures TLS of the API; if no file is set, the API uses plain HTTP.
type ServerTLS struct {
	CertificateFile File `yaml:"certificateFile"` // PEM: the server's certificate and its chain
	KeyFile         File `yaml:"keyFile"`         // PEM: its private key
	// ClientCAFile is PEM: trusted for client certificates, which are required if it is set.
	ClientCAFile File `yaml:"clientCAFile"`
}

// Server returns the TLS configuration of the API's listener, nil for plain HTTP. It is valid only for a configuration
// without faults. It offers only HTTP/1.1, and no session resumption, so that each connection is verified with the current
// files.
func (t ServerTLS) Server() *tls.Config {
	pair, err := tls.X509KeyPair(t.CertificateFile.Content(), t.KeyFile.Content())
	if err != nil {
		return nil
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
	}
	if t.ClientCAFile.Given() {
		c.ClientCAs, _ = parseAuthorities(t.ClientCAFile.Content())
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c
}

func (c *checker) serverTLS(t ServerTLS) {
	const certificate, key, authority = "server.tls.certificateFile", "server.tls.keyFile", "server.tls.clientCAFile"
	if !t.CertificateFile.Given() && !t.KeyFile.Given() && !t.ClientCAFile.Given() {
		return
	}
	if c.requireSet(certificate, t.CertificateFile.Given()) && c.requireSet(key, t.KeyFile.Given()) {
		_, err := tls.X509KeyPair(t.CertificateFile.Content(), t.KeyFile.Content())
		c.require(key, err == nil, "must be the private key of "+certificate+" (both in PEM)")
	}
	if t.ClientCAFile.Given() {
		_, all := parseAuthorities(t.ClientCAFile.Content())
		c.require(authority, all, "file must contain only PEM certificates")
	}
}

// parseAuthorities returns the certificates of a PEM text, and whether the text contains only valid certificates: a
// truncated list must not be accepted.
func parseAuthorities(text []byte) (*x509.CertPool, bool) {
	pool, n := x509.NewCertPool(), 0
	for rest := text; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return pool, false
		}
		pool.AddCert(certificate)
	}
	return pool, n > 0 && n == bytes.Count(text, []byte("-----BEGIN "))
}
