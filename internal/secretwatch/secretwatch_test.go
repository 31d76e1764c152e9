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

// A rig is a watcher of one part with one file, and what became of its renewals.
type rig struct {
	t       *testing.T
	path    string
	watcher *secretwatch.Watcher
	log     bytes.Buffer
	using   string // what was last taken over
	tried   int
	told    []bool
	before  func() // is done before a renewal reads its file
	after   func() // is done after that
}

func file(t *testing.T, path string) config.File {
	t.Helper()
	var f config.File
	if err := f.UnmarshalText([]byte(path)); err != nil {
		t.Fatal(err)
	}
	return f
}

// started is a rig whose file holds "1". A content with "bad" in it cannot be taken over.
func started(t *testing.T, more ...secretwatch.Secret) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "key"), using: "1", before: func() {}, after: func() {}}
	r.write("1")
	own := file(t, r.path)
	first := secretwatch.Secret{Name: "first", Files: []config.File{own}, Renew: func() error {
		r.tried++
		r.before()
		now, err := own.Again()
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
	told := func(_ context.Context, part string, renewed bool) {
		if part == "first" {
			r.told = append(r.told, renewed)
		}
	}
	r.watcher = secretwatch.New(slog.New(slog.NewJSONHandler(&r.log, nil)), told, append([]secretwatch.Secret{first}, more...))
	return r
}

func (r *rig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) look(times int) {
	for range times {
		r.watcher.Look(r.t.Context())
	}
}

// holds checks what is in use, how often a renewal was tried, and whether the part is stale.
func (r *rig) holds(using string, tried int, stale bool) {
	r.t.Helper()
	if r.using != using || r.tried != tried || len(r.told) != tried || r.watcher.Stale()["first"] != stale {
		r.t.Errorf("in use is %q after %d renewals, %v, stale %v; want %q after %d, stale %v",
			r.using, r.tried, r.told, r.watcher.Stale()["first"], using, tried, stale)
	}
}

func TestWhatStandsIsTakenOverOnce(t *testing.T) {
	r := started(t)
	r.look(3)
	r.holds("1", 0, false)
	r.write("2")
	r.look(1)
	r.holds("1", 0, false) // it could be half written
	r.look(5)
	r.holds("2", 1, false)
	if !r.told[0] || !strings.Contains(r.log.String(), `"secrets reloaded","part":"first"`) {
		t.Errorf("told %v\n%s", r.told, r.log.String())
	}
}

func TestWhatIsBeingWrittenIsLeftAlone(t *testing.T) {
	r := started(t)
	for _, text := range []string{"2 bad", "2 bad half", "2 bad half of it"} {
		r.write(text)
		r.look(1)
	}
	r.write("2")
	r.look(1)
	if err := os.Remove(r.path); err != nil { // between two names
		t.Fatal(err)
	}
	r.look(1)
	r.write("2")
	r.look(1)
	r.holds("1", 0, false)
	r.look(1)
	r.holds("2", 1, false)
	if strings.Contains(r.log.String(), "ERROR") {
		t.Errorf("%s", r.log.String())
	}
}

func TestBrokenStaysOutAndIsLoggedOnce(t *testing.T) {
	r := started(t)
	r.write("bad " + secret)
	r.look(6)
	r.holds("1", 1, true)
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.look(6)
	r.holds("1", 2, true)
	r.write("panic " + secret)
	r.look(6)
	r.holds("1", 3, true)
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
		t.Errorf("what stands in the file is logged\n%s", log)
	}
	r.write("1") // as it was
	r.look(2)
	r.holds("1", 4, false)
}

// What changed while it was read may have been read before or after: it is read again, even if it is then as it was.
func TestChangedWhileItWasRead(t *testing.T) {
	r := started(t)
	r.write("2")
	r.after = func() { r.write("3") }
	r.look(2)
	r.holds("2", 1, false)
	r.look(2)
	r.holds("3", 2, false)
	r.write("4")
	r.before = func() { r.write("5") }
	r.look(2)
	r.holds("5", 3, false)
	r.write("4")
	r.look(2)
	r.holds("4", 4, false)
	r.look(3)
	r.holds("4", 4, false)
}

// Kubernetes swaps a whole directory by a symbolic link that it renames: the file's own link stays as it was.
func TestLinksAreFollowed(t *testing.T) {
	r := started(t)
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
	r.look(2)
	r.holds("..2026_01", 1, false)
	link("..2026_02", "..data_tmp")
	if err := os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")); err != nil {
		t.Fatal(err)
	}
	r.look(2)
	r.holds("..2026_02", 2, false)
}

// A part that cannot be renewed is no reason for another not to be.
func TestPartsAreApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed := 0
	r := started(t,
		secretwatch.Secret{Name: "broken", Files: []config.File{file(t, path)}, Renew: func() error { return errors.New("is broken") }},
		secretwatch.Secret{Name: "second", Files: []config.File{file(t, path)}, Renew: func() error { renewed++; return nil }})
	if err := os.WriteFile(path, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.look(3)
	r.holds("1", 0, false)
	if stale := r.watcher.Stale(); renewed != 1 || !stale["broken"] || stale["second"] || len(stale) != 3 {
		t.Errorf("renewed %d times, stale %v", renewed, stale)
	}
	if !strings.Contains(r.log.String(), `"part":"broken","faults":["is broken"]`) {
		t.Errorf("%s", r.log.String())
	}
}

// Run looks by itself, and ends.
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
