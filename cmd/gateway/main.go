// Command gateway answers account information of many banks over one REST API. See README.md.
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
)

// version is set when a release is built.
var version = ""

const usage = `usage:
  gateway sandbox [--demo] [--address HOST:PORT]   everything in one process, nothing to set up; --demo: a tour
          [--admin-address HOST:PORT]              for probes and metrics; any free port of loopback if not given
          [--redis HOST:PORT]                      a real Redis, in place of the embedded one
  gateway serve --config FILE                      the service
  gateway check --config FILE [--print]            every fault of the file; --print: the file as it takes effect
  gateway version
`

// errUsage is a command line that cannot be followed.
var errUsage = errors.New("usage")

func main() {
	mute()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, as if nobody listened.
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

// run is the program but for its exit.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	switch args[0] {
	case "sandbox":
		o, demo, err := sandboxFlags(flags, args[1:])
		if err != nil {
			return err
		}
		return runSandbox(ctx, o, demo, stdout, stderr)
	case "serve", "check":
		file := flags.String("config", "", "")
		show := new(bool)
		if args[0] == "check" {
			show = flags.Bool("print", false, "")
		}
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		if *file == "" {
			fmt.Fprint(stderr, "--config FILE is missing\n", usage)
			return errUsage
		}
		if args[0] == "check" {
			return check(*file, *show, stdout, stderr)
		}
		return serve(ctx, *file, stdout)
	case "version", "--version", "-version":
		fmt.Fprintln(stdout, "gateway", buildVersion())
		return nil
	case "help", "--help", "-help", "-h":
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprintf(stderr, "there is no command %q\n%s", args[0], usage)
	return errUsage
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(flags.Output(), "%q is not understood\n%s", flags.Arg(0), usage)
		return errUsage
	}
	return nil
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
