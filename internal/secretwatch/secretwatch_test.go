package secretwatch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ais-gateway/internal/config"
	"ais-gateway/internal/secretwatch"
)

const secret = "CANARY-SECRET"

// fixture has a Watcher of one secret with one file, and records its renewals.
type fixture struct {
	t       *testing.T
	path    string
	watcher *secretwatch.Watcher
	log     bytes.Buffer
	using   string // the content that was last renewed
	tried   int
	results []bool
	before  func() // called before Renew reads the file
	after   func() // called after that
}

func file(t *testing.T, path string) config.File {
	t.Helper()
	var f config.File
	if err := f.UnmarshalText([]byte(path)); err != nil {
		t.Fatal(err)
	}
	return f
}

// newFixture returns a fixture whose file contains "1". Renew fails for content with "bad" in it.
func newFixture(t *testing.T, more ...secretwatch.Secret) *fixture {
	t.Helper()
	r := &fixture{t: t, path: filepath.Join(t.TempDir(), "key"), using: "1", before: func() {}, after: func() {}}
	r.write("1")
	own := file(t, r.path)
	first := secretwatch.Secret{Name: "first", Files: []config.File{own}, Renew: func() error {
		r.tried++
		r.before()
		now, err := own.Reload()
		r.after()
		r.before, r.after = func() {}, func() {}
		switch text := string(now.Content()); {
		case err != nil:
			return err
		case strings.Contains(text, "panic"):
			panic(secret)
		case strings.Contains(text, "bad"):
			return config.Faults{{Path: "first.keyFile", Line: 3, Detail: "names a bad file"}}
		default:
			r.using = text
			return nil
		}
	}}
	onRenew := func(_ context.Context, part string, renewed bool) {
		if part == "first" {
			r.results = append(r.results, renewed)
		}
	}
	r.watcher = secretwatch.New(slog.New(slog.NewJSONHandler(&r.log, nil)), onRenew, append([]secretwatch.Secret{first}, more...))
	return r
}

func (r *fixture) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *fixture) check(times int) {
	for range times {
		r.watcher.Check(r.t.Context())
	}
}

// expect checks the content in use, the number of renewals, and whether the secret is stale.
func (r *fixture) expect(using string, tried int, stale bool) {
	r.t.Helper()
	if r.using != using || r.tried != tried || len(r.results) != tried || r.watcher.Stale()["first"] != stale {
		r.t.Errorf("in use is %q after %d renewals, %v, stale %v; want %q after %d, stale %v",
			r.using, r.tried, r.results, r.watcher.Stale()["first"], using, tried, stale)
	}
}

func TestChangedFileIsReloadedOnce(t *testing.T) {
	r := newFixture(t)
	r.check(3)
	r.expect("1", 0, false)
	r.write("2")
	r.check(1)
	r.expect("1", 0, false) // the file could be half written
	r.check(5)
	r.expect("2", 1, false)
	if !r.results[0] || !strings.Contains(r.log.String(), `"secrets reloaded","part":"first"`) {
		t.Errorf("results %v\n%s", r.results, r.log.String())
	}
}

func TestPartialWritesAreIgnored(t *testing.T) {
	r := newFixture(t)
	for _, text := range []string{"2 bad", "2 bad half", "2 bad half of it"} {
		r.write(text)
		r.check(1)
	}
	r.write("2")
	r.check(1)
	if err := os.Remove(r.path); err != nil { // as between two renames
		t.Fatal(err)
	}
	r.check(1)
	r.write("2")
	r.check(1)
	r.expect("1", 0, false)
	r.check(1)
	r.expect("2", 1, false)
	if strings.Contains(r.log.String(), "ERROR") {
		t.Errorf("%s", r.log.String())
	}
}

func TestInvalidFileIsLoggedOnce(t *testing.T) {
	r := newFixture(t)
	r.write("bad " + secret)
	r.check(6)
	r.expect("1", 1, true)
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.check(6)
	r.expect("1", 2, true)
	r.write("panic " + secret)
	r.check(6)
	r.expect("1", 3, true)
	log := r.log.String()
	if n := strings.Count(log, `"secret reload failed, still using the previous secret"`); n != 3 {
		t.Errorf("%d lines for 3 changes\n%s", n, log)
	}
	for _, want := range []string{`"level":"ERROR"`, `"part":"first"`, `"faults":["first.keyFile (line 3): names a bad file"]`, `does not exist`, `panicked`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in\n%s", want, log)
		}
	}
	if strings.Contains(log, secret) {
		t.Errorf("the content of the file is logged\n%s", log)
	}
	r.write("1") // as at first
	r.check(2)
	r.expect("1", 4, false)
}

// If the file changes while Renew reads it, Renew may have read either content, and is called again
// even if the file then has its earlier content.
func TestFileChangesDuringReload(t *testing.T) {
	r := newFixture(t)
	r.write("2")
	r.after = func() { r.write("3") }
	r.check(2)
	r.expect("2", 1, false)
	r.check(2)
	r.expect("3", 2, false)
	r.write("4")
	r.before = func() { r.write("5") }
	r.check(2)
	r.expect("5", 3, false)
	r.write("4")
	r.check(2)
	r.expect("4", 4, false)
	r.check(3)
	r.expect("4", 4, false)
}

// Kubernetes swaps a whole directory by renaming a symbolic link. The link of the file itself does
// not change.
func TestSymlinkSwap(t *testing.T) {
	r := newFixture(t)
	volume := t.TempDir()
	link := func(old, name string) {
		t.Helper()
		if err := os.Symlink(old, filepath.Join(volume, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"..2026_01", "..2026_02"} {
		if err := os.Mkdir(filepath.Join(volume, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(volume, dir, "key"), []byte(dir), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link("..2026_01", "..data")
	link("..data/key", "key")
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(volume, "key"), r.path); err != nil {
		t.Fatal(err)
	}
	r.check(2)
	r.expect("..2026_01", 1, false)
	link("..2026_02", "..data_tmp")
	if err := os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")); err != nil {
		t.Fatal(err)
	}
	r.check(2)
	r.expect("..2026_02", 2, false)
}

// A secret that cannot be renewed does not stop the renewal of another one.
func TestSecretsAreIndependent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed := 0
	r := newFixture(t,
		secretwatch.Secret{Name: "broken", Files: []config.File{file(t, path)}, Renew: func() error { return errors.New("is broken") }},
		secretwatch.Secret{Name: "second", Files: []config.File{file(t, path)}, Renew: func() error { renewed++; return nil }})
	if err := os.WriteFile(path, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.check(3)
	r.expect("1", 0, false)
	if stale := r.watcher.Stale(); renewed != 1 || !stale["broken"] || stale["second"] || len(stale) != 3 {
		t.Errorf("renewed %d times, stale %v", renewed, stale)
	}
	if !strings.Contains(r.log.String(), `"part":"broken","faults":["is broken"]`) {
		t.Errorf("%s", r.log.String())
	}
}

// Run checks periodically, and returns when its context ends.
func TestRun(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed := make(chan struct{})
	w := secretwatch.New(slog.New(slog.DiscardHandler), func(context.Context, string, bool) { close(renewed) },
		[]secretwatch.Secret{{Name: "p", Files: []config.File{file(t, path)}, Renew: func() error { return nil }}})
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	if err := os.WriteFile(path, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-renewed
	end()
	<-ended
}
