package strict

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// maxSize is the maximum size of a text in bytes.
const maxSize = 1 << 20

// Document is a parsed file with the position of each key and list entry. A nil Document is an
// empty file without positions.
type Document struct {
	root      *node // nil for an empty file
	positions map[string]position
	faults    Faults // of Parse

	aliases map[string]bool // the paths whose value is an alias
	merged  map[string]bool // the paths of mappings with a merge key
}

// Parse parses a text as one YAML document of plain mappings, lists and scalars. The faults are
// everything else in the text, and keys that are defined twice. Anchors and tags are skipped, and
// aliases and merge keys are not followed, so that faults behind them are found too. The document
// is nil if the text cannot be decoded. An empty text is an empty mapping.
func Parse(text []byte) (*Document, Faults) {
	if len(text) > maxSize {
		return nil, Faults{{Detail: "file must not be larger than 1 MiB"}}
	}
	if !utf8.Valid(text) {
		return nil, Faults{{Detail: "file must be valid UTF-8"}}
	}
	// The library counts lines incorrectly in a text with carriage returns.
	unix := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff"))
	all := lexer.Tokenize(unix)
	faults, safe := refuseTokens(all)
	tokens := fixColons(all)
	if line := tooManyKeys(tokens); line > 0 {
		return nil, append(faults, Fault{Line: line, Detail: tooLarge})
	}
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
	doc := &Document{positions: map[string]position{}, aliases: map[string]bool{}, merged: map[string]bool{}, faults: faults}
	for i, d := range file.Docs {
		if i > 0 && d.Body != nil {
			doc.faults = append(doc.faults, Fault{Line: positionOf(d.Body).line, Detail: "must be a single YAML document"})
		}
	}
	if len(file.Docs) == 0 || withoutTags(file.Docs[0].Body) == nil {
		return doc, doc.faults
	}
	if doc.root = doc.add(file.Docs[0].Body, "", 0); doc.root.kind != mapping {
		return nil, append(doc.faults, Fault{Line: doc.root.at.line, Detail: notMapping})
	}
	return doc, doc.faults
}

// syntaxFault returns the fault of a text that is not YAML. It contains an error of the library
// only if that does not quote the file.
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

// BehindAlias reports whether the value at path comes from an alias or a merge key. These are not
// followed, so faults there may only be their consequence.
func (d *Document) BehindAlias(path string) bool {
	behind := d != nil && d.merged[path]
	for ; d != nil && path != "" && !behind; path = parentPath(path) {
		behind = d.aliases[path] || d.merged[parentPath(path)] && !d.Has(path)
	}
	return behind
}

// Has reports whether the file has a key or list entry at path.
func (d *Document) Has(path string) bool { return d != nil && d.positions[path].line > 0 }

// Line returns the line of path; if path is missing, that of the nearest mapping or list that would
// contain it.
func (d *Document) Line(path string) int { return d.position(path).line }

// position returns the position of path, or of the nearest mapping or list that would contain it.
func (d *Document) position(path string) position {
	for ; d != nil && path != ""; path = parentPath(path) {
		if d.Has(path) {
			return d.positions[path]
		}
	}
	return position{line: 1}
}

// Sort sorts faults by line, and within a line by the column of their paths. Faults of one position
// keep their order.
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

// Mapping returns the mapping to which the keys lead from the root of the document, an empty one if
// there is none.
func (d *Document) Mapping(keys ...string) Mapping {
	var m Mapping
	if d != nil && d.root != nil {
		m.members = d.root.members
	}
	for _, key := range keys {
		i := slices.IndexFunc(m.members, func(one member) bool { return one.name == key })
		if i < 0 {
			return Mapping{}
		}
		m.members = m.members[i].value.members
	}
	return m
}
