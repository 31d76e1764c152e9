package config

import (
	"io"
	"maps"
	"reflect"
	"slices"

	"ais-gateway/internal/config/strict"
)

// Print writes the configuration in effect as YAML that Read reads as the same: every default filled in, secrets
// as the paths of their files, and of each provider also what its adapter reads, as it stands in the file. The
// configuration must have been read and checked without fault, by its adapters too.
func (c *Config) Print(w io.Writer) error {
	all := strict.KeyValues(*c)
	for i, m := range all {
		if m.Key == "providers" {
			all[i].Value = c.providerKeyValues()
		}
	}
	return strict.Write(w, all)
}

// parts are the providers by name, each with its common keys and then its own.
func (c *Config) providerKeyValues() []strict.KeyValue {
	var all []strict.KeyValue
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		own := c.file.Part("providers", name).Members(commonKeys()...)
		all = append(all, strict.KeyValue{Key: name, Value: append(strict.KeyValues(c.Providers[name]), own...)})
	}
	return all
}

// commonKeys are the keys that every provider has.
func commonKeys() []string { return strict.Tags(reflect.TypeFor[Provider]()) }
