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

// covered is how many per cent of a licence's text must be known for it to be taken for one. Go's
// own index asks for as much: what is added (names, titles) is short.
const covered = 75

var (
	// licence names files that must be licences, beside what else speaks of rights.
	licence = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying`)
	rights  = regexp.MustCompile(`(?i)^notice|^patents|^copyright|^third.?party`)
	other   = regexp.MustCompile(`(?i)^readme|\.(go|s|c|h|sh|py|tmpl|lre)$`)
	// gathered are directories in which some modules keep the licences of what they took over.
	gathered = regexp.MustCompile(`(?i)^(third.?party.?)?licen[cs]es$`)
)

// licences are those that stand in the module: in its own directory, in those of the packages that
// are needed, and in all between. Each package must stand below one at least.
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

// dirs are the directories whose texts count.
func (m module) dirs() []string {
	dirs := []string{m.dir}
	for _, p := range m.packages {
		dirs = append(dirs, m.above(p)...)
	}
	entries, _ := os.ReadDir(m.dir) // that it cannot be read, read says
	for _, e := range entries {
		if e.IsDir() && gathered.MatchString(e.Name()) {
			dirs = append(dirs, filepath.Join(m.dir, e.Name()))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// above is the directory and those above it, up to the module's.
func (m module) above(dir string) []string {
	dirs := []string{dir}
	for dir != m.dir && strings.HasPrefix(dir, m.dir) {
		dir = filepath.Dir(dir)
		dirs = append(dirs, dir)
	}
	return dirs
}

func (m module) name(dir string) string {
	return m.path + filepath.ToSlash(strings.TrimPrefix(dir, m.dir))
}

// read is the licences that stand in a directory, and whether a licence's text is among its files.
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
		default: // a notice need not be a licence, but says by what is in it
			ids = append(ids, known...)
		}
	}
	return ids, ok, errors.Join(faults...)
}

// classify is the licences whose texts are in a text, as SPDX names them. It is an error, with what
// was found, where the text is not known for the greater part.
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
