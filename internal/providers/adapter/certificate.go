package adapter

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
)

// HeaderKey returns the secret in a file that is sent in a header, without outer white space. If
// the file is missing, empty or not a single line of printable ASCII, it adds a fault of the
// configuration key path.
func HeaderKey(file config.File, path string, faults *config.Faults) canonical.Secret {
	key := strings.TrimSpace(string(file.Content()))
	switch {
	case !file.Given():
		addOnce(faults, path, "is missing")
	case key == "":
		addOnce(faults, path, "file contains no key")
	case !providers.Printable(key):
		addOnce(faults, path, "file must contain a single line of printable ASCII characters")
	}
	return canonical.Secret(key)
}

// ClientCertificate returns the TLS client certificate (QWAC) in the files of the configuration
// keys clientCertificateFile and clientKeyFile. Both are required if the provider is called over
// https, except on a loopback address. It returns nil if they are not required and missing, and
// after adding a fault.
func ClientCertificate(chain, key config.File, base *url.URL, faults *config.Faults) *tls.Certificate {
	required := requiresCertificate(base)
	if !required && !chain.Given() && !key.Given() {
		return nil
	}
	missing := "is required with an https baseURL"
	if !required {
		missing = "is missing: certificate and key must be set together"
	}
	usable := true
	refuse := func(path, detail string) {
		usable = false
		addOnce(faults, path, detail)
	}
	switch {
	case !chain.Given():
		refuse("clientCertificateFile", missing)
	case !containsBlock(chain.Content(), isCertificate):
		refuse("clientCertificateFile", "file must contain a PEM certificate")
	}
	switch {
	case !key.Given():
		refuse("clientKeyFile", missing)
	case !containsBlock(key.Content(), isPrivateKey):
		refuse("clientKeyFile", "file must contain an unencrypted private key in PEM")
	}
	if !usable {
		return nil
	}
	pair, err := tls.X509KeyPair(chain.Content(), key.Content())
	if err != nil {
		addOnce(faults, "clientKeyFile", "must be the private key of clientCertificateFile")
		return nil
	}
	return &pair
}

func requiresCertificate(base *url.URL) bool {
	return base != nil && base.Scheme == "https" && !config.IsLoopback(base.Hostname())
}

// addOnce adds a fault of a configuration key that has none yet: a file that could not be read is
// not reported as missing as well.
func addOnce(faults *config.Faults, path, detail string) {
	if !slices.ContainsFunc(*faults, func(f config.Fault) bool { return f.Path == path }) {
		faults.Add(path, detail)
	}
}

// containsBlock reports whether a PEM text contains a block for which wanted returns true.
func containsBlock(text []byte, wanted func(*pem.Block) bool) bool {
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return false
		}
		if wanted(block) {
			return true
		}
	}
}

func isCertificate(b *pem.Block) bool {
	_, err := x509.ParseCertificate(b.Bytes)
	return b.Type == "CERTIFICATE" && err == nil
}

// isPrivateKey reports whether a block is an unencrypted private key of any kind. An encrypted key
// has headers (RFC 1421) or its own type (PKCS #8).
func isPrivateKey(b *pem.Block) bool {
	return strings.HasSuffix(b.Type, "PRIVATE KEY") && b.Type != "ENCRYPTED PRIVATE KEY" && len(b.Headers) == 0
}
