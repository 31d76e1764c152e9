package strict

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// maxSize is the maximum size of a text in bytes.
const maxSize = 1 << 20

// Document is a parsed file with the position of each key and list entry. A nil Document is an empty file without
// positions.
type Document struct {
	root      *ast.MappingNode // nil for an empty file
	positions map[string]position

	aliases map[string]bool // the paths whose value is an alias
	merged  map[string]bool // the paths of mappings with a merge key
}

// position is a position in the file, from 1.
type position struct{ line, column int }

// Parse parses a text as one YAML document of plain mappings, lists and scalars. The faults are everything else in the
// text, and keys that are defined twice. Anchors and tags are skipped, and aliases and merge keys are not followed, so that
// faults behind them are found too. The document is nil if the text cannot be decoded. An empty text is an empty mapping.
func Parse(text []byte) (*Document, Faults) {
	if len(text) > maxSize {
		return nil, Faults{{Detail: "file must not be larger than 1 MiB"}}
	}
	if !utf8.Valid(text) {
		return nil, Faults{{Detail: "file must be valid UTF-8"}}
	}
	// The library counts lines incorrectly in a text with carriage returns.
	unix := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff"))
	tokens, faults, safe := checkTokens(lexer.Tokenize(unix))
	if !safe {
		return nil, faults
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		fault := syntaxFault(err)
		if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Line == fault.Line }) {
			faults = append(faults, fault) // otherwise it is a consequence of the other fault
		}
		return nil, faults
	}
	doc := &Document{positions: map[string]position{}, aliases: map[string]bool{}, merged: map[string]bool{}}
	var body ast.Node
	for i, d := range file.Docs {
		if i == 0 {
			body = stripTags(d.Body)
		} else if d.Body != nil {
			faults = append(faults, Fault{Line: positionOf(d.Body).line, Detail: "must be a single YAML document"})
		}
	}
	doc.index(body, "", 0, &faults)
	var ok bool
	if doc.root, ok = body.(*ast.MappingNode); body != nil && !ok {
		return nil, append(faults, Fault{Line: positionOf(body).line, Detail: notMapping})
	}
	return doc, faults
}

// syntaxFault returns the fault of a text that is not YAML. It contains an error of the library only if that does not quote
// the file.
func syntaxFault(err error) Fault {
	fault := Fault{Detail: "invalid YAML"}
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return fault
	}
	if t := syntax.GetToken(); t != nil && t.Position != nil {
		fault.Line = t.Position.Line
	}
	message := syntax.GetMessage()
	if reason, known := syntaxReasons[message]; known {
		fault.Detail += ": " + reason
	} else if !strings.Contains(message, `"`) {
		fault.Detail += ": " + message
	}
	return fault
}

// syntaxReasons maps frequent errors of the library to plain words.
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

// index stores the position of everything in node, and adds a fault for each key that is defined twice.
func (d *Document) index(node ast.Node, path string, depth int, faults *Faults) {
	if depth > maxDepth {
		*faults = append(*faults, Fault{Path: path, Line: d.Line(path), Detail: tooDeep})
		return
	}
	if isAlias(node) {
		d.aliases[path] = true
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		if slices.ContainsFunc(n.Values, func(v *ast.MappingValueNode) bool { return v.Key.IsMergeKey() }) {
			d.merged[path] = true
		}
		seen := map[string]bool{}
		for name, v := range pairs(n) {
			at := Child(path, name)
			d.positions[at] = positionOf(v.Key)
			if seen[name] {
				*faults = append(*faults, Fault{Path: at, Line: d.Line(at), Detail: "is defined twice"})
			}
			seen[name] = true
			d.index(v.Value, at, depth+1, faults)
		}
	case *ast.SequenceNode:
		for i, v := range n.Values {
			at := Entry(path, i)
			d.positions[at] = positionOf(v)
			d.index(v, at, depth+1, faults)
		}
	}
}

// BehindAlias reports whether the value at path comes from an alias or a merge key. These are not followed, so faults there
// may only be their consequence.
func (d *Document) BehindAlias(path string) bool {
	if d == nil {
		return false
	}
	behind := d.merged[path]
	for ; path != "" && !behind; path = parentPath(path) {
		behind = d.aliases[path] || d.merged[parentPath(path)] && !d.Has(path)
	}
	return behind
}

// Has reports whether the file has a key or list entry at path.
func (d *Document) Has(path string) bool {
	if d == nil {
		return false
	}
	_, ok := d.positions[path]
	return ok
}

// Line returns the line of path; if path is missing, that of the nearest mapping or list that would contain it.
func (d *Document) Line(path string) int { return d.position(path).line }

func (d *Document) position(path string) position {
	for ; d != nil && path != ""; path = parentPath(path) {
		if p, ok := d.positions[path]; ok {
			return p
		}
	}
	return position{line: 1}
}

// Sort sorts faults by line, and within a line by the column of their paths. Faults of one position keep their order.
func (d *Document) Sort(faults Faults) {
	column := func(f Fault) int {
		if p := d.position(f.Path); p.line == f.Line {
			return p.column
		}
		return 0
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(column(a), column(b)))
	})
}

// Mapping is one mapping of a document. The zero Mapping is empty.
type Mapping struct{ node *ast.MappingNode }

// Mapping returns the mapping to which the keys lead from the root of the document, an empty one if there is none.
func (d *Document) Mapping(keys ...string) Mapping {
	if d == nil {
		return Mapping{}
	}
	node := d.root
	for _, key := range keys {
		var next ast.Node
		for name, v := range pairs(node) {
			if name == key {
				next = v.Value
				break
			}
		}
		node, _ = next.(*ast.MappingNode)
	}
	return Mapping{node}
}

// pairs iterates over the keys of a mapping, without merge keys. A nil mapping has none.
func pairs(mapping *ast.MappingNode) iter.Seq2[string, *ast.MappingValueNode] {
	return func(yield func(string, *ast.MappingValueNode) bool) {
		for i := 0; mapping != nil && i < len(mapping.Values); i++ {
			v := mapping.Values[i]
			if !v.Key.IsMergeKey() && !yield(v.Key.GetToken().Value, v) {
				return
			}
		}
	}
}

func isAlias(node ast.Node) bool {
	switch node.(type) {
	case *ast.AliasNode, *ast.MergeKeyNode:
		return true
	}
	return false
}

func positionOf(node ast.Node) position {
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return position{line: 1}
	}
	at := node.GetToken().Position
	return position{at.Line, at.Column}
}
