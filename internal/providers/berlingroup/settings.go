package berlingroup

import (
	"cmp"
	"net/url"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/adapterconfig"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

// Config contains the configuration keys of this provider.
type Config struct {
	ClientCertificateFile  config.File `yaml:"clientCertificateFile"`  // PEM: the QWAC and its chain
	ClientKeyFile          config.File `yaml:"clientKeyFile"`          // PEM: its private key
	SigningCertificateFile config.File `yaml:"signingCertificateFile"` // PEM: the QSEAL and its chain; none: requests are not signed
	SigningKeyFile         config.File `yaml:"signingKeyFile"`         // PEM: its RSA key
}

// Options contains the options of an ASPSP.
type Options struct {
	BaseURL      string                 `yaml:"baseURL"`      // default: that of the provider
	Version      string                 `yaml:"version"`      // the path segment before accounts; default v1
	Headers      map[string]string      `yaml:"headers"`      // sent with every request
	HeaderFiles  map[string]config.File `yaml:"headerFiles"`  // the same, with secret values
	WithBalance  bool                   `yaml:"withBalance"`  // the ASPSP can return the account list with balances
	RequireToken bool                   `yaml:"requireToken"` // the ASPSP requires the user's access token
	Codes        map[string]string      `yaml:"codes"`        // error code of the ASPSP to the code of the gateway's problem
	BalanceTypes map[string]string      `yaml:"balanceTypes"` // balance type of the ASPSP to the ISO 20022 code
}

// reserved contains the headers that the adapter sets, or that must not be fixed.
var reserved = []string{"Digest", "Signature", "Tpp-Signature-Certificate"}

// aspsp is an ASPSP as configured.
type aspsp struct {
	base         *url.URL
	version      string
	header       map[string]canonical.Secret // fixed headers
	withBalance  bool
	requirements providers.Requirements
	codes        map[string]canonical.Kind        // its own error codes, in capitals
	balanceTypes map[string]canonical.BalanceType // its own, in the form of dialect.BalanceWord
}

// open returns the ASPSP of the options. It adds their faults.
func (o Options) open(env providers.Env, entry providers.ASPSP, faults *config.Faults) aspsp {
	version := cmp.Or(o.Version, "v1")
	if !adapter.ValidAccountID(version) || url.PathEscape(version) != version {
		faults.Add(entry.Path+".version", "must be one segment of a path, such as v1")
	}
	return aspsp{
		base:         adapterconfig.BaseURL(env, entry, o.BaseURL, faults),
		version:      version,
		header:       adapterconfig.FixedHeaders(entry, o.Headers, o.HeaderFiles, reserved, faults),
		withBalance:  o.WithBalance,
		requirements: providers.Requirements{Token: o.RequireToken},
		codes:        adapterconfig.WordTable(o.Codes, entry.Path+".codes", foldCode, adapter.IsErrorKind, "code of a problem that a provider's error can mean", faults),
		balanceTypes: adapterconfig.WordTable(o.BalanceTypes, entry.Path+".balanceTypes", dialect.BalanceWord, isBalanceType, "ISO 20022 balance type", faults),
	}
}

func foldCode(code string) string { return strings.ToUpper(strings.TrimSpace(code)) }

func isBalanceType(t canonical.BalanceType) bool {
	return t == canonical.BalanceTypeOther || canonical.ParseBalanceType(string(t), nil) == t
}
