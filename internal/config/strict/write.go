package strict

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// KeyValue is a key with its value: a string that is a scalar in YAML, a []any or a []KeyValue of such values.
type KeyValue struct {
	Key   string
	Value any
}

// Write writes a mapping as YAML.
func Write(w io.Writer, all []KeyValue) error {
	var b strings.Builder
	write(&b, all, "")
	_, err := io.WriteString(w, b.String())
	return err
}

// KeyValues returns a struct's fields in their order, without those that have no value. A map's value is an empty mapping.
func KeyValues(structure any) []KeyValue { return fieldValues(reflect.ValueOf(structure)) }

// KeyValues returns the keys and values of the mapping as they are in the file, except the keys in without.
func (m Mapping) KeyValues(without ...string) []KeyValue {
	if m.node == nil {
		return nil
	}
	all := []KeyValue{}
	for name, v := range pairs(m.node) {
		if !slices.Contains(without, name) {
			all = append(all, KeyValue{name, nodeValue(v.Value)})
		}
	}
	return all
}

func fieldValues(v reflect.Value) []KeyValue {
	var all []KeyValue
	for i, name := range Tags(v.Type()) {
		if name == "" {
			continue
		}
		if value := encodeValue(v.Field(i)); value != nil {
			all = append(all, KeyValue{name, value})
		}
	}
	return all
}

// encodeValue returns the value of a KeyValue for a Go value. It is nil for an empty string, time, list or mapping, which
// are the same as a missing key.
func encodeValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return shortDuration(x)
	case encoding.TextMarshaler: // a time too
		if s, err := x.MarshalText(); err == nil && !v.IsZero() {
			return scalarText(string(s))
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		if all := fieldValues(v); len(all) > 0 {
			return all
		}
	case reflect.Slice:
		return encodeList(v)
	case reflect.Map:
		if v.Len() > 0 {
			return []KeyValue{}
		}
	case reflect.String:
		if v.Len() > 0 {
			return scalarText(v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return encodeValue(v.Elem())
		}
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool, reflect.Int, reflect.Uint32:
		return fmt.Sprint(v.Interface())
	}
	return nil
}

func encodeList(v reflect.Value) any {
	var all []any
	for i := range v.Len() {
		entry := encodeValue(v.Index(i))
		if entry == nil {
			entry = `""`
		}
		all = append(all, entry)
	}
	_, one := v.Interface().(OneOrMore)
	switch {
	case len(all) == 0:
		return nil
	case one && len(all) == 1:
		return all[0]
	}
	return all
}

// nodeValue returns the value of a KeyValue for a node of the file.
func nodeValue(node ast.Node) any {
	if s, ok := text(node); ok {
		return scalarText(s)
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		return Mapping{n}.KeyValues()
	case *ast.SequenceNode:
		all := []any{}
		for _, v := range n.Values {
			all = append(all, nodeValue(v))
		}
		return all
	}
	if isNull(node) {
		return "null"
	}
	return node.GetToken().Value
}

// shortDuration returns a duration without zeros at its end: 24h instead of 24h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var (
	plain   = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/_.-]*(:[A-Za-z0-9/_.-]+)*$`)
	notText = regexp.MustCompile(`(?i)^(true|false|null|yes|no|on|off|y|n)$`)
)

// scalarText returns a string as a scalar: plain if every reader takes it for a string, otherwise in quotes.
func scalarText(s string) string {
	if plain.MatchString(s) && !notText.MatchString(s) {
		return s
	}
	return strconv.Quote(s) // its escapes are those of YAML
}

// write writes a value in block style. space is its indentation.
func write(b *strings.Builder, value any, space string) {
	switch v := value.(type) {
	case []KeyValue:
		for _, m := range v {
			if s, ok := inline(m.Value); ok {
				b.WriteString(space + scalarText(m.Key) + ": " + s + "\n")
				continue
			}
			b.WriteString(space + scalarText(m.Key) + ":\n")
			write(b, m.Value, space+"  ")
		}
	case []any:
		for _, e := range v {
			if s, ok := inline(e); ok {
				b.WriteString(space + "- " + s + "\n")
				continue
			}
			var block strings.Builder
			write(&block, e, space+"  ")
			b.WriteString(space + "- " + strings.TrimPrefix(block.String(), space+"  "))
		}
	}
}

// inline returns a value that fits behind its key: a scalar, a list of scalars, or an empty list or mapping.
func inline(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []any:
		scalars := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return "", false
			}
			scalars[i] = s
		}
		return "[" + strings.Join(scalars, ", ") + "]", true
	case []KeyValue:
		return "{}", len(v) == 0
	}
	return "", false
}
