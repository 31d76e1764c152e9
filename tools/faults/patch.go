package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A fault is a file NAME.patch: lines "key: value", an empty line, and a diff that breaks one
// promise.
type fault struct {
	name     string
	promise  string   // the promise that the fault breaks
	packages []string // packages of the tests that must fail, as go test takes them
	run      string   // the tests that must fail, as -run takes them
	args     []string // flags of the tests
	sample   bool     // planted by `make sample` too
	files    []string // files that the diff changes, from the root of the module
	diff     string
}

var errNotApplied = errors.New("the patch does not apply")

// load reads all faults of dir, in the order of their names.
func load(dir string) ([]fault, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	var faults []fault
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.name = strings.TrimSuffix(filepath.Base(path), ".patch")
		faults = append(faults, f)
	}
	return faults, nil
}

// parse reads the header and the diff of a fault.
func parse(text string) (fault, error) {
	header, diff, found := strings.Cut(text, "\n\n")
	if !found {
		return fault{}, errors.New("there is no empty line between header and diff")
	}
	f := fault{diff: diff}
	for line := range strings.Lines(header) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "promise":
			f.promise = value
		case "packages":
			f.packages = strings.Fields(value)
		case "run":
			f.run = value
		case "args":
			f.args = strings.Fields(value)
		case "sample":
			f.sample = value == "yes"
		default:
			return fault{}, fmt.Errorf("unknown key %q", key)
		}
	}
	for line := range strings.Lines(diff) {
		if name, ok := strings.CutPrefix(line, "+++ b/"); ok {
			f.files = append(f.files, strings.TrimSpace(name))
		}
	}
	if f.promise == "" || f.run == "" || len(f.packages) == 0 || len(f.files) == 0 {
		return fault{}, errors.New("promise, packages, run or the diff is missing")
	}
	return f, nil
}

// apply copies the files that the fault changes into dir, applies the diff there, and writes an
// overlay for the go command that replaces the files of the tree by the copies. It returns the path
// of the overlay.
func apply(ctx context.Context, root, dir string, f fault) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, name := range f.files {
		original, changed := filepath.Join(root, filepath.FromSlash(name)), filepath.Join(dir, filepath.FromSlash(name))
		text, err := os.ReadFile(original)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errNotApplied, err)
		}
		if err := os.MkdirAll(filepath.Dir(changed), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			return "", err
		}
		replace[original] = changed
	}
	// Hunks need no context, and the numbers in their headers need not be right, so that patches
	// can be edited by hand.
	cmd := exec.CommandContext(ctx, "git", "apply", "--recount", "--unidiff-zero", "--whitespace=nowarn", "-")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	cmd.Stdin = strings.NewReader(f.diff)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", errNotApplied, strings.TrimSpace(string(out)))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}
