// Package config defines the configuration file: its types, defaults and checks. All faults are
// reported together, with path and line. cmd loads it; adapters decode their own keys with the
// function from Decoder, and use File and Faults.
package config

import (
	"crypto/x509"
	"log/slog"
	"time"

	"ais-gateway/internal/config/strict"
)

// Config is the whole file.
type Config struct {
	Server     Server              `yaml:"server"`
	Redis      Redis               `yaml:"redis"`
	Clients    Clients             `yaml:"clients"`
	Providers  map[string]Provider `yaml:"providers" check:"required,names"`
	ASPSPs     []ASPSP             `yaml:"aspsps" check:"required"`
	Unattended GlobalUnattended    `yaml:"unattended"` // for all ASPSPs
	Accounts   GlobalAccounts      `yaml:"accounts"`   // of all ASPSPs
	Cache      Cache               `yaml:"cache"`
	Audit      Audit               `yaml:"audit"`
	Log        Log                 `yaml:"log"`
	PSU        PSU                 `yaml:"psu"`

	file   *strict.Document // nil for a Config that was not read
	source File             // the zero File for a Config that was read from a text

	warnings Faults // what Warn added
}

// Defaults returns the configuration of an empty file. The defaults of entries in lists and maps
// are ProviderDefaults and ASPSPDefaults.
func Defaults() Config {
	return Config{
		Server: Server{
			Address: "127.0.0.1:8080", AdminAddress: "127.0.0.1:9090", DrainFor: 5 * time.Second,
			Limits: Limits{InFlight: 1000, PerClient: 250, PerASPSP: 100},
		},
		Redis: Redis{Mode: Standalone, Addresses: []string{"127.0.0.1:6379"}}, // the default addresses are for Standalone only
		Audit: Audit{Output: AuditStdout, WhenFull: AuditDrop},
		Log:   Log{Level: "info"},
	}
}

// ProviderDefaults returns the defaults of a provider.
func ProviderDefaults() Provider { return Provider{Timeout: 10 * time.Second, Proxy: NoProxy} }

// ASPSPDefaults returns the defaults of an ASPSP: the limit of Regulation (EU) 2018/389, article
// 36(5)(b), per consent, and lists that are kept for 90 days.
func ASPSPDefaults() ASPSP {
	return ASPSP{
		Unattended: Unattended{Limit: 4, Window: 24 * time.Hour, Unit: UnitConsent},
		Accounts:   Accounts{FreshFor: 10 * time.Minute, KeepFor: 2160 * time.Hour},
		Breaker: Breaker{
			ConsecutiveFailures: 5, FailureRatio: 0.5, MinimumCalls: 20,
			Interval: 60 * time.Second, OpenFor: 30 * time.Second,
		},
	}
}

// SetDefaults fills the provider with ProviderDefaults.
func (p *Provider) SetDefaults() { *p = ProviderDefaults() }

// AllowsUnknownKeys implements strict.AllowsUnknownKeys: the adapter decodes the other keys.
func (*Provider) AllowsUnknownKeys() {}

// SetDefaults fills the ASPSP with ASPSPDefaults.
func (a *ASPSP) SetDefaults() { *a = ASPSPDefaults() }

// Provider has the settings that all providers have. The adapter decodes its other keys.
type Provider struct {
	BaseURL string        `yaml:"baseURL" check:"url"`        // https, or http on a loopback address; see MissingBaseURLs
	Timeout time.Duration `yaml:"timeout" check:"above=0s"`   // of one upstream read as a whole
	CAFile  File          `yaml:"caFile" check:"certificate"` // PEM; trusted for the provider's server; the system's CAs if not set
	Proxy   Proxy         `yaml:"proxy" check:"oneof=none|environment"`
}

// Proxy is whether a provider is called through a proxy.
type Proxy string

// The ways of calling a provider.
const (
	NoProxy          Proxy = "none"        // directly, even if the environment has a proxy
	EnvironmentProxy Proxy = "environment" // as in HTTPS_PROXY and NO_PROXY at the start
)

// Roots returns the CAs that are trusted for the provider, nil for the system's or if the file
// contains none.
func (p Provider) Roots() *x509.CertPool { return p.CAFile.pool() }

