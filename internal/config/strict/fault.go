// Package strict decodes YAML into Go values and encodes it again. It refuses everything that the Go types do not have,
// returns all faults together with path and line, and never quotes a value. Only internal/config uses it.
package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one error in a file.
type Fault struct {
	Path   string // of the key, for example aspsps[0].unattended.limit, or relative to a part of the file; "" for the whole
	Line   int    // in the file, from 1; 0 if unknown
	Detail string // the problem, to be read after the path; never contains the value of a secret
}

// Faults are all errors of a file, in the order of the file.
type Faults []Fault

// Error returns the faults, one per line.
func (f Faults) Error() string { return strings.Join(f.Texts(), "\n") }

// Texts returns each fault as a line.
func (f Faults) Texts() []string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return lines
}

// Err returns the faults as an error, nil if there are none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Add adds a fault of the key at path.
func (f *Faults) Add(path, detail string) { *f = append(*f, Fault{Path: path, Detail: detail}) }

// Sort sorts the faults by line. Faults of the same line keep their order.
func (f Faults) Sort() {
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}

// String returns the fault as "path (line n): detail", without what is unknown.
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
