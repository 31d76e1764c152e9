package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command describes one command of the command line.
type command struct {
	name, short string
	usage       string // of the flags
	flags       string // one per line, with their defaults
	example     string
}

var commands = []command{
	{
		name: "sandbox", short: "run the gateway with simulated providers and an embedded Redis", usage: " [flags]",
		flags: `  --demo                      run a tour of all calls and exit
  --address HOST:PORT         where the API listens (default: a free loopback port)
  --admin-address HOST:PORT   where probes and metrics are served (default: a free loopback port)
  --redis HOST:PORT           use this Redis (default: the embedded Redis; not with --demo)
`,
		example: "gateway sandbox --address 127.0.0.1:8080",
	},
	{
		name: "serve", short: "start the service", usage: " --config FILE",
		flags:   "  --config FILE   the configuration file (required)\n",
		example: "gateway serve --config gateway.yaml",
	},
	{
		name: "check", short: "validate the configuration", usage: " --config FILE [--print]",
		flags: `  --config FILE   the configuration file (required)
  --print         print the configuration with all defaults filled in (default: false)
`,
		example: "gateway check --config gateway.yaml --print",
	},
	{name: "version", short: "print the version", example: "gateway version"},
}

const documentation = "Documentation: README.md in the source repository\n"

// find returns the command with a name, and whether there is one.
func find(name string) (command, bool) {
	for _, c := range commands {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// overview returns the help of the program: its commands.
func overview() string {
	var b strings.Builder
	b.WriteString("Usage: gateway COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.short)
	}
	b.WriteString("\nExample:\n  gateway sandbox --demo\n\nFlags of a command: gateway COMMAND --help\n" + documentation)
	return b.String()
}

// help returns the help of a command.
func (c command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: gateway %s%s\n\n%s%s.\n", c.name, c.usage, strings.ToUpper(c.short[:1]), c.short[1:])
	if c.flags != "" {
		b.WriteString("\nFlags:\n" + c.flags)
	}
	fmt.Fprintf(&b, "\nExample:\n  %s\n\n%s", c.example, documentation)
	return b.String()
}

// commandLine parses the flags of one command. It writes requested help to stdout, and errors with the help to stderr.
type commandLine struct {
	*flag.FlagSet
	command        command
	stdout, stderr io.Writer
}

func newCommandLine(c command, stdout, stderr io.Writer) *commandLine {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return &commandLine{flags, c, stdout, stderr}
}

// parse parses the arguments after the command. It returns flag.ErrHelp if help was requested, and errUsage for invalid
// arguments.
func (l *commandLine) parse(args []string) error {
	switch err := l.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(l.stdout, l.command.help())
		return err
	case err != nil:
		return l.refuse(flagError(err))
	case l.NArg() > 0:
		return l.refuse(fmt.Sprintf("unexpected argument %q", l.Arg(0)))
	}
	return nil
}

// refuse writes what is wrong with the command line, with the help, and returns errUsage.
func (l *commandLine) refuse(detail string) error {
	fmt.Fprintf(l.stderr, "%s\n\n%s", detail, l.command.help())
	return errUsage
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
