package main

import (
	"fmt"
	"io"
)

// check returns every fault of a configuration file as an error. For a file without faults it writes warnings to stderr and,
// with show, the configuration with its defaults to stdout.
func check(file string, show bool, stdout, stderr io.Writer) error {
	c, err := table.Load(file)
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
