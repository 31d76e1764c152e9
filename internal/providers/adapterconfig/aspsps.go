package adapterconfig

import (
	"errors"
	"maps"
	"net/url"
	"slices"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
)

// OpenASPSPs returns the ASPSPs of env by id, as open returns them for their options of type O. It
// adds the faults of decoding the options. Any other error of decoding ends it.
func OpenASPSPs[O, A any](env providers.Env, faults *config.Faults, open func(entry providers.ASPSP, options O) A) (map[string]A, error) {
	all := make(map[string]A, len(env.ASPSPs))
	for _, entry := range env.ASPSPs {
		var options O
		var found config.Faults
		if err := entry.Options(&options); err != nil && !errors.As(err, &found) {
			return nil, err
		}
		*faults = append(*faults, found...)
		all[entry.ID] = open(entry, options)
	}
	return all, nil
}

// FixedHeaders returns the options headers and headerFiles of an ASPSP, whose values are secret. It
// adds the faults of Headers and HeaderKey, and one for a header that is in both options.
func FixedHeaders(
	aspsp providers.ASPSP, headers map[string]string, files map[string]config.File, reserved []string, faults *config.Faults,
) map[string]canonical.Secret {
	all, path := map[string]string{}, aspsp.Path+".headerFiles"
	maps.Copy(all, headers)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		value := HeaderKey(files[name], path+"."+name, faults)
		if _, twice := all[name]; twice {
			faults.Add(path, "contains a header that headers contains as well")
		} else if value != "" && providers.Printable(value.Reveal()) {
			all[name] = value.Reveal()
		}
	}
	fixed := map[string]canonical.Secret{}
	for name, values := range Headers(aspsp, all, reserved, faults) {
		fixed[name] = canonical.Secret(values[0])
	}
	return fixed
}

// WordTable returns the option at path, which maps the ASPSP's words to values, with the words in the
// form of fold. It adds a fault for a word that is blank or occurs twice, and for a value that is
// not valid; kind describes valid values.
func WordTable[V ~string](
	option map[string]string, path string, fold func(string) string, valid func(V) bool, kind string, faults *config.Faults,
) map[string]V {
	words := make(map[string]V, len(option))
	for _, word := range slices.Sorted(maps.Keys(option)) {
		key, value := fold(word), V(option[word])
		if _, twice := words[key]; key == "" || twice {
			faults.Add(path, "contains a word that is blank or occurs twice")
		}
		if !valid(value) {
			faults.Add(path, "contains a value that is no "+kind)
		}
		words[key] = value
	}
	return words
}

// CertificateBase returns the first of the base URLs for which ClientCertificate requires a
// certificate; nil if there is none.
func CertificateBase(bases ...*url.URL) *url.URL {
	for _, base := range bases {
		if requiresCertificate(base) {
			return base
		}
	}
	return nil
}
