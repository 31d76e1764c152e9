package auth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"

	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/issuertest"
)

const (
	minRefreshInterval = 3 * time.Second // between two fetches of keys
	maxAge             = 10 * time.Minute
)

// eventually waits until condition returns true, for effects that follow a request in the
// background.
func eventually(t *testing.T, description string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout waiting until %s", description)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	r := newFixture(t)
	old := r.Token(map[string]any{"exp": r.Now().Add(24 * time.Hour).Unix()})
	r.accepts(t, old)
	r.Add(jwa.ES256())
	young := r.Token(map[string]any{"exp": r.Now().Add(24 * time.Hour).Unix()})
	r.refuses(t, young, canonical.Unauthenticated) // the keys were fetched just now
	r.advance(minRefreshInterval)
	r.accepts(t, young)
	r.accepts(t, old)
	if n := r.KeyRequests(); n != 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
	r.RemoveOldKeys()
	r.advance(maxAge - time.Second)
	r.accepts(t, young)
	r.advance(time.Second)
	r.refuses(t, old, canonical.Unauthenticated)
	r.accepts(t, young)
}

func TestKeysWithoutID(t *testing.T) {
	r := newFixture(t)
	unnamed := func() string {
		k := issuertest.CopyKey(t, r.Signer(), "", jwa.ES256())
		return issuertest.Sign(t, k, issuertest.Marshal(t, r.Claims(nil)))
	}
	r.accepts(t, unnamed())
	r.Add(jwa.ES256())
	r.RemoveOldKeys()
	r.refuses(t, unnamed(), canonical.Unauthenticated)
	r.advance(minRefreshInterval)
	r.accepts(t, unnamed())
}

// TestIssuerDown starts with an unreachable issuer, which then becomes reachable and unreachable
// again. Its keys stay known.
func TestIssuerDown(t *testing.T) {
	r := newFixture(t)
	r.Down()
	r.refuses(t, r.Token(nil), canonical.Overloaded)
	r.refuses(t, r.Token(map[string]any{"aud": "elsewhere"}), canonical.Unauthenticated)
	r.accepts(t, apiKey)
	r.Handle(nil)
	r.refuses(t, r.Token(nil), canonical.Overloaded) // it was tried just now
	r.advance(minRefreshInterval)
	r.accepts(t, r.Token(nil))

	r.Down()
	for range 5 {
		r.advance(maxAge)
		r.accepts(t, r.Token(nil))
	}
	r.Add(jwa.ES256())
	r.refuses(t, r.Token(nil), canonical.Overloaded)
	r.Handle(nil)
	r.advance(minRefreshInterval)
	eventually(t, "the new key is known", func() bool {
		r.advance(minRefreshInterval)
		_, err := r.authenticate(r.Token(nil))
		return err == nil
	})
	for _, msg := range []string{`"msg":"cannot fetch issuer keys","issuer":"clients.oidc[0]","cause":"unreachable"`, `"msg":"issuer keys available again"`} {
		if n := strings.Count(r.log.String(), msg); n != 2 {
			t.Errorf("%s occurs %d times in\n%s", msg, n, r.log)
		}
	}
}

// TestForgedKeys sends tokens with unknown key ids: keys are fetched once per minimum interval, and
// valid tokens are still accepted.
func TestForgedKeys(t *testing.T) {
	r := newFixture(t)
	good := r.Token(nil)
	r.accepts(t, good)
	for round := range 3 {
		r.advance(minRefreshInterval)
		var asking sync.WaitGroup
		for caller := range 10 {
			asking.Go(func() {
				for n := range 10 {
					k := issuertest.CopyKey(t, r.Signer(), fmt.Sprint("forged-", round, caller, n), jwa.ES256())
					r.refuses(t, issuertest.Sign(t, k, issuertest.Marshal(t, r.Claims(nil))), canonical.Unauthenticated)
					r.accepts(t, good)
				}
			})
		}
		asking.Wait()
		if n := r.KeyRequests(); n != 2+round {
			t.Errorf("after %d rounds the keys were fetched %d times", round+1, n)
		}
	}
	// an invalid signature of a known key causes no fetch
	r.advance(minRefreshInterval)
	r.refuses(t, good[:len(good)-6]+"AAAAAA", canonical.Unauthenticated)
	if n := r.KeyRequests(); n != 4 {
		t.Errorf("an invalid signature caused a fetch: %d", n)
	}
}

