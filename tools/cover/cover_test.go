package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const profile = `mode: atomic
ais-gateway/a/x.go:1.1,2.2 17 3
ais-gateway/a/y.go:1.1,2.2 3 0
ais-gateway/a/b/x.go:1.1,2.2 84 1
ais-gateway/a/b/x.go:3.1,4.2 16 0
`

func TestRun(t *testing.T) {
	tests := []struct {
		name, profile string
		dirs          []string
		out, err      string
	}{
		{name: "at the floor", profile: profile, dirs: []string{"a"}, out: " 85.0 %  a\n"},
		{name: "below the floor", profile: profile, dirs: []string{"a", "a/b"}, out: " 85.0 %  a\n 84.0 %  a/b\n", err: "a/b: its own tests cover 84.0 %"},
		{name: "not there", profile: profile, dirs: []string{"c"}, err: "c: nothing is known"},
		{name: "no profile", profile: "x", dirs: []string{"a"}, err: "no line of a profile"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cover.out")
			if err := os.WriteFile(file, []byte(tt.profile), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := run(&out, file, 85, tt.dirs)
			if out.String() != tt.out {
				t.Errorf("got %q, want %q", out.String(), tt.out)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}
