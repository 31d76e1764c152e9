// Package strict decodes YAML into Go values and writes Go values as YAML. It refuses everything
// that it does not know, reports all faults of a file together, with path and line, and never
// repeats a value in a fault. Only internal/config uses it.
package strict

import (
	"fmt"
	"strings"
)

// Fault is one error in a file.
type Fault struct {
	Path   string // of the key, as in aspsps[0].unattended.limit; relative for a part of the file; "" for the whole file
	Line   int    // in the file, from 1; 0 if unknown
	Detail string // to be read after the path; never contains a value
}

// Faults are all errors in a file, in the order of the file.
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

// Err returns the faults as an error, nil if there are no faults.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Add appends a fault of the key at path.
func (f *Faults) Add(path, detail string) { *f = append(*f, Fault{Path: path, Detail: detail}) }

// String returns the fault as "path (line n): detail", without the parts that are unknown.
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
