// Faults plants faults in the gateway's code, one at a time, and holds that the tests catch each of them:
// tests that pass whatever the code does are worth nothing. `make faults` calls it. The faults stand in
// the tables. No file of the tree is changed: the compiler is given an overlay.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

// A fault is one change that makes the code wrong.
type fault struct {
	name     string
	file     string   // from the module's root, with slashes
	old, new string   // old stands in file exactly once
	packages []string // whose tests must catch it, as go test takes them
	run      string   // the tests that must catch it, as -run takes them; empty for all of the packages'
	race     bool     // that only the race detector sees
	args     []string // for the tests' own flags
}

// A verdict is what became of a planted fault.
type verdict struct {
	caught bool
	by     string // the first test that failed
	err    error  // the table is wrong, or the tests cannot be run: nothing is known
}

func main() {
	root := flag.String("root", "..", "the module's `directory`")
	only := flag.String("only", "", "plant these alone: `names`, with commas between")
	few := flag.Bool("sample", false, "plant the sample alone, whose tests have passed without any fault before")
	flag.Parse()
	if *few {
		*only = strings.Join(sample, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if !run(ctx, os.Stdout, *root, table, *only, *few) {
		os.Exit(1)
	}
}

// run plants the faults, reports on each, and is false unless all were caught. Unless the tests have passed before, it
// runs them first without any fault.
func run(ctx context.Context, out io.Writer, root string, faults []fault, only string, passed bool) bool {
	faults, err := choose(faults, only)
	if err == nil && !passed {
		err = healthy(ctx, root, faults)
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	caught, failed := 0, 0
	for _, f := range faults {
		began := time.Now()
		v := plant(ctx, root, f)
		took := time.Since(began).Round(100 * time.Millisecond)
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(out, "interrupted")
			return false
		case v.err != nil:
			failed++
			fmt.Fprintf(out, "ERROR   %6v  %s: %v\n", took, f.name, v.err)
		case !v.caught:
			failed++
			fmt.Fprintf(out, "MISSED  %6v  %s (%s)\n", took, f.name, f.file)
		default:
			caught++
			fmt.Fprintf(out, "caught  %6v  %s, by %s\n", took, f.name, v.by)
		}
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", caught, failed)
	return failed == 0
}

// choose is the faults that are named, or all of them; no two may share a name.
func choose(faults []fault, only string) ([]fault, error) {
	byName := map[string]fault{}
	for _, f := range faults {
		if _, twice := byName[f.name]; twice {
			return nil, fmt.Errorf("two faults are called %q", f.name)
		}
		byName[f.name] = f
	}
	if only == "" {
		return faults, nil
	}
	var chosen []fault
	for name := range strings.SplitSeq(only, ",") {
		f, ok := byName[strings.TrimSpace(name)]
		if !ok {
			return nil, fmt.Errorf("no fault is called %q", name)
		}
		chosen = append(chosen, f)
	}
	return chosen, nil
}
