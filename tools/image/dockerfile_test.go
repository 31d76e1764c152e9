package main

import (
	"errors"
	"go/version"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// A recipe is a parsed Dockerfile.
type recipe struct {
	stages []instructions.Stage
	args   map[string]string // those before the first stage, with their defaults
}

// dockerfile parses deploy/Dockerfile. The test fails if Docker would warn about it.
func dockerfile(t *testing.T) recipe {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tree, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range tree.Warnings {
		t.Errorf("Docker warns: %s", w.Short)
	}
	stages, meta, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := recipe{stages: stages, args: map[string]string{}}
	for _, command := range meta {
		for _, arg := range command.Args {
			r.args[arg.Key] = arg.ValueString()
		}
	}
	return r
}

// base returns the base image of a stage with the default arguments.
func (r recipe) base(t *testing.T, s instructions.Stage) string {
	t.Helper()
	var env []string
	for key, value := range r.args {
		env = append(env, key+"="+value)
	}
	name, _, err := shell.NewLex('\\').ProcessWord(s.BaseName, shell.EnvsFromSlice(env))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// of returns the instructions of type T of a stage.
func of[T any](s instructions.Stage) (all []T) {
	for _, c := range s.Commands {
		if one, ok := c.(T); ok {
			all = append(all, one)
		}
	}
	return all
}

// TestDockerfileMatchesImage: the last stage is like the image of `make image`, on a base that is
// as small: it has the same path of the binary, numeric user, ports, labels and entrypoint, and
// needs no shell.
func TestDockerfileMatchesImage(t *testing.T) {
	r := dockerfile(t)
	last := r.stages[len(r.stages)-1]
	if got := r.base(t, last); got != "gcr.io/distroless/static-debian12:nonroot" {
		t.Errorf("the base image is %s", got)
	}
	made, err := only(t, image(t)+".tar").ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	users, entrypoints := of[*instructions.UserCommand](last), of[*instructions.EntrypointCommand](last)
	if len(users) != 1 || users[0].User != made.Config.User {
		t.Errorf("the users are %v, want %s", users, made.Config.User)
	}
	if len(entrypoints) != 1 || entrypoints[0].PrependShell || !slices.Equal(entrypoints[0].CmdLine, made.Config.Entrypoint) {
		t.Errorf("the entrypoints are %v", entrypoints)
	}
	if dirs := of[*instructions.WorkdirCommand](last); len(dirs) != 1 || dirs[0].Path != made.Config.WorkingDir {
		t.Errorf("the working directories are %v", dirs)
	}
	if runs := of[*instructions.RunCommand](last); len(runs) > 0 || len(of[*instructions.CmdCommand](last)) > 0 {
		t.Errorf("the last stage has commands, which need a shell: RUN %v", runs)
	}
	var ports []string
	for _, e := range of[*instructions.ExposeCommand](last) {
		for _, port := range e.Ports {
			ports = append(ports, port+"/tcp")
		}
	}
	if want := slices.Sorted(maps.Keys(made.Config.ExposedPorts)); !slices.Equal(ports, want) {
		t.Errorf("ports %q, want %q", ports, want)
	}
	labels := map[string]string{}
	for _, l := range of[*instructions.LabelCommand](last) {
		for _, pair := range l.Labels {
			labels[pair.Key] = strings.Trim(pair.Value, `"`)
		}
	}
	want := maps.Clone(made.Config.Labels)
	want["org.opencontainers.image.version"], want["org.opencontainers.image.revision"] = "$VERSION", "$REVISION"
	if !maps.Equal(labels, want) {
		t.Errorf("labels %q, want %q", labels, want)
	}
	copies := of[*instructions.CopyCommand](last)
	if len(copies) != 1 || copies[0].DestPath != made.Config.Entrypoint[0] || copies[0].From != r.stages[0].Name {
		t.Errorf("the copies are %v", copies)
	}
}

// TestDockerfileBuilds: the build stage copies files that exist and that .dockerignore does not
// exclude, its Go is new enough, its commands need no shell, and it builds the binary of
// `make image`.
func TestDockerfileBuilds(t *testing.T) {
	r := dockerfile(t)
	first := r.stages[0]
	tag := regexp.MustCompile(`^golang:(\d+\.\d+\.\d+)$`).FindStringSubmatch(r.base(t, first))
	least := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, filepath.Join(root, "go.mod")))
	if tag == nil || least == nil || older(tag[1], least[1]) {
		t.Fatalf("the build stage uses %q, go.mod requires %q", tag, least)
	}
	context := sent(t)
	for _, c := range of[*instructions.CopyCommand](first) {
		for _, from := range c.SourcePaths {
			if _, err := os.Stat(filepath.Join(context, from)); err != nil {
				t.Errorf("COPY %s: %v", from, err)
			}
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	runs := of[*instructions.RunCommand](first)
	if len(runs) != 2 {
		t.Fatalf("the build stage has %d commands, want 2", len(runs))
	}
	for _, c := range runs {
		if c.PrependShell {
			t.Errorf("%q needs a shell", c.CmdLine)
		}
		line := slices.Clone(c.CmdLine)
		for i, word := range line {
			line[i] = strings.Replace(word, "OUT=/out/", "OUT="+out+"/", 1)
		}
		if line[0] == "make" {
			line = append(line, "VERSION="+tested) // in Docker, from the environment of the stage
		}
		if err := command(context, line[0], line[1:]...); err != nil {
			t.Error(err)
		}
	}
	copied := of[*instructions.CopyCommand](r.stages[len(r.stages)-1])[0].SourcePaths[0]
	if copied != "/out/gateway" || read(t, filepath.Join(out, "gateway")) != read(t, builtBinary(t)) {
		t.Errorf("%s differs from the binary of `make image`", copied)
	}
}

// older reports whether one version of Go is older than another.
func older(one, other string) bool { return version.Compare("go"+one, "go"+other) < 0 }

// sent returns a copy of Docker's build context: the files that .dockerignore does not exclude.
func sent(t *testing.T) string {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, filepath.Join(root, ".dockerignore"))))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		if entry.IsDir() {
			if name == ".git" || name == "bin" { // large and excluded: see TestSecretsAreNotSent
				return fs.SkipDir
			}
			return nil
		}
		if drop, err := ignored.MatchesOrParentMatches(name); err != nil || drop {
			return err
		}
		content, err := os.ReadFile(path)
		return errors.Join(err, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755), os.WriteFile(filepath.Join(to, name), content, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestSecretsAreNotSent: the build context excludes secrets and other local files.
func TestSecretsAreNotSent(t *testing.T) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, filepath.Join(root, ".dockerignore"))))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"gateway.yaml": true, "key.pem": true, ".env": true, ".git/config": true, "bin/gateway": true, "deploy/values.yaml": true,
		"internal/config/testdata/key": true, "tools/licences/main.go": true, "cmd/gateway/gateway_test.go": true,
		"cmd/gateway/main.go": false, "go.mod": false, "internal/api/api.go": false, "api/openapi.yaml": false,
	} {
		if got, err := ignored.MatchesOrParentMatches(name); err != nil || got != want {
			t.Errorf("%s is excluded: %v, want %v; %v", name, got, want, err)
		}
	}
}
