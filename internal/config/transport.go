package config

import "crypto/x509"

// Proxy says whether a provider is called through a proxy.
type Proxy string

// Where the way to a provider leads.
const (
	NoProxy          Proxy = "none"        // straight there, whatever the environment says
	EnvironmentProxy Proxy = "environment" // as HTTPS_PROXY and NO_PROXY say at the start
)

// way checks how a provider is reached.
func (c *checker) transport(path string, p Provider) {
	c.require(path+".caFile", !p.CAFile.Given() || p.Roots() != nil, "file must contain a PEM certificate")
	switch p.Proxy {
	case NoProxy, EnvironmentProxy:
	default:
		c.fault(path+".proxy", "must be none or environment")
	}
}

// Roots are who may vouch for the provider; nil for those whom the system trusts, and where the file holds nobody.
func (p Provider) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.CAFile.Content()) {
		return nil
	}
	return roots
}
