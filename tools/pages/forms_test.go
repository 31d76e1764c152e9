package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestForms compares the table of docs/providers.md with the pages of the adapters: how many forms of
// responses are known, are read, and are refused. What an error response means is never a refusal.
func TestForms(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/providers.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "internal/providers/*/FORMS.md"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d pages with forms, %v", len(files), err)
	}
	rows := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		adapter := filepath.Base(filepath.Dir(file))
		for section := range strings.SplitSeq(string(text), "\n## ") {
			title, body, _ := strings.Cut(section, "\n")
			known, refused := forms(body)
			if strings.HasPrefix(title, "Error") {
				refused = 0
			}
			want := fmt.Sprintf("| [%s](../internal/providers/%[1]s/FORMS.md) | %s | %d | %d | %d |\n", adapter, title, known, known-refused, refused)
			if known > 0 && !strings.Contains(string(page), want) {
				t.Errorf("docs/providers.md lacks the row %s", want)
			}
			if known > 0 {
				rows++
			}
		}
	}
	if listed := strings.Count(string(page), "/FORMS.md) |"); listed != rows {
		t.Errorf("docs/providers.md has %d rows of forms, want %d", listed, rows)
	}
}

// forms returns how many forms a section lists, and how many of them are refused.
func forms(section string) (known, refused int) {
	for _, row := range regexp.MustCompile(`(?m)^\| .*\| ([^|]*) \|$`).FindAllStringSubmatch(section, -1) {
		if row[1] == "what we make of it" {
			continue
		}
		known++
		if strings.HasPrefix(row[1], "error:") {
			refused++
		}
	}
	return known, refused
}

// TestCosts compares the code lines of adapters and simulators, and of the packages that they share,
// with docs/providers.md.
func TestCosts(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/providers.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\d+)[^|]* \\| (\\d+) \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) != 4 {
		t.Errorf("the page has the costs of %d providers", len(rows))
	}
	for _, row := range rows {
		adapter, simulator := codeLines(t, row[1]), codeLines(t, row[1]+"/"+row[1]+"sim")
		if fmt.Sprint(adapter) != row[2] || fmt.Sprint(simulator) != row[3] {
			t.Errorf("%s has %d code lines and its simulator %d, the page says %s and %s", row[1], adapter, simulator, row[2], row[3])
		}
	}
	for _, shared := range []string{"adapter", "adapterconfig", "paging", "berlingroup/dialect", "httpsig"} {
		lines := codeLines(t, shared)
		if !regexp.MustCompile(fmt.Sprintf(`\b%d\s\(`+"`"+`%s`+"`", lines, filepath.Base(shared))).Match(page) {
			t.Errorf("%s has %d code lines, and the page says another number", shared, lines)
		}
	}
}

// codeLines returns the lines of a package's code, without tests, that are neither blank nor only a
// comment.
func codeLines(t *testing.T, dir string) (lines int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal/providers", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "//") && !strings.HasSuffix(file, "_test.go") {
				lines++
			}
		}
	}
	return lines
}
