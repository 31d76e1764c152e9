package pages

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// TestCounts runs the commands of docs/design.md, "Counts", and compares what they count with the limits
// that the page has: of packages, tools, comments, README.md and words.
func TestCounts(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/design.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)## Counts\n.*?```sh\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no commands")
	}
	counting := exec.CommandContext(t.Context(), "bash", "-c", string(block[1]))
	counting.Dir = root
	out, err := counting.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []struct {
		what, line string // a pattern of the lines with the count
		least      int    // the least number of lines
		from, to   float64
	}{
		{"code lines of a package", `(?m)^(\d+) (?:cmd|internal)/.*$`, 40, 1, 800},
		{"code lines of tools", `(?m)^\d+$\n(\d+)$`, 1, 500, 2000},
		{"comment lines per code line", `(?m)^(0\.\d+)$`, 1, 0.15, 0.22},
		{"lines of README.md", `(?m)^(\d+)(?: README.md)?$\n\d+\.\d per`, 1, 100, 219},
		{"words that make a comment hard to read, per 1,000", `(?m)^([\d.]+) per .*, all$`, 1, 0, 4},
	} {
		lines := regexp.MustCompile(count.line).FindAllSubmatch(out, -1)
		if len(lines) < count.least {
			t.Errorf("%s: %d counts in\n%s", count.what, len(lines), out)
		}
		for _, line := range lines {
			to := count.to
			if bytes.HasSuffix(line[0], []byte("internal/telemetry")) || bytes.HasSuffix(line[0], []byte("internal/config")) {
				to = 1150
			}
			if n, err := strconv.ParseFloat(string(line[1]), 64); err != nil || n < count.from || n > to {
				t.Errorf("%s: %s, want %v to %v (%v)", count.what, line[0], count.from, to, err)
			}
		}
	}
}
