package main

import (
	"context"
	"fmt"

	"ais-gateway/internal/commandline"
)

// checkCommand returns every fault of a configuration file as an error. For a file without faults
// it writes warnings to stderr and, with --print, the configuration with its defaults to stdout.
func checkCommand(_ context.Context, l *commandline.Line) error {
	show := l.Bool("print", false, "")
	file, err := parseConfig(l)
	if err != nil {
		return err
	}
	c, err := table.Load(file)
	if err != nil {
		return err
	}
	for _, w := range c.Warnings() {
		fmt.Fprintln(l.Stderr, "warning:", w)
	}
	if *show {
		return c.Print(l.Stdout)
	}
	fmt.Fprintf(l.Stdout, "%s: ok\n", file)
	return nil
}
