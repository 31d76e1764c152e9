package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	files := map[string]plant{
		"a.go": {"a.go", "x", []string{"one", "two"}},
		"b.go": {"b.go", "x", nil},
	}
	tests := []struct {
		name    string
		reports map[string][]string
		faults  int
	}{
		{name: "as wanted, in any order", reports: map[string][]string{"a.go": {"two", "one"}}},
		{name: "a rule that does not bite", reports: map[string][]string{"a.go": {"two"}}, faults: 1},
		{name: "another rule", reports: map[string][]string{"a.go": {"one", "three"}}, faults: 1},
		{name: "an allowed import", reports: map[string][]string{"a.go": {"one", "two"}, "b.go": {"one"}}, faults: 1},
		{name: "nothing", faults: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := compare(files, tt.reports); len(got) != tt.faults {
				t.Errorf("got %v, want %d faults", got, tt.faults)
			}
		})
	}
}

func TestComplete(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yml")
	text := "linters: {settings: {depguard: {rules: {one: {list-mode: lax}, two: {}}}}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := complete(config, []plant{{"a.go", "x", []string{"one", "two"}}}); err != nil {
		t.Error(err)
	}
	if err := complete(config, []plant{{"a.go", "x", []string{"one"}}}); err == nil || !strings.Contains(err.Error(), "two") {
		t.Errorf("got %v, want the rule named that has no plant", err)
	}
	if err := complete("../../.golangci.yml", plants); err != nil {
		t.Error(err)
	}
}
