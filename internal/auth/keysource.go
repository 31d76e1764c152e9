package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"

	"ais-gateway/internal/config"
)

const (
	// maxResponse is the maximum size of an issuer's response and maxTokenFile that of the
	// gateway's token, in bytes.
	maxResponse, maxTokenFile = 1 << 20, 64 << 10
	// maxKeys is the maximum number of keys of an issuer.
	maxKeys = 64
	// minBits and maxBits limit the size of RSA keys: smaller ones can be broken, larger ones take
	// long to verify with.
	minBits, maxBits = 2048, 8192
)

// The reasons why an issuer's keys could not be fetched. The texts are values of the log's
// attribute "cause".
var (
	errToken     = errors.New("token_file")
	errDiscovery = errors.New("discovery_refused")
	errMismatch  = errors.New("issuer_mismatch")
	errRefused   = errors.New("keys_refused")
	errIllFormed = errors.New("keys_ill_formed")
)

// failureCause returns the text of the known error that err is, or "unreachable".
func failureCause(err error) string {
	for _, known := range []error{errToken, errMismatch, errDiscovery, errRefused, errIllFormed} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "unreachable"
}

// keySource fetches an issuer's keys. It follows no redirects and uses no proxy, so that keys come
// only from the configured or discovered server.
type keySource struct {
	config.OIDC
	client *http.Client
}

func newKeySource(o config.OIDC) *keySource {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile.Given() {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(o.CAFile.Content())
	}
	return &keySource{o, &http.Client{
		Transport: &issuerTransport{
			tokenFile: o.TokenFile.Path(), tokenOrigins: []string{origin(o.Issuer), origin(o.JWKSURL)},
			next: &http.Transport{
				TLSClientConfig: trust, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxTokenFile,
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// fetchKeys returns the issuer's current keys that can be used.
func (s *keySource) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	address := s.JWKSURL
	if address == "" {
		var err error
		if address, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, errDiscovery
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errRefused
	}
	document, err := io.ReadAll(resp.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errIllFormed
	case err != nil:
		return nil, err
	}
	return parseKeySet(document)
}

// discover returns jwks_uri of the issuer's discovery document (OpenID Connect Discovery 1.0,
// section 4).
func (s *keySource) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.Issuer)
	var mismatch *oidc.IssuerMismatchError
	var requestErr *url.Error
	switch {
	case errors.As(err, &mismatch):
		return "", errMismatch
	case errors.As(err, &requestErr), ctx.Err() != nil:
		return "", err
	case err != nil:
		return "", errDiscovery
	}
	var document struct {
		JWKSURL string `json:"jwks_uri"`
	}
	if provider.Claims(&document) != nil {
		return "", errDiscovery
	}
	u, err := url.Parse(document.JWKSURL)
	// If the issuer itself is on a loopback address without TLS, its keys may be too.
	if err != nil || u.Hostname() == "" || u.Scheme != "https" &&
		(u.Scheme != "http" || !config.IsLoopback(u.Hostname()) || !strings.HasPrefix(s.Issuer, "http:")) {
		return "", errDiscovery
	}
	return document.JWKSURL, nil
}

// parseKeySet returns the usable keys of a JWK Set. It ignores the others, as RFC 7517, section 5,
// requires.
func parseKeySet(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(document, &set) != nil || set.Keys == nil {
		return nil, errIllFormed
	}
	keys := []jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && isUsable(k) {
			keys = append(keys, k)
		}
	}
	if len(keys) > maxKeys {
		return nil, errIllFormed
	}
	return keys, nil
}

// isUsable reports whether the key is a valid public key for signatures, of an accepted size.
func isUsable(k jose.JSONWebKey) bool {
	if !k.Valid() || k.Use != "" && k.Use != "sig" {
		return false
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minBits && public.N.BitLen() <= maxBits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// issuerTransport sends requests to an issuer. It adds the gateway's own token and limits the size
// of responses.
type issuerTransport struct {
	tokenFile    string   // path of the gateway's token; "" for no token
	tokenOrigins []string // the configured origins, the only ones that receive the token
	next         http.RoundTripper
}

// RoundTrip implements http.RoundTripper. It reads the token file each time, because the token is
// replaced before it expires.
func (c *issuerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.tokenFile != "" && slices.Contains(c.tokenOrigins, origin(r.URL.String())) {
		token, err := readTokenFile(c.tokenFile)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxResponse)
	}
	return resp, err
}

// readTokenFile returns the token in the file, or errToken.
func readTokenFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", errToken
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if token := strings.TrimSpace(string(text)); err == nil && token != "" {
		return token, nil
	}
	return "", errToken
}

// origin returns the scheme and host of a URL, "" if it is not valid.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}
