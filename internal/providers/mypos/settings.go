package mypos

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// Config is what only this provider has in the configuration.
type Config struct {
	APIKeyFile            config.File `yaml:"apiKeyFile"`            // the consumer key of the developer portal
	ClientCertificateFile config.File `yaml:"clientCertificateFile"` // PEM: the QWAC and its chain
	ClientKeyFile         config.File `yaml:"clientKeyFile"`         // PEM: its private key
}

func (c Config) apiKey(faults *config.Faults) canonical.Secret {
	key := strings.TrimSpace(string(c.APIKeyFile.Content()))
	switch {
	case !c.APIKeyFile.Given():
		addOnce(faults, "apiKeyFile", "is missing")
	case key == "":
		addOnce(faults, "apiKeyFile", "file contains no key")
	case !printable(key):
		addOnce(faults, "apiKeyFile", "file must contain a single line of printable ASCII characters")
	}
	return canonical.Secret(key)
}

// certificate is the client certificate, nil where none is given and none is required.
func (c Config) certificate(required bool, faults *config.Faults) *tls.Certificate {
	chain, key := c.ClientCertificateFile, c.ClientKeyFile
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

// note adds a fault of a key of which none is known yet: a file that could not be read is not missing besides.
func addOnce(faults *config.Faults, path, detail string) {
	if !slices.ContainsFunc(*faults, func(f config.Fault) bool { return f.Path == path }) {
		faults.Add(path, detail)
	}
}

// holds reports whether one block at least of a PEM text is wanted.
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

// isPrivateKey leaves it to crypto/tls whether the key is of a known kind. An encrypted one has its headers
// (RFC 1421) or says so in its type (PKCS #8).
func isPrivateKey(b *pem.Block) bool {
	return strings.HasSuffix(b.Type, "PRIVATE KEY") && b.Type != "ENCRYPTED PRIVATE KEY" && len(b.Headers) == 0
}
