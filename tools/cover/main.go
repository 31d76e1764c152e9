// Cover holds packages to a floor of coverage: it reads what `go test -coverprofile` wrote and fails if the
// packages' own tests run less of any of them. `make cover` and `make verify` call it.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// module is the module's path, before the packages' directories.
const module = "ais-gateway"

// A tally counts the statements of one package.
type tally struct{ covered, all int }

func main() {
	floor := flag.Int("min", 85, "`per cent` of each package's statements")
	quiet := flag.Bool("quiet", false, "say nothing where all is well")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: cover [-min N] [-quiet] PROFILE DIRECTORY...")
		os.Exit(2)
	}
	out := io.Writer(os.Stdout)
	if *quiet {
		out = io.Discard
	}
	if err := run(out, flag.Arg(0), *floor, flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, profile string, floor int, dirs []string) error {
	file, err := os.Open(profile)
	if err != nil {
		return err
	}
	defer file.Close()
	tallies, err := read(file)
	if err != nil {
		return err
	}
	return report(out, tallies, floor, dirs)
}

// read sums up a profile by package. Its lines are "file:from,to statements count", with from and to as
// line.column (cmd/cover). No block stands in it twice where each package is covered by its own tests alone.
func read(profile io.Reader) (map[string]tally, error) {
	tallies := map[string]tally{}
	lines := bufio.NewScanner(profile)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "mode: ") {
			continue
		}
		file, rest, found := strings.Cut(lines.Text(), ":")
		var span string
		var statements, count int
		if _, err := fmt.Sscanf(rest, "%s %d %d", &span, &statements, &count); err != nil || !found {
			return nil, fmt.Errorf("%q is no line of a profile", lines.Text())
		}
		t := tallies[path.Dir(file)]
		t.all += statements
		if count > 0 {
			t.covered += statements
		}
		tallies[path.Dir(file)] = t
	}
	return tallies, lines.Err()
}

// report writes each package's share, and is an error if one is below the floor or is not there.
func report(out io.Writer, tallies map[string]tally, floor int, dirs []string) error {
	var faults []error
	for _, dir := range dirs {
		t := tallies[path.Join(module, dir)]
		if t.all == 0 {
			faults = append(faults, fmt.Errorf("%s: nothing is known of it", dir))
			continue
		}
		tenths := t.covered * 1000 / t.all // rounded down, so that what is below the floor never looks as if it were not
		share := fmt.Sprintf("%d.%d %%", tenths/10, tenths%10)
		fmt.Fprintf(out, "%7s  %s\n", share, dir)
		if t.covered*100 < floor*t.all {
			faults = append(faults, fmt.Errorf("%s: its own tests cover %s of it, less than %d %%", dir, share, floor))
		}
	}
	return errors.Join(faults...)
}
