package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// failing has the contract tests that fail until the simulator has the provider's errors.
var failing = []string{"compressed refusals", "limit reported by the ASPSP", "refusals"}

// TestLayOut tests that the folder compiles, without a fault of vet, and that exactly the contract
// tests fail that need what the provider's documentation decides.
func TestLayOut(t *testing.T) {
	root := copyOfModule(t)
	dir := filepath.Join(root, "internal", "providers")
	if err := layOut(dir, "newbank"); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("vet", "-trimpath", "-tags", "nomsgpack", "./internal/providers/newbank/..."); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, other := range []string{"acorn", "zebra"} {
		if err := layOut(dir, other); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("gofmt", "-l", filepath.Join(dir, "newbank"), filepath.Join(dir, "acorn"), filepath.Join(dir, "zebra")).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v, not formatted:\n%s", err, out)
	}
	out, err := run("test", "-trimpath", "-tags", "nomsgpack", "-count", "1", "-json", "-run", "^TestContract$", "./internal/providers/newbank")
	if err == nil {
		t.Error("the contract suite passes")
	}
	got, passed := results(out)
	if !slices.Equal(got, failing) || passed < 15 {
		t.Errorf("%d tests passed; failed: %q, want %q", passed, got, failing)
	}
}

func TestLayOutRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", "A", "New", "new-bank", "../x", "1st", "new bank", "type", "main", strings.Repeat("x", 32)} {
		if err := layOut(dir, name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	for _, name := range []string{"x", "newbank"} {
		if err := layOut(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := layOut(dir, "newbank"); err == nil {
		t.Error("an existing folder is overwritten")
	}
}

// copyOfModule returns a directory with the module's packages below internal.
func copyOfModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "internal"), os.DirFS("../../internal")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// results returns the tests of the contract suite that failed, in order, and how many passed.
func results(out string) (failed []string, passed int) {
	for line := range strings.Lines(out) {
		var e struct{ Action, Test string }
		if json.Unmarshal([]byte(line), &e) != nil || strings.Count(e.Test, "/") != 1 {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(e.Test, "TestContract/"), "_", " ")
		switch e.Action {
		case "fail":
			failed = append(failed, name)
		case "pass":
			passed++
		}
	}
	slices.Sort(failed)
	return failed, passed
}
