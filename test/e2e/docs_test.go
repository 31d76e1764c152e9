package e2e_test

import (
	"os"
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
	expected := map[int]*regexp.Regexp{ // a line of the output, by exit code
		0: regexp.MustCompile(`^\S+: ok$`),
		1: regexp.MustCompile(`^\S+( \(line \d+\))?: (is missing|file does not exist \(.*\))$`),
	}
	examples := regexp.MustCompile("(?ms)^ *```yaml\n(.*?)^ *```")
	checked := 0
	for _, page := range []string{"README.md", "docs/configuration.md", "docs/operations.md"} {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range examples.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(example[1], "\nvolumes:") { // of a pod
				continue
			}
			checked++
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			if err := os.WriteFile(file, []byte(example[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			p := gatewaytest.Start(t, nil, "check", "--config", file)
			line := expected[p.Wait()]
			output := p.Stdout.String() + p.Stderr.String()
			if line == nil || output == "" {
				t.Errorf("%s: exit %d\n%s%s", page, p.Wait(), output, example[1])
				continue
			}
			for fault := range strings.Lines(output) {
				if !line.MatchString(strings.TrimSuffix(fault, "\n")) {
					t.Errorf("%s: %s%s", page, fault, example[1])
				}
			}
		}
	}
	if checked < 6 {
		t.Errorf("only %d configurations are found", checked)
	}
}
