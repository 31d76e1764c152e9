package config

import "crypto/x509"

// Proxy is whether a provider is called through a proxy.
type Proxy string

// The ways of calling a provider.
const (
	NoProxy          Proxy = "none"        // directly, even if the environment has a proxy
	EnvironmentProxy Proxy = "environment" // as in HTTPS_PROXY and NO_PROXY at the start
)

// transport checks the CA file and the proxy of a provider.
func (c *checker) transport(path string, p Provider) {
	c.require(path+".caFile", !p.CAFile.Given() || p.Roots() != nil, "file must contain a PEM certificate")
	switch p.Proxy {
	case NoProxy, EnvironmentProxy:
	default:
		c.fault(path+".proxy", "must be none or environment")
	}
}

// Roots returns the CAs that are trusted for the provider, nil for the system's or if the file contains none.
func (p Provider) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.CAFile.Content()) {
		return nil
	}
	return roots
}
