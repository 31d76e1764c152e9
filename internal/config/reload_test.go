package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
)

// loaded returns a configuration that was loaded from a file in dir, with its cache key in another
// file of dir.
func loaded(t *testing.T) (c *config.Config, dir string) {
	t.Helper()
	dir = writeFiles(t, map[string]string{"cache": keyLine(1)})
	put(t, dir, "gateway.yaml", minimal+"cache: {encryptionKeyFile: "+dir+"/cache}\n")
	c, err := config.Load(filepath.Join(dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	rename := writeFiles(t, map[string]string{name: content})
	if err := os.Rename(filepath.Join(rename, name), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// Reload uses the text of the start and the current content of other files.
func TestReload(t *testing.T) {
	t.Parallel()
	c, dir := loaded(t)
	put(t, dir, "gateway.yaml", "server: {address: ':1'}")
	put(t, dir, "cache", keyLine(2)+"\n"+keyLine(1))
	again, err := c.Reload()
	if err != nil {
		t.Fatal(err)
	}
	if keys := again.Cache.Keys(); len(keys) != 2 || keys[0][0] != 2 || again.Server.Address != c.Server.Address {
		t.Errorf("keys %v, address %s", keys, again.Server.Address)
	}
	if keys := c.Cache.Keys(); len(keys) != 1 || keys[0][0] != 1 {
		t.Errorf("the first configuration has changed: %v", keys)
	}
	if diff := cmp.Diff(c.ASPSPs, again.ASPSPs, sameConfig); diff != "" || again.Source().Path() != c.Source().Path() {
		t.Errorf("ASPSPs (-before +after):\n%s\nsource %s", diff, again.Source())
	}
	put(t, dir, "cache", "short")
	if _, err = again.Reload(); err == nil || err.Error() != "cache.encryptionKeyFile (line 12): line 1 must be 32 bytes in base64" {
		t.Errorf("error is %v", err)
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	c, dir := loaded(t)
	if c.Source().Path() != filepath.Join(dir, "gateway.yaml") || !strings.HasPrefix(string(c.Source().Content()), minimal) {
		t.Errorf("source is %s", c.Source())
	}
	put(t, dir, "gateway.yaml", "# new")
	now, err := c.Source().Reload()
	if err != nil || string(now.Content()) != "# new" || string(c.Source().Content()) == "# new" {
		t.Errorf("%q, %v", now.Content(), err)
	}
	if mustRead(t, minimal).Source().Given() {
		t.Error("a configuration from a text has a source")
	}
}

func TestEqualExceptAPIKeys(t *testing.T) {
	t.Parallel()
	before := mustRead(t, minimal)
	for _, tt := range []struct {
		name, old, new string
		same           bool
	}{
		{"comment", "providers:", "# why\nproviders:", true},
		{"key's name", "name: a,", "name: b,", true},
		{"key's scopes", "scopes: [accounts:read]", "scopes: [accounts:read, balances:read]", true},
		{"another key", "  apiKeys:\n", "  apiKeys:\n    - {name: c, sha256: " + strings.Repeat("a", 64) + ", scopes: [accounts:read]}\n", true},
		{"a provider's URL", "localhost:9000", "localhost:9001", false},
		{"a bank's name", "Wood", "Stone", false},
		{"another section", "redis:", "psu: {allowPrivateIP: true}\nredis:", false},
	} {
		after := mustRead(t, strings.Replace(minimal, tt.old, tt.new, 1))
		if got := before.EqualExceptAPIKeys(after); got != tt.same {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestFilteredFaults(t *testing.T) {
	t.Parallel()
	all := config.Faults{{Path: "a"}, {Path: "a.b"}, {Path: "ab"}, {Path: "a[0]"}, {Path: ""}, {Path: "c.keyFile"}, {Path: "a.keyFile"}}
	paths := func(faults config.Faults) string {
		var all []string
		for _, f := range faults {
			all = append(all, f.Path)
		}
		return strings.Join(all, " ")
	}
	if got := paths(config.FaultsUnder(all, "a")); got != "a a.b a[0] a.keyFile" {
		t.Errorf("faults under a: %s", got)
	}
	if got := paths(config.WithoutSecretFiles(all)); got != "a a.b ab a[0] " {
		t.Errorf("without secret files: %s", got)
	}
	if len(all) != 7 || all[6].Path != "a.keyFile" {
		t.Errorf("the argument has changed to %v", all)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	one, two := config.InMemoryFile([]byte("1")), config.InMemoryFile([]byte("2"))
	type inner struct{ KeyFile config.File }
	part := struct {
		Name    string
		First   config.File
		None    config.File
		Pointer *inner
		Nothing *inner
		List    []inner
	}{First: one, Pointer: &inner{two}, List: []inner{{one}, {}}}
	var got []string
	for _, f := range config.Files(&part) {
		got = append(got, string(f.Content()))
	}
	if diff := cmp.Diff([]string{"1", "2", "1"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
