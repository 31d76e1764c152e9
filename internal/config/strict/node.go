package strict

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// kind is the type of a node.
type kind int

const (
	other kind = iota // a scalar that no type accepts, or that is written as it is
	text
	integer // decimal: 010 is 8 for some readers and 10 for others
	float
	boolean
	null
	alias // or the value of a merge key
	list
	mapping
)

// node is a value of a document, without anchors and tags, which are faults. Decode reads nodes,
// and Encode creates them for writing. The library's own tree is not used further, because its
// types differ by how a value is written.
type node struct {
	kind    kind
	text    string // of a scalar
	at      position
	entries []*node  // of a list
	members []member // of a mapping, without merge keys and keys that are not scalars
}

// member is a key of a mapping with its value.
type member struct {
	name  string
	value *node
}

// position is a position in the file, from 1.
type position struct{ line, column int }

// positionOf returns the position of the first token of a value, the first line if it has none.
func positionOf(n ast.Node) position {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return position{line: 1}
	}
	at := n.GetToken().Position
	return position{at.Line, at.Column}
}

// add returns the node for a value of the library's tree. It stores the positions of everything in
// it, and adds a fault for each key that is defined twice.
func (d *Document) add(tree ast.Node, path string, depth int) *node {
	if depth > maxDepth {
		d.faults = append(d.faults, Fault{Path: path, Line: d.Line(path), Detail: tooDeep})
		return &node{}
	}
	tree = withoutTags(tree)
	n := &node{at: positionOf(tree)}
	if tree != nil && tree.GetToken() != nil {
		n.text = tree.GetToken().Value
	}
	switch tree := tree.(type) {
	case nil, *ast.NullNode:
		n.kind, n.text = null, "null"
	case *ast.StringNode:
		n.kind, n.text = text, tree.Value
	case *ast.LiteralNode:
		n.kind, n.text = text, tree.Value.Value
	case *ast.IntegerNode:
		if tree.GetToken().Type == token.IntegerType {
			n.kind = integer
		}
	case *ast.FloatNode:
		n.kind = float
	case *ast.BoolNode:
		n.kind = boolean
	case *ast.AliasNode, *ast.MergeKeyNode:
		n.kind = alias
		d.aliases[path] = true
	case *ast.SequenceNode:
		n.kind = list
		for i, v := range tree.Values {
			at := Entry(path, i)
			d.positions[at] = positionOf(withoutTags(v))
			n.entries = append(n.entries, d.add(v, at, depth+1))
		}
	case *ast.MappingNode:
		n.kind = mapping
		d.addMembers(n, tree, path, depth)
	}
	return n
}

// addMembers adds the keys of a mapping to its node. Of a merge key only its mapping is noted, so
// that missing keys in it are not reported.
func (d *Document) addMembers(n *node, tree *ast.MappingNode, path string, depth int) {
	seen := map[string]bool{}
	for _, v := range tree.Values {
		key, scalar := withoutTags(v.Key).(ast.MapKeyNode)
		if _, isAlias := key.(*ast.AliasNode); !scalar || isAlias {
			continue
		}
		if key.IsMergeKey() {
			d.merged[path] = true
			continue
		}
		name := key.GetToken().Value
		at := Child(path, name)
		d.positions[at] = positionOf(key)
		if seen[name] {
			d.faults = append(d.faults, Fault{Path: at, Line: d.Line(at), Detail: "is defined twice"})
		}
		seen[name] = true
		n.members = append(n.members, member{name, d.add(v.Value, at, depth+1)})
	}
}

// withoutTags returns the value behind anchors, tags and marks of keys.
func withoutTags(tree ast.Node) ast.Node {
	switch n := tree.(type) {
	case *ast.AnchorNode:
		return withoutTags(n.Value)
	case *ast.TagNode:
		return withoutTags(n.Value)
	case *ast.MappingKeyNode:
		return withoutTags(n.Value)
	}
	return tree
}
