package config

import (
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"ais-gateway/internal/config/strict"
)

// Clients are the clients that may call the API, with API keys or with tokens of issuers, and their rate limits.
type Clients struct {
	APIKeys   []APIKey   `yaml:"apiKeys"`
	OIDC      []OIDC     `yaml:"oidc"`
	RateLimit *RateLimit `yaml:"rateLimit"` // default, applied to each client separately; nil for no limit
}

// The scopes of clients.
const (
	ScopeAccounts = "accounts:read"
	ScopeBalances = "balances:read"
)

// OIDCClientPrefix starts the ID of every client with a token; names of API keys must not start with it.
const OIDCClientPrefix = "oidc:"

// APIKey is a client that calls with a key.
type APIKey struct {
	Name      string     `yaml:"name"`
	SHA256    Hashes     `yaml:"sha256"`    // of the key, or of each key while keys rotate
	Scopes    []string   `yaml:"scopes"`    // ScopeAccounts, ScopeBalances
	RateLimit *RateLimit `yaml:"rateLimit"` // nil for the default
}

// Hashes are SHA-256 hashes as 64 lower-case hex digits. In the file they are one string or a list.
type Hashes []string

// OneOrMore implements strict.OneOrMore.
func (Hashes) OneOrMore() {}

// maxHashes is the maximum number of keys of one client.
const maxHashes = 8

// OIDC is an issuer of tokens (JWTs).
type OIDC struct {
	Issuer     string        `yaml:"issuer"`     // exactly as in the tokens; https, or http on a loopback address
	Audiences  []string      `yaml:"audiences"`  // a token must have one of them
	Algorithms []string      `yaml:"algorithms"` // of signatures (RFC 7518, section 3.1; RFC 8037)
	ClockSkew  time.Duration `yaml:"clockSkew"`  // maximum difference of the issuer's clock, up to 5m
	JWKSURL    string        `yaml:"jwksURL"`    // of the issuer's keys; "" to use its discovery document
	CAFile     File          `yaml:"caFile"`     // PEM; trusted for the issuer's server; the system's CAs if not set
	TokenFile  File          `yaml:"tokenFile"`  // the gateway's Bearer token for fetching the issuer's keys; read again for each request
	Grants     []Grant       `yaml:"grants"`
}

// Grant has scopes and a rate limit for one client of an issuer.
type Grant struct {
	Client    string     `yaml:"client"`    // its name: azp, else client_id, else sub
	Scopes    []string   `yaml:"scopes"`    // for tokens without the claims scope and scp
	RateLimit *RateLimit `yaml:"rateLimit"` // nil for the default
}

// RateLimit is a token bucket.
type RateLimit struct {
	PerSecond float64 `yaml:"perSecond"` // average number of requests, above 0
	Burst     int     `yaml:"burst"`     // maximum number of requests at one time, from 1
}

// Algorithms returns the signature algorithms that an OIDC may allow, all of them asymmetric. EdDSA, the last one, is not
// a default.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

const maxSkew = 5 * time.Minute

// SetDefaults sets the defaults of an issuer.
func (o *OIDC) SetDefaults() {
	all := Algorithms()
	*o = OIDC{Algorithms: all[:len(all)-1], ClockSkew: time.Minute}
}

func (c *Clients) normalize() {
	for i := range c.APIKeys {
		for j, hash := range c.APIKeys[i].SHA256 {
			c.APIKeys[i].SHA256[j] = strings.ToLower(hash)
		}
	}
}

// clients checks the clients. simulated reports whether all providers are simulators.
func (c *checker) clients(all Clients, simulated bool) {
	if len(all.OIDC) == 0 && !c.refused("clients.oidc") && !c.requireSet("clients.apiKeys", len(all.APIKeys) > 0) {
		return
	}
	c.rateLimit("clients.rateLimit", all.RateLimit)
	names, sums := firsts{}, firsts{}
	for i, k := range all.APIKeys {
		path := strict.Entry("clients.apiKeys", i)
		if c.requireSet(path+".name", strings.TrimSpace(k.Name) != "") {
			c.unique(names, path+".name", k.Name)
			c.require(path+".name", !strings.HasPrefix(k.Name, OIDCClientPrefix), "must not begin with "+OIDCClientPrefix)
		}
		c.hashes(path+".sha256", k.SHA256, sums, simulated)
		if c.requireSet(path+".scopes", len(k.Scopes) > 0) {
			c.scopes(path+".scopes", k.Scopes)
		}
		c.rateLimit(path+".rateLimit", k.RateLimit)
	}
	issuers := firsts{}
	for i, o := range all.OIDC {
		path := strict.Entry("clients.oidc", i)
		c.oidc(path, o)
		c.unique(issuers, path+".issuer", o.Issuer)
	}
}

