package config

import (
	"reflect"
	"slices"
	"strings"

	"ais-gateway/internal/config/strict"
)

// Again reads the same text once more, and the files that it names as they stand now. What the text says does not change by
// that, whatever its file holds meanwhile. Config and error are as Read's.
func (c *Config) Reload() (*Config, error) {
	again, err := decode(c.file, nil)
	again.source = c.source
	return again, err
}

// Source is the file that the configuration was loaded from, with the text that stood in it; none for a text.
func (c *Config) Source() File { return c.source }

// SameButKeys reports whether the texts of two configurations say the same but for clients.apiKeys.
func (c *Config) EqualExceptAPIKeys(other *Config) bool {
	return reflect.DeepEqual(c.file.Part().Members("clients"), other.file.Part().Members("clients")) &&
		reflect.DeepEqual(c.file.Part("clients").Members("apiKeys"), other.file.Part("clients").Members("apiKeys"))
}

// Again reads the file anew.
func (f File) Reload() (File, error) {
	var again File
	err := again.UnmarshalText([]byte(f.path))
	return again, err
}

// Below are the faults of what stands at path or below it.
func FaultsUnder(all Faults, path string) Faults {
	return slices.DeleteFunc(slices.Clone(all), func(f Fault) bool {
		return f.Path != path && !strings.HasPrefix(f.Path, path+".") && !strings.HasPrefix(f.Path, path+"[")
	})
}

// OfText are the faults that are none of a secret's file, whose keys all end in File.
func WithoutSecretFiles(all Faults) Faults {
	return slices.DeleteFunc(slices.Clone(all), func(f Fault) bool { return strings.HasSuffix(f.Path, "File") })
}

// Files are the files that a part of a configuration names: a struct, with the structs, pointers, slices and maps in it.
func Files(part any) []File {
	var all []File
	walkFiles(reflect.ValueOf(part), "", func(_ string, f File) { all = append(all, f) })
	return all
}

// eachFile calls do for each file that a part of a configuration names, with the path of its key. The part stands at path.
func walkFiles(v reflect.Value, path string, do func(path string, f File)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkFiles(v.Elem(), path, do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkFiles(v.Index(i), strict.Entry(path, i), do)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walkFiles(v.MapIndex(key), strict.Child(path, key.String()), do)
		}
	case reflect.Struct:
		if f, ok := reflect.TypeAssert[File](v); ok {
			if f.Given() {
				do(path, f)
			}
			return
		}
		for i, name := range strict.Tags(v.Type()) {
			if v.Type().Field(i).IsExported() {
				walkFiles(v.Field(i), strict.Child(path, name), do)
			}
		}
	}
}
