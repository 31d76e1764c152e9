// Package recipes tests targets of the Makefile with inputs for which they must fail, and with
// inputs for which they must succeed.
package recipes

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// run runs make with the project's Makefile in a directory, without the environment variables of an
// outer make. It returns the output.
func run(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	makefile, err := filepath.Abs(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", append([]string{"--no-print-directory", "-f", makefile}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write writes files below a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// expect fails the test unless the output contains each text in want and err is not nil as fails
// says.
func expect(t *testing.T, out string, err error, fails bool, want ...string) {
	t.Helper()
	if (err != nil) != fails {
		t.Errorf("got %v, want it to fail: %v\n%s", err, fails, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("%q is missing in\n%s", text, out)
		}
	}
}

// TestCoverage: `make coverage` fails if a package is below the minimum or not in the profile.
func TestCoverage(t *testing.T) {
	const profile = `mode: atomic
ais-gateway/a/x.go:1.1,2.2 17 3
ais-gateway/a/y.go:1.1,2.2 3 0
ais-gateway/a/b/x.go:1.1,2.2 8499 1
ais-gateway/a/b/x.go:3.1,4.2 1501 0
`
	tests := []struct {
		name, profile, packages, want string
		fails                         bool
	}{
		{name: "at the minimum", profile: profile, packages: "a", want: " 85.0 %  a\n"},
		{name: "below the minimum", profile: profile, packages: "a a/b", want: " 84.9 %  a/b\na/b: its own tests cover less than 85 %", fails: true},
		{name: "missing", profile: profile, packages: "a c", want: "c: not in the profile", fails: true},
		{name: "not a profile", profile: "x", packages: "a", want: "not a line of a profile: x", fails: true},
		{name: "empty", packages: "a", want: "a: not in the profile", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cover.out")
			if err := os.WriteFile(file, []byte(tt.profile), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := run(t, root, "coverage", "PROFILE="+file, "COVERED="+tt.packages)
			expect(t, out, err, tt.fails, tt.want)
		})
	}
}

// small is a scan of the smallest package of the gateway with a dependency, because to scan
// everything takes a minute.
const small = "'. -tags nomsgpack ./internal/canonical'"

// TestVuln: govulncheck scans this code with the database in VULNDB. The databases are fictional,
// and name a function that internal/canonical calls, in the version of go.mod.
func TestVuln(t *testing.T) {
	tests := []struct {
		name, db string
		want     []string
		fails    bool
	}{
		{
			name: "a function that is called", db: "called", fails: true,
			want: []string{"2026-01-01T00:00:00Z", "GO-0000-0001", "Found in: github.com/google/uuid@v", "calls uuid.Validate"},
		},
		{name: "a function that is not called", db: "uncalled", want: []string{"Your code is affected by 0 vulnerabilities", "1 vulnerability in packages you import"}},
		{name: "versions that are not used", db: "older", want: []string{"No vulnerabilities found."}},
		{name: "a database without vulnerabilities", db: "empty", want: []string{"2026-01-01T00:00:00Z", "No vulnerabilities found."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := run(t, root, "vuln", "VULNDB=tools/recipes/testdata/"+tt.db, "SCANS="+small)
			expect(t, out, err, tt.fails, tt.want...)
		})
	}
}

// TestVulnByURL: the database may be a URL, and scans continue after one that fails.
func TestVulnByURL(t *testing.T) {
	files := http.FileServer(http.Dir("testdata/called"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := httptest.NewRecorder()
		r.URL.Path = strings.TrimSuffix(r.URL.Path, ".gz")
		files.ServeHTTP(plain, r)
		w.WriteHeader(plain.Code)
		packed := gzip.NewWriter(w)
		defer packed.Close()
		_, _ = io.Copy(packed, plain.Body)
	}))
	defer server.Close()
	out, err := run(t, root, "vuln", "VULNDB="+server.URL, "SCANS='. ./absent' "+small)
	expect(t, out, err, true, "absent", "calls uuid.Validate")
}

// TestVulnNeedsADatabase: `make vuln` fails without a valid database, with which govulncheck would
// find nothing.
func TestVulnNeedsADatabase(t *testing.T) {
	dir := t.TempDir()
	const dated = `{"modified":"2026-01-01T00:00:00Z"}`
	write(t, dir, map[string]string{
		"good/index/db.json": dated, "good/index/modules.json": `[{"path":"a"}]`,
		"undated/index/db.json": `{}`, "undated/index/modules.json": `[]`,
		"half/index/db.json": dated,
		"page/index/db.json": `<html>`, "page/index/modules.json": `<html>`,
		"bare/GO-0000-0001.json": `{}`,
	})
	for _, db := range []string{"", dir + "/absent", "file://" + dir + "/absent", dir + "/half", dir + "/bare", dir + "/undated", dir + "/page"} {
		t.Run(filepath.Base(db), func(t *testing.T) {
			out, err := run(t, root, "vuln", "VULNDB="+db, "SCANS=")
			expect(t, out, err, true, "no database of vulnerabilities in '"+strings.TrimPrefix(db, "file://")+"'")
		})
	}
	for _, db := range []string{dir + "/good", "file://" + dir + "/good", "https://u:p@db.example/v1"} {
		out, err := run(t, root, "vuln", "VULNDB="+db, "SCANS=")
		expect(t, out, err, false)
		if strings.Contains(out, "u:p") {
			t.Errorf("the password of the URL is printed: %s", out)
		}
	}
}

// TestReproducible: `make reproducible` fails if two builds differ or a build fails.
func TestReproducible(t *testing.T) {
	const flags = "CGO_ENABLED=0 go build -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/gateway "
	tests := []struct {
		name, recipe, want string
		fails              bool
	}{
		{name: "paths are trimmed", recipe: flags + "-trimpath ./cmd/gateway", want: "both builds of v1.2.3 are the same"},
		{name: "paths are kept", recipe: flags + "./cmd/gateway", want: "differ", fails: true},
		{name: "the zone is stamped", recipe: "mkdir -p bin && echo $$TZ >bin/gateway", want: "differ", fails: true},
		{name: "nothing is built", recipe: "true", want: "No such file", fails: true},
		{name: "it cannot be built", recipe: "echo no compiler; false", want: "no compiler", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{
				"go.mod":              "module sample\n\ngo 1.26.0\n",
				"tools/go.mod":        "module sample/tools\n\ngo 1.26.0\n",
				"cmd/gateway/main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
				"Makefile":            "build:\n\t" + tt.recipe + "\n",
				"bin/gateway":         "of another build\n",
			})
			out, err := run(t, dir, "reproducible", "VERSION=v1.2.3", "SHARECACHE=yes")
			expect(t, out, err, tt.fails, tt.want)
		})
	}
}

// TestBuild: `make build` has the flags without which `make reproducible`, which takes minutes,
// would fail.
func TestBuild(t *testing.T) {
	out, err := run(t, root, "-n", "build", "VERSION=v1.2.3")
	expect(t, out, err, false, "CGO_ENABLED=0 ", " -trimpath ", "main.version=v1.2.3")
}
