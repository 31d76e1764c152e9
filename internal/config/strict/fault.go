// Package strict reads YAML into Go values and writes it again. It takes nothing that it does not know, names
// every fault at once with path and line, and repeats no value in a fault. internal/config is its one caller.
package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Fault is one thing that is wrong with a file.
type Fault struct {
	Path   string // of the key in the file, as in aspsps[0].unattended.limit; relative for a part of the file; "" for the whole
	Line   int    // in the file, from 1; 0 where unknown
	Detail string // what is wrong, to be read after the path; never the value of a secret
}

// Faults are all the things that are wrong, in the order of the file.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string { return strings.Join(f.Texts(), "\n") }

// Texts are the faults as lines.
func (f Faults) Texts() []string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return lines
}

// Err is the faults as an error, nil if there is none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Add notes a fault of the key at path.
func (f *Faults) Add(path, detail string) { *f = append(*f, Fault{Path: path, Detail: detail}) }

// Sort puts the faults into the order of the file. Those of one line stay in the order in which they were found.
func (f Faults) Sort() {
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}

// String is the fault as "path (line n): detail", less what is unknown.
func (f Fault) String() string {
	switch {
	case f.Path != "" && f.Line > 0:
		return fmt.Sprintf("%s (line %d): %s", f.Path, f.Line, f.Detail)
	case f.Line > 0:
		return fmt.Sprintf("line %d: %s", f.Line, f.Detail)
	case f.Path != "":
		return f.Path + ": " + f.Detail
	}
	return f.Detail
}
