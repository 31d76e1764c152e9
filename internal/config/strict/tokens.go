package strict

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth is the maximum nesting of a text.
	maxDepth = 32
	// maxMarks is the maximum number of anchors, tags and the like that are skipped: each can add a
	// level of nesting.
	maxMarks = 100
	// maxKeys is the maximum number of keys of one mapping: the library takes time by their square.
	maxKeys = 5_000
)

const (
	tooDeep    = "must not nest deeper than 32 levels"
	tooLarge   = "must not have more than 5000 keys in one mapping"
	hasAliases = "must not use anchors, aliases or merge keys (quote a string that begins with & or *)"
)

// refusedTokens are the parts of YAML that a configuration does not need: they give a value another
// meaning, or define it in another place.
var refusedTokens = map[token.Type]string{
	token.AnchorType:     hasAliases,
	token.AliasType:      hasAliases,
	token.MergeKeyType:   hasAliases,
	token.TagType:        "must not use tags (quote a string that begins with !)",
	token.DirectiveType:  "must not use directives (quote a string that begins with %)",
	token.MappingKeyType: "must not use keys marked with ? (quote a string that begins with ?)",
}

// refuseTokens returns the faults of tokens that are refused. safe is false if parsing the tokens
// could take too much time or memory.
func refuseTokens(tokens token.Tokens) (faults Faults, safe bool) {
	flow, entries, entriesLine := 0, 0, 0 // entries are those of a block list that begin in one line, each in the other
	for _, t := range tokens {
		switch t.Type {
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
			return append(faults, Fault{Line: t.Position.Line, Detail: tooDeep}), false
		}
		if detail := refusedTokens[t.Type]; detail != "" {
			faults = append(faults, Fault{Line: t.Position.Line, Detail: detail})
		}
	}
	return faults, len(faults) <= maxMarks
}

// fixColons removes directives, and joins plain strings that the library splits at a colon: in
// {scopes: [accounts:read]} it takes "accounts" for a key, although a key's colon is followed by a
// space (YAML 1.2.2, section 7.3.3).
func fixColons(all token.Tokens) (tokens token.Tokens) {
	directive := 0 // the line of the last directive
	for i := 0; i < len(all); i++ {
		t, last := all[i], len(tokens)-1
		if t.Type == token.DirectiveType {
			directive = t.Position.Line
		}
		if t.Position.Line == directive {
			continue
		}
		if t.Type == token.MappingValueType && last >= 0 && i+1 < len(all) && joins(tokens[last], t) && joins(all[i+1], t) {
			a, b := tokens[last], all[i+1]
			tokens[last] = token.String(a.Value+t.Value+b.Value, a.Origin+t.Origin+b.Origin, a.Position)
			i++
			continue
		}
		tokens = append(tokens, t)
	}
	for i, t := range tokens {
		t.Prev, t.Next = nil, nil
		if i > 0 {
			t.Prev, tokens[i-1].Next = tokens[i-1], t
		}
	}
	return tokens
}

// joins reports whether t is a plain string that touches the colon.
func joins(t, colon *token.Token) bool {
	if t.CharacterType != token.CharacterTypeMiscellaneous || t.Indicator != token.NotIndicator || t.Position.Line != colon.Position.Line {
		return false
	}
	return t.Position.Column+utf8.RuneCountInString(t.Value) == colon.Position.Column || colon.Position.Column+1 == t.Position.Column
}

// tooManyKeys returns the line of the first key that a mapping has beyond maxKeys, 0 if there is
// none. It follows the nesting of the text by columns in block style, and by brackets in flow
// style, since there is no tree before the parser has run.
func tooManyKeys(tokens token.Tokens) int {
	type mapping struct{ column, keys int } // column is 0 in brackets
	var open []mapping                      // from the outermost to the current one
	closeAfter := func(column int) {        // closes the block mappings that begin further to the right
		for len(open) > 0 && open[len(open)-1].column > column {
			open = open[:len(open)-1]
		}
	}
	for i, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			open = nil
		case token.MappingStartType, token.SequenceStartType:
			open = append(open, mapping{})
		case token.MappingEndType, token.SequenceEndType:
			open = open[:max(0, len(open)-1)]
		case token.SequenceEntryType:
			closeAfter(t.Position.Column)
		case token.MappingValueType:
			column := tokens[max(0, i-1)].Position.Column
			closeAfter(column)
			if last := len(open) - 1; last < 0 || open[last].column != 0 && open[last].column != column {
				open = append(open, mapping{column: column})
			}
			last := &open[len(open)-1]
			if last.keys++; last.keys > maxKeys {
				return t.Position.Line
			}
		}
	}
	return 0
}
