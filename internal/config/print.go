package config

import (
	"io"
	"maps"
	"reflect"
	"slices"

	"ais-gateway/internal/config/strict"
)

// Print writes the effective configuration as YAML that Read accepts: with all defaults, with
// secrets as the paths of their files, and with the keys of adapters as they are in the file. The
// configuration must have no faults, including those of the adapters.
func (c *Config) Print(w io.Writer) error {
	var providers strict.Mapping // each with its common keys, then the adapter's
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		own := c.file.Mapping("providers", name).Without(commonKeys()...)
		providers = providers.With(name, strict.Encode(c.Providers[name]).Concat(own))
	}
	_, err := io.WriteString(w, strict.Encode(*c).With("providers", providers).String())
	return err
}

// commonKeys returns the keys of Provider.
func commonKeys() []string { return strict.Tags(reflect.TypeFor[Provider]()) }
