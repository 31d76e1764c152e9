// Command provider lays out the folder of a new provider: an adapter, a simulator and the contract
// test, which compile. What the provider's documentation decides is marked TODO; until it is filled
// in, some of the contract tests fail.
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed template
var templates embed.FS

const nextSteps = `internal/providers/%[1]s is laid out. Next:
  1. go test -tags nomsgpack ./internal/providers/%[1]s fails where the simulator lacks the provider's errors: fill in each TODO
  2. add %[1]q: {Open: %[1]s.Open} to cmd/gateway/adapters.go, with OneASPSP for one bank, or OwnBaseURLs for many
  3. docs/providers.md lists the other places, and what needs tests of your own
`

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: provider DIRECTORY NAME")
		os.Exit(2)
	}
	if err := layOut(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
	fmt.Printf(nextSteps, os.Args[2])
}

// layOut writes the folder of a provider into a directory of providers. It changes nothing that
// exists.
func layOut(dir, name string) error {
	if !regexp.MustCompile(`^[a-z][a-z0-9]{0,30}$`).MatchString(name) || !token.IsIdentifier(name) || name == "main" {
		return errors.New("the name must be 1 to 31 small letters and digits, and begin with a letter, and no word of Go: make provider NAME=x")
	}
	target := filepath.Join(dir, name)
	if _, err := os.Stat(target); err == nil {
		return fmt.Errorf("%s exists", target)
	}
	return fs.WalkDir(templates, "template", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		parsed, err := template.ParseFS(templates, path)
		if err != nil {
			return err
		}
		file := filepath.Join(target, fileName(strings.TrimPrefix(path, "template/"), name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { // #nosec G301 -- source code
			return err
		}
		var text bytes.Buffer
		if err := parsed.Execute(&text, struct{ Name string }{name}); err != nil {
			return err
		}
		content := text.Bytes()
		if strings.HasSuffix(file, ".go") { // the name decides the order of imports
			if content, err = format.Source(content); err != nil {
				return err
			}
		}
		return os.WriteFile(file, content, 0o644) // #nosec G306 -- source code
	})
}

// fileName returns the name of a template's file in the folder of the provider.
func fileName(path, name string) string {
	path = strings.TrimSuffix(path, ".tmpl")
	path = strings.Replace(path, "sim/", name+"sim/", 1)
	return strings.Replace(path, "provider.go", name+".go", 1)
}
