// Licences lists the licences of all dependencies, and checks that each is allowed where it is
// used: in the binary, in the tests, or only in the tools. `make licences` writes the list to
// bin/licences.md; `make verify` runs the check as a test.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// A platform is one that the binary is built for. Some modules are needed only on one platform.
type platform struct{ os, arch string }

var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}}

// A part is a product or tool that is built from modules.
type part struct {
	title, about string
	dir          string     // of its module, from the project's root
	lists        [][]string // as go list takes them: what it is built from
	allowed      []string   // licences, as SPDX names them
}

// parts has the parts in the order of the page. A module is checked for each part that needs it,
// and listed only in the first.
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
	page := flag.String("page", "licences.md", "the `file` to write")
	flag.Parse()
	text, err := write(*root, parts)
	if err == nil {
		err = os.WriteFile(*page, []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

// write returns the page. Its error names every module whose licence is not allowed where the
// module is used.
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
