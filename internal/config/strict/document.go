package strict

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// maxText bounds a text in bytes.
const maxText = 1 << 20

// A Document is the file as it was written: its tree, and the line of everything in it.
type Document struct {
	root   ast.Node         // nil for an empty file
	places map[string]place // of each path's key or list entry

	elsewhere map[string]bool // the paths whose value is an alias
	merged    map[string]bool // the paths of mappings with a merge key
}

// A place is a position in the file, from 1.
type place struct{ line, column int }

// Parse reads the text as one YAML document of plain mappings, lists and scalars, and notes what else stands in it,
// and what stands there twice. Anchors and tags are passed over, aliases and merge keys are not followed. The
// document is nil where there is none to go on with; an empty text is an empty mapping.
func Parse(text []byte) (*Document, Faults) {
	if len(text) > maxText {
		return nil, Faults{{Detail: "file must not be larger than 1 MiB"}}
	}
	if !utf8.Valid(text) {
		return nil, Faults{{Detail: "file must be valid UTF-8"}}
	}
	// The library miscounts the lines of a text with carriage returns.
	unix := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff"))
	all := lexer.Tokenize(unix)
	faults, safe := refused(all)
	tokens := mend(all)
	if n := crowded(tokens); n > 0 {
		faults, safe = append(faults, Fault{Line: n, Detail: fmt.Sprintf("must not have more than %d keys in one mapping", maxKeys)}), false
	}
	if !safe {
		return nil, faults
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		fault := syntaxFault(err)
		if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Line == fault.Line }) {
			faults = append(faults, fault) // else the library stumbled over what is refused
		}
		return nil, faults
	}
	doc := &Document{places: map[string]place{}, elsewhere: map[string]bool{}, merged: map[string]bool{}}
	for i, d := range file.Docs {
		if i == 0 {
			doc.root = bare(d.Body)
		} else if d.Body != nil {
			faults = append(faults, Fault{Line: placeOf(d.Body).line, Detail: "must be a single YAML document"})
		}
	}
	doc.index(doc.root, "", 0, &faults)
	if _, ok := doc.root.(*ast.MappingNode); doc.root != nil && !ok {
		return nil, append(faults, Fault{Line: placeOf(doc.root).line, Detail: "must be a mapping (key: value)"})
	}
	return doc, faults
}

// syntaxFault says where the text stops being YAML.
func syntaxFault(err error) Fault {
	fault := Fault{Detail: "invalid YAML"}
	var at yaml.Error
	if !errors.As(err, &at) {
		return fault
	}
	if t := at.GetToken(); t != nil && t.Position != nil {
		fault.Line = t.Position.Line
	}
	if reason := syntaxReason(at.GetMessage()); reason != "" {
		fault.Detail += ": " + reason
	}
	return fault
}

// syntaxReasons are plain words for frequent errors of the library.
var syntaxReasons = map[string]string{
	"sequence end token ']' not found":                                   `missing "]"`,
	"',' or ']' must be specified":                                       `missing "," or "]"`,
	"could not find '[' character corresponding to ']'":                  `"]" without "["`,
	"could not find flow mapping end token '}'":                          `missing "}"`,
	"could not find flow map content":                                    `missing "}"`,
	"',' or '}' must be specified":                                       `missing "," or "}"`,
	"could not find '{' character corresponding to '}'":                  `"}" without "{"`,
	"could not find end character of double-quoted text":                 `missing closing "`,
	"could not find end character of single-quoted text":                 `missing closing '`,
	"mapping value is not allowed in this context":                       `unexpected ":" (check the indentation, and quote a string that contains ": ")`,
	"value is not allowed in this context":                               "unexpected value (check the indentation)",
	"value is not allowed in this context. map key-value is pre-defined": "unexpected value (check the indentation)",
	"block sequence entries are not allowed in this context":             `unexpected "-" (check the indentation)`,
	"non-map value is specified":                                         `expected "key: value"`,
	"unexpected key name":                                                `expected "key: value"`,
	"found a tab character where an indentation space is expected":       "must be indented with spaces, not with tabs",
	"found character '\t' that cannot start any token":                   "must be indented with spaces, not with tabs",
}

