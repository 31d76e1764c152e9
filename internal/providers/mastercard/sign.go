package mastercard

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"

	oauth "github.com/mastercard/oauth1-signer-go"
	"software.sslmate.com/src/go-pkcs12"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/adapterconfig"
)

// signer returns a function that signs requests with OAuth 1.0a, RSA-SHA256 and a body hash, in
// Mastercard's variant.
func signer(consumerKey string, key *rsa.PrivateKey) func(*http.Request, []byte) error {
	return func(r *http.Request, body []byte) error {
		value, err := oauth.GetAuthorizationHeader(r.URL, r.Method, body, consumerKey, key)
		if err != nil {
			return canonical.NewError(canonical.InternalError, "the request to the provider cannot be signed")
		}
		r.Header.Set(oauth.AuthorizationHeaderName, value)
		return nil
	}
}

// headerSafe reports whether a consumer key can be put in quotes into the Authorization header
// without escaping, as Mastercard requires.
func headerSafe(key string) bool {
	for _, c := range key {
		if c <= ' ' || c > '~' || strings.ContainsRune(`",\&=`, c) {
			return false
		}
	}
	return true
}

// signingKey returns the key in the signing key's file, or the fault of the configuration.
func (c Config) signingKey() (*rsa.PrivateKey, *config.Fault) {
	content := c.SigningKeyFile.Content()
	read := c.fromPKCS12
	if bytes.Contains(content, []byte("-----BEGIN ")) {
		read = c.fromPEM
	}
	parsed, fault := read(content)
	if fault != nil {
		return nil, fault
	}
	return adapterconfig.RSAKey(parsed, keyFile)
}

func (c Config) fromPKCS12(content []byte) (any, *config.Fault) {
	key, _, _, err := pkcs12.DecodeChain(content, c.password())
	switch {
	case err == nil:
		return key, nil
	case !errors.Is(err, pkcs12.ErrIncorrectPassword) && !errors.Is(err, pkcs12.ErrDecryption):
		return nil, &config.Fault{Path: keyFile, Detail: "must be PEM, or PKCS#12 with one key and its certificate"}
	case !c.SigningKeyPasswordFile.Given():
		return nil, passwordMissing
	}
	return nil, passwordWrong
}

// Faults of key files of several formats.
var (
	passwordMissing = &config.Fault{Path: keyPassword, Detail: "is required because signingKeyFile is encrypted"}
	passwordWrong   = &config.Fault{Path: keyPassword, Detail: "must be the password of signingKeyFile"}
	invalidKey      = &config.Fault{Path: keyFile, Detail: "must be a valid private key"}
)

// password returns the content of the password file without a final line break.
func (c Config) password() string {
	return strings.TrimSuffix(strings.TrimSuffix(string(c.SigningKeyPasswordFile.Content()), "\n"), "\r")
}

// pemKeys contains the parser of each kind of private key in PEM, by its label.
var pemKeys = map[string]func(der []byte) (any, error){
	"RSA PRIVATE KEY": func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
	"PRIVATE KEY":     x509.ParsePKCS8PrivateKey,
	"EC PRIVATE KEY":  func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
}

// fromPEM returns the first private key of a PEM file, which may also contain certificates.
func (c Config) fromPEM(content []byte) (any, *config.Fault) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		parse, known := pemKeys[block.Type]
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			return nil, &config.Fault{Path: keyFile, Detail: "must not be encrypted PKCS#8 in PEM (use PKCS#12 or an unencrypted PEM)"}
		case !known:
			continue
		case isEncrypted(block):
			return c.fromEncryptedPEM(block, parse)
		}
		key, err := parse(block.Bytes)
		if err != nil {
			return nil, invalidKey
		}
		return key, nil
	}
	return nil, &config.Fault{Path: keyFile, Detail: "PEM file contains no private key"}
}

// isEncrypted reports whether the headers of a block mark it as encrypted (RFC 1421, section
// 4.6.1.1).
func isEncrypted(block *pem.Block) bool {
	return block.Headers["DEK-Info"] != "" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
}

func (c Config) fromEncryptedPEM(block *pem.Block, parse func(der []byte) (any, error)) (any, *config.Fault) {
	if !c.SigningKeyPasswordFile.Given() {
		return nil, passwordMissing
	}
	der, err := x509.DecryptPEMBlock(block, []byte(c.password())) //nolint:staticcheck // deprecated as weak, but openssl writes it
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, passwordWrong
	case err != nil:
		return nil, invalidKey
	}
	key, err := parse(der)
	if err != nil {
		// The padding does not reveal every wrong password: about one in 256 is detected only here.
		return nil, passwordWrong
	}
	return key, nil
}
