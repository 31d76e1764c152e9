package config

import (
	"encoding/hex"
	"time"

	"ais-gateway/internal/config/strict"
)

// Clients are the clients that may call the API, with API keys or with tokens of issuers, and their
// rate limits.
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

// OIDCClientPrefix starts the ID of every client with a token; names of API keys must not start
// with it.
const OIDCClientPrefix = "oidc:"

// APIKey is a client that calls with a key.
type APIKey struct {
	Name      string     `yaml:"name" check:"required=text,unique,clientName"`
	SHA256    Hashes     `yaml:"sha256" check:"required,hashes"` // of the key, or of each key while keys rotate
	Scopes    []string   `yaml:"scopes" check:"required" each:"oneof=accounts:read|balances:read,unique"`
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
	Issuer     string        `yaml:"issuer" check:"required,url,unique"`                  // exactly as in the tokens
	Audiences  []string      `yaml:"audiences" check:"required" each:"text,unique"`       // a token must have one of them
	Algorithms []string      `yaml:"algorithms" check:"required" each:"algorithm,unique"` // of signatures (RFC 7518, section 3.1; RFC 8037)
	ClockSkew  time.Duration `yaml:"clockSkew" check:"from=0s..5m"`                       // maximum difference of the issuer's clock
	JWKSURL    string        `yaml:"jwksURL" check:"queryURL"`                            // of the issuer's keys; "" to use its discovery document
	CAFile     File          `yaml:"caFile" check:"certificate"`                          // PEM; trusted for the issuer's server; the system's CAs if not set
	TokenFile  File          `yaml:"tokenFile" check:"token"`                             // the gateway's Bearer token for fetching the issuer's keys; read again for each request
	Grants     []Grant       `yaml:"grants"`
}

// Grant has scopes and a rate limit for one client of an issuer.
type Grant struct {
	Client    string     `yaml:"client" check:"required=text,unique"`                    // its name: azp, else client_id, else sub
	Scopes    []string   `yaml:"scopes" each:"oneof=accounts:read|balances:read,unique"` // for tokens without the claims scope and scp
	RateLimit *RateLimit `yaml:"rateLimit"`                                              // nil for the default
}

// RateLimit is a token bucket.
type RateLimit struct {
	PerSecond float64 `yaml:"perSecond" check:"required,above=0..1000000"` // average number of requests
	Burst     int     `yaml:"burst" check:"required,from=1..1000000"`      // maximum number of requests at one time
}

// Algorithms returns the signature algorithms that an OIDC may allow, all of them asymmetric.
// EdDSA, the last one, is not a default.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// SetDefaults sets the defaults of an issuer.
func (o *OIDC) SetDefaults() {
	all := Algorithms()
	*o = OIDC{Algorithms: all[:len(all)-1], ClockSkew: time.Minute}
}

// check requires a client. It accepts an issuer without grants.
func (all Clients) check(c *checker, path string) {
	if len(all.OIDC) == 0 && !c.refused(path+".oidc") {
		c.requireSet(path+".apiKeys", len(all.APIKeys) > 0)
	}
}

// check requires scopes or a rate limit.
func (g Grant) check(c *checker, path string) {
	if g.RateLimit == nil {
		c.requireSet(path+".scopes", len(g.Scopes) > 0)
	}
}

// hashes checks the hashes of one client, which must differ from those of all other clients.
func (c *checker) hashes(path string, all Hashes) {
	c.require(path, len(all) <= maxHashes, "must not have more than 8 hashes")
	for i, hash := range all {
		at := path
		if entry := strict.Entry(path, i); c.config.file.Has(entry) {
			at = entry
		}
		if c.requireSet(at, hash != "") {
			sum, err := hex.DecodeString(hash)
			c.require(at, err == nil && len(sum) == 32, "must be 64 hex digits")
			c.unique("sha256", at, hash)
			c.unguessable(at, hash)
		}
	}
}
