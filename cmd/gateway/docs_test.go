package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
)

// TestExamplesOfTheDocs checks the configurations in the documentation. Missing files and missing
// keys are the only faults that they may have: the files do not exist on this machine, and some
// examples show only a part of the file.
func TestExamplesOfTheDocs(t *testing.T) {
	t.Parallel()
	expected := regexp.MustCompile(`: (ok|is missing|file does not exist \(.*\))$`)
	checked := 0
	for _, page := range []string{"README.md", "docs/configuration.md"} {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllSubmatch(text, -1) {
			if strings.Contains(string(block[1]), "\nvolumes:") { // of a pod
				continue
			}
			checked++
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			if err := os.WriteFile(file, block[1], 0o600); err != nil {
				t.Fatal(err)
			}
			out, _ := exec.CommandContext(t.Context(), gatewaytest.Binary(), "check", "--config", file).CombinedOutput()
			for fault := range strings.Lines(string(out)) {
				if fault = strings.TrimSpace(fault); !expected.MatchString(fault) {
					t.Errorf("%s: %s\n%s", page, fault, block[1])
				}
			}
		}
	}
	if checked < 5 {
		t.Errorf("only %d configurations are found", checked)
	}
}
