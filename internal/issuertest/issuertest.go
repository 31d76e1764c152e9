// Package issuertest runs OpenID Connect issuers over loopback HTTP for tests. They have discovery
// and replaceable keys, and can be unavailable or wrong. Tokens are signed with another library
// than the gateway verifies with. Only tests import it.
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
	// Audience is the default audience of tokens.
	Audience = "ais-gateway"
	// App is the default authorized party (azp) of tokens.
	App = "app"
)

// Issuer is an issuer on a loopback port. Its methods are safe for concurrent use.
type Issuer struct {
	URL string

	t           testing.TB
	now         func() time.Time
	requests    atomic.Int64
	keyRequests atomic.Int64
	handler     atomic.Pointer[http.HandlerFunc]

	mu   sync.Mutex
	keys []jwk.Key // private, with kid and alg; the last one signs
}

// Start runs an issuer with one ES256 key until the test ends. now is the clock of its tokens.
func Start(t testing.TB, now func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{t: t, now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, i.Keys()) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.requests.Add(1)
		if r.URL.Path == "/keys" {
			i.keyRequests.Add(1)
		}
		if front := i.handler.Load(); front != nil {
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

// WriteJSON responds with a document.
func WriteJSON(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document) // fails only if the client has left
}

// Handle makes h respond to all requests to the issuer. With nil, the issuer responds again.
func (i *Issuer) Handle(h http.HandlerFunc) {
	if h == nil {
		i.handler.Store(nil)
		return
	}
	i.handler.Store(&h)
}

// Down closes every connection without a response, until Handle(nil).
func (i *Issuer) Down() {
	i.Handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// KeyRequests returns the number of requests for the keys.
func (i *Issuer) KeyRequests() int { return int(i.keyRequests.Load()) }

// Requests returns the number of all requests, with or without a response.
func (i *Issuer) Requests() int { return int(i.requests.Load()) }

// Add adds a new key, which signs from now on, and returns its id.
func (i *Issuer) Add(alg jwa.SignatureAlgorithm) (kid string) {
	i.t.Helper()
	return i.AddRaw(alg, Key(i.t, alg))
}

// AddRaw is Add for a given private key.
func (i *Issuer) AddRaw(alg jwa.SignatureAlgorithm, raw any) (kid string) {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	kid = strconv.Itoa(int(lastKeyID.Add(1)))
	i.keys = append(i.keys, importKey(i.t, raw, kid, alg))
	return kid
}

// lastKeyID makes key ids unique.
var lastKeyID atomic.Int64

// RemoveOldKeys removes all keys but the last.
func (i *Issuer) RemoveOldKeys() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Keys returns the issuer's key set: the public keys.
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

// Signer returns the private key that signs now.
func (i *Issuer) Signer() jwk.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// Claims returns the claims of a valid token with changes: nil removes a claim.
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

// Token returns a valid token with changed claims: nil removes a claim.
func (i *Issuer) Token(changed map[string]any) string {
	i.t.Helper()
	return Sign(i.t, i.Signer(), Marshal(i.t, i.Claims(changed)))
}

// Marshal returns claims as JSON.
func Marshal(t testing.TB, claims any) []byte {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// Sign returns a token with a payload, signed with a key. The token's header has the key's
// algorithm and id.
func Sign(t testing.TB, k jwk.Key, payload []byte) string {
	t.Helper()
	alg, _ := k.Algorithm()
	token, err := jws.Sign(payload, jws.WithKey(alg, k))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// CopyKey returns a key with another id, "" for none, and another algorithm.
func CopyKey(t testing.TB, k jwk.Key, kid string, alg jwa.SignatureAlgorithm) jwk.Key {
	t.Helper()
	var raw any
	if err := jwk.Export(k, &raw); err != nil {
		t.Fatal(err)
	}
	return importKey(t, raw, kid, alg)
}

// importKey returns a private key with an id, "" for none, and an algorithm.
func importKey(t testing.TB, raw any, kid string, alg jwa.SignatureAlgorithm) jwk.Key {
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

// Key returns a new private key for an algorithm.
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
