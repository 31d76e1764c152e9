package adapter

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Limits of a provider's JSON.
const (
	maxDepth    = 32     // levels of nesting; the deepest documented response has five
	maxMembers  = 10_000 // of one list or object; an empty record has three bytes here, and 200 when decoded
	maxNameList = 32     // names of one object that are compared one by one; for more, a map is faster
)

// checkStructure returns what is wrong with the structure of a JSON document, or "". For an invalid
// document the result has no meaning.
func checkStructure(body []byte) (fault string) {
	var (
		open   [maxDepth + 1]container // the document itself, and the lists and objects whose end has not been reached
		depth  int
		buffer [2 * maxNameList][]byte
		names  = buffer[:0] // of the members of all open objects
		text   []byte       // the last string
	)
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if depth == maxDepth {
				return "body is nested too deeply"
			}
			depth++
			open[depth] = container{firstName: len(names)}
		case '}', ']':
			if depth == 0 {
				return ""
			}
			names = names[:open[depth].firstName]
			depth--
		case ',':
			if open[depth].commas++; open[depth].commas >= maxMembers {
				return "a list or an object has too many members"
			}
		case '"':
			text = body[i : i+stringLen(body[i:])]
			i += len(text) - 1
		case ':':
			name, fault := nameOf(text)
			if fault == "" {
				fault = open[depth].checkName(name, names)
			}
			if fault != "" {
				return fault
			}
			if open[depth].nameSet == nil {
				names = append(names, name)
			}
		}
	}
	return ""
}

// stringLen returns the length in bytes of the JSON string at the beginning of a text, including
// its quotes.
func stringLen(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// container is a list or an object.
type container struct {
	commas    int             // one less than its members
	firstName int             // the index of its first name
	nameSet   map[string]bool // all its names, folded, once there are more than maxNameList
}

// nameOf returns the name of a member that is written as a JSON string, and what is wrong with it,
// or "".
func nameOf(literal []byte) (name []byte, fault string) {
	if bytes.IndexByte(literal, '\\') < 0 {
		return bytes.Trim(literal, `"`), ""
	}
	var plain string
	if json.Unmarshal(literal, &plain) != nil {
		return nil, "a member's name cannot be read"
	}
	return []byte(plain), ""
}

// checkName returns what is wrong with the name of the next member, or "". names ends in the names
// of the members before it.
func (c *container) checkName(name []byte, names [][]byte) (fault string) {
	const twice = "a member is repeated in one object"
	own := names[c.firstName:]
	if len(own) <= maxNameList {
		for _, other := range own {
			if bytes.EqualFold(name, other) { // as encoding/json compares: ſ is s
				return twice
			}
		}
		return ""
	}
	if c.nameSet == nil {
		c.nameSet = make(map[string]bool, 2*len(own))
		for _, other := range own {
			c.nameSet[foldName(other)] = true
		}
	}
	key := foldName(name)
	if c.nameSet[key] {
		return twice
	}
	c.nameSet[key] = true
	return ""
}

// foldName returns the same string for all names that encoding/json treats as equal.
func foldName(name []byte) string { return strings.ToLower(strings.ToUpper(string(name))) }
