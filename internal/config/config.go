// Package config is the configuration file: its types with their defaults, its strict reading, and its check,
// which reports every fault at once. cmd reads it; adapters read their own part of it through the decode
// function that they are given, and use File and Faults from here.
package config

import (
	"time"

	"ais-gateway/internal/config/strict"
)

// Config is the whole file.
type Config struct {
	Server     Server              `yaml:"server"`
	Redis      Redis               `yaml:"redis"`
	Clients    Clients             `yaml:"clients"`
	Providers  map[string]Provider `yaml:"providers"`
	ASPSPs     []ASPSP             `yaml:"aspsps"`
	Unattended GlobalUnattended    `yaml:"unattended"` // for all ASPSPs
	Cache      Cache               `yaml:"cache"`
	Audit      Audit               `yaml:"audit"`
	Log        Log                 `yaml:"log"`
	PSU        PSU                 `yaml:"psu"`

	file   *strict.Document // what it was read from; nil for a Config made by hand
	source File             // where that stood; none for a text

	warnings Faults // what Warn added
}

// Defaults is the configuration of an empty file: what holds where the file says nothing. The defaults of what
// stands in lists and maps are ProviderDefaults and ASPSPDefaults.
func Defaults() Config {
	return Config{
		Server: Server{Address: "127.0.0.1:8080", AdminAddress: "127.0.0.1:9090", DrainFor: 5 * time.Second, Limits: limitDefaults()},
		Redis:  Redis{Mode: Standalone, Addresses: []string{"127.0.0.1:6379"}}, // these addresses hold for Standalone only
		Audit:  Audit{Output: AuditStdout, WhenFull: AuditDrop},
		Log:    Log{Level: "info"},
	}
}

// ProviderDefaults is a provider of which the file says nothing.
func ProviderDefaults() Provider { return Provider{Timeout: 10 * time.Second, Proxy: NoProxy} }

// ASPSPDefaults is an ASPSP of which the file says nothing: the strictest reading of Regulation (EU) 2018/389,
// article 36(5)(b), that lets a bank have more than one customer, and lists kept for 90 days.
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

// OtherKeys says that a provider has keys which its adapter reads.
func (*Provider) OtherKeys() {}

// SetDefaults fills the ASPSP with ASPSPDefaults.
func (a *ASPSP) SetDefaults() { *a = ASPSPDefaults() }

// Server says where the gateway listens.
type Server struct {
	Address      string `yaml:"address"`      // the API, host:port
	AdminAddress string `yaml:"adminAddress"` // /livez, /readyz and /metrics, host:port; never exposed to callers
	// DrainFor is how long requests are still taken once the gateway was told to end; 0 or more.
	DrainFor time.Duration `yaml:"drainFor"`
	TLS      ServerTLS     `yaml:"tls"`
	Limits   Limits        `yaml:"limits"`
	// Profiling serves /debug/pprof on the admin address.
	Profiling bool `yaml:"profiling"`
}

// Provider is what every provider has; what else it has, its adapter decodes.
type Provider struct {
	BaseURL string        `yaml:"baseURL"` // https, or http on a loopback address
	Timeout time.Duration `yaml:"timeout"` // of one upstream read as a whole
	CAFile  File          `yaml:"caFile"`  // PEM; who may vouch for the provider; none: the system's
	Proxy   Proxy         `yaml:"proxy"`
}

// ASPSP is one bank.
type ASPSP struct {
	ID         string     `yaml:"id"` // a UUID in lower case
	Name       string     `yaml:"name"`
	Provider   string     `yaml:"provider"` // a key of Providers
	Unattended Unattended `yaml:"unattended"`
	Accounts   Accounts   `yaml:"accounts"`
	Breaker    Breaker    `yaml:"breaker"`
}

// Unit is what has one counter of unattended calls.
type Unit string

// The units of counting.
const (
	UnitConsent  Unit = "consent"  // ASPSP and consent
	UnitResource Unit = "resource" // ASPSP, consent and what is read
	UnitASPSP    Unit = "aspsp"    // the ASPSP, all consents together
)

// Unattended is an ASPSP's policy for calls without the user.
type Unattended struct {
	Limit       int           `yaml:"limit"`  // from 0, which is never
	Window      time.Duration `yaml:"window"` // rolling
	Unit        Unit          `yaml:"unit"`
	ClosedUntil time.Time     `yaml:"closedUntil"` // no unattended call before; zero for no such time
}

// Accounts says how long an ASPSP's account lists live.
type Accounts struct {
	FreshFor time.Duration `yaml:"freshFor"` // answered without a call
	KeepFor  time.Duration `yaml:"keepFor"`  // answered when no call can be made
}

// Breaker says when an ASPSP is no longer called.
type Breaker struct {
	ConsecutiveFailures uint32        `yaml:"consecutiveFailures"` // a failure with a response counts once per consent and Interval
	FailureRatio        float64       `yaml:"failureRatio"`        // above 0, up to 1
	MinimumCalls        uint32        `yaml:"minimumCalls"`        // before FailureRatio is looked at
	Interval            time.Duration `yaml:"interval"`            // after which the counts of a closed breaker start anew
	OpenFor             time.Duration `yaml:"openFor"`             // before a trial call is let through
}

// Cache says how account lists are kept.
type Cache struct {
	EncryptionKeyFile File `yaml:"encryptionKeyFile"` // base64 of 32 bytes a line; the first encrypts, all decrypt
}

// PSU says what is taken for a user's address.
type PSU struct {
	AllowPrivateIP bool `yaml:"allowPrivateIP"` // for tests: takes addresses that no user on the internet has
}
