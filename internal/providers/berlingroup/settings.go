package berlingroup

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/berlingroup/dialect"
)

// Config contains the configuration keys of this provider.
type Config struct {
	ClientCertificateFile config.File `yaml:"clientCertificateFile"` // PEM: the QWAC and its chain
	ClientKeyFile         config.File `yaml:"clientKeyFile"`         // PEM: its private key
}

// Options contains the options of an ASPSP of this provider.
type Options struct {
	BaseURL      string                 `yaml:"baseURL"`      // default: that of the provider
	Version      string                 `yaml:"version"`      // the path segment before accounts; default v1
	Headers      map[string]string      `yaml:"headers"`      // fixed headers of every request
	HeaderFiles  map[string]config.File `yaml:"headerFiles"`  // fixed headers whose values are secret
	WithBalance  bool                   `yaml:"withBalance"`  // the account list is available with balances
	RequireToken bool                   `yaml:"requireToken"` // the user's access token is required
	Codes        map[string]string      `yaml:"codes"`        // the ASPSP's error codes, and the kinds that they mean
	BalanceTypes map[string]string      `yaml:"balanceTypes"` // the ASPSP's words, and the ISO 20022 codes that they mean
}

const defaultVersion = "v1"

// reserved contains the headers that must not be fixed, beyond those of adapter.Headers.
var reserved = []string{
	"Consent-Id", "Digest", "Psu-Device-Id", "Psu-Geo-Location", "Psu-Ip-Address", "Psu-Ip-Port", "Psu-User-Agent", "Signature",
	"Tpp-Signature-Certificate", "User-Agent", "X-Idempotency-Key",
}

// aspsp is an ASPSP with its options.
type aspsp struct {
	base         *url.URL
	version      string
	header       map[string]canonical.Secret // fixed headers
	withBalance  bool
	requirements providers.Requirements
	classifier   dialect.Classifier
	balanceTypes map[string]canonical.BalanceType // its own, in the form of dialect.BalanceWord
}

// newASPSP returns an ASPSP of the configuration, and adds the faults of its options.
func newASPSP(env providers.Env, entry providers.ASPSP, o Options, faults *config.Faults) *aspsp {
	a := &aspsp{
		base:         adapter.BaseURL(env, entry, o.BaseURL, faults),
		version:      defaultVersion,
		header:       fixedHeader(entry, o, faults),
		withBalance:  o.WithBalance,
		requirements: providers.Requirements{Token: o.RequireToken},
		classifier:   classifier,
	}
	if o.Version != "" {
		a.version = o.Version
	}
	if !adapter.ValidAccountID(a.version) || url.PathEscape(a.version) != a.version {
		faults.Add(entry.Path+".version", "must be one segment of a path, such as v1")
	}
	a.classifier.Codes = table(entry.Path+".codes", o.Codes, foldCode, validKind, "error code that an ASPSP can mean", faults)
	a.balanceTypes = table(entry.Path+".balanceTypes", o.BalanceTypes, dialect.BalanceWord, validBalanceType, "ISO 20022 balance type", faults)
	return a
}

// fixedHeader returns the headers and headerFiles of an ASPSP.
func fixedHeader(entry providers.ASPSP, o Options, faults *config.Faults) map[string]canonical.Secret {
	all, path := map[string]string{}, entry.Path+".headerFiles"
	maps.Copy(all, o.Headers)
	for _, name := range slices.Sorted(maps.Keys(o.HeaderFiles)) {
		value := adapter.HeaderKey(o.HeaderFiles[name], path+"."+name, faults)
		if _, twice := all[name]; twice {
			faults.Add(path, "contains a header that headers contains too")
		} else if value != "" {
			all[name] = value.Reveal()
		}
	}
	fixed := map[string]canonical.Secret{}
	for name, values := range adapter.Headers(entry, all, reserved, faults) {
		fixed[name] = canonical.Secret(values[0])
	}
	return fixed
}

func foldCode(code string) string { return strings.ToUpper(strings.TrimSpace(code)) }

// validKind reports whether an error code can mean a kind.
func validKind(k canonical.Kind) bool { return adapter.MoreSpecific(k, "") }

func validBalanceType(t canonical.BalanceType) bool {
	return t == canonical.BalanceTypeOther || canonical.ParseBalanceType(string(t), nil) == t
}

// table returns the option at path, which maps the ASPSP's words to values, with the words in the
// form of fold. It adds a fault for a value that is not valid, what describes those that are, and
// for a word that is blank or occurs twice.
func table[V ~string](path string, option map[string]string, fold func(string) string, valid func(V) bool, what string, faults *config.Faults) map[string]V {
	words := make(map[string]V, len(option))
	for _, word := range slices.Sorted(maps.Keys(option)) {
		key, value := fold(word), V(option[word])
		if _, twice := words[key]; key == "" || twice {
			faults.Add(path, "contains a word that is blank or occurs twice")
		}
		if !valid(value) {
			faults.Add(path, "contains a value that is no "+what)
		}
		words[key] = value
	}
	return words
}