// TestKeysAreFetchedOnce has many requests wait for the first fetch.
func TestKeysAreFetchedOnce(t *testing.T) {
	r := newFixture(t)
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	r.Handle(func(w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		<-release
		r.serve(w, req)
	})
	var asking sync.WaitGroup
	var accepted atomic.Int64
	for range 50 {
		asking.Go(func() {
			if _, err := r.authenticate(r.Token(nil)); err == nil {
				accepted.Add(1)
			}
		})
	}
	<-arrived
	close(release)
	asking.Wait()
	if r.KeyRequests() != 1 {
		t.Errorf("the keys were fetched %d times", r.KeyRequests())
	}
	if accepted.Load() == 0 { // on a slow machine some may have timed out
		t.Error("nobody was let in")
	}
}

// serve responds like the issuer, for a front that delays or changes only some responses.
func (r *fixture) serve(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.URL.Path, "/.well-known/") {
		issuertest.WriteJSON(w, map[string]any{"issuer": r.URL, "jwks_uri": r.URL + "/keys"})
		return
	}
	issuertest.WriteJSON(w, r.Keys())
}

// TestRequestTimeout checks that a request does not wait longer than its timeout for an issuer that
// does not respond.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	r := newFixture(shortTimeouts{t})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	silent := func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-release:
		case <-req.Context().Done():
		}
	}
	r.Handle(silent)
	began := time.Now()
	r.refuses(t, r.Token(nil), canonical.Overloaded)
	if took := time.Since(began); took < time.Second {
		t.Errorf("it took %v", took)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Authenticate(gone, auth.Credential{Text: canonical.Secret(r.Token(nil)), Bearer: true})
	if err != context.Canceled { //nolint:errorlint // exactly this
		t.Errorf("a canceled request returned %v", err)
	}
	eventually(t, "the reading is given up, and the next one succeeds", func() bool {
		r.Handle(nil)
		r.advance(minRefreshInterval)
		_, err := r.authenticate(r.Token(nil))
		return err == nil
	})
	r.Handle(silent)
	r.advance(maxAge)
	r.accepts(t, r.Token(nil)) // waits, and then uses the keys that are known
	eventually(t, "that reading is given up", func() bool { return strings.Count(r.log.String(), "cannot fetch issuer keys") == 2 })
}

// TestKnownKeyDoesNotWait checks that a request with a known key does not wait if the last fetch
// failed.
func TestKnownKeyDoesNotWait(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	auth.WithoutTimeouts(r.Authenticator)
	r.accepts(t, r.Token(nil))
	r.Handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	r.advance(maxAge)
	r.accepts(t, r.Token(nil))
	release, asked := make(chan struct{}), make(chan struct{}, 100)
	t.Cleanup(func() { close(release) })
	r.Handle(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release })
	for range 20 {
		r.advance(minRefreshInterval)
		r.accepts(t, r.Token(nil)) // if it waits, the test does not end
	}
	<-asked
}

