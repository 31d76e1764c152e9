package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPage: every licence is allowed where it is used, and every part is on the page.
func TestPage(t *testing.T) {
	text, err := write("../..", parts)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"github.com/gin-gonic/gin", rootsModule, "github.com/google/go-cmp", "github.com/google/licensecheck"} {
		if !strings.Contains(text, "| "+want+" | v") {
			t.Errorf("%s is not on the page", want)
		}
	}
	for _, p := range parts {
		if !strings.Contains(text, "## "+p.title+"\n") {
			t.Errorf("%q is not on the page", p.title)
		}
	}
}

const rootsModule = "golang.org/x/crypto/x509roots/fallback"

const (
	mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`
	gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public
License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later
version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied
warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.

You should have received a copy of the GNU General Public License along with this program. If not, see
<https://www.gnu.org/licenses/>.
`
	own = "You may look at this on Tuesdays, if you ask nicely and tell nobody.\n"
)

// project writes a module with a program that imports example.org/lent/used, and the module
// example.org/lent with additional files. It returns the directory.
func project(t *testing.T, lent map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"go.mod":              "module sample\n\ngo 1.26.0\n\nrequire example.org/lent v1.2.3\n\nreplace example.org/lent => ./lent\n",
		"main.go":             "package main\n\nimport _ \"example.org/lent/used\"\n\nfunc main() {}\n",
		"lent/go.mod":         "module example.org/lent\n\ngo 1.26.0\n",
		"lent/used/used.go":   "// Package used is imported.\npackage used\n",
		"lent/other/other.go": "// Package other is not.\npackage other\n",
	}
	for name, text := range lent {
		files["lent/"+name] = text
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
	return root
}

// TestWrite: write lists the licences of a module, and returns an error if one is missing, unknown
// or not allowed.
func TestWrite(t *testing.T) {
	shipped := part{title: "The binary", dir: ".", lists: [][]string{{"."}}, allowed: permissive}
	run := part{title: "Tools", dir: ".", lists: [][]string{{"."}}, allowed: append([]string{"GPL-3.0-or-later"}, permissive...)}
	tests := []struct {
		name  string
		files map[string]string
		part  part
		row   string
		err   string
	}{
		{name: "permissive", files: map[string]string{"LICENSE": mit}, part: shipped, row: "| example.org/lent | v1.2.3 => ./lent | MIT |"},
		{name: "several files", files: map[string]string{"LICENSE": mit, "NOTICE": own, "used/COPYING.md": mit}, part: shipped, row: "| MIT |"},
		{name: "only of the package", files: map[string]string{"used/LICENCE.txt": mit}, part: shipped, row: "| MIT |"},
		{name: "copyleft in the binary", files: map[string]string{"LICENSE": gpl}, part: shipped, err: `lent, for "The binary": GPL-3.0-or-later is not allowed here`},
		{name: "copyleft in a tool", files: map[string]string{"LICENSE": gpl}, part: run, row: "| GPL-3.0-or-later |"},
		{name: "copyleft in a second file", files: map[string]string{"LICENSE": mit, "LICENSE-GPL": gpl}, part: shipped, err: "GPL-3.0-or-later is not allowed"},
		{name: "copyleft in the same file", files: map[string]string{"LICENSE": mit + "\n" + gpl}, part: shipped, err: "GPL-3.0-or-later is not allowed"},
		{name: "copyleft in a notice", files: map[string]string{"LICENSE": mit, "NOTICE": own + own + own + own + own + gpl}, part: shipped, err: "GPL-3.0-or-later is not allowed"},
		{name: "copyleft of the package", files: map[string]string{"LICENSE": mit, "used/LICENSE": gpl}, part: shipped, err: "GPL-3.0-or-later is not allowed"},
		{name: "copyleft of copied code", files: map[string]string{"LICENSE": mit, "licenses/asm.txt": gpl}, part: shipped, err: "GPL-3.0-or-later is not allowed"},
		{name: "copyleft of a package that is not used", files: map[string]string{"LICENSE": mit, "other/LICENSE": gpl}, part: shipped, row: "| MIT |"},
		{name: "an unknown text", files: map[string]string{"LICENSE": own}, part: shipped, err: "its text is not known (0 %"},
		{name: "an unknown text in a tool", files: map[string]string{"LICENSE": own}, part: run, err: "its text is not known (0 %"},
		{name: "a text known in part", files: map[string]string{"LICENSE": mit + strings.Repeat(own, 8)}, part: shipped, err: "its text is not known (59 %"},
		{name: "a second, unknown text", files: map[string]string{"LICENSE": mit, "LICENSE-2": own}, part: shipped, err: "LICENSE-2: its text is not known"},
		{name: "no licence", part: shipped, err: "example.org/lent/used has no licence"},
		{name: "only a notice", files: map[string]string{"NOTICE": mit}, part: shipped, err: "example.org/lent/used has no licence"},
		{name: "only of another package", files: map[string]string{"other/LICENSE": mit}, part: shipped, err: "example.org/lent/used has no licence"},
		{name: "code called licence", files: map[string]string{"license.go": "package lent\n"}, part: shipped, err: "has no licence"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := write(project(t, tt.files), []part{tt.part})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if !strings.Contains(text, tt.row) {
				t.Errorf("%q is not in the page:\n%s", tt.row, text)
			}
		})
	}
}

// TestPartsAreCheckedSeparately: a licence that is allowed for tools is rejected if the binary
// needs the module too.
func TestPartsAreCheckedSeparately(t *testing.T) {
	root := project(t, map[string]string{"LICENSE": gpl})
	tools := part{title: "Tools", dir: ".", lists: [][]string{{"."}}, allowed: []string{"GPL-3.0-or-later"}}
	binary := part{title: "The binary", dir: ".", lists: [][]string{{"."}}, allowed: permissive}
	for _, order := range [][]part{{tools, binary}, {binary, tools}} {
		if _, err := write(root, order); err == nil || strings.Count(err.Error(), "not allowed") != 1 {
			t.Errorf("got %v", err)
		}
	}
}

// TestJudgements: each judgement names its text, its licences and the reason.
func TestJudgements(t *testing.T) {
	for hash, j := range judged {
		if len(hash) != 64 || j.of == "" || j.why == "" || len(j.licences) == 0 {
			t.Errorf("%s: %+v is incomplete", hash, j)
		}
	}
	for path, why := range unlicensed {
		if why == "" {
			t.Errorf("%s: the reason is missing", path)
		}
	}
}

// TestSurveyFails: survey returns an error if go list fails.
func TestSurveyFails(t *testing.T) {
	if _, err := survey(t.TempDir(), [][]string{{"./absent"}}, platforms[:1]); err == nil {
		t.Error("survey of a directory without a module returns no error")
	}
}
