package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a small module whose test sees the sign of what it tests, and nothing else.
func module(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":          "module sample\n\ngo 1.26.0\n",
		"sum/sum.go":      "package sum\n\nfunc Sum(a, b int) int { return a + b }\n\nfunc Unseen() int { return 1 }\n",
		"sum/sum_test.go": "package sum\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum(1, 2) != 3 {\n\t\tt.Fatal()\n\t}\n}\n\nfunc TestNothing(*testing.T) {}\n",
		"cmd/main.go":     "package main\n\nimport \"sample/sum\"\n\nfunc main() { print(sum.Unseen()) }\n",
		"cmd/cmd_test.go": "package main\n\nimport (\n\t\"os/exec\"\n\t\"testing\"\n)\n\nfunc TestBuilt(t *testing.T) {\n\tout, err := exec.Command(\"go\", \"run\", \".\").CombinedOutput()\n\tif err != nil || string(out) != \"1\" {\n\t\tt.Fatal(string(out), err)\n\t}\n}\n",
		"bad/bad_test.go": "package bad\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Fatal() }\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func planted(name, from, to string) fault {
	return fault{name: name, file: "sum/sum.go", old: from, new: to, packages: []string{"./sum"}}
}

func TestPlant(t *testing.T) {
	root := module(t)
	elsewhere := planted("missed by the tests named", "a + b", "a - b")
	elsewhere.run = "TestNothing"
	nowhere := planted("no test", "a + b", "a - b")
	nowhere.run = "TestAbsent"
	panics := planted("panics", "a + b", "a + b/(a-1)")
	lost := planted("no such file", "a", "b")
	lost.file = "sum/absent.go"
	built := planted("in what a test builds", "return 1", "return 2")
	built.packages = []string{"./cmd"}
	astray := planted("no such package", "a + b", "a - b")
	astray.packages = []string{"./absent"}
	tests := []struct {
		fault  fault
		caught bool
		err    string
	}{
		{fault: planted("caught", "a + b", "a - b"), caught: true},
		{fault: panics, caught: true},
		{fault: built, caught: true},
		{fault: planted("missed", "return 1", "return 2")},
		{fault: elsewhere},
		{fault: nowhere, err: "no test ran"},
		{fault: planted("does not compile", "a + b", "a + nothing"), err: "does not compile"},
		{fault: planted("text not there", "a * b", "a - b"), err: "0 times"},
		{fault: planted("text there twice", "int", "int8"), err: "3 times"},
		{fault: planted("changes nothing", "a + b", "a + b"), err: "changes nothing"},
		{fault: lost, err: "no such file"},
		{fault: astray, err: "absent"},
	}
	for _, tt := range tests {
		t.Run(tt.fault.name, func(t *testing.T) {
			v := plant(t.Context(), root, tt.fault)
			if v.caught != tt.caught || (v.err != nil) != (tt.err != "") {
				t.Fatalf("got %+v", v)
			}
			by := "TestSum"
			if tt.fault.name == built.name {
				by = "TestBuilt"
			}
			if v.caught && v.by != by {
				t.Errorf("caught by %s, want %s", v.by, by)
			}
			if v.err != nil && !strings.Contains(v.err.Error(), tt.err) {
				t.Errorf("got %q, want %q in it", v.err, tt.err)
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(root, "sum/sum.go")); err != nil || !strings.Contains(string(text), "a + b") {
		t.Errorf("the file itself was changed: %s, %v", text, err)
	}
}

func TestRun(t *testing.T) {
	root := module(t)
	caught, missed := planted("caught", "a + b", "a - b"), planted("missed", "return 1", "return 2")
	broken := planted("broken", "a + b", "a +")
	sick := caught
	sick.packages = []string{"./bad"}
	tests := []struct {
		name   string
		faults []fault
		only   string
		passed bool
		ok     bool
		last   string
	}{
		{name: "all caught", faults: []fault{caught}, ok: true, last: "1 passed, 0 failed"},
		{name: "one missed", faults: []fault{caught, missed}, last: "1 passed, 1 failed"},
		{name: "one broken", faults: []fault{caught, broken}, last: "1 passed, 1 failed"},
		{name: "by name", faults: []fault{caught, missed}, only: "caught", ok: true, last: "1 passed, 0 failed"},
		{name: "by a name that is none", faults: []fault{caught}, only: "absent", last: `no fault is called "absent"`},
		{name: "a name twice", faults: []fault{caught, caught}, last: `two faults are called "caught"`},
		{name: "tests that fail anyway", faults: []fault{sick}, last: "TestBad fails without any fault"},
		{name: "tests that passed before are not run again", faults: []fault{sick}, passed: true, ok: true, last: "1 passed, 0 failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			ok := run(t.Context(), &out, root, tt.faults, tt.only, tt.passed)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; ok != tt.ok || last != tt.last {
				t.Errorf("got %v, %q, want %v, %q; all of it:\n%s", ok, last, tt.ok, tt.last, out.String())
			}
		})
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if run(ctx, &out, module(t), []fault{planted("caught", "a + b", "a - b")}, "", false) {
		t.Errorf("an interrupted run is a success: %s", out.String())
	}
}

// TestTable holds that every fault of the table can be planted: a table that rots is found at once, without
// the time that planting takes.
func TestTable(t *testing.T) {
	if _, err := choose(table, ""); err != nil {
		t.Error(err)
	}
	if _, err := choose(table, strings.Join(sample, ",")); err != nil || len(sample) != 10 {
		t.Errorf("the sample has %d faults: %v", len(sample), err)
	}
	for _, f := range table {
		if len(f.packages) == 0 {
			t.Errorf("%s: no packages", f.name)
		}
		if _, err := mutate("../..", t.TempDir(), f); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}
