package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What is committed is what is written: `make dashboards`.
func TestBoardsAreWhatIsWritten(t *testing.T) {
	const dir = "../../deploy/grafana"
	for name, b := range boards {
		want, err := b.json()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what `make dashboards` writes: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(boards) {
		t.Errorf("there are %q, and %d boards: %v", files, len(boards), err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for name := range boards {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.HasSuffix(text, []byte("}\n")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := write(filepath.Join(dir, "none")); err == nil {
		t.Error("what cannot be written is no error")
	}
}
