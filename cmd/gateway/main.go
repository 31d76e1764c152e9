// Command gateway serves account information of many banks over one REST API. See README.md.
//
//   - gateway serve runs the service,
//   - gateway sandbox runs it with simulated providers,
//   - gateway check validates a configuration file,
//   - gateway version prints the version.
//
// This package has the commands, the table of providers (adapters.go), and the wiring of the
// packages below internal (wire.go). The exit code is 0 for success and requested help, 2 for an
// invalid command line, and 1 for every other error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"ais-gateway/internal/commandline"
	"ais-gateway/internal/telemetry"
)

// version is set by the linker in builds of the Makefile.
var version = ""

// errLogged is returned in place of an error that was logged.
var errLogged = errors.New("logged")

// gcPercent is the default of the environment variable GOGC. The heap is small beside the program
// itself, so that collecting it less often costs little memory.
const gcPercent = 200

func main() {
	telemetry.SilenceStandardLog()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process immediately.
	context.AfterFunc(ctx, stop)
	err := program(os.Stdout, os.Stderr).Run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, commandline.ErrUsage):
		os.Exit(2)
	case errors.Is(err, errLogged):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// program returns the commands of the gateway.
func program(stdout, stderr io.Writer) commandline.Program {
	return commandline.Program{
		Name: "gateway", Example: "gateway sandbox --demo", Documentation: "Documentation: README.md in the source repository",
		Stdout: stdout, Stderr: stderr,
		Commands: []commandline.Command{
			{
				Name: "sandbox", Short: "run the gateway with simulated providers and an embedded Redis", Usage: " [flags]",
				Flags: `  --demo                      run a tour of all calls and exit
  --address HOST:PORT         where the API listens (default: a free loopback port)
  --admin-address HOST:PORT   where probes and metrics are served (default: a free loopback port)
  --redis HOST:PORT           use this Redis (default: the embedded Redis; not with --demo)
`,
				Example: "gateway sandbox --address 127.0.0.1:8080", Run: sandboxCommand,
			},
			{
				Name: "serve", Short: "start the service", Usage: " --config FILE",
				Flags:   "  --config FILE   the configuration file (required)\n",
				Example: "gateway serve --config gateway.yaml", Run: serveCommand,
			},
			{
				Name: "check", Short: "validate the configuration", Usage: " --config FILE [--print]",
				Flags: `  --config FILE   the configuration file (required)
  --print         print the configuration with all defaults filled in (default: false)
`,
				Example: "gateway check --config gateway.yaml --print", Run: checkCommand,
			},
			{Name: "version", Short: "print the version", Example: "gateway version", Run: versionCommand},
		},
	}
}

// parseConfig parses the flags of a command that requires --config, and returns its value. It
// returns the errors of Line.Parse, and commandline.ErrUsage without --config.
func parseConfig(l *commandline.Line) (file string, err error) {
	l.StringVar(&file, "config", "", "")
	if err := l.Parse(); err != nil {
		return "", err
	}
	if file == "" {
		return "", l.Refuse("--config FILE is required")
	}
	return file, nil
}

// versionCommand prints the version.
func versionCommand(_ context.Context, l *commandline.Line) error {
	if err := l.Parse(); err != nil {
		return err
	}
	fmt.Fprintln(l.Stdout, "gateway", buildVersion())
	return nil
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
