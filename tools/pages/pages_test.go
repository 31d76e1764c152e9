package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// TestPages holds that every page of the tree names only what is there.
func TestPages(t *testing.T) {
	tree, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
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

// TestSecurity holds that docs/security.md has a row for each item of the OWASP API Security Top 10 of 2023, in order,
// and that it names tests or says why the item does not apply.
func TestSecurity(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| \*\*API(\d+):2023 [^|]+\*\* \|([^|]+)\|([^|]+)\|$`).FindAllSubmatch(text, -1)
	if len(rows) != 10 {
		t.Fatalf("%d rows, not 10", len(rows))
	}
	for i, row := range rows {
		if want := strconv.Itoa(i + 1); string(row[1]) != want {
			t.Errorf("row %s stands where %s should", row[1], want)
		}
		said := string(row[2]) + string(row[3])
		if !regexp.MustCompile("_test\\.go`: `(Test|Fuzz)").MatchString(said) && !strings.Contains(said, "Does not apply") {
			t.Errorf("API%s: neither a test nor why it does not apply", row[1])
		}
	}
}

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
	write("internal/a/a_test.go", "package a\n\nfunc TestHere(t *testing.T) {}\n\nfunc FuzzHere(f *testing.F) {}\n\nfunc TestHelper(t testing.TB) {}\n\n// TestTold is told of.\n")
	write("internal/b/b_test.go", "package b\n\nfunc TestThere(t *testing.T) {}\n")
	tests := []struct{ name, line, err string }{
		{name: "all there", line: "`internal/a/a_test.go`: `TestHere`, `FuzzHere`; `internal/b/b_test.go`: `TestThere`; `make test unit`, `make test ONLY=x`"},
		{name: "a test without its file", line: "`TestThere`"},
		{name: "links", line: "[a](../internal/a/a_test.go), [b](https://absent.example/x.md), [c](#here), [d](page.md#here)"},
		{name: "words that are no tests", line: "`Tested`, `testing`, TestAbsent, `go test`, `made`, `x/y.md`"},
		{name: "no such test", line: "`TestAbsent`", err: "docs/page.md:3: there is no TestAbsent"},
		{name: "a test of another file", line: "`internal/a/a_test.go`: `TestThere`", err: "there is no TestThere in internal/a/a_test.go"},
		{name: "a test after a second file", line: "`internal/a/a_test.go`: `TestHere`; `internal/b/b_test.go`: `TestHere`", err: "there is no TestHere in internal/b/b_test.go"},
		{name: "no test but a helper", line: "`TestHelper`", err: "there is no TestHelper"},
		{name: "no test but a comment", line: "`TestTold`", err: "there is no TestTold"},
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
