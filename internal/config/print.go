package config

import (
	"io"
	"maps"
	"reflect"
	"slices"

	"ais-gateway/internal/config/strict"
)

// Print writes the effective configuration as YAML that Read accepts: with all defaults, with secrets as the paths of
// their files, and with the keys of adapters as they are in the file. The configuration must have no faults, including
// those of the adapters.
func (c *Config) Print(w io.Writer) error {
	all := strict.KeyValues(*c)
	var providers []strict.KeyValue // each with its common keys, then the adapter's
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		own := c.file.Mapping("providers", name).KeyValues(commonKeys()...)
		providers = append(providers, strict.KeyValue{Key: name, Value: append(strict.KeyValues(c.Providers[name]), own...)})
	}
	for i, m := range all {
		if m.Key == "providers" {
			all[i].Value = providers
		}
	}
	return strict.Write(w, all)
}

// commonKeys returns the keys of Provider.
func commonKeys() []string { return strict.Tags(reflect.TypeFor[Provider]()) }
