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
