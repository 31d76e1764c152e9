package strict

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	aliasDetail = "must not use anchors, aliases or merge keys (quote a string that begins with & or *)"
	tagDetail   = "must not use tags (quote a string that begins with !)"
	// maxMarkers is the number of unsupported features above which a syntax error is not reported with them.
	maxMarkers = 100
)

// unsupported returns a detail for each unsupported feature of a node itself.
func unsupported(node *yaml.Node) (details []string) {
	if node.Anchor != "" {
		details = append(details, aliasDetail)
	}
	if node.Style&yaml.TaggedStyle != 0 {
		details = append(details, tagDetail)
	}
	if node.Kind == yaml.AliasNode || isMerge(node) {
		details = append(details, aliasDetail)
	}
	return details
}

// removeDirectives blanks the directives at the start of the text and returns a fault for each.
func (d *Document) removeDirectives() (faults Faults) {
	for i, line := range d.lines {
		switch {
		case strings.HasPrefix(line, "%"):
			faults = append(faults, Fault{Line: i + 1, Detail: "must not use directives (quote a string that begins with %)"})
			d.lines[i] = ""
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(strings.TrimSpace(line), "#"):
			return faults
		}
	}
	return faults
}

var (
	quotedOrComment = regexp.MustCompile(`"(?:\\.|[^"\\])*"|'[^']*'|(?:^|\s)#.*`)
	marker          = regexp.MustCompile(`(?:^|[\s\[{,])[&*!]\S|<<\s*:`)
)

// syntaxFaults returns the fault of a syntax error, and faults for the anchors, aliases and tags of the text, which has no
// nodes. They are found line by line, so that the text of a block scalar can be mistaken for one.
func (d *Document) syntaxFaults(err error) (faults Faults) {
	for i, line := range d.lines {
		for _, m := range marker.FindAllString(quotedOrComment.ReplaceAllString(line, " "), -1) {
			detail := aliasDetail
			if strings.Contains(m, "!") {
				detail = tagDetail
			}
			faults = append(faults, Fault{Line: i + 1, Detail: detail})
		}
	}
	fault := d.syntaxFault(err)
	inMarkedLine := slices.ContainsFunc(faults, func(f Fault) bool { return f.Line == fault.Line })
	if len(faults) <= maxMarkers && !inMarkedLine { // otherwise it is probably a consequence
		faults = append(faults, fault)
	}
	return faults
}

// syntaxReasons has plain texts for the messages of the YAML library. Other messages are not shown, because they could
// quote the file, which could contain a secret.
var syntaxReasons = map[string]string{
	"did not find expected ',' or ']'":                       `missing "," or "]"`,
	"did not find expected ',' or '}'":                       `missing "," or "}"`,
	"did not find expected node content":                     "expected a value",
	"mapping values are not allowed in this context":         `unexpected ":" (check the indentation, and quote a string that contains ": ")`,
	"block sequence entries are not allowed in this context": `unexpected "-" (check the indentation)`,
	"could not find expected ':'":                            `expected "key: value"`,
	"did not find expected key":                              "unexpected value (check the indentation)",
	"did not find expected '-' indicator":                    "unexpected value (check the indentation)",
	"did not find expected <document start>":                 "unexpected value (check the indentation)",
	"found a tab character that violates indentation":        "must be indented with spaces, not with tabs",
	"found character that cannot start any token":            "unexpected character (quote a string that begins with it)",
	"found unknown escape character":                         `unknown escape character after \`,
}

// syntaxFault returns the fault of an error of the YAML library.
func (d *Document) syntaxFault(err error) Fault {
	const prefix = "invalid YAML"
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		return Fault{Detail: prefix}
	}
	mark := at.Mark
	switch at.ContextMsg {
	case "while parsing a flow sequence", "while parsing a flow mapping", "while scanning a quoted scalar", "while scanning a simple key":
		mark = at.ContextMark // the start of what is not complete
	}
	line := min(mark.Line, len(d.lines))
	if at.Message == depthDetail {
		return Fault{Line: line, Detail: depthDetail}
	}
	reason := syntaxReasons[at.Message]
	switch {
	case at.Message == "found unexpected end of stream" && at.ContextMsg == "while scanning a quoted scalar":
		reason = "missing closing " + d.character(mark)
	case d.character(mark) == "\t":
		reason = syntaxReasons["found a tab character that violates indentation"]
	case strings.HasPrefix(reason, `missing ","`) && at.Mark.Line > len(d.lines):
		reason = strings.Replace(reason, `"," or `, "", 1)
	}
	if reason != "" {
		reason = ": " + reason
	}
	return Fault{Line: line, Detail: prefix + reason}
}

// character returns the character at a position, "" if there is none.
func (d *Document) character(at yaml.Mark) string {
	if at.Line < 1 || at.Line > len(d.lines) {
		return ""
	}
	line := []rune(d.lines[at.Line-1])
	if at.Column < 1 || at.Column > len(line) {
		return ""
	}
	return string(line[at.Column-1])
}
