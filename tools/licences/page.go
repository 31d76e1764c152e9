package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A section is a part of the page with the modules of a part, and a row is one module.
type section struct {
	part
	rows []row
}

type row struct {
	module
	licences []string
}

const head = `# Licences

What the gateway is built from, and under which licences. ` + "`make licences`" + ` writes this page from go.mod, those of tools and the
licence files of the modules; it fails, as does ` + "`make verify`" + `, where a text is not known, and where a licence
is not allowed. A module is listed once, in the first part that needs it. Where several licences stand, files of the module
have each of them, and each must be allowed; GooglePatentsFile is no licence but the grant of patents that Google puts
beside BSD-3-Clause.

| allowed | where | why |
|---|---|---|
| 0BSD, Apache-2.0, BSD-2-Clause, BSD-3-Clause, BSL-1.0, ISC, MIT, MIT-0, Unlicense, Zlib | everywhere | they ask for their texts to be handed on, at most. Whoever hands the binary on must do so |
| MPL-2.0 | tests, tools | it binds the files that are under it, and no others: nothing of it reaches what is handed on. In the binary it would have those who get it told where those files' source is; nothing there needs it, so it is refused |
| GPL-3.0, OFL-1.1 | tools | linters, and a font in one, which are run here and handed on to nobody |
| none at all | tools | where judged below |

All else is refused: AGPL, LGPL, SSPL, whatever forbids a use, a text that is not known, and no text. Which are
allowed stands in tools/licences/main.go and judge.go; there, too, texts are judged by hand that licensecheck does not know.
`

// render returns the page.
func render(sections []section) string {
	var b strings.Builder
	b.WriteString(head)
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n\n| module | version | licences |\n|---|---|---|\n", s.title, s.about, sum(s.rows))
		for _, r := range s.rows {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.path, r.version, strings.Join(r.licences, ", "))
		}
	}
	b.WriteString("\n## Judged by hand\n\n| what | licences | why |\n|---|---|---|\n")
	for _, hash := range slices.Sorted(maps.Keys(judged)) {
		j := judged[hash]
		fmt.Fprintf(&b, "| %s (SHA-256 `%.16s…`) | %s | %s |\n", j.of, hash, strings.Join(j.licences, ", "), j.why)
	}
	for _, path := range slices.Sorted(maps.Keys(unlicensed)) {
		fmt.Fprintf(&b, "| %s | none | %s |\n", path, unlicensed[path])
	}
	return b.String()
}

// sum returns a sentence with the number of modules by licence.
func sum(rows []row) string {
	count := map[string]int{}
	for _, r := range rows {
		for _, id := range r.licences {
			count[id]++
		}
	}
	counts := make([]string, 0, len(count))
	for _, id := range slices.Sorted(maps.Keys(count)) {
		counts = append(counts, fmt.Sprintf("%s %d", id, count[id]))
	}
	return fmt.Sprintf("%d modules: %s.", len(rows), strings.Join(counts, ", "))
}
