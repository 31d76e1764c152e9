package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// otherClientKey is the API key of the client "other".
const otherClientKey = "another-key-of-the-sandbox"

// accountKeyWorld starts a sandbox, and returns the configurations of a gateway with the sandbox's
// key for account keys, of one with another key, and of one without. They have two clients.
func accountKeyWorld(t *testing.T) (w *sandbox.Sandbox, with, another, without string) {
	t.Helper()
	w = gatewaytest.NewSandboxOn(t, redistest.Start(t), sandbox.Options{})
	hash := sha256.Sum256([]byte(otherClientKey))
	const client, keys = "  apiKeys:\n", "accounts: {keyFile: "
	other := client + "    - {name: other, sha256: " + hex.EncodeToString(hash[:]) + ", scopes: [\"accounts:read\"]}\n"
	file := filepath.Join(t.TempDir(), "account-key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	edited := func(accounts string) string {
		return gatewaytest.EditConfig(t, w, func(text string) string {
			before, _, _ := strings.Cut(strings.Replace(text, client, other, 1), keys)
			return before + accounts
		})
	}
	return w, gatewaytest.ReplaceInConfig(t, w, client, other), edited(keys + "'" + file + "'}\n"), edited("")
}

// accountKeys returns the account keys of a list by account id, and the use of the cache.
func accountKeys(t *testing.T, g *gatewaytest.Process, consent string, header ...string) (keys map[string]string, cacheStatus string) {
	t.Helper()
	resp, body := gatewaytest.Call(t, http.MethodGet, g.API+"/v1/aspsps/"+mastercardsim.WoodBank+"/accounts",
		append(header, "Consent-ID", mastercardsim.FreshConsent+consent)...)
	var list struct {
		Accounts []struct {
			AccountID  string `json:"accountId"`
			AccountKey string `json:"accountKey"`
		} `json:"accounts"`
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != http.StatusOK || len(list.Accounts) == 0 {
		t.Fatalf("%d %s, %v", resp.StatusCode, body, err)
	}
	keys = map[string]string{}
	for _, a := range list.Accounts {
		keys[a.AccountID] = a.AccountKey
	}
	cacheStatus, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Cache-Status"), "ais-gateway; "), ";")
	return keys, cacheStatus
}

// The account keys of the sandbox's client "sandbox" at Wood Bank, computed by another
// implementation, see TestVectors in internal/accountkey.
func sandboxAccountKeys() map[string]string {
	return map[string]string{"account1": "MSVEVljECGN5TQUWP-VaaA", mastercardsim.Account: "jpoEt6kE7FnUradXivuHjQ"}
}

// An account key is the same under two consents, on a hit, and after a restart. It changes with the
// client.
func TestAccountKey(t *testing.T) {
	t.Parallel()
	w, config, _, _ := accountKeyWorld(t)
	g := gatewaytest.Serve(t, config)
	check := func(consent, wantCache string) {
		t.Helper()
		if keys, status := accountKeys(t, g, consent); !maps.Equal(keys, sandboxAccountKeys()) || status != wantCache {
			t.Errorf("%s: %v, %s", consent, keys, status)
		}
	}
	check("first", "fwd=miss")
	check("second", "fwd=miss")
	check("first", "hit")
	others, _ := accountKeys(t, g, "first", "X-API-Key", otherClientKey)
	for id, key := range sandboxAccountKeys() {
		if others[id] == key || len(others[id]) != len(key) {
			t.Errorf("%s has the key %q for one client, and %q for another", id, key, others[id])
		}
	}
	g.Terminate()
	g.Wait()
	g = gatewaytest.Serve(t, config)
	check("first", "hit")
	check("third", "fwd=miss")
	if n := len(w.CallLog.Calls()); n != 4 {
		t.Errorf("%d calls reached the bank, want 4", n)
	}
}

// Gateways with different keys for account keys serve each other's lists, each with its own account
// keys, as while the key is rolled out.
func TestAccountKeysDuringRollout(t *testing.T) {
	t.Parallel()
	w, with, another, without := accountKeyWorld(t)
	gateways := map[string]*gatewaytest.Process{
		"with": gatewaytest.Serve(t, with), "another": gatewaytest.Serve(t, another), "without": gatewaytest.Serve(t, without),
	}
	for writer, g := range gateways {
		if _, status := accountKeys(t, g, writer); status != "fwd=miss" {
			t.Errorf("%s: %s", writer, status)
		}
		for range 2 {
			seen := map[string]bool{}
			for reader, g := range gateways {
				keys, status := accountKeys(t, g, writer)
				key := keys[mastercardsim.Account]
				if status != "hit" || seen[key] || (key == "") != (reader == "without") {
					t.Errorf("%s reads the list of %s: %v, %s", reader, writer, keys, status)
				}
				if seen[key] = true; reader == "with" && !maps.Equal(keys, sandboxAccountKeys()) {
					t.Errorf("%s reads the list of %s: %v", reader, writer, keys)
				}
			}
		}
	}
	if n := len(w.CallLog.Calls()); n != len(gateways) {
		t.Errorf("%d calls reached the bank, want %d", n, len(gateways))
	}
	for name, g := range gateways {
		if log := g.Stdout.String(); strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, sandboxAccountKeys()["account1"]) {
			t.Errorf("%s: %s", name, log)
		}
	}
}

// The key for account keys is read at the start only: another key in its file has no effect when
// secrets are reloaded.
func TestAccountKeyFileIsNotReloaded(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	g := gatewaytest.Serve(t, w.ConfigFile)
	dir := filepath.Dir(w.ConfigFile)
	cacheKey, err := os.ReadFile(filepath.Join(dir, "cache-key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"account-key": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)),
		"cache-key":   fmt.Sprintf("%s\n%s\n", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32)), cacheKey),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the key of the cache is reloaded", func() bool {
		return strings.Contains(g.Stdout.String(), `"msg":"secrets reloaded","part":"cache"`)
	})
	if keys, _ := accountKeys(t, g, "reloaded"); !maps.Equal(keys, sandboxAccountKeys()) {
		t.Errorf("%v", keys)
	}
}
