// Package otelenv checks the OTEL_* variables, which OpenTelemetry's libraries read one by one and pass over without
// naming them. internal/telemetry uses it before it builds anything of OpenTelemetry.
package otelenv

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// Disabled is the variable that switches telemetry off. Apply leaves it "true", "false" or empty.
const Disabled = "OTEL_SDK_DISABLED"

// A Fault is a variable that cannot be used. It never holds the variable's value.
type Fault struct {
	Name   string // of the variable
	Detail string // what its value must be
	Stops  bool   // the gateway must not start with it
}

// Apply checks all variables of the table, and returns those that cannot be used, sorted by name. It writes every value
// back to the process's environment in the spelling that OpenTelemetry's libraries read, and clears those that cannot
// be used, so that their defaults hold and the libraries do not report them again.
func Apply() []Fault {
	var faults []Fault
	usable := make(map[string]string, len(table)) // judged before any is written: some are judged with another
	for name, v := range table {
		value, ok := strings.TrimSpace(os.Getenv(name)), true
		if value != "" {
			value, ok = v.judge(name, value)
		}
		if !ok {
			faults = append(faults, Fault{Name: name, Detail: v.must, Stops: v.stops})
		}
		usable[name] = value
	}
	for name, value := range usable {
		if value != os.Getenv(name) {
			_ = os.Setenv(name, value) // fails only for names and values that no environment can have
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return faults
}

var (
	printable = regexp.MustCompile(`^OTEL_[A-Z0-9_]{1,80}$`)
	// foreign are variables that are set by others than operators, or that are not meant for the gateway: experiments of
	// OpenTelemetry, addresses of Kubernetes' services, and parts of OTEL_RESOURCE_ATTRIBUTES.
	foreign = regexp.MustCompile(`^OTEL_GO_X_|^OTEL_RESOURCE_ATTRIBUTES_|_SERVICE_(HOST|PORT)|_PORT(_[0-9]+_(TCP|UDP|SCTP).*)?$`)
)

// Unused returns the OTEL_* variables that are set and that nothing reads: misspelled ones, and those that the
// gateway does not support.
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
