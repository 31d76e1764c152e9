package config

import (
	"reflect"
	"slices"
	"strings"
)

// Again reads the same text once more, and the files that it names as they stand now. What the text says does not change by
// that, whatever its file holds meanwhile. Config and error are as Read's.
func (c *Config) Again() (*Config, error) {
	again, err := decode(c.file, nil)
	again.source = c.source
	return again, err
}

// Source is the file that the configuration was loaded from, with the text that stood in it; none for a text.
func (c *Config) Source() File { return c.source }

// SameButKeys reports whether the texts of two configurations say the same but for clients.apiKeys.
func (c *Config) SameButKeys(other *Config) bool {
	return reflect.DeepEqual(c.file.Part().Members("clients"), other.file.Part().Members("clients")) &&
		reflect.DeepEqual(c.file.Part("clients").Members("apiKeys"), other.file.Part("clients").Members("apiKeys"))
}

// Again reads the file anew.
func (f File) Again() (File, error) {
	var again File
	err := again.UnmarshalText([]byte(f.path))
	return again, err
}

// Below are the faults of what stands at path or below it.
func Below(all Faults, path string) Faults {
	return slices.DeleteFunc(slices.Clone(all), func(f Fault) bool {
		return f.Path != path && !strings.HasPrefix(f.Path, path+".") && !strings.HasPrefix(f.Path, path+"[")
	})
}

// OfText are the faults that are none of a secret's file, whose keys all end in File.
func OfText(all Faults) Faults {
	return slices.DeleteFunc(slices.Clone(all), func(f Fault) bool { return strings.HasSuffix(f.Path, "File") })
}

// Files are the files that a part of a configuration names: a struct, with the structs, pointers and slices in it.
func Files(part any) []File { return files(reflect.ValueOf(part)) }

func files(v reflect.Value) []File {
	var all []File
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			all = files(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, files(v.Index(i))...)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[File]() {
			if f := v.Interface().(File); f.Given() {
				return []File{f}
			}
			return nil
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				all = append(all, files(v.Field(i))...)
			}
		}
	}
	return all
}
