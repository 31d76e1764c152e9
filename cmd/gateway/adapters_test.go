package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package with a function Open below internal/providers is in the table.
func TestEveryAdapterIsInTheTable(t *testing.T) {
	packages, err := filepath.Glob("../../internal/providers/*/*.go")
	if err != nil || len(packages) == 0 {
		t.Fatal(packages, err)
	}
	var found []string
	for _, file := range packages {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "Open" {
				found = append(found, filepath.Base(filepath.Dir(file)))
			}
		}
	}
	table, err := os.ReadFile("adapters.go")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if !slices.Contains(found, "mastercard") || !slices.Contains(found, "mypos") {
		t.Fatalf("adapters found: %v", found)
	}
	for _, name := range found {
		if !strings.Contains(string(table), `"`+name+`":`) || !strings.Contains(string(table), "Open: "+name+".Open") {
			t.Errorf("adapter %s has no line in adapters.go", name)
		}
	}
}

// TestPagesNameEveryProvider: the README and the reference of the configuration have every provider
// of the table.
func TestPagesNameEveryProvider(t *testing.T) {
	for _, page := range []string{"README.md", "docs/configuration.md"} {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for name := range table {
			if !strings.Contains(strings.ToLower(string(text)), name) {
				t.Errorf("%s does not name the provider %s", page, name)
			}
		}
	}
}
