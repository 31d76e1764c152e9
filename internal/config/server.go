package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"time"
)

// Server configures the HTTP servers of the gateway.
type Server struct {
	Address      string `yaml:"address" check:"required,address=listen"`      // the API
	AdminAddress string `yaml:"adminAddress" check:"required,address=listen"` // /livez, /readyz and /metrics; never exposed to callers
	// DrainFor is how long requests are still accepted after SIGTERM.
	DrainFor time.Duration `yaml:"drainFor" check:"from=0s"`
	TLS      ServerTLS     `yaml:"tls"`
	Limits   Limits        `yaml:"limits"`
	// Profiling serves /debug/pprof/ on the admin address.
	Profiling bool `yaml:"profiling"`
}

// Limits are the concurrency limits of one gateway; requests above them are refused with
// OVERLOADED.
type Limits struct {
	InFlight  int `yaml:"inFlight" check:"from=1"`  // requests, in all
	PerClient int `yaml:"perClient" check:"from=1"` // requests of one client
	PerASPSP  int `yaml:"perASPSP" check:"from=1"`  // calls to one ASPSP
}

// ServerTLS configures TLS of the API; if no file is set, the API uses plain HTTP.
type ServerTLS struct {
	CertificateFile File `yaml:"certificateFile"` // PEM: the server's certificate and its chain
	KeyFile         File `yaml:"keyFile"`         // PEM: its private key
	// ClientCAFile is PEM: trusted for client certificates, which are required if it is set.
	ClientCAFile File `yaml:"clientCAFile"`
}

// Server returns the TLS configuration of the API's listener, nil for plain HTTP. It is valid only
// for a configuration without faults. It offers only HTTP/1.1, and no session resumption, so that
// each connection is verified with the current files.
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

// check requires that the two addresses differ.
func (s Server) check(c *checker, path string) {
	if c.faulty(path+".address") || c.faulty(path+".adminAddress") {
		return
	}
	host, port, _ := splitAddress(s.Address, true)
	admin, adminPort, _ := splitAddress(s.AdminAddress, true)
	overlap := host == admin || isWildcard(host) || isWildcard(admin)
	c.require(path+".adminAddress", port != adminPort || port == 0 || !overlap, "must not be the same address and port as server.address")
}

// isWildcard reports whether a listener on the host listens on all addresses.
func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func (t ServerTLS) check(c *checker, path string) {
	if t.CertificateFile.Given() || t.KeyFile.Given() || t.ClientCAFile.Given() {
		c.keyPair(path, t.CertificateFile, t.KeyFile)
	}
	if t.ClientCAFile.Given() {
		_, all := parseAuthorities(t.ClientCAFile.Content())
		c.require(path+".clientCAFile", all, "file must contain only PEM certificates")
	}
}

// parseAuthorities returns the certificates of a PEM text, and whether the text contains only valid
// certificates: a truncated list must not be accepted.
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
