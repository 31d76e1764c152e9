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
	// maxDocument bounds what an issuer answers, maxPresented the token that is shown to it, in bytes.
	maxDocument, maxPresented = 1 << 20, 64 << 10
	// maxKeys is how many keys an issuer may have.
	maxKeys = 64
	// Bits of an RSA key: fewer can be broken, more take long.
	minBits, maxBits = 2048, 8192
)

// Why an issuer's keys could not be read. The texts are for the log.
var (
	errToken     = errors.New("token_file")
	errDiscovery = errors.New("discovery_refused")
	errMismatch  = errors.New("issuer_mismatch")
	errRefused   = errors.New("keys_refused")
	errIllFormed = errors.New("keys_ill_formed")
)

// cause is which of them it was, or that there was no answer.
func cause(err error) string {
	for _, known := range []error{errToken, errMismatch, errDiscovery, errRefused, errIllFormed} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "unreachable"
}

// A source is where an issuer's keys are read. It follows no redirect and asks no proxy: neither is the issuer.
type source struct {
	config.OIDC
	client *http.Client
}

func newSource(o config.OIDC) *source {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile.Given() {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(o.CAFile.Content())
	}
	return &source{o, &http.Client{
		Transport: &courier{
			token: o.TokenFile.Path(), hosts: []string{origin(o.Issuer), origin(o.JWKSURL)},
			next: &http.Transport{
				TLSClientConfig: trust, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxPresented,
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// keys reads the issuer's keys of today.
func (s *source) keys(ctx context.Context) ([]jose.JSONWebKey, error) {
	place := s.JWKSURL
	if place == "" {
		var err error
		if place, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, http.NoBody)
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
	return readKeys(document)
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0, section 4).
func (s *source) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.Issuer)
	var mismatch *oidc.IssuerMismatchError
	var unanswered *url.Error
	switch {
	case errors.As(err, &mismatch):
		return "", errMismatch
	case errors.As(err, &unanswered), ctx.Err() != nil:
		return "", err
	case err != nil:
		return "", errDiscovery
	}
	var said struct {
		JWKSURL string `json:"jwks_uri"`
	}
	if provider.Claims(&said) != nil {
		return "", errDiscovery
	}
	u, err := url.Parse(said.JWKSURL)
	// An issuer on a loopback address may have its keys there, without TLS.
	if err != nil || u.Hostname() == "" || u.Scheme != "https" &&
		(u.Scheme != "http" || !config.IsLoopback(u.Hostname()) || !strings.HasPrefix(s.Issuer, "http:")) {
		return "", errDiscovery
	}
	return said.JWKSURL, nil
}

// readKeys reads a JWK Set (RFC 7517, section 5), and leaves out, as that wants it, what it cannot use.
func readKeys(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(document, &set) != nil || set.Keys == nil {
		return nil, errIllFormed
	}
	keys := []jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && usable(k) {
			keys = append(keys, k)
		}
	}
	if len(keys) > maxKeys {
		return nil, errIllFormed
	}
	return keys, nil
}

// usable reports whether the key is a public one for signatures, and a sound one.
func usable(k jose.JSONWebKey) bool {
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

// A courier carries requests to an issuer, shows it the gateway's own token, and cuts off answers that are too large.
type courier struct {
	token string   // its file; "" for none
	hosts []string // to which alone it is shown: those of the configuration
	next  http.RoundTripper
}

// RoundTrip reads the token each time: whoever mounts it replaces it before it expires.
func (c *courier) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.token != "" && slices.Contains(c.hosts, origin(r.URL.String())) {
		token, err := presented(c.token)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxDocument)
	}
	return resp, err
}

func presented(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", errToken
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPresented))
	if token := strings.TrimSpace(string(text)); err == nil && token != "" {
		return token, nil
	}
	return "", errToken
}

// origin is a URL's scheme and host, "" for no URL.
func origin(of string) string {
	u, err := url.Parse(of)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}
