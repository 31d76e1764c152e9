package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPromtool: promtool accepts the rules, and their tests pass.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not on the PATH; `make prometheus` installs it")
	}
	commands := [][]string{{"check", "rules", "--lint-fatal", "../../deploy/helm/ais-gateway/files/rules.yaml"}}
	files, err := filepath.Glob("../../deploy/prometheus/*_test.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no test of rules: %v", err)
	}
	for _, file := range files {
		if _, err := os.ReadFile(file); err != nil { // so that the test cache depends on the file
			t.Fatal(err)
		}
		commands = append(commands, []string{"test", "rules", file})
	}
	for _, args := range commands {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
