package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// timeout is how long the tests of one fault may run; a fault that makes them hang is caught by it.
const timeout = "40m"

// slow are tests that take longer than all others of their packages: they run for the faults that name them, and once
// without any.
const slow = "^TestContract$/^slow_answers$|^TestModel$"

// healthy reports tests that fail without any fault: they would seem to catch everything.
func healthy(ctx context.Context, root string, faults []fault) error {
	var packages []string
	for _, f := range faults {
		packages = append(packages, f.packages...)
	}
	slices.Sort(packages)
	result, err := goTest(ctx, root, "", slices.Compact(packages)...)
	switch {
	case err != nil:
		return err
	case len(result.broken) > 0:
		return fmt.Errorf("%s does not compile, without any fault", result.broken[0])
	case len(result.failed) > 0:
		return fmt.Errorf("%s fails without any fault", result.failed[0])
	}
	return nil
}

// plant runs a fault's tests on the code with the fault in it.
func plant(ctx context.Context, root string, f fault) verdict {
	dir, err := os.MkdirTemp("", "fault")
	if err != nil {
		return verdict{err: err}
	}
	defer os.RemoveAll(dir)
	overlay, err := mutate(root, dir, f)
	if err != nil {
		return verdict{err: err}
	}
	args := []string{"-count=1", "-failfast"} // one failure is enough
	if f.run != "" {
		args = append(args, "-run="+f.run)
	} else {
		args = append(args, "-skip="+slow)
	}
	if f.race {
		args = append(args, "-race")
	}
	args = append(args, f.packages...)
	if len(f.args) > 0 {
		args = append(append(args, "-args"), f.args...)
	}
	result, err := goTest(ctx, root, overlay, args...)
	switch {
	case err != nil:
		return verdict{err: err}
	case len(result.broken) > 0:
		return verdict{err: fmt.Errorf("it does not compile: %s", result.said)}
	case len(result.failed) > 0:
		return verdict{caught: true, by: result.failed[0]}
	case result.ran == 0:
		return verdict{err: errors.New("no test ran")}
	}
	return verdict{}
}

// mutate writes the file with the fault into dir, and the overlay that puts it in the place of the right one.
func mutate(root, dir string, f fault) (overlay string, err error) {
	path, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(f.file)))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	switch n := strings.Count(string(text), f.old); {
	case f.old == "" || f.old == f.new:
		return "", errors.New("it changes nothing")
	case n != 1:
		return "", fmt.Errorf("its old text stands in %s %d times, not once", f.file, n)
	}
	changed := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), f.old, f.new, 1)), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, replace, 0o600)
}

// A result is what go test said.
type result struct {
	ran    int      // tests
	failed []string // tests, or packages that failed without naming one
	broken []string // packages that do not compile
	said   string   // by the compiler
}

// goTest runs go test and reads its events (go doc test2json). That tests fail is a result, not an error. The overlay,
// "" for none, reaches what tests build themselves too, and so stands in the environment.
func goTest(ctx context.Context, root, overlay string, args ...string) (result, error) {
	args = append([]string{"test", "-json", "-tags=nomsgpack", "-vet=off", "-timeout=" + timeout}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "RAPID_NOFAILFILE=1") // else each caught fault leaves a file in the tree
	if overlay != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	r, err := read(&stdout)
	if err != nil {
		return result{}, err
	}
	if runErr != nil && len(r.failed)+len(r.broken) == 0 {
		return result{}, fmt.Errorf("go test: %w: %s", runErr, bytes.TrimSpace(stderr.Bytes()))
	}
	return r, nil
}

// read sums up the events of go test.
func read(events *bytes.Buffer) (result, error) {
	var r result
	var packages []string
	for lines := json.NewDecoder(events); lines.More(); {
		var e struct{ Action, Package, ImportPath, Test, Output, FailedBuild string }
		if err := lines.Decode(&e); err != nil {
			return result{}, fmt.Errorf("go test: %w", err)
		}
		switch {
		case e.Action == "build-output":
			r.said += e.Output
		case e.Action == "build-fail":
			r.broken = append(r.broken, e.ImportPath)
		case e.Action == "run":
			r.ran++
		case e.Action == "fail" && e.Test != "":
			r.failed = append(r.failed, e.Test)
		case e.Action == "fail" && e.FailedBuild == "":
			packages = append(packages, e.Package)
		}
	}
	// a package fails with its test; alone where no test is to blame, as with a leak that TestMain sees
	if len(r.failed) == 0 {
		r.failed = packages
	}
	return r, nil
}
