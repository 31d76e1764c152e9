package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"ais-gateway/internal/config/strict"
)

// Load reads the configuration's file. Its errors are Faults, and its Config is Read's.
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

// Read reads and checks a configuration, and the files that it names. Its error is Faults: all that is wrong with
// the common keys, in the order of the file. Where the text is YAML, the Config is there in spite of faults, so
// that adapters can name theirs besides; it must not be run.
func Read(text []byte) (*Config, error) {
	file, faults := strict.Parse(text)
	if file == nil {
		faults.Sort()
		return nil, faults
	}
	return decode(file, faults)
}

// decode fills a Config from a document, whose own faults are known.
func decode(file *strict.Document, faults Faults) (*Config, error) {
	c := Defaults()
	c.file = file
	read := file.Part().Decode(&c, "")
	c.normalize()
	check := checker{file: file, read: read}
	check.config(&c)
	faults = slices.Concat(faults, c.withLines(read.Faults), c.withLines(check.faults))
	c.Sort(faults)
	return &c, faults.Err()
}

// longest is the duration that longer ones are taken for, 100 years: nobody could tell them apart, and a sum of two
// still fits time.Duration, and Redis's count of milliseconds.
const maxDuration = 876_000 * time.Hour

// settle puts what may be written in several ways into one, bounds durations by longest, and takes back the default
// that holds for one mode of Redis alone.
func (c *Config) normalize() {
	if c.Redis.Mode != Standalone && !c.file.Has("redis.addresses") || len(c.Redis.Addresses) == 0 {
		c.Redis.Addresses = nil
	}
	c.Server.DrainFor = min(c.Server.DrainFor, maxDuration)
	c.Clients.normalize()
	for name, p := range c.Providers {
		p.Timeout = min(p.Timeout, maxDuration)
		c.Providers[name] = p
	}
	for i := range c.ASPSPs {
		a := &c.ASPSPs[i]
		a.ID = strings.ToLower(a.ID)
		for _, d := range []*time.Duration{
			&a.Unattended.Window, &a.Accounts.FreshFor, &a.Accounts.KeepFor, &a.Breaker.Interval, &a.Breaker.OpenFor,
		} {
			*d = min(*d, maxDuration)
		}
	}
}

// Decoder gives what an adapter decodes its part of the file with. into is a pointer to a struct with yaml tags;
// what the file does not say stays as it is there. It refuses keys that are neither the struct's nor Provider's,
// and ill-typed values, all at once, as Faults with paths relative to the provider. A provider that the file
// does not have has no keys.
func (c *Config) Decoder(provider string) func(into any) error {
	return func(into any) error {
		v := reflect.ValueOf(into)
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return errors.New("settings must be decoded into a pointer to a struct")
		}
		err := c.file.Part("providers", provider).Decode(into, "", commonKeys()...).Faults.Err()
		c.warnIfWritable(into, strict.Child("providers", provider))
		return err
	}
}

// Locate makes an adapter's faults, with paths relative to prefix ("providers.<name>"), into faults of the file,
// with their lines, but for those that follow from an alias or a merge key. An error that is no Faults becomes one fault of the whole prefix; nil becomes nil.
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
		case f.Path == "":
			absolute[i].Path = prefix
		case f.Path[0] == '[':
			absolute[i].Path = prefix + f.Path
		default:
			absolute[i].Path = prefix + "." + f.Path
		}
	}
	absolute = slices.DeleteFunc(c.withLines(absolute), func(f Fault) bool { return c.file.Untold(f.Path) })
	c.Sort(absolute)
	return absolute
}

// UnknownProviders names the configured providers that are none of the known ones, as faults of the file.
func (c *Config) UnknownProviders(known []string) Faults {
	var faults Faults
	for name := range c.Providers {
		if !slices.Contains(known, name) {
			faults.Add(strict.Child("providers", name), "unknown provider; known providers: "+strings.Join(known, ", "))
		}
	}
	faults = c.withLines(faults)
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Path, b.Path) })
	c.Sort(faults)
	return faults
}

// Sort puts faults into the order of the file.
func (c *Config) Sort(faults Faults) { c.file.Sort(faults) }

// SecondASPSPs names the aspsps entries after the first of a provider that is one bank, as faults of the file: such a
// bank counts unattended calls in one place, and two entries would be counted apart.
func (c *Config) SecondASPSPs(oneASPSP func(provider string) bool) Faults {
	var faults Faults
	first := map[string]int{}
	for i, a := range c.ASPSPs {
		switch before, found := first[a.Provider]; {
		case !oneASPSP(a.Provider):
		case found:
			faults.Add(strict.Entry("", i)+".provider", "this provider is one bank and allows one entry; it already has "+strict.Entry("aspsps", before))
		default:
			first[a.Provider] = i
		}
	}
	return c.Locate("aspsps", faults.Err())
}

// located gives those faults their lines that have none yet. Without a file there are no lines.
func (c *Config) withLines(faults Faults) Faults {
	for i, f := range faults {
		if f.Line == 0 && c.file != nil {
			faults[i].Line = c.file.Line(f.Path)
		}
	}
	return faults
}
