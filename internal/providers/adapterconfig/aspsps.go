package adapterconfig

import (
	"errors"
	"maps"
	"net/textproto"
	"slices"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/config/strict"
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
// adds a fault of the option for each name or value that must not be sent, and for a header that is
// set twice. reserved has the headers that the adapter sets.
func FixedHeaders(
	aspsp providers.ASPSP, headers map[string]string, files map[string]config.File, reserved []string, faults *config.Faults,
) map[string]canonical.Secret {
	fixed := map[string]canonical.Secret{}
	add := func(path, name, value string) {
		key := textproto.CanonicalMIMEHeaderKey(name)
		_, twice := fixed[key]
		switch fault := headerFault(name, value, reserved); {
		case fault != "":
			faults.Add(path, fault)
		case twice:
			faults.Add(path, "contains a header twice, or one that headers contains as well")
		default:
			fixed[key] = canonical.Secret(value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		add(aspsp.Path+".headers", name, headers[name])
	}
	path := aspsp.Path + ".headerFiles"
	for _, name := range slices.Sorted(maps.Keys(files)) {
		before := len(*faults)
		value := HeaderKey(files[name], strict.Child(path, name), faults)
		if len(*faults) == before && value != "" { // otherwise it has a fault
			add(path, name, value.Reveal())
		}
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
