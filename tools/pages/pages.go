// Package pages checks the documentation against the code: the tests, files and make targets that a
// page names must exist. Its tests, which `make test` runs, check every page of the tree.
package pages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	link   = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	test   = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)
	run    = regexp.MustCompile(`^make ((?:[a-z]+ ?)+)`)
	file   = regexp.MustCompile(`^[\w.-]+(?:/[\w.-]+)+\.(?:go|md|yaml|lua)$`)
	place  = regexp.MustCompile(`^(?:api|cmd|deploy|docs|internal|test|tools)/`)
)

// A Tree contains the tests, files and make targets that pages may name.
type Tree struct {
	root    string
	tests   map[string][]string // files that declare a test, by its name
	targets []string            // make targets
}

// Read returns the tree below a directory.
func Read(root string) (*Tree, error) {
	t := &Tree{root: root, tests: map[string][]string{}}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, err
	}
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):`).FindAllSubmatch(makefile, -1) {
		t.targets = append(t.targets, string(m[1]))
	}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(\w+ \*testing\.[TFB]\)`)
	return t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			t.tests[string(m[1])] = append(t.tests[string(m[1])], filepath.ToSlash(name))
		}
		return err
	})
}

// Check returns an error that lists the names in a page that do not exist, or nil if all exist. The
// page is a path from the root. A test must be in the last test file that is named before it on the
// same line, if there is one.
func (t *Tree) Check(page string) error {
	text, err := os.ReadFile(filepath.Join(t.root, page))
	if err != nil {
		return err
	}
	var faults []error
	code := false
	for n, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if code {
			continue
		}
		for _, fault := range append(t.names(line), t.links(filepath.Dir(page), line)...) {
			faults = append(faults, fmt.Errorf("%s:%d: %s", page, n+1, fault))
		}
	}
	return errors.Join(faults...)
}

// names returns the faults of the names that a line has in backquotes.
func (t *Tree) names(line string) []string {
	var faults []string
	in := ""
	for _, m := range quoted.FindAllStringSubmatch(line, -1) {
		word := m[1]
		switch {
		case file.MatchString(word) && place.MatchString(word):
			in = ""
			if strings.HasSuffix(word, "_test.go") {
				in = word
			}
			if !t.has(word) {
				faults = append(faults, fmt.Sprintf("there is no file %s", word))
			}
		case test.MatchString(word):
			if files := t.tests[word]; len(files) == 0 || in != "" && !slices.Contains(files, in) {
				faults = append(faults, strings.TrimSuffix(fmt.Sprintf("there is no %s in %s", word, in), " in "))
			}
		case run.MatchString(word):
			for target := range strings.FieldsSeq(run.FindStringSubmatch(word)[1]) {
				if !slices.Contains(t.targets, target) {
					faults = append(faults, fmt.Sprintf("there is no make %s", target))
				}
			}
		}
	}
	return faults
}

// links returns the faults of a line's links to files of the tree.
func (t *Tree) links(dir, line string) []string {
	var faults []string
	for _, m := range link.FindAllStringSubmatch(line, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		if path := filepath.ToSlash(filepath.Join(dir, m[1])); !t.has(path) {
			faults = append(faults, fmt.Sprintf("there is no file %s", path))
		}
	}
	return faults
}

// has reports whether a path below the root exists.
func (t *Tree) has(path string) bool {
	_, err := os.Stat(filepath.Join(t.root, filepath.FromSlash(path)))
	return err == nil
}
