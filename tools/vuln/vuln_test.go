package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// small is the gateway's smallest package with a dependency: all of them take a minute.
var small = []scan{{of: "a package", dir: ".", args: []string{"-tags", "nomsgpack", "./internal/canonical"}}}

// TestRun holds that govulncheck is run, with the database that is given, on this code: its databases are invented, the
// function is one that internal/canonical calls, of the version that go.mod has.
func TestRun(t *testing.T) {
	tests := []struct {
		name, db string
		said     []string
		err      string
	}{
		{
			name: "a function that is called", db: "called", err: "a package: exit status 3",
			said: []string{"the database: 1 modules, as of 2026-01-01T00:00:00Z", "GO-0000-0001", "Found in: github.com/google/uuid@v", "calls uuid.Validate"},
		},
		{name: "a function that is not called", db: "uncalled", said: []string{"Your code is affected by 0 vulnerabilities", "1 vulnerability in packages you import"}},
		{name: "versions that are not used", db: "older", said: []string{"No vulnerabilities found."}},
		{name: "nothing is known", db: "empty", said: []string{"the database: 0 modules", "No vulnerabilities found."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), &out, "../..", filepath.Join("tools/vuln/testdata", tt.db), small)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			for _, want := range tt.said {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not said:\n%s", want, out.String())
				}
			}
		})
	}
}

// TestRunByURL holds that the database may stand behind a URL, and that all scans are done although one fails.
func TestRunByURL(t *testing.T) {
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
	var out strings.Builder
	err := run(t.Context(), &out, "../..", server.URL, []scan{small[0], {of: "nothing", dir: ".", args: []string{"./absent"}}})
	if err == nil || err.Error() != "a package: exit status 3\nnothing: exit status 1" {
		t.Errorf("got %v:\n%s", err, out.String())
	}
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good/index/db.json", `{"modified":"2026-01-01T00:00:00Z"}`)
	write("good/index/modules.json", `[{"path":"a"},{"path":"b"}]`)
	write("undated/index/db.json", `{}`)
	write("undated/index/modules.json", `[]`)
	write("half/index/db.json", `{"modified":"2026-01-01T00:00:00Z"}`)
	write("page/index/db.json", `<html>`)
	write("page/index/modules.json", `<html>`)
	write("bare/GO-0000-0001.json", `{}`)
	tests := []struct{ name, db, source, about, err string }{
		{name: "from the root", db: "good", source: "file://" + dir + "/good", about: "2 modules, as of 2026-01-01T00:00:00Z"},
		{name: "absolute", db: dir + "/good", source: "file://" + dir + "/good", about: "2 modules, as of 2026-01-01T00:00:00Z"},
		{name: "a file's URL", db: "file://" + dir + "/good", source: "file://" + dir + "/good", about: "2 modules, as of 2026-01-01T00:00:00Z"},
		{name: "a URL", db: "https://u:p@db.example/v1", source: "https://u:p@db.example/v1", about: "https://u:xxxxx@db.example/v1"},
		{name: "none", err: "no database of vulnerabilities is named"},
		{name: "nowhere", db: "absent", err: "no such file"},
		{name: "a URL of nothing", db: "file://" + dir + "/absent", err: "no such file"},
		{name: "no modules", db: "half", err: "no such file"},
		{name: "no index", db: "bare", err: "no such file"},
		{name: "no date", db: "undated", err: "does not say when"},
		{name: "no JSON", db: "page", err: "invalid character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source, about, err := locate(dir, tt.db)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if err == nil && (source != tt.source || about != tt.about) {
				t.Errorf("got %q, %q", source, about)
			}
		})
	}
}
