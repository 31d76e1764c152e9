package strict

import (
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	// maxText is the maximum size of a text in bytes.
	maxText = 1 << 20
	// maxDepth is the maximum nesting depth in block style, and that in flow style.
	maxDepth    = 32
	depthDetail = "must not nest deeper than 32 levels"
	// maxKeys is the maximum number of keys of one mapping.
	maxKeys = 5_000
)

// Document is a parsed YAML file with the position of each key and list entry.
type Document struct {
	root     *yaml.Node           // nil for an empty file
	lines    []string             // of the text
	position map[string]yaml.Node // of each path's key or list entry; only Line and Column are used

	aliases map[string]bool // the paths whose value is an alias
	merged  map[string]bool // the paths of mappings with a merge key
	tooMany bool            // a mapping has more than maxKeys keys
}

// Parse parses the text as one YAML document of plain mappings, lists and scalars. It also returns a fault for each
// unsupported YAML feature and for each duplicate key. Anchors and tags are ignored, aliases and merge keys are not
// followed. The document is nil if the text cannot be parsed; an empty text is an empty mapping.
func Parse(text []byte) (*Document, Faults) {
	if len(text) > maxText {
		return nil, Faults{{Detail: "file must not be larger than 1 MiB"}}
	}
	if !utf8.Valid(text) {
		return nil, Faults{{Detail: "file must be valid UTF-8"}}
	}
	unix := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff"))
	doc := &Document{
		lines: strings.Split(unix, "\n"), position: map[string]yaml.Node{}, aliases: map[string]bool{}, merged: map[string]bool{},
	}
	faults := doc.removeDirectives()
	roots, err := load(strings.Join(doc.lines, "\n"))
	if err != nil {
		return nil, append(faults, doc.syntaxFaults(err)...)
	}
	for i, root := range roots {
		switch {
		case i == 0:
			doc.root = root
		case root != nil:
			faults = append(faults, Fault{Line: root.Line, Detail: "must be a single YAML document"})
		}
	}
	if doc.root == nil {
		return doc, faults
	}
	doc.index(doc.root, "", &faults)
	if doc.root.Kind != yaml.MappingNode {
		return nil, append(faults, Fault{Line: doc.root.Line, Detail: "must be a mapping (key: value)"})
	}
	if doc.tooMany {
		return nil, faults
	}
	return doc, faults
}

// load returns the root of each YAML document of the text, nil for an empty one.
func load(text string) (roots []*yaml.Node, err error) {
	limits := loaderlimits.New(loaderlimits.DepthFunc(func(depth int, _ *loaderlimits.DepthContext) error {
		if depth > maxDepth {
			return errors.New(depthDetail)
		}
		return nil
	}))
	loader, err := yaml.NewLoader(strings.NewReader(text), yaml.WithUniqueKeys(false), yaml.WithPlugin(limits), yaml.WithPlugin(anyAlias{}))
	if err != nil {
		return nil, err
	}
	for {
		var document yaml.Node
		switch err := loader.Load(&document); {
		case errors.Is(err, io.EOF):
			return roots, nil
		case err != nil:
			return nil, err
		}
		root := document.Content[0]
		if isNull(root) && root.Value == "" && root.Anchor == "" {
			root = nil
		}
		roots = append(roots, root)
	}
}

// anyAlias resolves all aliases to null, including those without an anchor, so that they are reported as unsupported.
type anyAlias struct{}

func (anyAlias) NewAliasDataContext(yaml.AliasDataServices) (yaml.AliasDataContext, error) {
	return anyAlias{}, nil
}
func (anyAlias) BeginDocument() error                  { return nil }
func (anyAlias) DefineAnchor(string, *yaml.Node) error { return nil }
func (anyAlias) EndDocument() error                    { return nil }
func (anyAlias) ResolveAlias(string) (*yaml.Node, bool, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, true, nil
}

// index records the position of each key and list entry below node, and reports unsupported features and duplicates.
func (d *Document) index(node *yaml.Node, path string, faults *Faults) {
	for _, detail := range unsupported(node) {
		*faults = append(*faults, Fault{Line: node.Line, Detail: detail})
	}
	d.aliases[path] = node.Kind == yaml.AliasNode
	if node.Kind == yaml.MappingNode {
		d.indexMapping(node, path, faults)
	}
	if node.Kind == yaml.SequenceNode {
		for i, v := range node.Content {
			at := Entry(path, i)
			d.position[at] = *firstKey(v)
			d.index(v, at, faults)
		}
	}
}

