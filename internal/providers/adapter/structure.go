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

// checkStructure returns what is wrong with the structure of a valid JSON document, or "". It
// stores only the names of the members of open objects.
func checkStructure(body []byte) (fault string) {
	var open []container
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if len(open) == maxDepth {
				return "body is nested too deeply"
			}
			open = append(open, container{})
		case '}', ']':
			open = open[:len(open)-1]
		case ',':
			last := &open[len(open)-1]
			if last.commas++; last.commas >= maxMembers {
				return "a list or an object has too many members"
			}
		case '"':
			end := i + stringLen(body[i:])
			if next := bytes.TrimLeft(body[end:], " \t\r\n"); len(next) > 0 && next[0] == ':' {
				if fault := open[len(open)-1].addName(body[i:end]); fault != "" {
					return fault
				}
			}
			i = end - 1
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

// container is a list or an object whose end has not been reached.
type container struct {
	commas  int             // one less than its members
	names   [][]byte        // names
	nameSet map[string]bool // all names, folded, once there are more than maxNameList
}

// addName adds the name of a member, as a JSON string. It returns what is wrong with the name, or
// "".
func (c *container) addName(literal []byte) (fault string) {
	name := literal[1 : len(literal)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var plain string
		if json.Unmarshal(literal, &plain) != nil {
			return "a member's name cannot be read"
		}
		name = []byte(plain)
	}
	const twice = "a member is repeated in one object"
	if c.nameSet == nil {
		for _, other := range c.names {
			if bytes.EqualFold(name, other) { // as encoding/json compares: ſ is s
				return twice
			}
		}
		if c.names = append(c.names, name); len(c.names) <= maxNameList {
			return ""
		}
		c.nameSet = make(map[string]bool, 2*maxNameList)
		for _, other := range c.names {
			c.nameSet[foldName(other)] = true
		}
		return ""
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
