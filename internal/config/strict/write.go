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

	"go.yaml.in/yaml/v4"
)

// KeyValue is a key with its encoded value: a string (a scalar as it is written), or a []any or []KeyValue of these.
type KeyValue struct {
	Key   string
	Value any
}

// Write writes a mapping as YAML, in block style except for lists of scalars.
func Write(w io.Writer, all []KeyValue) error {
	var b strings.Builder
	render(&b, all, 0)
	_, err := io.WriteString(w, b.String())
	return err
}

// KeyValues returns a struct's fields in their order, without empty ones. A map that is not empty is returned as an empty
// mapping.
func KeyValues(structure any) []KeyValue { return structFields(reflect.ValueOf(structure)) }

// KeyValues returns the keys and values of the mapping as they are in the file, without the given keys.
func (m Mapping) KeyValues(without ...string) []KeyValue {
	if m.node == nil {
		return nil
	}
	all := []KeyValue{}
	for key, value := range keys(m.node) {
		if !slices.Contains(without, key) {
			all = append(all, KeyValue{key, encodeNode(value)})
		}
	}
	return all
}

func structFields(v reflect.Value) []KeyValue {
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

// encodeValue encodes a Go value. It returns nil for an empty string, time, list or mapping, which is equivalent to a
// missing key.
func encodeValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return shortDuration(x)
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
		if all := structFields(v); len(all) > 0 {
			return all
		}
	case reflect.Slice:
		var all []any
		for i := range v.Len() {
			e := encodeValue(v.Index(i))
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
			return encodeValue(v.Elem())
		}
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool, reflect.Int, reflect.Uint32:
		return fmt.Sprint(v.Interface())
	}
	return nil
}

// encodeNode encodes a value of the file.
func encodeNode(node *yaml.Node) any {
	if node.Kind == yaml.MappingNode {
		return Mapping{node}.KeyValues()
	}
	if node.Kind == yaml.SequenceNode {
		all := []any{}
		for _, v := range node.Content {
			all = append(all, encodeNode(v))
		}
		return all
	}
	if s, ok := text(node); ok {
		return scalar(s)
	}
	if isNull(node) {
		return "null"
	}
	return node.Value
}

// shortDuration formats a duration without zeros at its end: 24h, not 24h0m0s.
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

// scalar encodes a string: plain if no YAML parser can read it as another type, otherwise in double quotes.
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

// render writes a value in block style, with each line indented.
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

// inline encodes a value on the line of its key if it is a scalar, a list of scalars or empty.
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
