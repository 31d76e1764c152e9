package config

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ais-gateway/internal/config/strict"
)

// Fault is one error in the configuration.
type Fault = strict.Fault

// Faults are all errors in the configuration, in the order of the file.
type Faults = strict.Faults

// Load reads the configuration from a file. Its error is Faults; Config and error are otherwise
// those of Read.
func Load(path string) (*Config, error) {
	text, mode, err := readFile(path)
	if err != nil {
		return nil, Faults{{Path: path, Detail: err.Error()}}
	}
	c, err := Read(text)
	if c != nil {
		c.source = newFile(path, text, mode)
	}
	return c, err
}

// Read decodes and checks a configuration and the files that it names. Its error is Faults: all
// faults except those of the adapters' keys, in the order of the file. If the text is valid YAML,
// the Config is returned together with faults, so that adapters can add theirs; it must not be used
// otherwise.
func Read(text []byte) (*Config, error) {
	file, faults := strict.Parse(text)
	if file == nil {
		file.Sort(faults)
		return nil, faults
	}
	return decode(file, faults)
}

// decode decodes and checks a document. faults are those of the document itself.
func decode(file *strict.Document, faults Faults) (*Config, error) {
	c := Defaults()
	c.file = file
	read := file.Mapping().Decode(&c, "")
	c.normalize()
	faults = slices.Concat(faults, c.withLines(read.Faults), c.withLines(c.check(read)))
	c.Sort(faults)
	return &c, faults.Err()
}

// normalize converts values to their canonical form, removes the default addresses of Redis in
// modes other than standalone, and sets the limit of ASPSPs with PSUAddressRequired to 0.
func (c *Config) normalize() {
	if c.Redis.Mode != Standalone && !c.file.Has("redis.addresses") || len(c.Redis.Addresses) == 0 {
		c.Redis.Addresses = nil
	}
	for _, k := range c.Clients.APIKeys {
		for i, hash := range k.SHA256 {
			k.SHA256[i] = strings.ToLower(hash)
		}
	}
	for i, a := range c.ASPSPs {
		c.ASPSPs[i].ID = strings.ToLower(a.ID)
		if a.PSUAddressRequired && a.Unattended.Limit > 0 { // a negative limit remains a fault
			c.ASPSPs[i].Unattended.Limit = 0
		}
	}
}

// Decoder returns the function with which an adapter decodes its keys. into is a pointer to a
// struct with yaml tags; fields without a key keep their value. The error is Faults with paths
// relative to the provider: keys that are not in the struct and not in Provider, and values of a
// wrong type. For a provider that is not in the file, nothing is decoded.
func (c *Config) Decoder(provider string) func(into any) error {
	return func(into any) error {
		if err := isStruct(into); err != nil {
			return err
		}
		err := c.file.Mapping("providers", provider).Decode(into, "", commonKeys()...).Faults.Err()
		c.warnings = append(c.warnings, writableFiles(into, strict.Child("providers", provider))...)
		return err
	}
}

// OptionsDecoder returns the function with which an adapter decodes the options of an entry of
// aspsps, like its own keys with that of Decoder, and the path of the options. The paths of faults
// begin with it.
func (c *Config) OptionsDecoder(entry int) (decode func(into any) error, path string) {
	path = strict.Entry("aspsps", entry) + ".options"
	return func(into any) error {
		if err := isStruct(into); err != nil {
			return err
		}
		err := c.ASPSPs[entry].Options.Decode(into, path).Faults.Err()
		c.warnings = append(c.warnings, writableFiles(into, path)...)
		return err
	}, path
}

func isStruct(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return errors.New("settings must be decoded into a pointer to a struct")
	}
	return nil
}

// Locate converts an adapter's faults, whose paths are relative to prefix ("providers.<name>") or
// begin with an entry of aspsps, to faults of the file with lines. It drops those behind an alias or
// a merge key. An error that is not Faults becomes one fault at prefix, nil becomes nil.
func (c *Config) Locate(prefix string, err error) Faults {
	var faults Faults
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &faults):
		faults = Faults{{Detail: err.Error()}}
	}
	absolute := slices.Clone(faults)
	for i, f := range absolute {
		switch {
		case strings.HasPrefix(f.Path, "aspsps["):
		case f.Path == "" || f.Path[0] == '[':
			absolute[i].Path = prefix + f.Path
		default:
			absolute[i].Path = prefix + "." + f.Path
		}
	}
	absolute = slices.DeleteFunc(c.withLines(absolute), func(f Fault) bool { return c.file.BehindAlias(f.Path) })
	c.Sort(absolute)
	return absolute
}

// UnknownProviders returns a fault for each configured provider that is not known.
func (c *Config) UnknownProviders(known []string) Faults {
	var faults Faults
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		if !slices.Contains(known, name) {
			faults.Add(strict.Child("providers", name), "unknown provider; known providers: "+strings.Join(known, ", "))
		}
	}
	faults = c.withLines(faults)
	c.Sort(faults)
	return faults
}

// MissingBaseURLs returns a fault for each provider that needs a base URL and has none.
func (c *Config) MissingBaseURLs(needed func(provider string) bool) Faults {
	var faults Faults
	for name := range c.Providers {
		if path := strict.Child("", name) + ".baseURL"; needed(name) && !c.file.Has("providers."+path) {
			faults.Add(path, "is missing")
		}
	}
	return c.Locate("providers", faults.Err())
}

// Sort sorts faults in the order of the file.
func (c *Config) Sort(faults Faults) { c.file.Sort(faults) }

// SecondASPSPs returns a fault for each aspsps entry after the first of a provider that is one
// ASPSP: the ASPSP counts all unattended calls together, but two entries would be counted
// separately.
func (c *Config) SecondASPSPs(oneASPSP func(provider string) bool) Faults {
	var faults Faults
	for i, a := range c.ASPSPs {
		first := slices.IndexFunc(c.ASPSPs, func(other ASPSP) bool { return other.Provider == a.Provider })
		if first < i && oneASPSP(a.Provider) {
			faults.Add(strict.Entry("", i)+".provider", "this provider is one bank and allows one entry; it already has "+strict.Entry("aspsps", first))
		}
	}
	return c.Locate("aspsps", faults.Err())
}

// withLines sets the lines of faults that have none, and returns the faults. Without a file there
// are no lines.
func (c *Config) withLines(faults Faults) Faults {
	for i, f := range faults {
		if f.Line == 0 && c.file != nil {
			faults[i].Line = c.file.Line(f.Path)
		}
	}
	return faults
}