// TestInvalidIssuerResponses changes one response at a time. None is accepted, and the next valid
// one is.
func TestInvalidIssuerResponses(t *testing.T) {
	const discovery, keys = "/.well-known/openid-configuration", "/keys"
	elsewhere := issuertest.Start(t, newClock().Now)
	tests := []struct {
		name, path string
		spoil      func(r *fixture, w http.ResponseWriter)
		cause      string
	}{
		{"another issuer's document", discovery, func(r *fixture, w http.ResponseWriter) {
			issuertest.WriteJSON(w, map[string]any{"issuer": elsewhere.URL, "jwks_uri": r.URL + keys})
		}, "issuer_mismatch"},
		{"a slash more", discovery, func(r *fixture, w http.ResponseWriter) {
			issuertest.WriteJSON(w, map[string]any{"issuer": r.URL + "/", "jwks_uri": r.URL + keys})
		}, "issuer_mismatch"},
		{"no keys' address", discovery, func(r *fixture, w http.ResponseWriter) {
			issuertest.WriteJSON(w, map[string]any{"issuer": r.URL})
		}, "discovery_refused"},
		{"keys without TLS", discovery, func(r *fixture, w http.ResponseWriter) {
			issuertest.WriteJSON(w, map[string]any{"issuer": r.URL, "jwks_uri": "http://keys.example/keys"})
		}, "discovery_refused"},
		{"keys in a file", discovery, func(r *fixture, w http.ResponseWriter) {
			issuertest.WriteJSON(w, map[string]any{"issuer": r.URL, "jwks_uri": "file:///etc/keys"})
		}, "discovery_refused"},
		{"an ill-formed document", discovery, func(_ *fixture, w http.ResponseWriter) { fmt.Fprint(w, "{") }, "discovery_refused"},
		{"a huge document", discovery, huge, "discovery_refused"},
		{"a document elsewhere", discovery, func(_ *fixture, w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL+discovery)
			w.WriteHeader(http.StatusFound)
		}, "discovery_refused"},
		{"keys elsewhere", keys, func(_ *fixture, w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL+keys)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "keys_refused"},
		{"an error", keys, func(r *fixture, w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			issuertest.WriteJSON(w, r.Keys())
		}, "keys_refused"},
		{"ill-formed keys", keys, func(_ *fixture, w http.ResponseWriter) { fmt.Fprint(w, `{"keys":[`) }, "keys_ill_formed"},
		{"no keys", keys, func(_ *fixture, w http.ResponseWriter) { fmt.Fprint(w, `{}`) }, "keys_ill_formed"},
		{"huge keys", keys, huge, "keys_ill_formed"},
		{"too many keys", keys, func(r *fixture, w http.ResponseWriter) {
			set := r.Keys()
			for len(set["keys"]) <= 64 {
				set["keys"] = append(set["keys"], set["keys"][0])
			}
			issuertest.WriteJSON(w, set)
		}, "keys_ill_formed"},
		{"half an answer", keys, func(_ *fixture, w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"keys":[`)
			panic(http.ErrAbortHandler)
		}, "unreachable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newFixture(t)
			r.Handle(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == tt.path {
					tt.spoil(r, w)
					return
				}
				r.serve(w, req)
			})
			r.refuses(t, r.Token(nil), canonical.Overloaded)
			if elsewhere.KeyRequests() != 0 {
				t.Error("another server received a request")
			}
			if want := `"cause":"` + tt.cause + `"`; !strings.Contains(r.log.String(), want) {
				t.Errorf("no %s in %s", want, r.log)
			}
			r.Handle(nil)
			r.advance(minRefreshInterval)
			r.accepts(t, r.Token(nil))
		})
	}
}

func huge(_ *fixture, w http.ResponseWriter) {
	fmt.Fprint(w, `{"keys":[],"issuer":"`)
	line := bytes.Repeat([]byte("x"), 64<<10)
	for range 17 {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
	fmt.Fprint(w, `"}`)
}

// TestUnusableKeys adds unusable keys to a valid one.
func TestUnusableKeys(t *testing.T) {
	r := newFixture(t)
	secret := []byte(strings.Repeat("s", 64))
	octets := issuertest.CopyKey(t, asKey(t, secret), "octets", jwa.HS256())
	r.Handle(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/keys" {
			r.serve(w, req)
			return
		}
		set := map[string]any{"keys": []any{
			octets,
			map[string]any{"kty": "OKP", "crv": "Ed448", "x": "AA"},
			map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short"},
			5,
			map[string]any{"kty": "unheard-of"},
			r.Keys()["keys"][0],
		}}
		issuertest.WriteJSON(w, set)
	})
	r.accepts(t, r.Token(nil))
	r.refuses(t, issuertest.Sign(t, octets, issuertest.Marshal(t, r.Claims(nil))), canonical.Unauthenticated)
}

// TestKeysForEncryption marks the only key as one for encryption.
func TestKeysForEncryption(t *testing.T) {
	r := newFixture(t)
	if err := r.Signer().Set("use", "enc"); err != nil {
		t.Fatal(err)
	}
	r.refuses(t, r.Token(nil), canonical.Unauthenticated)
}

// TestSizeOfKeys signs with an RSA key that is too small, and with one that is not.
func TestSizeOfKeys(t *testing.T) {
	for bits, accepted := range map[int]bool{1024: false, 2048: true} {
		r := newFixture(t)
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		r.Handle(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/keys" {
				r.serve(w, req)
				return
			}
			fmt.Fprintf(w, `{"keys":[{"kty":"RSA","n":%q,"e":"AQAB","kid":"k"}]}`, b64(key.N.Bytes()))
		})
		signed := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64(issuertest.Marshal(t, r.Claims(nil)))
		digest := sha256.Sum256([]byte(signed))
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.authenticate(signed + "." + b64(signature)); (err == nil) != accepted {
			t.Errorf("a key of %d bits: %v", bits, err)
		}
	}
}

// TestWithoutDiscovery fetches the keys from the configured jwksURL.
func TestWithoutDiscovery(t *testing.T) {
	r := newFixture(t, func(c *config.Clients) { c.OIDC[0].JWKSURL = c.OIDC[0].Issuer + "/keys" })
	r.Handle(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/keys" {
			t.Errorf("%s was requested", req.URL.Path)
		}
		r.serve(w, req)
	})
	r.accepts(t, r.Token(nil))
}

