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

// fuzzIssuer is in the seeds, and so cannot have a port. fuzzKey is the key of their signatures, for tests alone.
const (
	fuzzIssuer = "https://issuer.example"
	fuzzKey    = "a key of 32 bytes, for tests only"
)

// Whatever is shown as a token, nothing panics, and what is accepted was signed with the issuer's key, as another
// library sees it. And whatever the issuer signs, what is accepted is meant for the gateway, now.
func FuzzToken(f *testing.F) {
	raw, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(fuzzKey)[:32])
	if err != nil {
		f.Fatal(err)
	}
	r := newRig(f, func(c *config.Clients) {
		c.OIDC[0].Issuer, c.OIDC[0].JWKSURL = fuzzIssuer, c.OIDC[0].Issuer+"/keys"
	})
	r.AddRaw(jwa.ES256(), raw)
	r.Withdraw() // a token without kid needs the only key of its algorithm
	signer := issuertest.As(f, r.Signer(), "fuzz", jwa.ES256())
	good := issuertest.Encode(f, r.Claims(map[string]any{"iss": fuzzIssuer, "scope": config.ScopeAccounts}))
	key := issuertest.As(f, r.Signer(), "", jwa.ES256()) // the key's id is another at each start
	token := issuertest.Sign(f, key, good)
	r.accepts(f, token)
	f.Add(token, good)
	f.Add(issuertest.Sign(f, signer, good), []byte(`{"iss":"`+fuzzIssuer+`","iss":"x"}`))
	f.Fuzz(func(t *testing.T, token string, payload []byte) {
		if _, err := r.ask(token); err == nil {
			if _, err := jws.Verify([]byte(token), jws.WithKey(jwa.ES256(), &raw.PublicKey)); err != nil && token != apiKey {
				t.Errorf("accepted %q, which the issuer did not sign", token)
			}
		}
		c, err := r.ask(issuertest.Sign(t, key, payload))
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