func (d *Document) indexMapping(node *yaml.Node, path string, faults *Faults) {
	seen := map[string]bool{}
	for key, value := range pairs(node) {
		if len(seen) == maxKeys {
			*faults = append(*faults, Fault{Line: key.Line, Detail: "must not have more than 5000 keys in one mapping"})
			d.tooMany = true
			return
		}
		if d.isMarked(key) {
			*faults = append(*faults, Fault{Line: key.Line, Detail: "must not use keys marked with ? (quote a string that begins with ?)"})
		}
		d.merged[path] = d.merged[path] || isMerge(key)
		d.index(key, path+"[]", faults) // a path that is never used
		if !isKey(key) {
			d.index(value, path+"[]", faults)
			continue
		}
		at := Child(path, key.Value)
		d.position[at] = *key
		if seen[key.Value] {
			*faults = append(*faults, Fault{Path: at, Line: key.Line, Detail: "is defined twice"})
		}
		seen[key.Value] = true
		d.index(value, at, faults)
	}
}

// pairs iterates over the keys and values of a mapping.
func pairs(mapping *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], mapping.Content[i+1]) {
				return
			}
		}
	}
}

// firstKey returns the first key of a block mapping, whose own position could be that of an anchor; otherwise node.
func firstKey(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.MappingNode && node.Style&yaml.FlowStyle == 0 && len(node.Content) > 0 {
		return node.Content[0]
	}
	return node
}

// isMarked reports whether "? " precedes the key.
func (d *Document) isMarked(key *yaml.Node) bool {
	if key.Line < 1 || key.Line > len(d.lines) {
		return false
	}
	line := []rune(d.lines[key.Line-1])
	before := strings.TrimSpace(string(line[:min(key.Column-1, len(line))]))
	if before == "" && key.Line > 1 {
		return strings.TrimSpace(d.lines[key.Line-2]) == "?"
	}
	return strings.HasSuffix(before, "?")
}

// isKey reports whether a key can be one of the configuration: a scalar, and not a merge key.
func isKey(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && !isMerge(node) }

func isMerge(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Tag == "!!merge" && node.Style == 0
}
func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// BehindAlias reports whether the value at path comes from an alias or a merge key. These are faults themselves, so that
// further faults of the value are not reported.
func (d *Document) BehindAlias(path string) bool {
	if d != nil && d.merged[path] {
		return true
	}
	for d != nil && path != "" {
		parent := parentPath(path)
		if d.aliases[path] || d.merged[parent] && !d.Has(path) {
			return true
		}
		path = parent
	}
	return false
}

// parentPath returns the path of the mapping or list that contains path.
func parentPath(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// Has reports whether the document has a value at path.
func (d *Document) Has(path string) bool {
	if d == nil {
		return false
	}
	_, ok := d.position[path]
	return ok
}

// Line returns the line of path. If it is missing, it returns the line of the nearest parent, or 1.
func (d *Document) Line(path string) int { return max(1, d.nearest(path).Line) }

func (d *Document) nearest(path string) yaml.Node {
	for d != nil && path != "" {
		if p, ok := d.position[path]; ok {
			return p
		}
		path = parentPath(path)
	}
	return yaml.Node{Line: 1}
}

// Sort sorts faults by line, and within a line by the column of their path. Faults with the same position keep their
// order.
func (d *Document) Sort(f Faults) {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(d.column(a), d.column(b)))
	})
}

// column returns the column of a fault's path; 0 if the path is not in the fault's line.
func (d *Document) column(f Fault) int {
	if p := d.nearest(f.Path); p.Line == f.Line {
		return p.Column
	}
	return 0
}

// Mapping is one mapping of a document. The zero Mapping is empty.
type Mapping struct{ node *yaml.Node }

// Mapping returns the mapping at the path of keys, starting at the root. It is empty if there is none.
func (d *Document) Mapping(keys ...string) Mapping {
	if d == nil || d.root == nil {
		return Mapping{}
	}
	node := d.root
	for _, name := range keys {
		if node = find(node, name); node == nil {
			return Mapping{}
		}
	}
	if node.Kind != yaml.MappingNode {
		return Mapping{}
	}
	return Mapping{node}
}

// find returns the value of a key of a mapping, nil if it is missing or node is not a mapping.
func find(node *yaml.Node, name string) *yaml.Node {
	if node.Kind == yaml.MappingNode {
		for key, value := range pairs(node) {
			if isKey(key) && key.Value == name {
				return value
			}
		}
	}
	return nil
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Child returns the path of a key below path. A key that is not a simple word is quoted, and truncated if it is long.
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

// Entry returns the path of an entry of the list at path.
func Entry(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
