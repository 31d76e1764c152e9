package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"slices"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/issuertest"
)

// fuzzIssuer is part of the seeds and therefore has no port. fuzzKey is the test key that signed
// them.
const (
	fuzzIssuer = "https://issuer.example"
	fuzzKey    = "a key of 32 bytes, for tests only"
)

// No token panics. A token that is accepted has a signature that another library verifies with the
// issuer's key. A payload that the issuer signs is accepted only if it is valid for the gateway at
// this time.
func FuzzToken(f *testing.F) {
	raw, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(fuzzKey)[:32])
	if err != nil {
		f.Fatal(err)
	}
	r := newFixture(f, func(c *config.Clients) {
		c.OIDC[0].Issuer, c.OIDC[0].JWKSURL = fuzzIssuer, c.OIDC[0].Issuer+"/keys"
	})
	r.AddRaw(jwa.ES256(), raw)
	r.RemoveOldKeys() // a token without a kid needs a single key of its algorithm
	signer := issuertest.CopyKey(f, r.Signer(), "fuzz", jwa.ES256())
	good := issuertest.Marshal(f, r.Claims(map[string]any{"iss": fuzzIssuer, "scope": config.ScopeAccounts}))
	key := issuertest.CopyKey(f, r.Signer(), "", jwa.ES256()) // the key's id is different at each start
	token := issuertest.Sign(f, key, good)
	r.accepts(f, token)
	f.Add(token, good)
	f.Add(issuertest.Sign(f, signer, good), []byte(`{"iss":"`+fuzzIssuer+`","iss":"x"}`))
	f.Fuzz(func(t *testing.T, token string, payload []byte) {
		if _, err := r.authenticate(token); err == nil {
			if _, err := jws.Verify([]byte(token), jws.WithKey(jwa.ES256(), &raw.PublicKey)); err != nil && token != apiKey {
				t.Errorf("accepted %q, which the issuer did not sign", token)
			}
		}
		c, err := r.authenticate(issuertest.Sign(t, key, payload))
		if err != nil {
			if kind(err) != canonical.Unauthenticated {
				t.Errorf("%q: %v", payload, err)
			}
			return
		}
		var said map[string]any
		if err := json.Unmarshal(payload, &said); err != nil {
			t.Fatalf("accepted %q: %v", payload, err)
		}
		audiences, _ := said["aud"].([]any)
		expires, _ := said["exp"].(float64)
		if one, ok := said["aud"].(string); ok {
			audiences = []any{one}
		}
		if said["iss"] != fuzzIssuer || !slices.Contains(audiences, any(issuertest.Audience)) && !slices.Contains(audiences, any("other")) ||
			expires <= float64(r.Now().Unix()-60) || c.Name == "" || c.ID == "" || !fit(c.Name) {
			t.Errorf("accepted %q as %+v", payload, c)
		}
	})
}

func fit(name string) bool {
	for _, b := range []byte(name) {
		if b <= ' ' || b > '~' || b == '@' || b == '"' || b == '\\' {
			return false
		}
	}
	return len(name) <= 128
}
