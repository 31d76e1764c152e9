package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// writeModule writes a small module whose test checks Sum and nothing else, and returns its
// directory.
func writeModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":          "module sample\n\ngo 1.26.0\n",
		"sum/sum.go":      "package sum\n\nfunc Sum(a, b int) int {\n\treturn a + b\n}\n\nfunc Untested() int {\n\treturn 1\n}\n",
		"sum/sum_test.go": "package sum\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum(1, 2) != 3 {\n\t\tt.Fatal()\n\t}\n}\n\nfunc TestNothing(*testing.T) {}\n",
		"cmd/main.go":     "package main\n\nimport \"sample/sum\"\n\nfunc main() { print(sum.Untested()) }\n",
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

// replaceLine returns a fault that replaces one line of sum.go. The numbers in its hunk are wrong.
func replaceLine(name, from, to string) fault {
	return fault{
		name: name, packages: []string{"./sum"}, run: ".", files: []string{"sum/sum.go"},
		diff: "--- a/sum/sum.go\n+++ b/sum/sum.go\n@@ -6,9 +6,9 @@\n-\treturn " + from + "\n+\treturn " + to + "\n",
	}
}

// TestRun: run reports for each fault whether its tests catch it, and does not change the tree.
func TestRun(t *testing.T) {
	root := writeModule(t)
	with := func(f fault, packages, run string) fault {
		f.packages, f.run = []string{packages}, run
		return f
	}
	lost := replaceLine("lost", "a + b", "a - b")
	lost.files = []string{"sum/absent.go"}
	tests := []struct {
		fault fault
		want  string
	}{
		{replaceLine("caught", "a + b", "a - b"), `caught .* caught, by TestSum`},
		{replaceLine("panics", "a + b", "a + b/(a-1)"), `caught .* panics, by TestSum`},
		{with(replaceLine("built", "1", "2"), "./cmd", "."), `caught .* built, by TestBuilt`},
		{replaceLine("missed", "1", "2"), `NOT caught .* missed`},
		{with(replaceLine("elsewhere", "a + b", "a - b"), "./sum", "TestNothing"), `NOT caught .* elsewhere`},
		{with(replaceLine("no-test", "a + b", "a - b"), "./sum", "TestAbsent"), `ERROR .* no-test: no test ran`},
		{with(replaceLine("no-package", "a + b", "a - b"), "./absent", "."), `ERROR .* no-package: .*absent`},
		{replaceLine("broken", "a + b", "a + nothing"), `ERROR .* broken: the code does not compile`},
		{replaceLine("outdated", "a * b", "a - b"), `does not apply .* outdated`},
		{lost, `does not apply .* lost`},
	}
	for _, tt := range tests {
		t.Run(tt.fault.name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), &out, root, []fault{tt.fault})
			if !regexp.MustCompile("^"+tt.want).MatchString(out.String()) || (err == nil) != strings.HasPrefix(out.String(), "caught") {
				t.Errorf("got %v and %q, want %q", err, out.String(), tt.want)
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(root, "sum/sum.go")); err != nil || !strings.Contains(string(text), "a + b") {
		t.Errorf("run has changed a file of the tree: %s, %v", text, err)
	}
	if err := healthy(t.Context(), root, []fault{replaceLine("a", "", ""), replaceLine("b", "", "")}); err != nil {
		t.Error(err)
	}
	if err := healthy(t.Context(), root, []fault{{packages: []string{"./bad"}, run: "."}}); err == nil {
		t.Error("a test that fails without a fault is accepted")
	}
}

// TestParse: parse reads the header and the diff of a fault, and rejects incomplete files.
func TestParse(t *testing.T) {
	const header = "promise: p\npackages: ./a ./b\nrun: ^TestA$\nargs: -n=1\n"
	const diff = "--- a/a.go\n+++ b/a.go\n"
	f, err := parse(header + "\n" + diff)
	if err != nil || f.promise != "p" || len(f.packages) != 2 || f.run != "^TestA$" || f.args[0] != "-n=1" || f.files[0] != "a.go" || f.sample {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, text := range []string{"", header + diff, header + "\n", header + "color: red\n\n" + diff, "promise: p\n\n" + diff} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// TestChoose: choose selects faults by name or by the sample, and rejects unknown names.
func TestChoose(t *testing.T) {
	all := []fault{{name: "a"}, {name: "b", sample: true}, {name: "c"}}
	for _, tt := range []struct {
		only   string
		sample bool
		want   int
	}{{"", false, 3}, {"", true, 1}, {"a, c", false, 2}, {"a,d", false, 0}} {
		got, err := choose(all, tt.only, tt.sample)
		if len(got) != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("choose(%q, %v) = %v, %v", tt.only, tt.sample, got, err)
		}
	}
}

// insertion matches the head of a part of a diff that removes no lines.
var insertion = regexp.MustCompile(`(?m)^@@ -\d+,0 `)

// TestPatches: every fault applies to the code, and its packages and tests exist.
func TestPatches(t *testing.T) {
	const root = "../.."
	faults, err := load(filepath.Join(root, "faults"))
	if err != nil {
		t.Fatal(err)
	}
	sample, promises := 0, map[string]string{}
	for _, f := range faults {
		if f.sample {
			sample++
		}
		if other := promises[f.promise]; other != "" {
			t.Errorf("%s and %s break the same promise", other, f.name)
		}
		promises[f.promise] = f.name
		if _, err := apply(t.Context(), root, t.TempDir(), f); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if insertion.MatchString(f.diff) {
			t.Errorf("%s: a part of the diff only adds lines, so that its place is a line number: let it replace a line", f.name)
		}
		for _, dir := range f.packages {
			for test := range strings.SplitSeq(f.run, "|") {
				test, _, _ = strings.Cut(strings.TrimPrefix(test, "^"), "$")
				if !hasTest(t, filepath.Join(root, dir), test) {
					t.Errorf("%s: %s has no %s", f.name, dir, test)
				}
			}
		}
	}
	if sample != 10 {
		t.Errorf("the sample has %d faults, want 10", sample)
	}
}

// hasTest reports whether a test file of dir declares the test.
func hasTest(t *testing.T, dir, test string) bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+test+"(") {
			return true
		}
	}
	return false
}
