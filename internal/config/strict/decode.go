package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDuration is 100 years. Longer durations are reduced to it, so that the sum of two neither
// overflows time.Duration nor Redis's milliseconds.
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

// AllowsUnknownKeys is implemented by a pointer to a struct whose unknown keys another package
// decodes.
type AllowsUnknownKeys interface{ AllowsUnknownKeys() }

// Decode decodes the mapping into a pointer to a struct by its yaml tags, and continues after each
// fault. A field without a key in the file keeps its value. A value must have the type of its
// field: a number is not a string, nor a string a number. path is the path of the mapping, for the
// faults. Keys in ignored are not decoded, and are no faults.
func (m Mapping) Decode(into any, path string, ignored ...string) Result {
	r := Result{refused: map[string]bool{}}
	r.fields(m.members, reflect.ValueOf(into).Elem(), path, ignored)
	return r
}

// decode decodes a node into a settable value, and adds a fault if the node has another type.
func (r *Result) decode(n *node, into reflect.Value, path string) {
	if n.kind == alias {
		return // a fault of Parse, and BehindAlias
	}
	if detail := r.value(n, into, path); detail != "" {
		r.refused[path] = true
		r.Faults.Add(path, detail)
	}
}

// value decodes a node and returns the detail of its fault, "" if it has none. It adds the faults
// of values in the node.
func (r *Result) value(n *node, into reflect.Value, path string) (detail string) {
	if n.kind == null {
		return "must have a value"
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		return r.value(n, into.Elem(), path)
	}
	if detail, ok := fromText(n, into); ok {
		return detail
	}
	switch kind := into.Kind(); {
	case kind == reflect.Slice:
		return r.list(n, into, path)
	case kind != reflect.Struct && kind != reflect.Map:
		return scalar(n, into)
	case n.kind != mapping:
		return notMapping
	case into.Type() == reflect.TypeFor[Mapping](): // decoded later
		into.Set(reflect.ValueOf(Mapping{n.members}))
		return ""
	case kind == reflect.Struct:
		r.fields(n.members, into, path, nil)
		return ""
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, m := range n.members {
		element := newWithDefaults(into.Type().Elem())
		r.decode(m.value, element, Child(path, m.name))
		into.SetMapIndex(reflect.ValueOf(m.name).Convert(into.Type().Key()), element)
	}
	return ""
}

// fields decodes a mapping into a struct by its yaml tags.
func (r *Result) fields(members []member, into reflect.Value, path string, ignored []string) {
	names := Tags(into.Type())
	_, open := into.Addr().Interface().(AllowsUnknownKeys)
	for _, m := range members {
		at := Child(path, m.name)
		switch i := slices.Index(names, m.name); {
		case i >= 0 && m.name != "":
			r.decode(m.value, into.Field(i), at)
		case !open && !slices.Contains(ignored, m.name):
			known := slices.Sorted(slices.Values(slices.Concat(ignored, names)))
			known = slices.DeleteFunc(slices.Compact(known), func(s string) bool { return s == "" })
			r.Faults.Add(at, "unknown key; known keys: "+strings.Join(known, ", "))
		}
	}
}

// list decodes a list. An entry with a fault keeps its index.
func (r *Result) list(n *node, into reflect.Value, path string) (detail string) {
	if n.kind != list {
		if _, one := into.Interface().(OneOrMore); !one {
			return "must be a list"
		}
		into.Set(reflect.MakeSlice(into.Type(), 1, 1))
		return r.value(n, into.Index(0), path)
	}
	all := reflect.MakeSlice(into.Type(), 0, len(n.entries))
	for i, entry := range n.entries {
		element := newWithDefaults(into.Type().Elem())
		r.decode(entry, element, Entry(path, i))
		all = reflect.Append(all, element)
	}
	into.Set(all)
	return ""
}

// fromText decodes a duration, a time or a TextUnmarshaler. ok is false for other types.
func fromText(n *node, into reflect.Value) (detail string, ok bool) {
	switch v := into.Addr().Interface().(type) {
	case *time.Duration:
		parsed, err := time.ParseDuration(n.text)
		if err != nil || n.kind != text {
			return "must be a duration such as 30s, 10m or 24h", true
		}
		*v = min(parsed, maxDuration)
	case *time.Time:
		var parsed time.Time
		err := parsed.UnmarshalText([]byte(n.text))
		parsed = parsed.UTC()
		// In UTC the year may be beyond what RFC 3339 can express.
		if err != nil || n.kind != text || parsed.Year() < 0 || parsed.Year() > 9999 {
			return "must be a time such as 2026-11-20T10:00:00Z (RFC 3339)", true
		}
		*v = parsed
	case encoding.TextUnmarshaler:
		if n.kind != text {
			return notString, true
		}
		if err := v.UnmarshalText([]byte(n.text)); err != nil {
			return err.Error(), true
		}
	default:
		return "", false
	}
	return "", true
}

// scalar decodes a string, a boolean or a number.
func scalar(n *node, into reflect.Value) (detail string) {
	t := into.Type()
	switch {
	case into.Kind() == reflect.String:
		if n.kind != text {
			return notString
		}
		into.SetString(n.text)
	case into.Kind() == reflect.Bool:
		if n.kind != boolean {
			return "must be true or false"
		}
		into.SetBool(strings.EqualFold(n.text, "true"))
	case into.CanInt():
		i, err := strconv.ParseInt(n.text, 10, t.Bits())
		if n.kind != integer || err != nil {
			return "must be a whole number"
		}
		into.SetInt(i)
	case into.CanUint():
		i, err := strconv.ParseUint(n.text, 10, t.Bits())
		if n.kind != integer || err != nil {
			return fmt.Sprintf("must be a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
		}
		into.SetUint(i)
	case into.CanFloat():
		f, err := strconv.ParseFloat(n.text, t.Bits())
		if n.kind != integer && n.kind != float || err != nil {
			return "must be a number"
		}
		into.SetFloat(f)
	default:
		return "has a type that is not supported"
	}
	return ""
}

// newWithDefaults returns a settable value of a type, with the defaults of its Defaulter.
func newWithDefaults(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// Tags returns the keys of a struct's fields in their order, "" for a field that is not in the
// file.
func Tags(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		if f := t.Field(i); f.IsExported() {
			names[i], _, _ = strings.Cut(f.Tag.Get("yaml"), ",")
		}
	}
	return names
}
