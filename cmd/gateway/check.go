package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/upstream"
)

// check returns every fault of a configuration file as an error. For a file without faults it writes warnings to stderr and,
// with show, the configuration with its defaults to stdout.
func check(file string, show bool, stdout, stderr io.Writer) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	for _, w := range c.Warnings() {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if show {
		return c.Print(stdout)
	}
	fmt.Fprintf(stdout, "%s: ok\n", file)
	return nil
}

// load reads a configuration file and checks all of it, including the adapters' sections. The error is config.Faults with every
// fault, or says why the file cannot be read.
func load(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if c == nil {
		return nil, err
	}
	var faults config.Faults
	if err != nil {
		faults = err.(config.Faults) //nolint:errorlint // with a Config, Load returns only Faults
	}
	_, more := openAdapters(c, func(upstream.Config) *upstream.Transport { return upstream.New(upstream.Config{}) })
	faults = append(faults, c.UnknownProviders(slices.Sorted(maps.Keys(adapters)))...)
	faults = append(faults, c.SecondASPSPs(oneASPSP)...)
	faults = append(faults, more...)
	c.Sort(faults)
	return c, faults.Err()
}
