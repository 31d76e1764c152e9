package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

const (
	mappingDetail = "must be a mapping (key: value)"
	stringDetail  = "must be a string (quote it if it looks like a number or a boolean)"
)

// Decode fills into, a pointer to a struct, by its yaml tags, and continues after each fault. Fields without a key in the
// mapping keep their value. Values are not converted between YAML types: a number is not accepted as a string, nor a
// string as a number. path is the path of the mapping; ignored are keys that are not decoded and not refused.
func (m Mapping) Decode(into any, path string, ignored ...string) Result {
	var r Result
	if m.node != nil {
		r.structure(m.node, reflect.ValueOf(into).Elem(), path, ignored)
	}
	return r
}

// Result is the result of Decode.
type Result struct {
	Faults Faults

	refused map[string]bool // the paths whose value was not accepted
}

// Refused reports whether the value at path, or at a parent of it, was not accepted, so that it needs no further check.
func (r *Result) Refused(path string) bool {
	for ; path != ""; path = parentPath(path) {
		if r.refused[path] {
			return true
		}
	}
	return false
}

// Defaulter is a type of list entries or map values that has defaults.
type Defaulter interface{ SetDefaults() }

// OneOrMore is a slice type whose only entry may be written without a list.
type OneOrMore interface{ OneOrMore() }

// OpenMapping is a struct that ignores unknown keys.
type OpenMapping interface{ AllowsUnknownKeys() }

func (r *Result) refuse(path, detail string) {
	if r.refused == nil {
		r.refused = map[string]bool{}
	}
	r.refused[path] = true
	r.Faults.Add(path, detail)
}

// decode decodes a node into a settable value.
func (r *Result) decode(node *yaml.Node, into reflect.Value, path string) {
	switch {
	case node.Kind == yaml.AliasNode || isMerge(node):
		return // already a fault, and BehindAlias
	case isNull(node):
		r.refuse(path, "must have a value")
		return
	}
	switch v := into.Addr().Interface().(type) {
	case *time.Duration:
		r.duration(node, v, path)
		return
	case *time.Time:
		r.time(node, v, path)
		return
	case encoding.TextUnmarshaler:
		r.unmarshal(node, v, path)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		r.structure(node, into, path, nil)
	case reflect.Map:
		r.table(node, into, path)
	case reflect.Slice:
		r.list(node, into, path)
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		r.decode(node, into.Elem(), path)
	default:
		r.scalar(node, into, path)
	}
}

// structure decodes a mapping into a struct by its yaml tags.
func (r *Result) structure(node *yaml.Node, into reflect.Value, path string, ignored []string) {
	if node.Kind != yaml.MappingNode {
		r.refuse(path, mappingDetail)
		return
	}
	names := Tags(into.Type())
	_, open := into.Addr().Interface().(OpenMapping)
	for key, value := range keys(node) {
		at := Child(path, key)
		switch i := slices.Index(names, key); {
		case i >= 0 && key != "":
			r.decode(value, into.Field(i), at)
		case !open && !slices.Contains(ignored, key):
			r.Faults.Add(at, "unknown key; known keys: "+strings.Join(knownKeys(names, ignored), ", "))
		}
	}
}

// table decodes a mapping into a map with string keys.
func (r *Result) table(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		r.refuse(path, mappingDetail)
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for key, value := range keys(node) {
		element := newWithDefaults(into.Type().Elem())
		r.decode(value, element, Child(path, key))
		into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), element)
	}
}

// list decodes a list into a slice. An entry that is not accepted keeps its index.
func (r *Result) list(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		if _, ok := into.Interface().(OneOrMore); !ok {
			r.refuse(path, "must be a list")
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), 1, 1))
		r.decode(node, into.Index(0), path)
		return
	}
	all := reflect.MakeSlice(into.Type(), 0, len(node.Content))
	for i, entry := range node.Content {
		element := newWithDefaults(into.Type().Elem())
		r.decode(entry, element, Entry(path, i))
		all = reflect.Append(all, element)
	}
	into.Set(all)
}

