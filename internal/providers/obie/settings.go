package obie

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

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
	BaseURL      string            `yaml:"baseURL"`      // default: that of the provider
	Version      string            `yaml:"version"`      // v3.1 (default) or v4.0
	BulkBalances bool              `yaml:"bulkBalances"` // the ASPSP offers GET /balances, for all accounts
	Headers      map[string]string `yaml:"headers"`      // sent with every request, for example x-fapi-financial-id
	Codes        map[string]string `yaml:"codes"`        // ErrorCode of the ASPSP to the code of the gateway's problem
}

// The versions of the standard, as in its paths.
const (
	version3 = "v3.1"
	version4 = "v4.0"
)

// reservedHeaders are the headers that the adapter sets, or that would be false as fixed text.
var reservedHeaders = []string{headerInteractionID, headerCustomerIP, headerCustomerAgent, "X-Fapi-Auth-Date", "Consent-Id"}

// aspsp is an ASPSP as configured.
type aspsp struct {
	base    *url.URL
	version string
	bulk    bool
	header  http.Header
	codes   map[string]canonical.Kind // by plainCode
}

// openASPSPs returns the ASPSPs by id. It adds the faults of their options.
func openASPSPs(env providers.Env, faults *config.Faults) (map[string]*aspsp, error) {
	all := make(map[string]*aspsp, len(env.ASPSPs))
	for _, entry := range env.ASPSPs {
		var options Options
		if err := entry.Options(&options); err != nil {
			var found config.Faults
			if !errors.As(err, &found) {
				return nil, err
			}
			*faults = append(*faults, found...)
		}
		all[entry.ID] = options.open(env, entry, faults)
	}
	return all, nil
}

// open returns the ASPSP of the options. It adds their faults.
func (o Options) open(env providers.Env, entry providers.ASPSP, faults *config.Faults) *aspsp {
	version := cmp.Or(o.Version, version3)
	if version != version3 && version != version4 {
		faults.Add(entry.Path+".version", "must be v3.1 or v4.0")
	}
	codes := make(map[string]canonical.Kind, len(o.Codes))
	for _, code := range slices.Sorted(maps.Keys(o.Codes)) {
		kind := canonical.Kind(o.Codes[code])
		if !adapter.MoreSpecific(kind, "") {
			faults.Add(entry.Path+".codes", "contains a value that is not the code of a problem that a provider's error can mean")
		}
		codes[plainCode(code)] = kind
	}
	return &aspsp{
		codes:   codes,
		base:    adapterconfig.BaseURL(env, entry, o.BaseURL, faults),
		version: version,
		bulk:    o.BulkBalances,
		header:  adapterconfig.Headers(entry, o.Headers, reservedHeaders, faults),
	}
}

// certificateBase returns a base URL that requires a client certificate if one of the ASPSPs has
// such a URL, and otherwise the provider's.
func certificateBase(env providers.Env, all map[string]*aspsp) *url.URL {
	for _, a := range all {
		if a.base != nil && a.base.Scheme == "https" && !config.IsLoopback(a.base.Hostname()) {
			return a.base
		}
	}
	return env.BaseURL
}
