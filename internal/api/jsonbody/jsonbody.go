// Package jsonbody reads the JSON body of a request by its schema, strictly: every unknown, repeated,
// missing or wrongly typed member is a fault with its JSON pointer (RFC 6901). A fault never repeats a
// value.
package jsonbody

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
)

const (
	// maxBody is the maximum size of a body in bytes.
	maxBody = 256 << 10
	// maxFaults is how many faults of a body are reported: more would make the response much larger
	// than the request.
	maxFaults = 1000
)

// read returns a body that is one JSON document, or why there is none.
func read(from io.Reader) (body []byte, detail string) {
	body, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	switch {
	case len(body) > maxBody:
		return nil, "must not exceed 256 KiB"
	case err != nil:
		return nil, "cannot be read completely"
	case !utf8.Valid(body):
		return nil, "must be valid UTF-8"
	case !json.Valid(body):
		return nil, "must be one JSON document"
	case canonical.HasLoneSurrogate(body):
		return nil, "contains an escaped surrogate without its other half"
	}
	return body, ""
}

// Reader reads a valid JSON document token by token, and collects its faults. It keeps no value that
// the schema does not have.
type Reader struct {
	decoder  *json.Decoder
	nameable func(name string) bool
	faults   []canonical.FieldError
	known    map[canonical.FieldError]bool
}

// Open reads a body, and returns its Reader. A body that is too large, cannot be read completely or
// is not one JSON document is one fault with the pointer "". nameable reports whether the name of an
// unknown member may be shown.
func Open(from io.Reader, nameable func(name string) bool) (*Reader, []canonical.FieldError) {
	body, detail := read(from)
	if detail != "" {
		return nil, []canonical.FieldError{{In: "body", Detail: detail}}
	}
	r := &Reader{decoder: json.NewDecoder(bytes.NewReader(body)), nameable: nameable, known: map[canonical.FieldError]bool{}}
	r.decoder.UseNumber() // a number may exceed every type
	return r, nil
}

// Faults returns the faults that were found so far.
func (r *Reader) Faults() []canonical.FieldError { return r.faults }

// Fault records a fault once.
func (r *Reader) Fault(pointer, detail string) {
	f := canonical.FieldError{In: "body", Name: pointer, Detail: detail}
	if !r.known[f] && len(r.faults) < maxFaults {
		r.known[f] = true
		r.faults = append(r.faults, f)
	}
}

// token returns the next token. The document is valid, so that there is one.
func (r *Reader) token() json.Token {
	t, err := r.decoder.Token()
	if err != nil {
		panic("jsonbody: a valid document does not decode")
	}
	return t
}

// skip skips the rest of the value that t begins.
func (r *Reader) skip(t json.Token) {
	for depth := 0; ; t = r.token() {
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return
		}
	}
}

// Object reads an object: members has a function for each name, which reads the member's value. It
// reports unknown and repeated members, and required ones that are missing. It returns the names that
// the object has.
func (r *Reader) Object(pointer string, members map[string]func(pointer string), required ...string) map[string]bool {
	has := map[string]bool{}
	if !r.begin('{', pointer, "must be an object") {
		return has
	}
	for r.decoder.More() {
		name, _ := r.token().(string)
		read, known := members[name]
		switch at := pointer + "/" + name; {
		case !known:
			r.unknown(pointer, name)
			r.skip(r.token())
		case has[name]:
			r.Fault(at, "must occur only once")
			r.skip(r.token())
		default:
			has[name] = true
			read(at)
		}
	}
	r.token() // its end
	for _, name := range required {
		if !has[name] {
			r.Fault(pointer+"/"+name, "is required")
		}
	}
	return has
}

// unknown reports an unknown member: under its name, so that callers find typing errors, or under
// that of its object if the name may be personal data.
func (r *Reader) unknown(pointer, name string) {
	if r.nameable(name) {
		r.Fault(pointer+"/"+name, "is not a member of this object")
		return
	}
	r.Fault(pointer, "has an unknown member")
}

// Array reads an array of least to most items: item reads one. Further ones are skipped.
func (r *Reader) Array(pointer string, least, most int, item func(pointer string)) {
	if !r.begin('[', pointer, "must be an array") {
		return
	}
	n := 0
	for ; r.decoder.More(); n++ {
		if n >= most {
			r.skip(r.token())
			continue
		}
		item(pointer + "/" + strconv.Itoa(n))
	}
	r.token() // its end
	if n < least || n > most {
		r.Fault(pointer, "must have "+strconv.Itoa(least)+" to "+strconv.Itoa(most)+" items")
	}
}

// begin reads the beginning of an object or array. Any other value is a fault, and skipped.
func (r *Reader) begin(d json.Delim, pointer, must string) bool {
	t := r.token()
	if t == d {
		return true
	}
	r.skip(t)
	r.Fault(pointer, must)
	return false
}

// Boolean reads true or false. Any other value is a fault, skipped, and false.
func (r *Reader) Boolean(pointer string) bool {
	t := r.token()
	b, ok := t.(bool)
	if !ok {
		r.skip(t)
		r.Fault(pointer, "must be true or false")
	}
	return b
}

// Text reads a string. check returns why it is not valid, or "". Any other value is a fault, skipped,
// and "".
func (r *Reader) Text(pointer string, check func(string) string) string {
	t := r.token()
	s, ok := t.(string)
	detail := "must be a string"
	if ok {
		detail = check(s)
	} else {
		r.skip(t)
	}
	if detail != "" {
		r.Fault(pointer, detail)
		return ""
	}
	return s
}
