package config

import (
	"reflect"
	"slices"
	"strings"

	"ais-gateway/internal/config/strict"
)

// Reload decodes the same text again with the current content of the files that it names. The
// current content of the configuration file itself is not read. Config and error are those of Read.
func (c *Config) Reload() (*Config, error) {
	again, err := decode(c.file, nil)
	again.source = c.source
	return again, err
}

// Source returns the file that the configuration was loaded from, with its content at that time. It
// is the zero File for a configuration from a text.
func (c *Config) Source() File { return c.source }

// EqualExceptAPIKeys reports whether the texts of two configurations are equal apart from
// clients.apiKeys.
func (c *Config) EqualExceptAPIKeys(other *Config) bool {
	text := func(file *strict.Document) [2]string {
		return [2]string{file.Mapping().Without("clients").String(), file.Mapping("clients").Without("apiKeys").String()}
	}
	return text(c.file) == text(other.file)
}

// Reload returns the file with its current content.
func (f File) Reload() (File, error) {
	var again File
	err := again.UnmarshalText([]byte(f.path))
	return again, err
}

// FaultsUnder returns the faults at path or below it.
func FaultsUnder(all Faults, path string) Faults {
	return slices.DeleteFunc(slices.Clone(all), func(f Fault) bool {
		return f.Path != path && !strings.HasPrefix(f.Path, path+".") && !strings.HasPrefix(f.Path, path+"[")
	})
}

// WithoutSecretFiles returns the faults without those of secret files, whose keys all end in File.
func WithoutSecretFiles(all Faults) Faults {
	return slices.DeleteFunc(slices.Clone(all), func(f Fault) bool { return strings.HasSuffix(f.Path, "File") })
}

// Files returns the files that a part of a configuration names: a struct, including nested structs,
// pointers, slices and maps.
func Files(part any) []File {
	var all []File
	eachFile(part, "", func(_ string, f File) { all = append(all, f) })
	return all
}

// eachFile calls do for each file in a part of a configuration, with the path of its key. path is
// the path of the part.
func eachFile(part any, path string, do func(path string, f File)) {
	walk(reflect.ValueOf(part), path, "", "", func(path, _ string, v reflect.Value, below func()) {
		if f, ok := reflect.TypeAssert[File](v); ok && f.Given() {
			do(path, f)
		}
		below()
	})
}
