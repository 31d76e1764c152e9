// Command gateway serves account information of many banks over one REST API. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"ais-gateway/internal/telemetry"
)

// version is set by the linker in builds of the Makefile.
var version = ""

var (
	// errUsage means that the command line is invalid. The reason has been written to standard error.
	errUsage = errors.New("usage")
	// errLogged means that the command failed. The error has been logged.
	errLogged = errors.New("logged")
)

func main() {
	telemetry.SilenceStandardLog()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process immediately.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case errors.Is(err, errLogged):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run executes a command line. It returns flag.ErrHelp after the help of a command, errUsage, errLogged, or an error that is not
// reported yet.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, "a command is required\n\n", overview())
		return errUsage
	}
	name := args[0]
	switch name {
	case "help", "--help", "-help", "-h":
		fmt.Fprint(stdout, overview())
		return nil
	case "--version", "-version":
		name = "version"
	}
	c, ok := find(name)
	if !ok {
		fmt.Fprintf(stderr, "unknown command %q\n\n%s", name, overview())
		return errUsage
	}
	line := newCommandLine(c, stdout, stderr)
	switch name {
	case "sandbox":
		o, demo, err := sandboxFlags(line, args[1:])
		if err != nil {
			return err
		}
		return runSandbox(ctx, o, demo, stdout, stderr)
	case "version":
		if err := line.parse(args[1:]); err != nil {
			return err
		}
		fmt.Fprintln(stdout, "gateway", buildVersion())
		return nil
	}
	file := line.String("config", "", "")
	show := new(bool)
	if name == "check" {
		show = line.Bool("print", false, "")
	}
	if err := line.parse(args[1:]); err != nil {
		return err
	}
	if *file == "" {
		return line.refuse("--config FILE is required")
	}
	if name == "check" {
		return check(*file, *show, stdout, stderr)
	}
	return serve(ctx, *file, stdout)
}

// buildVersion returns the version of the build, or "(devel)" if it is unknown.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
