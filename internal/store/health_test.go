package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

// permissions returns the permissions that docs/operations.md grants to the gateway's user.
func permissions(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?s)ACL SETUSER ais on >PASSWORD ~ais:1:\* resetchannels -@all (.*?)\n *` + "```").FindSubmatch(page)
	if line == nil {
		t.Fatal("docs/operations.md has no line for Redis's users")
	}
	return strings.Fields(string(line[1]))
}

// TestPermissionsOfScripts: the documented permissions are the commands of the scripts, and those
// with which the gateway connects, runs scripts and reads the state of Redis.
func TestPermissionsOfScripts(t *testing.T) {
	t.Parallel()
	want := []string{"+auth", "+eval", "+evalsha", "+hello", "+info", "+wait"}
	files, err := filepath.Glob("../*/*.lua")
	below, errBelow := filepath.Glob("../*/*/*.lua")
	if err != nil || errBelow != nil || len(files) == 0 || len(below) == 0 {
		t.Fatal("there are no scripts", err, errBelow)
	}
	files = append(files, below...)
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`call\('([A-Z]+)'`).FindAllStringSubmatch(string(script), -1) {
			want = append(want, "+"+strings.ToLower(call[1]))
		}
	}
	slices.Sort(want)
	got := permissions(t)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("permissions in docs/operations.md (-scripts +page):\n%s", diff)
	}
}

// TestHealthPermissions checks that the documented permissions are sufficient and that each of them
// is required.
func TestHealthPermissions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	health := func(username, password string, rules ...string) store.State {
		t.Helper()
		args := []any{"ACL", "SETUSER", "ais", "reset", "on", ">open sesame"}
		for _, rule := range rules {
			args = append(args, rule)
		}
		if err := server.Do(args...).Err(); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(config.Redis{
			Mode: config.Standalone, Addresses: []string{server.Addr}, Username: username, PasswordFile: config.InMemoryFile([]byte(password)),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Health(t.Context()).State
	}
	all := append(permissions(t), "~ais:1:*")
	if got := health("ais", "open sesame", all...); got != store.Usable {
		t.Errorf("with all permissions: %s", got)
	}
	// AUTH and HELLO need no permission, WAIT is only for redis.waitReplicas, and without INFO only warnings are missing.
	optional := []string{"+auth", "+hello", "+wait", "+info"}
	for i, missing := range all {
		got := health("ais", "open sesame", slices.Delete(slices.Clone(all), i, i+1)...)
		want := store.NoPermission
		if slices.Contains(optional, missing) {
			want = store.Usable
		}
		if got != want {
			t.Errorf("without %s: %s, want %s", missing, got, want)
		}
	}
	if got := health("ais", "open sesame", append(slices.Clone(all), "resetkeys", "~other:*")...); got != store.NoPermission {
		t.Errorf("without the keys: %s", got)
	}
	for name, password := range map[string]string{"ais": "open barley", "nobody": "open sesame"} {
		if got := health(name, password, all...); got != store.AuthFailed {
			t.Errorf("%s with %q: %s", name, password, got)
		}
	}
	if err := server.Do("CONFIG", "SET", "requirepass", "open sesame").Err(); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenWithin(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Health(t.Context()).State; got != store.AuthFailed {
		t.Errorf("without credentials: %s", got)
	}
}
