package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
)

// ServerTLS says how callers reach the API over TLS; nothing given is plain HTTP.
type ServerTLS struct {
	CertificateFile File `yaml:"certificateFile"` // PEM: the server's certificate and its chain
	KeyFile         File `yaml:"keyFile"`         // PEM: its private key
	// ClientCAFile is PEM: who vouches for callers. With it a caller without a certificate is not let in.
	ClientCAFile File `yaml:"clientCAFile"`
}

// Server is what the API's listener needs to speak TLS, nil if it is not to. It is complete only for a file without
// faults. It offers HTTP/1.1 alone, and no session can be resumed: each connection is judged by the files of its day.
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

// authorities reads PEM certificates, and reports whether they are all that a PEM reader would look for: of a list that
// is cut short, nobody may be left out in silence.
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
