package config

import (
	"reflect"
	"slices"
	"strings"

	"ais-gateway/internal/config/strict"
)

// Rules for one value are in the tag check of its field, and rules for each entry of a list in the
// tag each. A tag has rules separated by commas, which are checked in this order, each of the form
// name or name=argument:
//
//	required            the value is set, and otherwise has no further faults; a number is set if
//	                    the file has its key
//	required=text       as required, and the value is not only spaces
//	unique              no other entry of the list has the same value
//	oneof=a|b           the value is one of these words
//	from=1, from=1..9   the number or duration is in this range, including its ends
//	above=0, above=0..9 as from, without the lower end
//
// The others are in checker.rule. Rules between fields are in the method check of the struct that
// contains them.

// section is a struct with rules between its fields. check is called after the rules of its fields.
type section interface {
	check(c *checker, path string)
}

// checker collects the faults of values that have the right type. Details never contain a value.
type checker struct {
	config *Config
	read   strict.Result
	faults Faults
	first  map[string]string // the path where unique found each value first
}

// check returns the faults of values. read is the result of decoding the configuration.
func (all *Config) check(read strict.Result) Faults {
	c := &checker{config: all, read: read, first: map[string]string{}}
	walk(reflect.ValueOf(all).Elem(), "", "", "", func(path, rules string, v reflect.Value, below func()) {
		c.rules(path, rules, v)
		below()
		if s, ok := reflect.TypeAssert[section](v); ok {
			s.check(c, path)
		}
	})
	for i, a := range all.ASPSPs {
		path := strict.Entry("aspsps", i) + ".provider"
		_, exists := all.Providers[a.Provider]
		known := exists || a.Provider == "" || c.refused(strict.Child("providers", a.Provider))
		c.require(path, known, "must be the name of a provider under providers")
	}
	optional := all.Redis.Mode == Embedded || c.faulty("redis.mode")
	c.requireSet("cache.encryptionKeyFile", optional || all.Cache.EncryptionKeyFile.Given())
	return c.faults
}

// rules checks the rules of a tag.
func (c *checker) rules(path, rules string, v reflect.Value) {
	for rule := range strings.SplitSeq(rules, ",") {
		name, argument, _ := strings.Cut(rule, "=")
		if name == "required" {
			if !c.requireSet(path, c.isSet(path, v) && (argument == "" || strings.TrimSpace(v.String()) != "")) {
				return
			}
			continue
		}
		c.rule(path, name, argument, v)
	}
}

func (c *checker) isSet(path string, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() > 0
	default:
		return c.config.file.Has(path)
	}
}

// fault adds a fault of the key at path, unless its value or that of a parent was already refused.
func (c *checker) fault(path, detail string) {
	if !c.refused(path) {
		c.faults.Add(path, detail)
	}
}

// refused reports whether the value at path or at a parent has a wrong type or comes from an alias.
func (c *checker) refused(path string) bool {
	return c.read.Refused(path) || c.config.file.BehindAlias(path)
}

// faulty reports whether the value at path was refused or already has a fault.
func (c *checker) faulty(path string) bool {
	return c.refused(path) || slices.ContainsFunc(c.faults, func(f Fault) bool { return f.Path == path })
}

// require adds a fault unless condition holds.
func (c *checker) require(path string, condition bool, detail string) {
	if !condition {
		c.fault(path, detail)
	}
}

// requireSet adds a fault for a required key unless isSet, and returns isSet.
func (c *checker) requireSet(path string, isSet bool) bool {
	detail := "is missing"
	if c.config.file.Has(path) {
		detail = "is empty"
	}
	c.require(path, isSet, detail)
	return isSet
}

// unique adds a fault if a value of the group that is not empty was found at another path before.
func (c *checker) unique(group, path, value string) {
	key := group + " " + value
	first, found := c.first[key]
	if !found {
		c.first[key] = path
	}
	c.require(path, value == "" || !found, "duplicate of "+first)
}

// walk calls visit for v and, when visit calls its last argument, for each value below v: fields,
// entries of lists and values of maps in the order of their keys, each with its path and the rules
// for it. Nil pointers are skipped. check and each are the tags of v.
func walk(v reflect.Value, path, check, each string, visit func(path, rules string, v reflect.Value, below func())) {
	if v.Kind() == reflect.Pointer {
		if !v.IsNil() {
			walk(v.Elem(), path, check, each, visit)
		}
		return
	}
	visit(path, check, v, func() {
		switch v.Kind() {
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), strict.Entry(path, i), each, "", visit)
			}
		case reflect.Map:
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, key := range keys {
				walk(v.MapIndex(key), strict.Child(path, key.String()), each, "", visit)
			}
		case reflect.Struct:
			for i, name := range strict.Tags(v.Type()) {
				if f := v.Type().Field(i); f.IsExported() {
					walk(v.Field(i), strict.Child(path, name), f.Tag.Get("check"), f.Tag.Get("each"), visit)
				}
			}
		}
	})
}
