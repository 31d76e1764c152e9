package pages

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// TestPages: every page of the tree names only tests, files and make targets that exist.
func TestPages(t *testing.T) {
	tree, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, pattern := range []string{"docs/*.md", "internal/providers/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d pages, %v", pattern, len(found), err)
		}
		for _, path := range found {
			page, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, page)
		}
	}
	for _, page := range pages {
		if err := tree.Check(page); err != nil {
			t.Error(err)
		}
	}
}

// TestSecurity: docs/security.md has a row for each item of the OWASP API Security Top 10 of 2023,
// in order. Each row names tests or says why the item does not apply.
func TestSecurity(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| \*\*API(\d+):2023 [^|]+\*\* \|([^|]+)\|([^|]+)\|$`).FindAllSubmatch(text, -1)
	if len(rows) != 10 {
		t.Fatalf("%d rows, want 10", len(rows))
	}
	for i, row := range rows {
		if want := strconv.Itoa(i + 1); string(row[1]) != want {
			t.Errorf("got row %s, want %s", row[1], want)
		}
		cells := string(row[2]) + string(row[3])
		if !regexp.MustCompile("_test\\.go`: `(Test|Fuzz)").MatchString(cells) && !strings.Contains(cells, "Does not apply") {
			t.Errorf("API%s: want a test, or why it does not apply", row[1])
		}
	}
}

// TestWeaknesses: each weakness in docs/design.md has tests in the packages of its row, or is
// marked as documented only.
func TestWeaknesses(t *testing.T) {
	tree, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/design.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, fault := range tree.weaknesses(page) {
		t.Error(fault)
	}
	for name, planted := range map[string]string{
		"another name":     strings.Replace(page, "| `TestCountedID`,", "| `TestCounted`,", 1),
		"another package":  strings.Replace(page, "| `TestPromtool` | `test/deploy`", "| `TestPromtool` | `test/gateway`", 1),
		"one more package": strings.Replace(page, "| `TestPromtool` | `test/deploy`", "| `TestPromtool` | `test/deploy`, `api`", 1),
		"no test":          strings.Replace(page, "| `TestPromtool` |", "| |", 1),
		"no table":         strings.Replace(page, "## Weaknesses", "## Strengths", 1),
	} {
		if faults := tree.weaknesses(planted); planted == page || len(faults) == 0 {
			t.Errorf("the fault %q is not found", name)
		}
	}
}

// weaknesses returns the faults of a page's table of weaknesses.
func (t *Tree) weaknesses(page string) []string {
	_, section, _ := strings.Cut(page, "\n## Weaknesses and their tests\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \|([^|]*)\|([^|]*)\|$`).FindAllStringSubmatch(section, -1)
	if len(rows) == 0 {
		return []string{"there is no table of weaknesses"}
	}
	var faults []string
	for _, row := range rows[1:] { // without the heading
		packages := map[string]bool{} // whether a test is in it, by name
		for _, m := range quoted.FindAllStringSubmatch(row[3], -1) {
			packages[m[1]] = false
		}
		tests := quoted.FindAllStringSubmatch(row[2], -1)
		if len(tests) == 0 && !strings.Contains(row[2], "documented only") {
			faults = append(faults, row[1]+": no test")
			continue
		}
		for _, m := range tests {
			found := false
			for _, file := range t.tests[m[1]] {
				if _, named := packages[path.Dir(file)]; named {
					packages[path.Dir(file)], found = true, true
				}
			}
			if !found {
				faults = append(faults, row[1]+": there is no "+m[1])
			}
		}
		for name, used := range packages {
			if !used {
				faults = append(faults, row[1]+": no test is in "+name)
			}
		}
	}
	return faults
}

// TestCheck: Check reports tests, files, make targets and links that do not exist.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Makefile", "test: unit ## all\nunit:\n")
	write("internal/a/a_test.go", "package a\n\nfunc TestHere(t *testing.T) {}\n\nfunc FuzzHere(f *testing.F) {}\n\nfunc TestHelper(t testing.TB) {}\n\n// TestComment is not declared.\n")
	write("internal/b/b_test.go", "package b\n\nfunc TestThere(t *testing.T) {}\n")
	tests := []struct{ name, line, err string }{
		{name: "all exist", line: "`internal/a/a_test.go`: `TestHere`, `FuzzHere`; `internal/b/b_test.go`: `TestThere`; `make test unit`, `make test ONLY=x`"},
		{name: "a test without its file", line: "`TestThere`"},
		{name: "links", line: "[a](../internal/a/a_test.go), [b](https://absent.example/x.md), [c](#here), [d](page.md#here)"},
		{name: "other words", line: "`Tested`, `testing`, TestAbsent, `go test`, `made`, `x/y.md`"},
		{name: "no such test", line: "`TestAbsent`", err: "docs/page.md:3: there is no TestAbsent"},
		{name: "a test of another file", line: "`internal/a/a_test.go`: `TestThere`", err: "there is no TestThere in internal/a/a_test.go"},
		{name: "a test after a second file", line: "`internal/a/a_test.go`: `TestHere`; `internal/b/b_test.go`: `TestHere`", err: "there is no TestHere in internal/b/b_test.go"},
		{name: "a helper", line: "`TestHelper`", err: "there is no TestHelper"},
		{name: "a comment", line: "`TestComment`", err: "there is no TestComment"},
		{name: "no such file", line: "`internal/c/c_test.go`", err: "there is no file internal/c/c_test.go"},
		{name: "no such target", line: "`make test absent`", err: "there is no make absent"},
		{name: "no such link", line: "[a](absent.md#here)", err: "there is no file docs/absent.md"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write("docs/page.md", "# Page\n\n"+tt.line+"\n\n```\n`TestInCode`\n```\n")
			tree, err := Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			err = tree.Check("docs/page.md")
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}