// TestIssuerNeverThroughProxy sets a proxy in the environment.
func TestIssuerNeverThroughProxy(t *testing.T) {
	// Go never uses a proxy of the environment for loopback addresses, so that the issuer needs a
	// host name, which only the proxy could resolve.
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy received a request") }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	r := newFixture(shortTimeouts{t}, func(c *config.Clients) { c.OIDC[0].Issuer = "http://issuer.invalid" })
	r.refuses(t, r.Token(map[string]any{"iss": "http://issuer.invalid"}), canonical.Overloaded)
}

// TestTokenFile uses an issuer like a Kubernetes API server, which requires a token for its keys
// and has a certificate of its own CA.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	var wanted atomic.Pointer[string]
	rotate := func(token string) {
		wanted.Store(&token)
		// like the kubelet, which replaces the file by a new one
		if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	rotate("first")
	var r *fixture
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+*wanted.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if req.URL.Path == "/keys" {
			issuertest.WriteJSON(w, r.Keys())
			return
		}
		issuertest.WriteJSON(w, map[string]any{"issuer": "https://" + req.Host, "jwks_uri": "https://" + req.Host + "/keys"})
	}))
	defer server.Close()
	var tokenFile config.File
	if err := tokenFile.UnmarshalText([]byte(file)); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	set := func(c *config.Clients) {
		c.OIDC[0].Issuer, c.OIDC[0].TokenFile, c.OIDC[0].CAFile = server.URL, tokenFile, config.InMemoryFile(ca)
	}
	r = newFixture(t, set)
	token := func() string {
		return r.Token(map[string]any{"iss": server.URL, "azp": nil, "sub": "system:serviceaccount:ns:name"})
	}
	r.accepts(t, token())
	rotate("second")
	r.Add(jwa.ES256())
	r.advance(minRefreshInterval)
	r.accepts(t, token())
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.Add(jwa.ES256())
	r.advance(minRefreshInterval)
	r.refuses(t, token(), canonical.Overloaded)
	if !strings.Contains(r.log.String(), `"cause":"token_file"`) {
		t.Errorf("logged: %s", r.log)
	}
	rotate("third")
	r.advance(minRefreshInterval)
	r.accepts(t, token())

	keys := r
	r = newFixture(t, set, func(c *config.Clients) { c.OIDC[0].CAFile = config.File{} })
	r.Issuer = keys.Issuer
	r.refuses(t, token(), canonical.Overloaded) // the system does not trust its CA
}

// TestTokenFileOnlyForConfiguredHosts checks that the token is sent only to servers in the
// configuration.
func TestTokenFileOnlyForConfiguredHosts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	var shown atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			shown.Add(1)
		}
	}))
	defer other.Close()
	r := newFixture(t, func(c *config.Clients) {
		if err := c.OIDC[0].TokenFile.UnmarshalText([]byte(file)); err != nil {
			t.Fatal(err)
		}
	})
	r.Handle(func(w http.ResponseWriter, _ *http.Request) {
		issuertest.WriteJSON(w, map[string]any{"issuer": r.URL, "jwks_uri": other.URL + "/keys"})
	})
	r.refuses(t, r.Token(nil), canonical.Overloaded)
	if shown.Load() != 0 {
		t.Error("the token was sent to another server")
	}
}

// TestRun fetches keys without any request, and retries soon after a failure.
func TestRun(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.Down()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	eventually(t, "the issuer has been tried", func() bool { return r.Requests() > 0 })
	r.Handle(nil)
	r.advance(minRefreshInterval)
	eventually(t, "the keys are read", func() bool { return r.KeyRequests() > 0 })
	cancel()
	running.Wait()
}

// TestWaitingRequestsAreLimited checks how many requests wait for keys; the others are refused
// immediately.
func TestWaitingRequestsAreLimited(t *testing.T) {
	t.Parallel()
	const asking, wait = 200, 64
	r := newFixture(t)
	auth.WithoutTimeouts(r.Authenticator)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	r.Handle(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-release:
		case <-req.Context().Done():
		}
	})
	token := auth.Credential{Text: canonical.Secret(r.Token(nil)), Bearer: true}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, asking)
	for range asking {
		go func() {
			_, err := r.Authenticate(ctx, token)
			answered <- err
		}()
	}
	for range asking - wait { // if these wait, the test does not end
		if err := <-answered; kind(err) != canonical.Overloaded {
			t.Errorf("got %v", err)
		}
	}
	cancel()
	for range wait {
		if err := <-answered; !errors.Is(err, context.Canceled) {
			t.Errorf("a waiting request returned %v", err)
		}
	}
}
