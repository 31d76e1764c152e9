package strict

import (
	"regexp"
	"strconv"
	"strings"
)

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Child returns the path of a key of the mapping at path. A key that is not a simple word is
// quoted, and shortened to 64 characters.
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

// parentPath returns the path of the mapping or list that contains path.
func parentPath(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }
