package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// timeout bounds the tests of one fault. A fault that makes its tests hang is caught by it.
const timeout = "10m"

// plant runs the tests of a fault on the code with the fault. It returns the name of a test that
// failed, or "" if all passed.
func plant(ctx context.Context, root string, f fault) (by string, err error) {
	dir, err := os.MkdirTemp("", "fault")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	overlay, err := apply(ctx, root, dir, f)
	if err != nil {
		return "", err
	}
	return goTest(ctx, root, overlay, f.run, f.packages, f.args)
}

// healthy runs the tests of all faults without any fault, those of the same packages together, and
// returns an error if one fails.
func healthy(ctx context.Context, root string, faults []fault) error {
	runs, done := map[string][]string{}, map[string]bool{}
	group := func(f fault) string { return fmt.Sprint(f.packages, f.args) }
	for _, f := range faults {
		runs[group(f)] = append(runs[group(f)], f.run)
	}
	for _, f := range faults {
		if done[group(f)] {
			continue
		}
		done[group(f)] = true
		by, err := goTest(ctx, root, "", strings.Join(runs[group(f)], "|"), f.packages, f.args)
		if err == nil && by != "" {
			err = fmt.Errorf("%s fails", by)
		}
		if err != nil {
			return fmt.Errorf("without a fault, in %v: %w", f.packages, err)
		}
	}
	return nil
}

// goTest runs go test and returns the first test that failed, or the package if no test of it was
// named, as for a leak that TestMain finds. It returns an error if a package does not compile or no
// test ran. The overlay, "" for none, is passed in the environment, because some tests build
// programs.
func goTest(ctx context.Context, root, overlay, run string, packages, args []string) (by string, err error) {
	all := append([]string{"test", "-json", "-tags=nomsgpack", "-vet=off", "-count=1", "-failfast", "-timeout=" + timeout, "-run=" + run},
		packages...)
	if len(args) > 0 {
		all = append(append(all, "-args"), args...)
	}
	cmd := exec.CommandContext(ctx, "go", all...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "RAPID_NOFAILFILE=1") // otherwise each caught fault leaves a file in the tree
	if overlay != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	ran, failedPackage, compiler := 0, "", ""
	for events := json.NewDecoder(&stdout); events.More(); {
		var e struct{ Action, Package, Test, Output, FailedBuild string }
		if err := events.Decode(&e); err != nil {
			return "", fmt.Errorf("go test: %w: %s", err, stderr.String())
		}
		switch {
		case e.Action == "build-output":
			compiler += e.Output
		case e.Action == "run":
			ran++
		case e.Action == "fail" && e.Test != "" && by == "":
			by = e.Test
		case e.Action == "fail" && e.FailedBuild == "":
			failedPackage = e.Package
		}
	}
	switch {
	case compiler != "":
		return "", fmt.Errorf("the code does not compile: %s", compiler)
	case by == "" && failedPackage != "":
		return failedPackage, nil
	case by == "" && runErr != nil:
		return "", fmt.Errorf("go test: %w: %s", runErr, bytes.TrimSpace(stderr.Bytes()))
	case ran == 0:
		return "", errors.New("no test ran")
	}
	return by, nil
}
