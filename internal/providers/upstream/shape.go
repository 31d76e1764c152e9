package upstream

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Bounds of a provider's JSON.
const (
	maxDepth   = 32     // containers within each other; the deepest documented answer nests five
	maxMembers = 10_000 // of one list or object; an empty record takes three bytes here, and two hundred when decoded
	fewNames   = 32     // names of one object that are compared with each other; beyond, a map is cheaper
)

// shape says what is wrong with a document that is valid JSON, "" if nothing. It keeps nothing of the text but the
// names of objects that are open.
func shape(body []byte) (fault string) {
	var open []container
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if len(open) == maxDepth {
				return "body nests too deep"
			}
			open = append(open, container{})
		case '}', ']':
			open = open[:len(open)-1]
		case ',':
			last := &open[len(open)-1]
			if last.members++; last.members >= maxMembers {
				return "a list or an object holds more than there can be"
			}
		case '"':
			end := i + quoted(body[i:])
			if next := bytes.TrimLeft(body[end:], " \t\r\n"); len(next) > 0 && next[0] == ':' {
				if fault := open[len(open)-1].named(body[i:end]); fault != "" {
					return fault
				}
			}
			i = end - 1
		}
	}
	return ""
}

// quoted is the length of the string that a text begins with, quotes included.
func quoted(text []byte) int {
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

// A container is a list or an object that is open.
type container struct {
	members int             // after the first
	few     [][]byte        // names
	many    map[string]bool // all names, folded, once they are more than few
}

// named takes the name of one more member, as it is written.
func (c *container) named(literal []byte) (fault string) {
	name := literal[1 : len(literal)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var plain string
		if json.Unmarshal(literal, &plain) != nil {
			return "a member's name cannot be read"
		}
		name = []byte(plain)
	}
	const twice = "a member stands twice in one object"
	if c.many == nil {
		for _, other := range c.few {
			if bytes.EqualFold(name, other) { // as encoding/json compares: ſ is s
				return twice
			}
		}
		if c.few = append(c.few, name); len(c.few) <= fewNames {
			return ""
		}
		c.many = make(map[string]bool, 2*fewNames)
		for _, other := range c.few {
			c.many[folded(other)] = true
		}
		return ""
	}
	key := folded(name)
	if c.many[key] {
		return twice
	}
	c.many[key] = true
	return ""
}

// folded is the same for all names that encoding/json takes for one.
func folded(name []byte) string { return strings.ToLower(strings.ToUpper(string(name))) }