func (r *Result) scalar(node *yaml.Node, into reflect.Value, path string) {
	bits := 0
	if into.CanInt() || into.CanUint() || into.CanFloat() {
		bits = into.Type().Bits()
	}
	switch {
	case into.Kind() == reflect.String:
		if s, ok := text(node); ok {
			into.SetString(s)
			return
		}
		r.refuse(path, stringDetail)
	case into.Kind() == reflect.Bool:
		if node.Tag == "!!bool" {
			into.SetBool(strings.EqualFold(node.Value, "true"))
			return
		}
		r.refuse(path, "must be true or false")
	case into.CanInt():
		if n, err := strconv.ParseInt(number(node, false), 10, bits); err == nil {
			into.SetInt(n)
			return
		}
		r.refuse(path, "must be a whole number")
	case into.CanUint():
		if n, err := strconv.ParseUint(number(node, false), 10, bits); err == nil {
			into.SetUint(n)
			return
		}
		r.refuse(path, fmt.Sprintf("must be a whole number from 0 to %d", uint64(1)<<bits-1))
	case into.CanFloat():
		if n, err := strconv.ParseFloat(number(node, true), bits); err == nil {
			into.SetFloat(n)
			return
		}
		r.refuse(path, "must be a number")
	default:
		r.refuse(path, "has a type that is not supported")
	}
}

func (r *Result) duration(node *yaml.Node, into *time.Duration, path string) {
	s, _ := text(node)
	parsed, err := time.ParseDuration(s)
	if err != nil {
		r.refuse(path, "must be a duration such as 30s, 10m or 24h")
		return
	}
	*into = parsed
}

func (r *Result) time(node *yaml.Node, into *time.Time, path string) {
	s, _ := text(node)
	var parsed time.Time
	err := parsed.UnmarshalText([]byte(s))
	parsed = parsed.UTC()
	// RFC 3339 cannot express years outside of this range, which the conversion to UTC can produce.
	if err != nil || parsed.Year() < 0 || parsed.Year() > 9999 {
		r.refuse(path, "must be a time such as 2026-11-20T10:00:00Z (RFC 3339)")
		return
	}
	*into = parsed
}

func (r *Result) unmarshal(node *yaml.Node, into encoding.TextUnmarshaler, path string) {
	s, ok := text(node)
	if !ok {
		r.refuse(path, stringDetail)
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		r.refuse(path, err.Error())
	}
}

// keys iterates over the keys and values of a mapping, without merge keys and keys that are not scalars.
func keys(mapping *yaml.Node) func(func(key string, value *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		for key, value := range pairs(mapping) {
			if isKey(key) && !yield(key.Value, value) {
				return
			}
		}
	}
}

// text returns a scalar's value if it is a string. Dates are strings too.
func text(node *yaml.Node) (string, bool) {
	isText := node.Kind == yaml.ScalarNode && (node.Tag == "!!str" || node.Tag == "!!timestamp")
	return node.Value, isText
}

var wholeNumber = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)

// number returns the text of a decimal number, "" for anything else. Numbers such as 010 are refused, because YAML 1.1 and
// 1.2 read them differently.
func number(node *yaml.Node, fraction bool) string {
	isNumber := node.Kind == yaml.ScalarNode && (node.Tag == "!!int" || node.Tag == "!!float")
	if isNumber && (wholeNumber.MatchString(node.Value) || fraction && node.Tag == "!!float") {
		return node.Value
	}
	return ""
}

// newWithDefaults returns a settable value of a type, with its defaults.
func newWithDefaults(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// Tags returns the keys of a struct's fields in their order, "" for a field without a yaml tag.
func Tags(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		if f := t.Field(i); f.IsExported() {
			names[i], _, _ = strings.Cut(f.Tag.Get("yaml"), ",")
		}
	}
	return names
}

// knownKeys returns the keys that a mapping may have, sorted.
func knownKeys(names, ignored []string) []string {
	all := slices.Concat(ignored, names)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" })
}
