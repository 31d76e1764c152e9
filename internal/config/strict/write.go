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
)

// Mapping is a mapping of a document, or of the fields of a struct. The zero Mapping is empty. A
// field of this type gets its part of the document, which is decoded later.
type Mapping struct{ members []member }

// IsEmpty reports whether the mapping has no keys.
func (m Mapping) IsEmpty() bool { return len(m.members) == 0 }

// Encode returns the fields of a struct in their order, without those that have no value. The value
// of a map is an empty mapping.
func Encode(structure any) Mapping { return Mapping{encodeFields(reflect.ValueOf(structure))} }

// With returns the mapping with another value of a key, which it adds if it is missing.
func (m Mapping) With(key string, value Mapping) Mapping {
	one := member{key, &node{kind: mapping, members: value.members}}
	i := slices.IndexFunc(m.members, func(other member) bool { return other.name == key })
	if i < 0 {
		return Mapping{append(slices.Clip(m.members), one)}
	}
	return Mapping{slices.Concat(m.members[:i], []member{one}, m.members[i+1:])}
}

// Without returns the mapping without some keys.
func (m Mapping) Without(keys ...string) Mapping {
	return Mapping{slices.DeleteFunc(slices.Clone(m.members), func(one member) bool { return slices.Contains(keys, one.name) })}
}

// Concat returns the keys of the mapping, followed by those of other.
func (m Mapping) Concat(other Mapping) Mapping {
	return Mapping{slices.Concat(m.members, other.members)}
}

// String returns the mapping as YAML.
func (m Mapping) String() string {
	var b strings.Builder
	write(&b, &node{kind: mapping, members: m.members}, "")
	return b.String()
}

// encodeFields returns the keys of a struct's fields with their values.
func encodeFields(v reflect.Value) []member {
	var all []member
	for i, name := range Tags(v.Type()) {
		if name == "" {
			continue
		}
		if value := encode(v.Field(i)); value != nil {
			all = append(all, member{name, value})
		}
	}
	return all
}

// encode returns the node of a Go value. It is nil for an empty string, time, list or mapping,
// which are the same as a missing key.
func encode(v reflect.Value) *node {
	switch x := v.Interface().(type) {
	case Mapping:
		if len(x.members) == 0 {
			return nil
		}
		return &node{kind: mapping, members: x.members}
	case time.Duration:
		return &node{text: shortDuration(x)}
	case encoding.TextMarshaler: // a time too
		if s, err := x.MarshalText(); err == nil && !v.IsZero() {
			return &node{kind: text, text: string(s)}
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		if all := encodeFields(v); len(all) > 0 {
			return &node{kind: mapping, members: all}
		}
	case reflect.Slice:
		return encodeList(v)
	case reflect.Map:
		if v.Len() > 0 {
			return &node{kind: mapping}
		}
	case reflect.String:
		if v.Len() > 0 {
			return &node{kind: text, text: v.String()}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return encode(v.Elem())
		}
	case reflect.Float64:
		return &node{text: strconv.FormatFloat(v.Float(), 'f', -1, 64)}
	case reflect.Bool, reflect.Int, reflect.Uint32:
		return &node{text: fmt.Sprint(v.Interface())}
	}
	return nil
}

// encodeList returns the node of a slice, nil if it is empty. Empty entries are kept, so that the
// others keep their index.
func encodeList(v reflect.Value) *node {
	n := &node{kind: list}
	for i := range v.Len() {
		entry := encode(v.Index(i))
		if entry == nil {
			entry = &node{kind: text}
		}
		n.entries = append(n.entries, entry)
	}
	_, one := v.Interface().(OneOrMore)
	switch {
	case len(n.entries) == 0:
		return nil
	case one && len(n.entries) == 1:
		return n.entries[0]
	}
	return n
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

// quoted returns a string in quotes, or without if every reader takes it for a string.
func quoted(s string) string {
	if plain.MatchString(s) && !notText.MatchString(s) {
		return s
	}
	return strconv.Quote(s) // its escapes are those of YAML
}

// write writes a mapping or list in block style. space is its indentation.
func write(b *strings.Builder, n *node, space string) {
	for _, m := range n.members {
		b.WriteString(space + quoted(m.name) + ":")
		if s, ok := inline(m.value); ok {
			b.WriteString(" " + s + "\n")
			continue
		}
		b.WriteByte('\n')
		write(b, m.value, space+"  ")
	}
	for _, entry := range n.entries {
		s, ok := inline(entry)
		if !ok {
			var block strings.Builder
			write(&block, entry, space+"  ")
			s = strings.TrimSpace(block.String())
		}
		b.WriteString(space + "- " + s + "\n")
	}
}

// inline returns a value that fits behind its key: a scalar, a list of scalars, or an empty list or
// mapping.
func inline(n *node) (string, bool) {
	switch {
	case n.kind == mapping:
		return "{}", len(n.members) == 0
	case n.kind == text:
		return quoted(n.text), true
	case n.kind == list:
		scalars := make([]string, len(n.entries))
		for i, entry := range n.entries {
			if entry.kind == list || entry.kind == mapping {
				return "", false
			}
			scalars[i], _ = inline(entry)
		}
		return "[" + strings.Join(scalars, ", ") + "]", true
	}
	return n.text, true
}
