package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxDuration is 100 years. Longer durations are reduced to it, so that the sum of two neither overflows time.Duration nor
// Redis's milliseconds.
const maxDuration = 876_000 * time.Hour

// Details of faults that are used more than once.
const (
	notMapping = "must be a mapping (key: value)"
	notString  = "must be a string (quote it if it looks like a number or a boolean)"
)

// Result has the faults of a decoded mapping.
type Result struct {
	Faults Faults

	refused map[string]bool // the paths whose value has a wrong type
}

// Refused reports whether the value at path, or one that contains it, has a wrong type.
func (r *Result) Refused(path string) bool {
	for ; path != ""; path = parentPath(path) {
		if r.refused[path] {
			return true
		}
	}
	return false
}

// Defaulter is implemented by pointers to list entries and map values that have defaults.
type Defaulter interface{ SetDefaults() }

// OneOrMore is implemented by a slice type whose only entry may be written without a list.
type OneOrMore interface{ OneOrMore() }

// AllowsUnknownKeys is implemented by a pointer to a struct whose unknown keys another package decodes.
type AllowsUnknownKeys interface{ AllowsUnknownKeys() }

// Decode decodes the mapping into a pointer to a struct by its yaml tags, and continues after each fault. A field without
// a key in the file keeps its value. A value must have the type of its field: a number is not a string, nor a string a
// number. path is the path of the mapping, for the faults. Keys in ignored are not decoded, and are no faults.
func (m Mapping) Decode(into any, path string, ignored ...string) Result {
	r := Result{refused: map[string]bool{}}
	if m.node != nil {
		r.fields(m.node, reflect.ValueOf(into).Elem(), path, ignored)
	}
	return r
}

// decode decodes a node into a settable value, and adds a fault if the node has another type.
func (r *Result) decode(node ast.Node, into reflect.Value, path string) {
	if isAlias(node) {
		return // a fault of Parse, and BehindAlias
	}
	if detail := r.value(node, into, path); detail != "" {
		r.refused[path] = true
		r.Faults.Add(path, detail)
	}
}

// value decodes a node and returns the detail of its fault, "" if it has none. It adds the faults of values in the node.
func (r *Result) value(node ast.Node, into reflect.Value, path string) (detail string) {
	if isNull(node) {
		return "must have a value"
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		return r.value(node, into.Elem(), path)
	}
	if detail, ok := fromText(node, into); ok {
		return detail
	}
	mapping, isMapping := node.(*ast.MappingNode)
	switch kind := into.Kind(); {
	case kind == reflect.Slice:
		return r.list(node, into, path)
	case kind != reflect.Struct && kind != reflect.Map:
		return scalar(node, into)
	case !isMapping:
		return notMapping
	case kind == reflect.Struct:
		r.fields(mapping, into, path, nil)
		return ""
	}
	into.Set(reflect.MakeMap(into.Type()))
	for name, v := range pairs(mapping) {
		element := newWithDefaults(into.Type().Elem())
		r.decode(v.Value, element, Child(path, name))
		into.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), element)
	}
	return ""
}

// fields decodes a mapping into a struct by its yaml tags.
func (r *Result) fields(mapping *ast.MappingNode, into reflect.Value, path string, ignored []string) {
	names := Tags(into.Type())
	_, open := into.Addr().Interface().(AllowsUnknownKeys)
	for name, v := range pairs(mapping) {
		at := Child(path, name)
		switch i := slices.Index(names, name); {
		case i >= 0 && name != "":
			r.decode(v.Value, into.Field(i), at)
		case !open && !slices.Contains(ignored, name):
			known := slices.Sorted(slices.Values(slices.Concat(ignored, names)))
			known = slices.DeleteFunc(slices.Compact(known), func(s string) bool { return s == "" })
			r.Faults.Add(at, "unknown key; known keys: "+strings.Join(known, ", "))
		}
	}
}

// list decodes a list. An entry with a fault keeps its index.
func (r *Result) list(node ast.Node, into reflect.Value, path string) (detail string) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		if _, one := into.Interface().(OneOrMore); !one {
			return "must be a list"
		}
		into.Set(reflect.MakeSlice(into.Type(), 1, 1))
		return r.value(node, into.Index(0), path)
	}
	all := reflect.MakeSlice(into.Type(), 0, len(sequence.Values))
	for i, v := range sequence.Values {
		element := newWithDefaults(into.Type().Elem())
		r.decode(v, element, Entry(path, i))
		all = reflect.Append(all, element)
	}
	into.Set(all)
	return ""
}

// fromText decodes a duration, a time or a TextUnmarshaler. ok is false for other types.
func fromText(node ast.Node, into reflect.Value) (detail string, ok bool) {
	s, isText := text(node)
	switch v := into.Addr().Interface().(type) {
	case *time.Duration:
		parsed, err := time.ParseDuration(s)
		if err != nil {
			return "must be a duration such as 30s, 10m or 24h", true
		}
		*v = min(parsed, maxDuration)
	case *time.Time:
		var parsed time.Time
		err := parsed.UnmarshalText([]byte(s))
		parsed = parsed.UTC()
		// In UTC the year may be beyond what RFC 3339 can express.
		if err != nil || parsed.Year() < 0 || parsed.Year() > 9999 {
			return "must be a time such as 2026-11-20T10:00:00Z (RFC 3339)", true
		}
		*v = parsed
	case encoding.TextUnmarshaler:
		if !isText {
			return notString, true
		}
		if err := v.UnmarshalText([]byte(s)); err != nil {
			return err.Error(), true
		}
	default:
		return "", false
	}
	return "", true
}

// scalar decodes a string, a boolean or a number.
func scalar(node ast.Node, into reflect.Value) (detail string) {
	switch {
	case into.Kind() == reflect.String:
		s, ok := text(node)
		if !ok {
			return notString
		}
		into.SetString(s)
	case into.Kind() == reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			return "must be true or false"
		}
		into.SetBool(b.Value)
	case into.CanInt():
		n, err := strconv.ParseInt(number(node, false), 10, into.Type().Bits())
		if err != nil {
			return "must be a whole number"
		}
		into.SetInt(n)
	case into.CanUint():
		n, err := strconv.ParseUint(number(node, false), 10, into.Type().Bits())
		if err != nil {
			return fmt.Sprintf("must be a whole number from 0 to %d", uint64(1)<<into.Type().Bits()-1)
		}
		into.SetUint(n)
	case into.CanFloat():
		n, err := strconv.ParseFloat(number(node, true), into.Type().Bits())
		if err != nil {
			return "must be a number"
		}
		into.SetFloat(n)
	default:
		return "has a type that is not supported"
	}
	return ""
}

// text returns the value of a node that is a string in YAML.
func text(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// number returns the text of a decimal number, "" for every other node. Other bases are refused: 010 is 8 for some readers
// and 10 for others.
func number(node ast.Node, fraction bool) string {
	t := node.GetToken()
	_, isInteger := node.(*ast.IntegerNode)
	_, isFloat := node.(*ast.FloatNode)
	if isInteger && t.Type == token.IntegerType || isFloat && fraction {
		return t.Value
	}
	return ""
}

func isNull(node ast.Node) bool {
	_, null := node.(*ast.NullNode)
	return node == nil || null
}

// newWithDefaults returns a settable value of a type, with its defaults.
func newWithDefaults(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// Tags returns the keys of a struct's fields in their order, "" for a field that is not in the file.
func Tags(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		if f := t.Field(i); f.IsExported() {
			names[i], _, _ = strings.Cut(f.Tag.Get("yaml"), ",")
		}
	}
	return names
}
