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

// Decode fills into, a pointer to a struct, by its yaml tags, and goes on after each fault. What the part does not
// say stays as it is. It takes no value for another type than it has in YAML: a number is no text, nor the other
// way round. path is where the part stands, for the faults; spared are keys that are somebody else's.
func (p Mapping) Decode(into any, path string, spared ...string) Result {
	var r Result
	if p.node != nil {
		r.mapping(p.node, reflect.ValueOf(into).Elem(), path, spared)
	}
	return r
}

// A Result is what a Part could not be decoded by.
type Result struct {
	Faults Faults

	bad map[string]bool // the paths whose value could not be taken
}

// Refused reports whether the value at path, or one above it, could not be taken, and so needs no further check.
func (r *Result) Refused(path string) bool {
	for ; path != ""; path = above(path) {
		if r.bad[path] {
			return true
		}
	}
	return false
}

// Defaulter is a type of list entries or map values that is filled before the file is asked.
type Defaulter interface{ SetDefaults() }

// OneOrMore is a slice type whose only entry may be written without a list.
type OneOrMore interface{ OneOrMore() }

// AllowsUnknownKeys is implemented by a struct whose unknown keys are read by another package.
type AllowsUnknownKeys interface{ AllowsUnknownKeys() }

func (r *Result) refuse(path, detail string) {
	if r.bad == nil {
		r.bad = map[string]bool{}
	}
	r.bad[path] = true
	r.Faults.Add(path, detail)
}

// decode fills into, which must be settable. What the file does not say stays as it is.
func (r *Result) decode(node ast.Node, into reflect.Value, path string) {
	switch node.(type) {
	case *ast.AliasNode, *ast.MergeKeyNode:
		return // a fault already, and BehindAlias
	}
	if _, null := node.(*ast.NullNode); node == nil || null {
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
		r.mapping(node, into, path, nil)
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

// mapping fills a struct by its yaml tags. spared are keys that are somebody else's.
func (r *Result) mapping(node ast.Node, into reflect.Value, path string, spared []string) {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		r.refuse(path, "must be a mapping (key: value)")
		return
	}
	names := Tags(into.Type())
	_, open := into.Addr().Interface().(AllowsUnknownKeys)
	for _, v := range mapping.Values {
		if v.Key.IsMergeKey() {
			continue
		}
		name := key(v)
		at := Child(path, name)
		switch i := slices.Index(names, name); {
		case i >= 0 && name != "":
			r.decode(v.Value, into.Field(i), at)
		case !open && !slices.Contains(spared, name):
			r.Faults.Add(at, "unknown key; known keys: "+strings.Join(known(names, spared), ", "))
		}
	}
}

// table fills a map with texts for keys.
func (r *Result) table(node ast.Node, into reflect.Value, path string) {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		r.refuse(path, "must be a mapping (key: value)")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, v := range mapping.Values {
		if v.Key.IsMergeKey() {
			continue
		}
		element := fresh(into.Type().Elem())
		r.decode(v.Value, element, Child(path, key(v)))
		into.SetMapIndex(reflect.ValueOf(key(v)).Convert(into.Type().Key()), element)
	}
}

// list fills a slice. A bad entry keeps its place.
func (r *Result) list(node ast.Node, into reflect.Value, path string) {
	sequence, ok := node.(*ast.SequenceNode)
	if _, one := into.Interface().(OneOrMore); one && !ok {
		all := reflect.MakeSlice(into.Type(), 1, 1)
		r.decode(node, all.Index(0), path)
		into.Set(all)
		return
	}
	if !ok {
		r.refuse(path, "must be a list")
		return
	}
	all := reflect.MakeSlice(into.Type(), 0, len(sequence.Values))
	for i, v := range sequence.Values {
		element := fresh(into.Type().Elem())
		r.decode(v, element, Entry(path, i))
		all = reflect.Append(all, element)
	}
	into.Set(all)
}

func (r *Result) scalar(node ast.Node, into reflect.Value, path string) {
	switch into.Kind() {
	case reflect.String:
		if s, ok := text(node); ok {
			into.SetString(s)
			return
		}
		r.refuse(path, "must be a string (quote it if it looks like a number or a boolean)")
	case reflect.Bool:
		if b, ok := node.(*ast.BoolNode); ok {
			into.SetBool(b.Value)
			return
		}
		r.refuse(path, "must be true or false")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n, err := strconv.ParseInt(number(node, false), 10, into.Type().Bits()); err == nil {
			into.SetInt(n)
			return
		}
		r.refuse(path, "must be a whole number")
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, err := strconv.ParseUint(number(node, false), 10, into.Type().Bits()); err == nil {
			into.SetUint(n)
			return
		}
		r.refuse(path, fmt.Sprintf("must be a whole number from 0 to %d", uint64(1)<<into.Type().Bits()-1))
	case reflect.Float32, reflect.Float64:
		if n, err := strconv.ParseFloat(number(node, true), into.Type().Bits()); err == nil {
			into.SetFloat(n)
			return
		}
		r.refuse(path, "must be a number")
	default:
		r.refuse(path, "has a type that is not supported")
	}
}

func (r *Result) duration(node ast.Node, into *time.Duration, path string) {
	s, _ := text(node)
	parsed, err := time.ParseDuration(s)
	if err != nil {
		r.refuse(path, "must be a duration such as 30s, 10m or 24h")
		return
	}
	*into = parsed
}

func (r *Result) time(node ast.Node, into *time.Time, path string) {
	s, _ := text(node)
	var parsed time.Time
	err := parsed.UnmarshalText([]byte(s))
	parsed = parsed.UTC()
	// Beyond these years the time in UTC has no such form any more.
	if err != nil || parsed.Year() < 0 || parsed.Year() > 9999 {
		r.refuse(path, "must be a time such as 2026-11-20T10:00:00Z (RFC 3339)")
		return
	}
	*into = parsed
}

func (r *Result) unmarshal(node ast.Node, into encoding.TextUnmarshaler, path string) {
	s, ok := text(node)
	if !ok {
		r.refuse(path, "must be a string (quote it if it looks like a number or a boolean)")
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		r.refuse(path, err.Error())
	}
}

// text is a scalar that YAML takes for a text.
func text(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// number is a decimal number's text, "" for anything else. Octal and its kin are none: 010 is read in two ways.
func number(node ast.Node, fraction bool) string {
	t := node.GetToken()
	_, whole := node.(*ast.IntegerNode)
	_, broken := node.(*ast.FloatNode)
	if whole && t.Type == token.IntegerType || broken && fraction {
		return t.Value
	}
	return ""
}

// fresh is a settable value of a type, with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// Tags are the keys of a struct's fields, in their order; "" for a field that is not in the file.
func Tags(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		if f := t.Field(i); f.IsExported() {
			names[i], _, _ = strings.Cut(f.Tag.Get("yaml"), ",")
		}
	}
	return names
}

// known are the keys that may stand in a mapping.
func known(names, spared []string) []string {
	all := slices.Concat(spared, names)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" })
}