// ASPSP is one entry of aspsps.
type ASPSP struct {
	ID       string         `yaml:"id" check:"required,uuid,unique"` // in lower case
	Name     string         `yaml:"name" check:"required=text"`
	Provider string         `yaml:"provider" check:"required"` // a key of Providers
	Options  strict.Mapping `yaml:"options"`                   // decoded by the provider's adapter
	// PSUAddressRequired means that the ASPSP is never called without the user. Unattended.Limit is
	// then 0, whatever the file has.
	PSUAddressRequired bool       `yaml:"psuAddressRequired"`
	Unattended         Unattended `yaml:"unattended"`
	Accounts           Accounts   `yaml:"accounts"`
	Breaker            Breaker    `yaml:"breaker"`
}

// Unit is the unit that has one counter of unattended calls.
type Unit string

// The units of counting.
const (
	UnitConsent  Unit = "consent"  // ASPSP and consent
	UnitResource Unit = "resource" // ASPSP, consent and resource
	UnitASPSP    Unit = "aspsp"    // the ASPSP, all consents together
)

// Unattended is an ASPSP's policy for unattended calls.
type Unattended struct {
	Limit       int           `yaml:"limit" check:"from=0"`    // 0 allows none
	Window      time.Duration `yaml:"window" check:"above=0s"` // rolling
	Unit        Unit          `yaml:"unit" check:"oneof=aspsp|consent|resource"`
	ClosedUntil time.Time     `yaml:"closedUntil"` // no unattended calls before this time; zero for no restriction
}

// Accounts is the policy for an ASPSP's cached account lists.
type Accounts struct {
	FreshFor time.Duration `yaml:"freshFor" check:"above=0s"` // served without a call
	KeepFor  time.Duration `yaml:"keepFor" check:"above=0s"`  // served when no call can be made; then deleted
}

// check requires that a list is kept as long as it is fresh.
func (a Accounts) check(c *checker, path string) {
	if !c.faulty(path+".freshFor") && !c.faulty(path+".keepFor") {
		c.require(path+".keepFor", a.KeepFor >= a.FreshFor, "must not be shorter than freshFor (default: 10m)")
	}
}

// GlobalAccounts configures the account keys of all ASPSPs.
type GlobalAccounts struct {
	KeyFile File `yaml:"keyFile" check:"keys"` // base64 of 32 bytes; if not set, accounts have no account key
}

// Key returns the 32-byte key for account keys, nil if no file is set.
func (a GlobalAccounts) Key() []byte { return a.KeyFile.firstKey() }

// check refuses a second key: account keys cannot have another key without changing.
func (a GlobalAccounts) check(c *checker, path string) {
	if keys, _ := a.KeyFile.keys(); !c.faulty(path + ".keyFile") {
		c.require(path+".keyFile", len(keys) <= 1, "must contain only one key, because account keys must not change")
	}
}

// Breaker configures the circuit breaker of an ASPSP.
type Breaker struct {
	ConsecutiveFailures uint32        `yaml:"consecutiveFailures" check:"from=1"` // a failure with a response counts once per consent and Interval
	FailureRatio        float64       `yaml:"failureRatio" check:"above=0..1"`
	MinimumCalls        uint32        `yaml:"minimumCalls" check:"from=1"` // before FailureRatio is used
	Interval            time.Duration `yaml:"interval" check:"above=0s"`   // after which the counts of a closed breaker are reset
	OpenFor             time.Duration `yaml:"openFor" check:"above=0s"`    // before a trial call is allowed
}

// Cache configures the encryption of cached account lists.
type Cache struct {
	EncryptionKeyFile File `yaml:"encryptionKeyFile" check:"keys"` // base64 of 32 bytes a line; the first encrypts, all decrypt
}

// Keys returns the 32-byte keys for account lists: the first encrypts, all decrypt. It returns nil
// if no file is set.
func (c Cache) Keys() [][]byte {
	keys, _ := c.EncryptionKeyFile.keys()
	return keys
}

// LogLevel is the minimum level of the log.
type LogLevel string

// Log configures the log.
type Log struct {
	Level LogLevel `yaml:"level" check:"oneof=debug|info|warn|error"`
}

// Slog returns the level for slog. It is valid only for a configuration without faults.
func (l LogLevel) Slog() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l))
	return level
}

// PSU configures the accepted addresses of users.
type PSU struct {
	AllowPrivateIP bool `yaml:"allowPrivateIP"` // for tests: accepts private and reserved addresses
}
