// Vuln looks for known vulnerabilities in the gateway, in its tests and in its tools: govulncheck does it, at the
// version that go.mod has, with a database that is given. `make vuln` calls it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

// A scan is one run of govulncheck.
type scan struct {
	of   string   // what is looked at
	dir  string   // its module, from the project's root
	args []string // as govulncheck takes them
}

// scans is everything that is built here, what is shipped before the rest.
var scans = []scan{
	{of: "the gateway", dir: ".", args: []string{"-tags", "nomsgpack", "./cmd/gateway"}},
	{of: "the gateway's tests", dir: ".", args: []string{"-tags", "nomsgpack,measure", "-test", "./..."}},
	{of: "the tools", dir: "tools", args: []string{"./...", "tool"}},
	{of: "the image's tool", dir: "tools/image", args: []string{"-test", "./..."}},
}

const missing = `no database of vulnerabilities is named: give a directory or a URL, as in
  make vuln VULNDB=/srv/vulndb
of the form that Go's own has: index/db.json, index/modules.json and ID/GO-*.json, behind a URL each with .gz`

func main() {
	root := flag.String("root", "..", "the project's `directory`")
	db := flag.String("db", "", "the `database`: a directory, from the project's root, or a URL")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *root, *db, scans); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

// run does every scan, whatever the others found, and is an error unless all are clean.
func run(ctx context.Context, out io.Writer, root, db string, scans []scan) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	source, about, err := locate(root, db)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the database:", about)
	var faults []error
	for _, s := range scans {
		fmt.Fprintf(out, "\n%s:\n", s.of)
		// of the tools' module, so that its go.mod says which govulncheck
		cmd := exec.CommandContext(ctx, "go", append([]string{
			"-C", filepath.Join(root, "tools"), "tool", "govulncheck",
			"-C", filepath.Join(root, s.dir), "-db", source,
		}, s.args...)...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.of, err))
		}
	}
	return errors.Join(faults...)
}

// locate is the database's URL, and what is known of it before it is asked.
func locate(root, db string) (source, about string, err error) {
	if db == "" {
		return "", "", errors.New(missing)
	}
	at, err := url.Parse(db)
	if err == nil && (at.Scheme == "http" || at.Scheme == "https") {
		return db, at.Redacted(), nil
	}
	dir := db
	if err == nil && at.Scheme == "file" {
		dir = at.Path
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	about, err = describe(dir)
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String(), about, err
}

// describe reads the indexes of a database in a directory. It is an error where they are not there: govulncheck takes
// any directory for a database, and finds nothing with an empty one.
func describe(dir string) (string, error) {
	var meta struct{ Modified time.Time }
	var modules []struct{ Path string }
	for name, into := range map[string]any{"db.json": &meta, "modules.json": &modules} {
		text, err := os.ReadFile(filepath.Join(dir, "index", name))
		if err != nil {
			return "", fmt.Errorf("no database of vulnerabilities: %w", err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			return "", fmt.Errorf("index/%s of the database: %w", name, err)
		}
	}
	if meta.Modified.IsZero() {
		return "", errors.New("index/db.json of the database does not say when it was modified")
	}
	return fmt.Sprintf("%d modules, as of %s", len(modules), meta.Modified.UTC().Format(time.RFC3339)), nil
}
