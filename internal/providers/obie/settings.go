package obie

import (
	"cmp"
	"net/url"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/adapterconfig"
)

// Config contains the configuration keys of this provider.
type Config struct {
	ClientCertificateFile config.File `yaml:"clientCertificateFile"` // PEM: the OBWAC or QWAC and its chain
	ClientKeyFile         config.File `yaml:"clientKeyFile"`         // PEM: its private key
}

// Options contains the options of an ASPSP.
type Options struct {
	BaseURL     string                 `yaml:"baseURL"`     // default: that of the provider
	Version     string                 `yaml:"version"`     // v3.1 (default) or v4.0
	AllBalances bool                   `yaml:"allBalances"` // the ASPSP offers GET /balances, for all accounts
	Headers     map[string]string      `yaml:"headers"`     // sent with every request, for example x-fapi-financial-id
	HeaderFiles map[string]config.File `yaml:"headerFiles"` // the same, for values that are secret
	Codes       map[string]string      `yaml:"codes"`       // ErrorCode of the ASPSP to the code of the gateway's problem
}

// The versions of the standard, as in its paths.
const (
	version3 = "v3.1"
	version4 = "v4.0"
)

// reservedHeaders are the headers that the adapter sets, or that would be false as fixed text.
var reservedHeaders = []string{headerInteractionID, headerCustomerAgent, "X-Fapi-Auth-Date"}

// aspsp is an ASPSP as configured.
type aspsp struct {
	base    *url.URL
	version string
	bulk    bool
	header  map[string]canonical.Secret // fixed headers
	codes   map[string]canonical.Kind   // its own error codes, as plainCode returns them
}

// open returns the ASPSP of the options. It adds their faults.
func (o Options) open(env providers.Env, entry providers.ASPSP, faults *config.Faults) *aspsp {
	version := cmp.Or(o.Version, version3)
	if version != version3 && version != version4 {
		faults.Add(entry.Path+".version", "must be v3.1 or v4.0")
	}
	return &aspsp{
		base:    adapterconfig.BaseURL(env, entry, o.BaseURL, faults),
		version: version,
		bulk:    o.AllBalances,
		header:  adapterconfig.FixedHeaders(entry, o.Headers, o.HeaderFiles, reservedHeaders, faults),
		codes: adapterconfig.WordTable(
			o.Codes, entry.Path+".codes", plainCode, adapter.IsErrorKind, "code of a problem that a provider's error can mean", faults),
	}
}
