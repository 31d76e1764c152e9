package auth_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

func sum(key string) string {
	s := sha256.Sum256([]byte(key))
	return hex.EncodeToString(s[:])
}

func keyed(keys ...config.APIKey) *auth.Authenticator {
	return auth.New(auth.Config{Clients: config.Clients{APIKeys: keys}, Now: time.Now})
}

func TestKeys(t *testing.T) {
	all := keyed(
		config.APIKey{Name: "first", SHA256: config.Hashes{sum("one")}, Scopes: []string{config.ScopeAccounts}},
		config.APIKey{Name: "second", SHA256: config.Hashes{strings.ToUpper(sum("two"))}, Scopes: []string{config.ScopeBalances}},
		config.APIKey{Name: "empty", SHA256: config.Hashes{sum("")}},
		config.APIKey{Name: "rotating", SHA256: config.Hashes{sum("old"), strings.ToUpper(sum("new"))}},
	)
	for shown, want := range map[string]string{
		"one": "first", "two": "second", "old": "rotating", "new": "rotating", "oldnew": "", "": "", "on": "", "One": "", "one ": "", sum("one"): "", "a.b.c": "",
	} {
		for _, bearer := range []bool{false, true} {
			c, err := all.Authenticate(t.Context(), auth.Credential{Text: canonical.Secret(shown), Bearer: bearer})
			if c.Name != want || c.ID != want || (err == nil) != (want != "") {
				t.Errorf("%q is %+v, %v", shown, c, err)
			}
			if want == "" && kind(err) != canonical.Unauthenticated {
				t.Errorf("%q: %v", shown, err)
			}
			if want == "first" && (!c.May(config.ScopeAccounts) || c.May(config.ScopeBalances)) {
				t.Errorf("it may %v", c.Scopes)
			}
		}
	}
}

// TestConcurrentSetKeys replaces the keys during requests: a request sees the old keys or the new
// ones, so that a key in both is always accepted.
func TestConcurrentSetKeys(t *testing.T) {
	generation := func(n int) []config.APIKey {
		return []config.APIKey{
			{Name: fmt.Sprint("of-", n), SHA256: config.Hashes{sum(fmt.Sprint("key-", n))}},
			{Name: "always", SHA256: config.Hashes{sum("always")}, Scopes: []string{config.ScopeAccounts}},
		}
	}
	all := keyed(generation(0)...)
	ask := func(key string) (auth.Client, error) {
		return all.Authenticate(context.Background(), auth.Credential{Text: canonical.Secret(key)})
	}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, err := ask("always"); err != nil || c.Name != "always" || !c.May(config.ScopeAccounts) {
					t.Errorf("a key that stays is %+v, %v", c, err)
					return
				}
			}
		})
	}
	for n := 1; n <= 100; n++ {
		all.SetKeys(generation(n))
		if c, err := ask(fmt.Sprint("key-", n)); err != nil || c.ID != fmt.Sprint("of-", n) {
			t.Errorf("the new key is %+v, %v", c, err)
		}
		if _, err := ask(fmt.Sprint("key-", n-1)); kind(err) != canonical.Unauthenticated {
			t.Errorf("the old key: %v", err)
		}
	}
	close(stop)
	asking.Wait()
	all.SetKeys(nil)
	if _, err := ask("always"); kind(err) != canonical.Unauthenticated {
		t.Errorf("without keys: %v", err)
	}
}
