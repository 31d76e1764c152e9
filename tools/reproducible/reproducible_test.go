package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// project writes a program and how it is built, as git knows them.
func project(t *testing.T, recipe string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"go.mod":              "module sample\n\ngo 1.26.0\n",
		"cmd/gateway/main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
		"Makefile":            "build:\n\t" + recipe + "\n",
		".gitignore":          "/bin/\n",
		"bin/gateway":         "of another build\n",
	}
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := exec.Command("git", "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, said)
	}
	return root
}

// shared are the two builds with the caches that there are: it is the place alone that matters then, and it takes seconds.
func shared() []build {
	return []build{{at: builds[0].at, env: builds[0].env}, {at: builds[1].at, env: []string{"TZ=Asia/Kathmandu"}}}
}

func TestRun(t *testing.T) {
	const flags = "CGO_ENABLED=0 go build -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/gateway "
	tests := []struct{ name, recipe, err string }{
		{name: "paths are trimmed", recipe: flags + "-trimpath ./cmd/gateway"},
		{name: "paths are kept", recipe: flags + "./cmd/gateway", err: "depends on where and how"},
		{name: "the zone is stamped", recipe: "mkdir -p bin && echo $$TZ >bin/gateway", err: "depends on where and how"},
		{name: "nothing is built", recipe: "true", err: "no such file"},
		{name: "it cannot be built", recipe: "echo no compiler; false", err: "no compiler"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), &out, project(t, tt.recipe), "v1.2.3", shared())
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q:\n%s", err, tt.err, out.String())
			}
			if err == nil && strings.Count(out.String(), "bin/gateway v1.2.3") != 2 {
				t.Errorf("got %s", out.String())
			}
		})
	}
}

// TestRecipe holds that what everybody builds is built so: `make reproducible` proves it, but takes minutes.
func TestRecipe(t *testing.T) {
	cmd := exec.Command("make", "-n", "build", "VERSION=v1.2.3")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, want := range []string{"CGO_ENABLED=0 ", " -trimpath ", "main.version=v1.2.3"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
}
