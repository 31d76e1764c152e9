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
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// A KeyValue is a key with its value: a string, which is a scalar as it is written, a []any or a []KeyValue of these.
type KeyValue struct {
	Key   string
	Value any
}

// Write writes a mapping as YAML.
func Write(w io.Writer, all []KeyValue) error {
	var b strings.Builder
	render(&b, all, 0)
	_, err := io.WriteString(w, b.String())
	return err
}

// KeyValues are a struct's fields in their order, without those that have no value. Of a map there is only its place.
func KeyValues(structure any) []KeyValue { return members(reflect.ValueOf(structure)) }

// KeyValues are a part's keys and values as they stand in the file, but for the keys left out.
func (p Mapping) KeyValues(without ...string) []KeyValue {
	if p.node == nil {
		return nil
	}
	all := []KeyValue{}
	for _, v := range p.node.Values {
		if !slices.Contains(without, key(v)) {
			all = append(all, KeyValue{key(v), source(v.Value)})
		}
	}
	return all
}

func members(v reflect.Value) []KeyValue {
	var all []KeyValue
	for i, name := range Tags(v.Type()) {
		if name == "" {
			continue
		}
		if value := effective(v.Field(i)); value != nil {
			all = append(all, KeyValue{name, value})
		}
	}
	return all
}

// effective is a Go value as it is written; nil for an empty text, time, list or mapping, which is the same as none.
func effective(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return short(x)
	case time.Time:
		if x.IsZero() {
			return nil
		}
		return scalar(x.Format(time.RFC3339Nano))
	case encoding.TextMarshaler:
		s, err := x.MarshalText()
		if err != nil || len(s) == 0 {
			return nil
		}
		return scalar(string(s))
	}
	switch v.Kind() {
	case reflect.Struct:
		if all := members(v); len(all) > 0 {
			return all
		}
	case reflect.Slice:
		var all []any
		for i := range v.Len() {
			e := effective(v.Index(i))
			if e == nil {
				e = `""`
			}
			all = append(all, e)
		}
		if _, one := v.Interface().(OneOrMore); one && len(all) == 1 {
			return all[0]
		}
		if len(all) > 0 {
			return all
		}
	case reflect.Map:
		if v.Len() > 0 {
			return []KeyValue{}
		}
	case reflect.String:
		if v.String() != "" {
			return scalar(v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return effective(v.Elem())
		}
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool, reflect.Int, reflect.Uint32:
		return fmt.Sprint(v.Interface())
	}
	return nil
}

// source is a part of the file's tree as it is written.
func source(node ast.Node) any {
	switch n := node.(type) {
	case *ast.MappingNode:
		return Mapping{n}.KeyValues()
	case *ast.SequenceNode:
		all := []any{}
		for _, v := range n.Values {
			all = append(all, source(v))
		}
		return all
	}
	if s, ok := text(node); ok {
		return scalar(s)
	}
	if _, null := node.(*ast.NullNode); node == nil || null {
		return "null"
	}
	return node.GetToken().Value
}

// short is a duration without the zeros at its end: 24h, not 24h0m0s.
func short(d time.Duration) string {
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

// scalar is a text as it is written: plain where no reader can take it for something else, else in quotes.
func scalar(s string) string {
	if plain.MatchString(s) && !notText.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// render writes a value as a block of its own, each line behind indent spaces.
func render(b *strings.Builder, value any, indent int) {
	space := strings.Repeat(" ", indent)
	switch v := value.(type) {
	case []KeyValue:
		for _, m := range v {
			b.WriteString(space + scalar(m.Key) + ":")
			if s, ok := inline(m.Value); ok {
				b.WriteString(" " + s + "\n")
				continue
			}
			b.WriteByte('\n')
			render(b, m.Value, indent+2)
		}
	case []any:
		for _, e := range v {
			if s, ok := inline(e); ok {
				b.WriteString(space + "- " + s + "\n")
				continue
			}
			var block strings.Builder
			render(&block, e, indent+2)
			b.WriteString(space + "- " + block.String()[indent+2:])
		}
	}
}

// inline is a value that is written in one line behind its key: a scalar, a list of scalars, anything empty.
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
