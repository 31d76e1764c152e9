package strict

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth is how deep a text may nest.
	maxDepth = 32
	// maxMarks is how many anchors, tags and the like are passed over: each can nest what follows it once more.
	maxMarks = 100
	// maxKeys bounds the keys of one mapping: the library takes time by their square.
	maxKeys = 5_000
)

// mend takes the directives out, and puts plain texts together that the library cuts at a colon: in {scopes: [accounts:read]} it takes
// "accounts" for a key, although YAML wants a space behind a key's colon (1.2.2, section 7.3.3).
func mend(tokens token.Tokens) token.Tokens {
	var whole token.Tokens
	directive := 0 // the line of the last one
	for i := 0; i < len(tokens); i++ {
		t, last := tokens[i], len(whole)-1
		if t.Type == token.DirectiveType {
			directive = t.Position.Line
		}
		if t.Position.Line == directive {
			continue
		}
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
// mean it in another, and nesting without end. It reports too whether it is safe to parse the text in spite of them.
func refused(tokens token.Tokens) (faults Faults, safe bool) {
	flow, entries, entriesLine := 0, 0, 0
	for _, t := range tokens {
		detail := ""
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			detail = "must not use anchors, aliases or merge keys (quote a string that begins with & or *)"
		case token.TagType:
			detail = "must not use tags (quote a string that begins with !)"
		case token.DirectiveType:
			detail = "must not use directives (quote a string that begins with %)"
		case token.MappingKeyType:
			detail = "must not use keys marked with ? (quote a string that begins with ?)"
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
			return append(faults, Fault{Line: t.Position.Line, Detail: "must not nest deeper than 32 levels"}), false
		}
		if detail != "" {
			faults = append(faults, Fault{Line: t.Position.Line, Detail: detail})
		}
	}
	return faults, len(faults) <= maxMarks
}

// crowded is the line in which a mapping has more than maxKeys keys, 0 if none has.
func crowded(tokens token.Tokens) int {
	type collection struct{ column, keys int } // column 0 for one in brackets
	var open []collection
	leave := func(column int) { // what stands further to the right, within the same brackets
		for len(open) > 0 && open[len(open)-1].column > column {
			open = open[:len(open)-1]
		}
	}
	for i, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			open = nil
		case token.MappingStartType, token.SequenceStartType:
			open = append(open, collection{})
		case token.MappingEndType, token.SequenceEndType:
			open = open[:max(0, len(open)-1)]
		case token.SequenceEntryType:
			leave(t.Position.Column)
		case token.MappingValueType:
			column := tokens[max(0, i-1)].Position.Column
			leave(column)
			if last := len(open) - 1; last < 0 || open[last].column != 0 && open[last].column != column {
				open = append(open, collection{column: column})
			}
			last := &open[len(open)-1]
			if last.keys++; last.keys > maxKeys {
				return t.Position.Line
			}
		}
	}
	return 0
}

// bare is the tree without anchors, tags and marks of keys. Keys that are no scalars then are left out.
func bare(node ast.Node) ast.Node {
	switch n := node.(type) {
	case *ast.AnchorNode:
		return bare(n.Value)
	case *ast.TagNode:
		return bare(n.Value)
	case *ast.MappingKeyNode:
		return bare(n.Value)
	case *ast.MappingNode:
		kept := n.Values[:0]
		for _, v := range n.Values {
			name, ok := bare(v.Key).(ast.MapKeyNode)
			if _, alias := name.(*ast.AliasNode); ok && !alias {
				v.Key, v.Value = name, bare(v.Value)
				kept = append(kept, v)
			}
		}
		n.Values = kept
	case *ast.SequenceNode:
		for i, v := range n.Values {
			n.Values[i] = bare(v)
		}
	}
	return node
}
