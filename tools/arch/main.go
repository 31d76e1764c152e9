// Arch shows that the import rules bite: it plants a forbidden import for each rule of depguard in .golangci.yml,
// runs the linter on the plants, and holds that every one is reported by its own rule, and no allowed one by any.
// `make lint` calls it. The plants stand in plants.go; they are written into a directory of their own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A plant is a file with one import of one's choice.
type plant struct {
	file  string // from the module's root; its directory must be there
	imp   string
	rules []string // that must report it; none where the import is allowed
}

func main() {
	lint := flag.String("lint", "golangci-lint", "the linter's `file`")
	root := flag.String("root", "..", "the module's `directory`")
	flag.Parse()
	if err := run(context.Background(), *lint, *root); err != nil {
		fmt.Fprintln(os.Stderr, "arch:", err)
		os.Exit(1)
	}
	fmt.Printf("arch: %d imports planted, each rule bites and none too far\n", len(plants))
}

func run(ctx context.Context, lint, root string) error {
	config, err := filepath.Abs(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		return err
	}
	if err := complete(config, plants); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "arch")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var faults []error
	files := map[string]plant{}
	for i, p := range plants {
		if _, err := os.Stat(filepath.Join(root, path.Dir(p.file))); err != nil {
			faults = append(faults, fmt.Errorf("%s: no such directory; is the rule out of date?", path.Dir(p.file)))
		}
		file, err := sow(dir, i, p)
		if err != nil {
			return err
		}
		files[file] = p
	}
	reports, err := reported(ctx, lint, config, dir)
	if err != nil {
		return err
	}
	return errors.Join(append(faults, compare(files, reports)...)...)
}

// sow writes a plant below a directory of its own in dir, so that no two plants make a cycle, and what it
// imports from the same module as an empty package. It returns the file's path from dir. The rules look at
// the end of a file's path, and at the import as it is written.
func sow(dir string, i int, p plant) (string, error) {
	file := path.Join("plant"+strconv.Itoa(i), p.file)
	texts := map[string]string{
		"go.mod": "module ais-gateway\n\ngo 1.26.0\n",
		file:     "package planted\n\nimport _ " + strconv.Quote(p.imp) + "\n",
	}
	if own, ok := strings.CutPrefix(p.imp, "ais-gateway/"); ok {
		texts[path.Join(own, "empty.go")] = "package planted\n"
	}
	for name, text := range texts {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return file, nil
}

// ruleName finds the rule in a report of depguard: "import 'x' is not allowed from list 'rule': why".
var ruleName = regexp.MustCompile(`from list '([^']+)'`)

// reported runs depguard alone, and returns the rules that reported each file.
func reported(ctx context.Context, lint, config, dir string) (map[string][]string, error) {
	cmd := exec.CommandContext(ctx, lint, "run", "--config", config, "--enable-only", "depguard",
		"--path-mode", "abs", "--output.json.path", "stdout", "--output.text.path", os.DevNull,
		"--show-stats=false", "--uniq-by-line=false", "--issues-exit-code", "0", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(lint), err, stderr.String())
	}
	var report struct {
		Issues []struct {
			FromLinter, Text string
			Pos              struct{ Filename string }
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(lint), err, stderr.String())
	}
	rules := map[string][]string{}
	for _, issue := range report.Issues {
		name := ruleName.FindStringSubmatch(issue.Text)
		if issue.FromLinter != "depguard" || name == nil {
			return nil, fmt.Errorf("%s says of %s: %s", issue.FromLinter, issue.Pos.Filename, issue.Text)
		}
		file, err := filepath.Rel(dir, issue.Pos.Filename)
		if err != nil {
			return nil, err
		}
		rules[filepath.ToSlash(file)] = append(rules[filepath.ToSlash(file)], name[1])
	}
	return rules, nil
}

// compare names each plant that was reported by other rules than its own.
func compare(files map[string]plant, reports map[string][]string) []error {
	var faults []error
	for _, file := range slices.Sorted(maps.Keys(files)) {
		p, got := files[file], reports[file]
		slices.Sort(got)
		want := slices.Sorted(slices.Values(p.rules))
		if !slices.Equal(got, want) {
			faults = append(faults, fmt.Errorf("%s imports %s: reported by %v, want %v", p.file, p.imp, got, want))
		}
	}
	return faults
}

// complete holds that every rule of the configuration has a plant that it alone reports, or reports with others.
func complete(config string, plants []plant) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var file struct {
		Linters struct {
			Settings struct {
				Depguard struct{ Rules map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return err
	}
	rules := file.Linters.Settings.Depguard.Rules
	if len(rules) == 0 {
		return errors.New("depguard has no rules")
	}
	for _, p := range plants {
		for _, name := range p.rules {
			delete(rules, name)
		}
	}
	if len(rules) > 0 {
		return fmt.Errorf("no plant for %v", slices.Sorted(maps.Keys(rules)))
	}
	return nil
}
