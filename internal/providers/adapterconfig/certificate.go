package adapterconfig

import (
	"crypto/rsa"
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

// ClientCertificate returns the TLS client certificate (QWAC, OBWAC) in the files of the configuration
// keys clientCertificateFile and clientKeyFile. Both are required if one of the base URLs is https,
// except on a loopback address; a base URL may be nil. It returns nil if neither is set and none is
// required. If one is missing or invalid, it adds a fault and returns nil.
func ClientCertificate(chain, key config.File, faults *config.Faults, bases ...*url.URL) *tls.Certificate {
	paths := pairPaths{"clientCertificateFile", "clientKeyFile"}
	if slices.ContainsFunc(bases, requiresCertificate) {
		return paths.read(chain, key, "is required with an https baseURL", faults)
	}
	return paths.readOptional(chain, key, faults)
}

// SigningCertificate returns the certificate (QSEAL) and the RSA key with which requests are signed,
// in the files of the configuration keys signingCertificateFile and signingKeyFile. It returns nil if
// neither is set. If one is missing or invalid, it adds a fault and returns nil.
func SigningCertificate(chain, key config.File, faults *config.Faults) (*tls.Certificate, *rsa.PrivateKey) {
	paths := pairPaths{"signingCertificateFile", "signingKeyFile"}
	pair := paths.readOptional(chain, key, faults)
	if pair == nil {
		return nil, nil
	}
	private, fault := RSAKey(pair.PrivateKey, paths.key)
	if fault != nil {
		*faults = append(*faults, *fault)
		return nil, nil
	}
	return pair, private
}

// minKeyBits is the minimum size of an RSA key (NIST SP 800-131A).
const minKeyBits = 2048

// RSAKey returns a key that signs requests. If it is not an RSA key of at least 2048 bits, RSAKey
// returns the fault of the configuration key path.
func RSAKey(key any, path string) (*rsa.PrivateKey, *config.Fault) {
	private, ok := key.(*rsa.PrivateKey)
	switch {
	case !ok:
		return nil, &config.Fault{Path: path, Detail: "must be an RSA key"}
	case private.N.BitLen() < minKeyBits:
		return nil, &config.Fault{Path: path, Detail: "must be an RSA key of at least 2048 bits"}
	}
	return private, nil
}

// pairPaths are the configuration keys of a certificate with its chain, and of its private key.
type pairPaths struct{ chain, key string }

// readOptional returns nil if both files are missing.
func (p pairPaths) readOptional(chain, key config.File, faults *config.Faults) *tls.Certificate {
	if !chain.Given() && !key.Given() {
		return nil
	}
	return p.read(chain, key, "is missing: certificate and key must be set together", faults)
}

// read returns the pair in two files, or nil after adding a fault. missing is the fault of a file
// that is not given.
func (p pairPaths) read(chain, key config.File, missing string, faults *config.Faults) *tls.Certificate {
	usable := true
	refuse := func(path, detail string) {
		usable = false
		addOnce(faults, path, detail)
	}
	switch {
	case !chain.Given():
		refuse(p.chain, missing)
	case !containsBlock(chain.Content(), isCertificate):
		refuse(p.chain, "file must contain a PEM certificate")
	}
	switch {
	case !key.Given():
		refuse(p.key, missing)
	case !containsBlock(key.Content(), isPrivateKey):
		refuse(p.key, "file must contain an unencrypted private key in PEM")
	}
	if !usable {
		return nil
	}
	pair, err := tls.X509KeyPair(chain.Content(), key.Content())
	if err != nil {
		addOnce(faults, p.key, "must be the private key of "+p.chain)
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
