// Package commandline parses command lines of the form PROGRAM COMMAND [flags], runs the command,
// and writes the help.
package commandline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrUsage means that the command line is invalid. The reason and the help have been written to
// standard error.
var ErrUsage = errors.New("usage")

// A Program is a set of commands.
type Program struct {
	Name           string
	Commands       []Command
	Example        string // a command line
	Documentation  string // where the documentation is; the last line of each help
	Stdout, Stderr io.Writer
}

// A Command describes a command and its help.
type Command struct {
	Name, Short string
	Usage       string // of the flags; starts with a space
	Flags       string // one per line, with their defaults
	Example     string // a command line
	// Run declares the command's flags on the line, parses it, and does the work.
	Run func(ctx context.Context, l *Line) error
}

// Run runs the command that args start with and returns its error. It returns nil after the
// requested help, which it writes to standard output, and ErrUsage for an unknown or missing
// command.
func (p Program) Run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(p.Stderr, "a command is required\n\n", p.help())
		return ErrUsage
	}
	name := args[0]
	switch name {
	case "help", "--help", "-help", "-h":
		fmt.Fprint(p.Stdout, p.help())
		return nil
	case "--version", "-version":
		name = "version"
	}
	i := slices.IndexFunc(p.Commands, func(c Command) bool { return c.Name == name })
	if i < 0 {
		fmt.Fprintf(p.Stderr, "unknown command %q\n\n%s", name, p.help())
		return ErrUsage
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	err := p.Commands[i].Run(ctx, &Line{FlagSet: flags, Stdout: p.Stdout, Stderr: p.Stderr, program: p, command: p.Commands[i], args: args[1:]})
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// help returns the help of the program: its commands.
func (p Program) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s COMMAND [flags]\n\nCommands:\n", p.Name)
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "  %-9s %s\n", c.Name, c.Short)
	}
	fmt.Fprintf(&b, "\nExample:\n  %s\n\nFlags of a command: %s COMMAND --help\n%s\n", p.Example, p.Name, p.Documentation)
	return b.String()
}

// A Line is the command line of one command.
type Line struct {
	*flag.FlagSet
	Stdout, Stderr io.Writer

	program Program
	command Command
	args    []string
}

// Parse parses the flags. It returns flag.ErrHelp after writing the requested help to standard
// output, and ErrUsage for invalid arguments.
func (l *Line) Parse() error {
	switch err := l.FlagSet.Parse(l.args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(l.Stdout, l.help())
		return err
	case err != nil:
		return l.Refuse(flagError(err))
	case l.NArg() > 0:
		return l.Refuse(fmt.Sprintf("unexpected argument %q", l.Arg(0)))
	}
	return nil
}

// Refuse writes what is wrong with the command line, and the help, to standard error. It returns
// ErrUsage.
func (l *Line) Refuse(detail string) error {
	fmt.Fprintf(l.Stderr, "%s\n\n%s", detail, l.help())
	return ErrUsage
}

// help returns the help of the command.
func (l *Line) help() string {
	c := l.command
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s %s%s\n\n%s%s.\n", l.program.Name, c.Name, c.Usage, strings.ToUpper(c.Short[:1]), c.Short[1:])
	if c.Flags != "" {
		b.WriteString("\nFlags:\n" + c.Flags)
	}
	fmt.Fprintf(&b, "\nExample:\n  %s\n\n%s\n", c.Example, l.program.Documentation)
	return b.String()
}

// flagError returns an error of package flag in the words of the help.
func flagError(err error) string {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		return fmt.Sprintf("unknown flag %q", "--"+name)
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return "--" + name + " requires a value"
	}
	return err.Error()
}
