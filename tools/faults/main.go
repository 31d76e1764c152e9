// Faults plants the faults of the directory faults in the code, one at a time, and reports whether
// the tests that each fault names fail. `make faults` runs it. No file of the tree is changed: go
// test gets the patched files as an overlay.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	root := flag.String("root", "..", "`directory` of the module")
	only := flag.String("only", "", "plant only the faults with these `names`, separated by commas")
	sample := flag.Bool("sample", false, "plant only the sample, and do not run the tests without a fault first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	faults, err := load(filepath.Join(*root, "faults"))
	if err == nil {
		faults, err = choose(faults, *only, *sample)
	}
	if err == nil && !*sample {
		err = healthy(ctx, *root, faults)
	}
	if err == nil {
		err = run(ctx, os.Stdout, *root, faults)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// choose returns the faults that are named in only, or those of the sample, or all.
func choose(faults []fault, only string, sample bool) ([]fault, error) {
	names := map[string]bool{}
	for name := range strings.SplitSeq(only, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names[name] = true
		}
	}
	var chosen []fault
	for _, f := range faults {
		if names[f.name] || only == "" && (f.sample || !sample) {
			chosen = append(chosen, f)
			delete(names, f.name)
		}
	}
	for name := range names {
		return nil, fmt.Errorf("there is no faults/%s.patch", name)
	}
	return chosen, nil
}

// run plants each fault, reports its result, and returns an error unless all were caught.
func run(ctx context.Context, out io.Writer, root string, faults []fault) error {
	failed := 0
	for _, f := range faults {
		start := time.Now()
		by, err := plant(ctx, root, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		took := time.Since(start).Round(100 * time.Millisecond)
		switch {
		case errors.Is(err, errNotApplied):
			failed++
			fmt.Fprintf(out, "does not apply  %6v  %s: %v\n", took, f.name, err)
		case err != nil:
			failed++
			fmt.Fprintf(out, "ERROR           %6v  %s: %v\n", took, f.name, err)
		case by == "":
			failed++
			fmt.Fprintf(out, "NOT caught      %6v  %s (%s)\n", took, f.name, f.promise)
		default:
			fmt.Fprintf(out, "caught          %6v  %s, by %s\n", took, f.name, by)
		}
	}
	fmt.Fprintf(out, "%d of %d faults caught\n", len(faults)-failed, len(faults))
	if failed > 0 {
		return fmt.Errorf("%d faults were not caught", failed)
	}
	return nil
}
