// Licences lists the licences of everything that is built here, and holds that each may be used as it is: in the
// binary, in the tests, or in the tools alone. `make licences` writes docs/licences.md; the tests, which
// `make verify` runs, check that the page says what go.mod has.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// Page is where the list stands, from the project's root.
const page = "docs/licences.md"

// A platform is what modules are listed for: some are needed on one alone.
type platform struct{ os, arch string }

var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}}

// A part is something that modules are built into.
type part struct {
	title, about string
	dir          string     // of its module, from the project's root
	lists        [][]string // as go list takes them: what it is built from
	allowed      []string   // licences, as SPDX names them
}

// parts come in this order. A module is judged for each that needs it, and listed in the first one.
var parts = []part{
	{
		title: "The binary",
		about: "What `make build` makes, on Linux (amd64, arm64) and macOS (arm64). Go's standard library and runtime, of the\nversion it is built with, are in it too: BSD-3-Clause.",
		dir:   ".",
		lists: [][]string{{"-tags=nomsgpack", "./cmd/gateway"}}, allowed: permissive,
	},
	{
		title: "The image",
		about: "What `make image` puts beside the binary: the authorities that Mozilla trusts, as Go's own module has them.",
		dir:   "tools/image",
		lists: [][]string{{"golang.org/x/crypto/x509roots/fallback/bundle"}}, allowed: permissive,
	},
	{
		title: "Tests",
		about: "Needed by tests of the gateway besides; in nothing that is handed on.",
		dir:   ".",
		lists: [][]string{{"-test", "-tags=nomsgpack,measure", "./..."}}, allowed: append([]string{"MPL-2.0"}, permissive...),
	},
	{
		title: "Tools",
		about: "What linters and the programs in `tools/` are built from; in nothing that is handed on. Their versions are those of\n`tools/go.mod`, which may differ from the binary's.",
		dir:   "tools",
		lists: [][]string{{"tool"}, {"-test", "./..."}}, allowed: append([]string{"MPL-2.0", "GPL-3.0", "GPL-3.0-or-later", "OFL-1.1", none}, permissive...),
	},
	{
		title: "The image's tool and its tests",
		about: "What `make image` runs, and what reads deploy/Dockerfile and deploy/compose.yaml; in nothing that is handed on. Versions are\nthose of `tools/image/go.mod`.",
		dir:   "tools/image",
		lists: [][]string{{"-test", "./..."}}, allowed: append([]string{"MPL-2.0"}, permissive...),
	},
}

func main() {
	root := flag.String("root", "..", "the project's `directory`")
	flag.Parse()
	text, err := write(*root, parts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
	if err := os.WriteFile(filepath.Join(*root, page), []byte(text), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

// write is the page, or an error that names every module that may not be used as it is.
func write(root string, parts []part) (string, error) {
	seen := map[string]bool{}
	var sections []section
	var faults []error
	for _, p := range parts {
		modules, err := survey(filepath.Join(root, p.dir), p.lists, platforms)
		if err != nil {
			return "", err
		}
		s := section{part: p}
		for _, m := range modules {
			found, err := m.licences()
			if err == nil {
				err = judge(found, p.allowed)
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("%s %s, for %q: %w", m.path, m.version, p.title, err))
			}
			if name := m.path + " " + m.version; !seen[name] {
				seen[name] = true
				s.rows = append(s.rows, row{module: m, licences: found})
			}
		}
		sections = append(sections, s)
	}
	return render(sections), errors.Join(faults...)
}