// hashes checks the hashes of one client. seen are those of the previous clients.
func (c *checker) hashes(path string, all Hashes, seen firsts, simulated bool) {
	if !c.requireSet(path, len(all) > 0) {
		return
	}
	c.require(path, len(all) <= maxHashes, "must not have more than 8 hashes")
	for i, hash := range all {
		at := path
		if entry := strict.Entry(path, i); c.file.Has(entry) {
			at = entry
		}
		if c.requireSet(at, hash != "") {
			sum, err := hex.DecodeString(hash)
			c.require(at, err == nil && len(sum) == 32, "must be 64 hex digits")
			c.unique(seen, at, hash)
			c.unguessable(at, hash, simulated)
		}
	}
}

func (c *checker) scopes(path string, all []string) {
	seen := firsts{}
	for i, s := range all {
		at := strict.Entry(path, i)
		c.require(at, s == ScopeAccounts || s == ScopeBalances, "must be "+ScopeAccounts+" or "+ScopeBalances)
		c.unique(seen, at, s)
	}
}

func (c *checker) rateLimit(path string, r *RateLimit) {
	const most = 1_000_000
	if r == nil || c.refused(path) {
		return
	}
	if c.requireSet(path+".perSecond", c.file.Has(path+".perSecond")) {
		c.require(path+".perSecond", r.PerSecond > 0 && r.PerSecond <= most, "must be greater than 0 and at most 1000000")
	}
	if c.requireSet(path+".burst", c.file.Has(path+".burst")) {
		c.require(path+".burst", r.Burst >= 1 && r.Burst <= most, "must be from 1 to 1000000")
	}
}

func (c *checker) oidc(path string, o OIDC) {
	if c.requireSet(path+".issuer", o.Issuer != "") {
		c.baseURL(path+".issuer", o.Issuer)
	}
	if c.requireSet(path+".audiences", len(o.Audiences) > 0) {
		c.texts(path+".audiences", o.Audiences)
	}
	if c.requireSet(path+".algorithms", len(o.Algorithms) > 0) {
		seen := firsts{}
		for i, a := range o.Algorithms {
			at := strict.Entry(path+".algorithms", i)
			c.require(at, slices.Contains(Algorithms(), a), "must be one of "+strings.Join(Algorithms(), ", "))
			c.unique(seen, at, a)
		}
	}
	c.require(path+".clockSkew", o.ClockSkew >= 0 && o.ClockSkew <= maxSkew, "must be from 0s to 5m")
	if o.JWKSURL != "" {
		base, query, _ := strings.Cut(o.JWKSURL, "?")
		c.baseURL(path+".jwksURL", base)
		c.require(path+".jwksURL", !strings.Contains(query, "#"), "must not contain a fragment")
	}
	c.require(path+".caFile", !o.CAFile.Given() || x509.NewCertPool().AppendCertsFromPEM(o.CAFile.Content()),
		"file must contain a PEM certificate")
	c.require(path+".tokenFile", !o.TokenFile.Given() || strings.TrimSpace(o.TokenFile.Line()) != "", "file contains no token")
	seen := firsts{}
	for i, g := range o.Grants {
		at := strict.Entry(path+".grants", i)
		if c.requireSet(at+".client", strings.TrimSpace(g.Client) != "") {
			c.unique(seen, at+".client", g.Client)
		}
		if g.RateLimit == nil {
			c.requireSet(at+".scopes", len(g.Scopes) > 0)
		}
		c.scopes(at+".scopes", g.Scopes)
		c.rateLimit(at+".rateLimit", g.RateLimit)
	}
}

// texts checks that the entries of a list are not empty and differ.
func (c *checker) texts(path string, all []string) {
	seen := firsts{}
	for i, s := range all {
		at := strict.Entry(path, i)
		c.require(at, strings.TrimSpace(s) != "", "is empty")
		c.unique(seen, at, s)
	}
}
