package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// covered is the percentage of a file that licensecheck must recognize. It is that of Go's own
// index: the rest (names, titles) is short.
const covered = 75

var (
	// licence matches the names of files that must be licences, rights those of other legal texts,
	// and other those of files to ignore.
	licence = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying`)
	rights  = regexp.MustCompile(`(?i)^notice|^patents|^copyright|^third.?party`)
	other   = regexp.MustCompile(`(?i)^readme|\.(go|s|c|h|sh|py|tmpl|lre)$`)
	// gathered matches the directories in which some modules keep the licences of copied code.
	gathered = regexp.MustCompile(`(?i)^(third.?party.?)?licen[cs]es$`)
)

// licences returns the licences in the module's directory, in those of the needed packages, and in
// all directories between. It returns an error if a package has no licence in its directory or
// above, or if a text is unknown.
func (m module) licences() ([]string, error) {
	var found []string
	var faults []error
	licensed := map[string]bool{} // directories with a licence of their own
	for _, dir := range m.dirs() {
		ids, ok, err := read(dir)
		found = append(found, ids...)
		licensed[dir] = ok
		if err != nil {
			faults = append(faults, err)
		}
	}
	for _, p := range m.packages {
		if slices.ContainsFunc(m.above(p), func(dir string) bool { return licensed[dir] }) {
			continue
		}
		if _, ok := unlicensed[m.name(p)]; !ok {
			faults = append(faults, fmt.Errorf("%s has no licence", m.name(p)))
			break
		}
		found = append(found, none)
	}
	slices.Sort(found)
	return slices.Compact(found), errors.Join(faults...)
}

// dirs returns the directories whose texts apply.
func (m module) dirs() []string {
	dirs := []string{m.dir}
	for _, p := range m.packages {
		dirs = append(dirs, m.above(p)...)
	}
	entries, _ := os.ReadDir(m.dir) // read returns this error
	for _, e := range entries {
		if e.IsDir() && gathered.MatchString(e.Name()) {
			dirs = append(dirs, filepath.Join(m.dir, e.Name()))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// above returns the directory and its parents, up to the module's directory.
func (m module) above(dir string) []string {
	dirs := []string{dir}
	for dir != m.dir && strings.HasPrefix(dir, m.dir) {
		dir = filepath.Dir(dir)
		dirs = append(dirs, dir)
	}
	return dirs
}

// name returns the import path of a directory.
func (m module) name(dir string) string {
	return m.path + filepath.ToSlash(strings.TrimPrefix(dir, m.dir))
}

// read returns the licences of the files in a directory, and whether one of them is a licence file.
// It returns an error if the text of a licence file is unknown.
func read(dir string) (ids []string, ok bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false, err
	}
	all := gathered.MatchString(filepath.Base(dir))
	var faults []error
	for _, e := range entries {
		must := licence.MatchString(e.Name()) || all
		if e.IsDir() || other.MatchString(e.Name()) || !must && !rights.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, false, err
		}
		known, err := classify(text)
		switch {
		case err == nil:
			ids = append(ids, known...)
			ok = ok || must
		case must:
			faults = append(faults, fmt.Errorf("%s: %w", e.Name(), err))
		default: // a notice may contain licences, but need not be one
			ids = append(ids, known...)
		}
	}
	return ids, ok, errors.Join(faults...)
}

// classify returns the SPDX identifiers of the licences in a text. If less than covered per cent of
// the text is recognized, it returns those it found and an error.
func classify(text []byte) ([]string, error) {
	sum := fmt.Sprintf("%x", sha256.Sum256(text))
	if j, ok := judged[sum]; ok {
		return j.licences, nil
	}
	c := licensecheck.Scan(text)
	var ids []string
	for _, m := range c.Match {
		ids = append(ids, m.ID)
	}
	if len(ids) == 0 || c.Percent < covered {
		return ids, fmt.Errorf("its text is not known (%.0f %% of it; SHA-256 %s): judge it in tools/licences/judge.go", c.Percent, sum)
	}
	return ids, nil
}
