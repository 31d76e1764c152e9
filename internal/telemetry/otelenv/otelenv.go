// Package otelenv checks the OTEL_* variables, because OpenTelemetry's libraries ignore invalid
// values without naming the variable. internal/telemetry calls it before it starts OpenTelemetry.
package otelenv

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// Disabled is the variable that disables telemetry. After Apply it is "true", "false" or empty.
const Disabled = "OTEL_SDK_DISABLED"

// Fault is an invalid variable. It does not contain the value.
type Fault struct {
	Name   string // of the variable
	Detail string // what its value must be
	Stops  bool   // the gateway must not start
}

// Apply checks all variables of the table and returns the invalid ones, sorted by name. It sets
// valid variables in the process's environment to the spelling that OpenTelemetry's libraries read,
// and clears invalid ones, so that their defaults apply and the libraries do not report them again.
func Apply() []Fault {
	var faults []Fault
	usable := make(map[string]string, len(table)) // all are checked before any is set, because some checks read another variable
	for name, v := range table {
		value, ok := strings.TrimSpace(os.Getenv(name)), true
		if value != "" {
			value, ok = v.check(name, value)
		}
		if !ok {
			faults = append(faults, Fault{Name: name, Detail: v.must, Stops: v.stops})
		}
		usable[name] = value
	}
	for name, value := range usable {
		if value != os.Getenv(name) {
			_ = os.Setenv(name, value) // fails only for impossible names and values
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return faults
}

var (
	// printable matches names that may be logged.
	printable = regexp.MustCompile(`^OTEL_[A-Z0-9_]{1,80}$`)
	// foreign matches variables that operators do not set, or not for the gateway: experiments of
	// OpenTelemetry, addresses of Kubernetes services, and parts of OTEL_RESOURCE_ATTRIBUTES.
	foreign = regexp.MustCompile(`^OTEL_GO_X_|^OTEL_RESOURCE_ATTRIBUTES_|_SERVICE_(HOST|PORT)|_PORT(_[0-9]+_(TCP|UDP|SCTP).*)?$`)
)

// Unused returns the names of the OTEL_* variables that are set and have no effect: misspelled
// ones, and those that the gateway does not support.
func Unused() []string {
	var names []string
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if _, known := table[name]; !known && value != "" && printable.MatchString(name) && !foreign.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
