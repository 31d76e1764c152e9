// Package issuertest runs OpenID Connect issuers over loopback HTTP for tests: with discovery, keys that can be
// replaced, and every way of being away or wrong. It signs with another library than the gateway verifies with. Only
// tests import it.
package issuertest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

const (
	// Audience is for whom tokens are meant unless a test says otherwise.
	Audience = "ais-gateway"
	// App is the client that they name.
	App = "app"
)

// An Issuer answers on a loopback port until its test ends. Its methods are safe for concurrent use.
type Issuer struct {
	URL string

	t     testing.TB
	now   func() time.Time
	tried atomic.Int64
	asked atomic.Int64
	front atomic.Pointer[http.HandlerFunc]

	mu   sync.Mutex
	keys []jwk.Key // private, with kid and alg; the last one signs
}

// Start runs an issuer with one key for ES256. now is the clock of its tokens.
func Start(t testing.TB, now func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{t: t, now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { Answer(w, i.Keys()) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.tried.Add(1)
		if r.URL.Path == "/keys" {
			i.asked.Add(1)
		}
		if front := i.front.Load(); front != nil {
			(*front)(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	i.URL = server.URL
	i.Add(jwa.ES256())
	return i
}

// Answer writes a document.
func Answer(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document) // whoever went away needs none
}

// Front answers in the issuer's place; nil lets it answer again.
func (i *Issuer) Front(h http.HandlerFunc) {
	if h == nil {
		i.front.Store(nil)
		return
	}
	i.front.Store(&h)
}

// Down cuts every connection off without a word, until Front(nil).
func (i *Issuer) Down() {
	i.Front(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Asked is how often the keys were asked for.
func (i *Issuer) Asked() int { return int(i.asked.Load()) }

// Tried is how often anything was asked of it, answered or not.
func (i *Issuer) Tried() int { return int(i.tried.Load()) }

// Add adds a key, which signs from now on, and returns its id.
func (i *Issuer) Add(alg jwa.SignatureAlgorithm) (kid string) {
	i.t.Helper()
	return i.AddRaw(alg, Key(i.t, alg))
}

// AddRaw adds this key.
func (i *Issuer) AddRaw(alg jwa.SignatureAlgorithm, raw any) (kid string) {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	kid = strconv.Itoa(int(named.Add(1)))
	i.keys = append(i.keys, must(i.t, raw, kid, alg))
	return kid
}

// named counts keys, so that no two have one id.
var named atomic.Int64

// Withdraw takes all keys back but the last.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Keys are its public keys as it shows them.
func (i *Issuer) Keys() map[string][]jwk.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	public := []jwk.Key{}
	for _, k := range i.keys {
		p, err := k.PublicKey()
		if err != nil {
			panic(err)
		}
		public = append(public, p)
	}
	return map[string][]jwk.Key{"keys": public}
}

// Signer is the private key that signs now.
func (i *Issuer) Signer() jwk.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// Claims are those of a good token, changed: a nil takes one away.
func (i *Issuer) Claims(changed map[string]any) map[string]any {
	now := i.now().Unix()
	all := map[string]any{"iss": i.URL, "aud": Audience, "azp": App, "iat": now, "exp": now + 300}
	for name, value := range changed {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// Token is a good token with these claims changed.
func (i *Issuer) Token(changed map[string]any) string {
	i.t.Helper()
	return Sign(i.t, i.Signer(), Encode(i.t, i.Claims(changed)))
}

// Encode is a payload.
func Encode(t testing.TB, claims any) []byte {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// Sign signs a payload with a key, by the algorithm and under the id that it has.
func Sign(t testing.TB, k jwk.Key, payload []byte) string {
	t.Helper()
	alg, _ := k.Algorithm()
	token, err := jws.Sign(payload, jws.WithKey(alg, k))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// As is the key under another id, "" for none, and with another algorithm.
func As(t testing.TB, k jwk.Key, kid string, alg jwa.SignatureAlgorithm) jwk.Key {
	t.Helper()
	var raw any
	if err := jwk.Export(k, &raw); err != nil {
		t.Fatal(err)
	}
	return must(t, raw, kid, alg)
}

func must(t testing.TB, raw any, kid string, alg jwa.SignatureAlgorithm) jwk.Key {
	t.Helper()
	k, err := jwk.Import(raw)
	if err == nil && kid != "" {
		err = k.Set(jwk.KeyIDKey, kid)
	}
	if err == nil {
		err = k.Set(jwk.AlgorithmKey, alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Key makes a private key for an algorithm.
func Key(t testing.TB, alg jwa.SignatureAlgorithm) any {
	t.Helper()
	var key any
	var err error
	switch alg.String() {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}