// syntaxReason is an error of the library in plain words, "" for an error that quotes the file: it could be a secret.
func syntaxReason(message string) string {
	if reason, ok := syntaxReasons[message]; ok {
		return reason
	}
	if strings.Contains(message, `"`) {
		return ""
	}
	return message
}

// index notes the line of everything below node, and the keys that stand twice in one mapping.
func (d *Document) index(node ast.Node, path string, depth int, faults *Faults) {
	if depth > maxDepth {
		*faults = append(*faults, Fault{Path: path, Line: d.Line(path), Detail: "must not nest deeper than 32 levels"})
		return
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		seen := map[string]bool{}
		for _, v := range n.Values {
			if v.Key.IsMergeKey() {
				d.merged[path] = true
				continue
			}
			name := key(v)
			at := Child(path, name)
			d.places[at] = placeOf(v.Key)
			if seen[name] {
				*faults = append(*faults, Fault{Path: at, Line: d.places[at].line, Detail: "is defined twice"})
			}
			seen[name] = true
			d.index(v.Value, at, depth+1, faults)
		}
	case *ast.SequenceNode:
		for i, v := range n.Values {
			at := Entry(path, i)
			d.places[at] = placeOf(v)
			d.index(v, at, depth+1, faults)
		}
	case *ast.AliasNode, *ast.MergeKeyNode:
		d.elsewhere[path] = true
	}
}

// BehindAlias reports whether the value at path is behind an alias or a merge key, which are faults
// themselves: whatever else is wrong there would only follow from them.
func (d *Document) BehindAlias(path string) bool {
	if d != nil && d.merged[path] {
		return true
	}
	for d != nil && path != "" {
		up := above(path)
		if d.elsewhere[path] || d.merged[up] && !d.Has(path) {
			return true
		}
		path = up
	}
	return false
}

// above is the path of what holds path.
func above(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// Has reports whether the file says anything at path.
func (d *Document) Has(path string) bool {
	if d == nil {
		return false
	}
	_, ok := d.places[path]
	return ok
}

// Line is where path stands; where it is missing, that of the nearest thing above it, at last 1.
func (d *Document) Line(path string) int { return d.place(path).line }

func (d *Document) place(path string) place {
	for d != nil && path != "" {
		if p, ok := d.places[path]; ok {
			return p
		}
		path = above(path)
	}
	return place{line: 1}
}

// Sort puts faults into the order of the document: by line, and within a line by the column of their paths. Faults of one
// place stay in the order in which they were found.
func (d *Document) Sort(f Faults) {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(d.column(a), d.column(b)))
	})
}

// column is where a fault is in its line; 0 for a path that is missing there.
func (d *Document) column(f Fault) int {
	if p := d.place(f.Path); p.line == f.Line {
		return p.column
	}
	return 0
}

// A Mapping is one mapping of a document. The zero Mapping is empty.
type Mapping struct{ node *ast.MappingNode }

// Mapping is the mapping to which the keys lead from the document's root, empty where there is none.
func (d *Document) Mapping(keys ...string) Mapping {
	if d == nil {
		return Mapping{}
	}
	node := d.root
	for _, k := range keys {
		node = find(node, k)
	}
	mapping, _ := node.(*ast.MappingNode)
	return Mapping{mapping}
}

// find is the value of a key of a mapping, nil where there is none.
func find(node ast.Node, name string) ast.Node {
	mapping, _ := node.(*ast.MappingNode)
	if mapping == nil {
		return nil
	}
	for _, v := range mapping.Values {
		if key(v) == name {
			return v.Value
		}
	}
	return nil
}

func key(v *ast.MappingValueNode) string { return v.Key.GetToken().Value }

func placeOf(node ast.Node) place {
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return place{line: 1}
	}
	at := node.GetToken().Position
	return place{at.Line, at.Column}
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Child is the path of a key below path. A key that is no simple word is quoted, and cut if it is long.
func Child(path, name string) string {
	if !plainKey.MatchString(name) {
		if r := []rune(name); len(r) > 64 {
			name = string(r[:64]) + "…"
		}
		return path + "[" + strconv.Quote(name) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// Entry is the path of an entry of the list at path.
func Entry(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
