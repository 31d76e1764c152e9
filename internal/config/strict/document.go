package strict

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxText bounds a text in bytes.
const maxText = 1 << 20

// maxDepth is how deep a text may nest.
const maxDepth = 32

// A Document is the file as it was written: its tree, and the line of everything in it.
type Document struct {
	root  ast.Node       // nil for an empty file
	lines map[string]int // of each path's key or list entry, from 1
}

// Parse reads the text as one YAML document of plain mappings, lists and scalars, and notes what stands in it
// twice. The document is nil where there is none to go on with; an empty text is an empty mapping.
func Parse(text []byte) (*Document, Faults) {
	if len(text) > maxText {
		return nil, Faults{{Detail: "is larger than 1 MiB"}}
	}
	if !utf8.Valid(text) {
		return nil, Faults{{Detail: "is not UTF-8"}}
	}
	// The library miscounts the lines of a text with carriage returns.
	unix := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff"))
	tokens := mend(lexer.Tokenize(unix))
	if faults := refused(tokens); len(faults) > 0 {
		return nil, faults
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Faults{syntaxFault(err)}
	}
	doc := &Document{lines: map[string]int{}}
	var faults Faults
	for i, d := range file.Docs {
		if i == 0 {
			doc.root = d.Body
		} else if d.Body != nil {
			faults = append(faults, Fault{Line: line(d.Body), Detail: "holds more than one document"})
		}
	}
	doc.index(doc.root, "", 0, &faults)
	if _, ok := doc.root.(*ast.MappingNode); doc.root != nil && !ok {
		return nil, append(faults, Fault{Line: line(doc.root), Detail: "is no mapping of keys to values"})
	}
	return doc, faults
}

// mend puts plain texts together that the library cuts at a colon: in {scopes: [accounts:read]} it takes
// "accounts" for a key, although YAML wants a space behind a key's colon (1.2.2, section 7.3.3).
func mend(tokens token.Tokens) token.Tokens {
	var whole token.Tokens
	for i := 0; i < len(tokens); i++ {
		t, last := tokens[i], len(whole)-1
		if t.Type == token.MappingValueType && last >= 0 && i+1 < len(tokens) &&
			touch(whole[last], t) && plainToken(whole[last]) && touch(t, tokens[i+1]) && plainToken(tokens[i+1]) {
			a, b := whole[last], tokens[i+1]
			whole[last] = token.String(a.Value+t.Value+b.Value, a.Origin+t.Origin+b.Origin, a.Position)
			i++
			continue
		}
		whole.Add(t)
	}
	for i, t := range whole {
		t.Prev, t.Next = nil, nil
		if i > 0 {
			t.Prev, whole[i-1].Next = whole[i-1], t
		}
	}
	return whole
}

// touch reports whether b begins where a ends.
func touch(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

func plainToken(t *token.Token) bool {
	return t.CharacterType == token.CharacterTypeMiscellaneous && t.Indicator == token.NotIndicator
}

// refused names the parts of YAML that a configuration does not need: those that say one thing in one place and
// mean it in another, and nesting without end. They are found before the parser follows them.
func refused(tokens token.Tokens) Faults {
	var faults Faults
	flow, entries, entriesLine := 0, 0, 0
	for _, t := range tokens {
		detail := ""
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			detail = "uses an anchor, an alias or a merge key (a text that begins with & or * needs quotes)"
		case token.TagType:
			detail = "uses a tag (a text that begins with ! needs quotes)"
		case token.DirectiveType:
			detail = "uses a directive (a text that begins with % needs quotes)"
		case token.MappingKeyType:
			detail = "uses a key marked with ?"
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			if t.Position.Line != entriesLine {
				entries, entriesLine = 0, t.Position.Line
			}
			entries++
		}
		if flow > maxDepth || entries > maxDepth {
			return append(faults, Fault{Line: t.Position.Line, Detail: "nests too deep"})
		}
		if detail != "" {
			faults = append(faults, Fault{Line: t.Position.Line, Detail: detail})
		}
	}
	return faults
}

// syntaxFault says where the text stops being YAML. Of the library's sentence nothing is kept that quotes the
// file: it could be a secret.
func syntaxFault(err error) Fault {
	fault := Fault{Detail: "is not YAML"}
	var at yaml.Error
	if !errors.As(err, &at) {
		return fault
	}
	if t := at.GetToken(); t != nil && t.Position != nil {
		fault.Line = t.Position.Line
	}
	if message := at.GetMessage(); !strings.Contains(message, `"`) {
		fault.Detail += ": " + message
	}
	return fault
}

// index notes the line of everything below node, and the keys that stand twice in one mapping.
func (d *Document) index(node ast.Node, path string, depth int, faults *Faults) {
	if depth > maxDepth {
		*faults = append(*faults, Fault{Path: path, Line: d.Line(path), Detail: "nests too deep"})
		return
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		seen := map[string]bool{}
		for _, v := range n.Values {
			name := key(v)
			at := Child(path, name)
			d.lines[at] = line(v.Key)
			if seen[name] {
				*faults = append(*faults, Fault{Path: at, Line: d.lines[at], Detail: "stands twice in one mapping"})
			}
			seen[name] = true
			d.index(v.Value, at, depth+1, faults)
		}
	case *ast.SequenceNode:
		for i, v := range n.Values {
			at := Entry(path, i)
			d.lines[at] = line(v)
			d.index(v, at, depth+1, faults)
		}
	}
}

// Has reports whether the file says anything at path.
func (d *Document) Has(path string) bool {
	if d == nil {
		return false
	}
	_, ok := d.lines[path]
	return ok
}

// Line is where path stands; where it is missing, that of the nearest thing above it, at last 1.
func (d *Document) Line(path string) int {
	for d != nil && path != "" {
		if n, ok := d.lines[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}

// A Part is one mapping of a document. The zero Part is an empty one.
type Part struct{ node *ast.MappingNode }

// Part is the mapping to which the keys lead from the document's root, empty where there is none.
func (d *Document) Part(keys ...string) Part {
	if d == nil {
		return Part{}
	}
	node := d.root
	for _, k := range keys {
		node = find(node, k)
	}
	mapping, _ := node.(*ast.MappingNode)
	return Part{mapping}
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

func line(node ast.Node) int {
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return 1
	}
	return node.GetToken().Position.Line
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
