package auth_test

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"ais-gateway/internal/auth"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/issuertest"
)

// clock is a clock for tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logBuffer collects the log.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *logBuffer) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *logBuffer) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// fixture is an Authenticator with one issuer, and with an API key whose name is that of the
// issuer's client.
type fixture struct {
	*auth.Authenticator
	*clock
	*issuertest.Issuer
	log *logBuffer
}

const apiKey = "the-key"

// shortTimeouts marks a test that needs the timeouts of production.
type shortTimeouts struct{ testing.TB }

func newFixture(t testing.TB, change ...func(*config.Clients)) *fixture {
	t.Helper()
	r := &fixture{clock: newClock(), log: &logBuffer{}}
	r.Issuer = issuertest.Start(t, r.Now)
	o := config.OIDC{}
	o.SetDefaults()
	o.Issuer, o.Audiences = r.URL, []string{"other", issuertest.Audience}
	c := config.Clients{
		APIKeys: []config.APIKey{{Name: issuertest.App, SHA256: config.Hashes{sum(apiKey)}, Scopes: []string{config.ScopeAccounts}}},
		OIDC:    []config.OIDC{o},
	}
	for _, ch := range change {
		ch(&c)
	}
	r.Authenticator = auth.New(auth.Config{Clients: c, Now: r.Now, Logger: slog.New(slog.NewJSONHandler(r.log, nil)), Pseudonym: pseudonym})
	if _, short := t.(shortTimeouts); !short {
		auth.WithLongTimeouts(r.Authenticator)
	}
	return r
}

// authenticate authenticates a Bearer token.
func (r *fixture) authenticate(token string) (auth.Client, error) {
	return r.Authenticate(context.Background(), auth.Credential{Text: canonical.Secret(token), Bearer: true})
}

func kind(err error) canonical.Kind {
	var e *canonical.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	}
	return canonical.Kind(err.Error())
}

func (r *fixture) accepts(t testing.TB, token string) auth.Client {
	t.Helper()
	c, err := r.authenticate(token)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return c
}

func (r *fixture) refuses(t testing.TB, token string, want canonical.Kind) {
	t.Helper()
	c, err := r.authenticate(token)
	if kind(err) != want || c.ID != "" || c.Name != "" || c.Scopes != nil {
		t.Fatalf("answered %+v, %v; want %s", c, err, want)
	}
	if want == canonical.Overloaded && err.(*canonical.Error).RetryAfter <= 0 { //nolint:errorlint // it is one
		t.Error("no word of when to try again")
	}
}

func TestClaims(t *testing.T) {
	const at = 1795168800 // the time of the clock
	type claims = map[string]any
	tests := []struct {
		name    string
		claims  claims
		refused bool
	}{
		{"good", nil, false},
		{"one of two audiences", claims{"aud": []string{"elsewhere", issuertest.Audience}}, false},
		{"the other audience", claims{"aud": "other"}, false},
		{"another audience", claims{"aud": "elsewhere"}, true},
		{"an audience's beginning", claims{"aud": issuertest.Audience[:3]}, true},
		{"other audiences", claims{"aud": []string{"a", "b"}}, true},
		{"no audiences", claims{"aud": []string{}}, true},
		{"no audience", claims{"aud": nil}, true},
		{"audience ill-typed", claims{"aud": 1}, true},
		{"an audience ill-typed", claims{"aud": []any{issuertest.Audience, nil}}, true},
		{"another issuer", claims{"iss": "https://elsewhere.example"}, true},
		{"no issuer", claims{"iss": nil}, true},
		{"issuer ill-typed", claims{"iss": []string{"x"}}, true},
		{"expired, within the skew", claims{"exp": at - 59}, false},
		{"expired", claims{"exp": at - 60}, true},
		{"no expiry", claims{"exp": nil}, true},
		{"expiry ill-typed", claims{"exp": "tomorrow"}, true},
		{"expiry null", claims{"exp": json.RawMessage("null")}, true},
		{"expiry with a fraction", claims{"exp": at + 0.5}, false},
		{"expiry beyond all years", claims{"exp": 1e300}, true},
		{"expiry in 9999", claims{"exp": 253402300799}, false},
		{"in force, within the skew", claims{"nbf": at + 60}, false},
		{"not in force", claims{"nbf": at + 61}, true},
		{"in force long since", claims{"nbf": 0}, false},
		{"nbf ill-typed", claims{"nbf": "0"}, true},
		{"issued, within the skew", claims{"iat": at + 60}, false},
		{"issued in the future", claims{"iat": at + 61}, true},
		{"no iat", claims{"iat": nil}, false},
		{"scope a list", claims{"scope": []string{config.ScopeAccounts}}, false},
		{"scope an empty list", claims{"scope": []string{}}, false},
		{"scope ill-typed", claims{"scope": 5}, true},
		{"one of the scopes ill-typed", claims{"scope": []any{config.ScopeAccounts, 5}}, true},
		{"scp ill-typed", claims{"scp": 5}, true},
		{"azp ill-typed", claims{"azp": 5}, true},
		{"no name", claims{"azp": nil}, true},
		{"names empty", claims{"azp": "", "client_id": "", "sub": ""}, true},
		{"large", claims{"note": strings.Repeat("x", 5<<10)}, false},
		{"too large", claims{"note": strings.Repeat("x", 8<<10)}, true},
		{"another case", claims{"aud": nil, "AUD": issuertest.Audience}, true},
		{"expiry in another case", claims{"exp": nil, "Exp": at + 100}, true},
	}
	r := newFixture(t)
	if r.Now().Unix() != at {
		t.Fatal("the clock is another")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := r.Token(tt.claims)
			if tt.refused {
				r.refuses(t, token, canonical.Unauthenticated)
				return
			}
			if c := r.accepts(t, token); c.Name != issuertest.App {
				t.Errorf("it is %+v", c)
			}
		})
	}
	twice := `{"iss":"` + r.URL + `","aud":"elsewhere","aud":"` + issuertest.Audience + `","azp":"a","exp":9999999999}`
	r.refuses(t, issuertest.Sign(t, r.Signer(), []byte(twice)), canonical.Unauthenticated)
	if n := r.KeyRequests(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

func TestSkewIsConfigured(t *testing.T) {
	r := newFixture(t, func(c *config.Clients) { c.OIDC[0].ClockSkew = 0 })
	for claim, edge := range map[string]int{"exp": 0, "nbf": 1, "iat": 1} {
		r.refuses(t, r.Token(map[string]any{claim: r.Now().Unix() + int64(edge)}), canonical.Unauthenticated)
	}
	r.accepts(t, r.Token(map[string]any{"exp": r.Now().Unix() + 1, "nbf": r.Now().Unix(), "iat": r.Now().Unix()}))
}

func once(key *any) func(testing.TB, jwa.SignatureAlgorithm) any {
	return func(t testing.TB, alg jwa.SignatureAlgorithm) any {
		if *key == nil {
			*key = issuertest.Key(t, alg)
		}
		return *key
	}
}

// TestSignatures signs with every algorithm, and with wrong keys and algorithms.
func TestSignatures(t *testing.T) {
	rsaKey, rsaStranger := once(new(any)), once(new(any))
	for _, name := range config.Algorithms() {
		t.Run(name, func(t *testing.T) {
			alg, _ := jwa.LookupSignatureAlgorithm(name)
			key, another := issuertest.Key, issuertest.Key
			if strings.HasSuffix(name[:2], "S") && name[0] != 'E' {
				key, another = rsaKey, rsaStranger // generating one takes long
			}
			allowed := newFixture(t, func(c *config.Clients) { c.OIDC[0].Algorithms = []string{name} })
			kid := allowed.AddRaw(alg, key(t, alg))
			good := allowed.Token(nil)
			allowed.accepts(t, good)
			allowed.refuses(t, good[:len(good)-8]+"AAAAAAAA", canonical.Unauthenticated)
			stranger := issuertest.CopyKey(t, asKey(t, another(t, alg)), kid, alg)
			allowed.refuses(t, issuertest.Sign(t, stranger, issuertest.Marshal(t, allowed.Claims(nil))), canonical.Unauthenticated)

			other := "RS256"
			if name == other {
				other = "ES256"
			}
			forbidden := newFixture(t, func(c *config.Clients) { c.OIDC[0].Algorithms = []string{other} })
			forbidden.AddRaw(alg, key(t, alg))
			forbidden.refuses(t, forbidden.Token(nil), canonical.Unauthenticated)
			if n := forbidden.KeyRequests(); n != 0 {
				t.Errorf("the keys were fetched %d times for an algorithm that is not allowed", n)
			}
		})
	}
	byDefault := newFixture(t)
	byDefault.Add(jwa.EdDSA())
	byDefault.refuses(t, byDefault.Token(nil), canonical.Unauthenticated)
}

func asKey(t testing.TB, raw any) jwk.Key {
	t.Helper()
	k, err := jwk.Import(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestForgeries(t *testing.T) {
	r := newFixture(t)
	r.Add(jwa.RS256())
	payload := issuertest.Marshal(t, r.Claims(nil))
	kid, _ := r.Signer().KeyID()
	var private rsa.PrivateKey
	if err := jwk.Export(r.Signer(), &private); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := r.accepts(t, r.Token(nil))
	b64 := base64.RawURLEncoding.EncodeToString
	hand := func(header string, signature []byte) string {
		return b64([]byte(header)) + "." + b64(payload) + "." + b64(signature)
	}
	hmac := func(secret []byte) string {
		headers := jws.NewHeaders()
		if err := headers.Set("kid", kid); err != nil {
			t.Fatal(err)
		}
		token, err := jws.Sign(payload, jws.WithKey(jwa.HS256(), secret, jws.WithProtectedHeaders(headers)))
		if err != nil {
			t.Fatal(err)
		}
		return string(token)
	}
	stranger := asKey(t, issuertest.Key(t, jwa.RS256()))
	public, err := stranger.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	embedded := jws.NewHeaders()
	if err := errors.Join(embedded.Set("jwk", public), embedded.Set("kid", kid), embedded.Set("jku", r.URL+"/theirs")); err != nil {
		t.Fatal(err)
	}
	itsOwn, err := jws.Sign(payload, jws.WithKey(jwa.RS256(), stranger, jws.WithProtectedHeaders(embedded)))
	if err != nil {
		t.Fatal(err)
	}
	token := r.Token(nil)
	parts := strings.Split(token, ".")
	for name, forged := range map[string]string{
		"none":                                 hand(`{"alg":"none","kid":"`+kid+`"}`, nil),
		"None":                                 hand(`{"alg":"None","kid":"`+kid+`"}`, nil),
		"no algorithm":                         hand(`{"kid":"`+kid+`"}`, []byte("x")),
		"no signature":                         parts[0] + "." + parts[1] + ".",
		"two parts":                            parts[0] + "." + parts[1],
		"four parts":                           token + ".x",
		"HS256 with the public key":            hmac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 with its DER":                   hmac(der),
		"HS256 with its modulus":               hmac(private.N.Bytes()),
		"a key of its own":                     string(itsOwn),
		"another header":                       b64([]byte(`{"alg":"RS512","kid":"`+kid+`"}`)) + "." + parts[1] + "." + parts[2],
		"another payload":                      parts[0] + "." + b64(issuertest.Marshal(t, r.Claims(map[string]any{"azp": "admin"}))) + "." + parts[2],
		"critical extension":                   hand(`{"alg":"RS256","kid":"`+kid+`","crit":["x"],"x":1}`, []byte("x")),
		"ill-formed header":                    "e30" + "." + parts[1] + "." + parts[2],
		"padded":                               parts[0] + "=." + parts[1] + "." + parts[2],
		"empty":                                "",
		"dots":                                 "..",
		"a key's name":                         issuertest.App,
		"JSON form":                            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"an API key as a token":                apiKey + "." + parts[1] + "." + parts[2],
		"encrypted, by its form":               token + "." + parts[1] + "." + parts[2],
		"signed by an algorithm not the key's": issuertest.Sign(t, issuertest.CopyKey(t, r.Signer(), kid, jwa.PS256()), payload),
	} {
		t.Run(name, func(t *testing.T) { r.refuses(t, forged, canonical.Unauthenticated) })
	}
	if c, err := r.Authenticate(t.Context(), auth.Credential{Text: canonical.Secret(token)}); err == nil {
		t.Errorf("a token is a key: %+v", c)
	}
	if key, err := r.authenticate(apiKey); err != nil || key.ID == good.ID {
		t.Errorf("as Bearer the API key is %+v, %v", key, err)
	}
}

func TestNames(t *testing.T) {
	type claims = map[string]any
	r := newFixture(t)
	tests := []struct {
		name   string
		claims claims
		want   string
	}{
		{"azp before all", claims{"azp": "a", "client_id": "b", "sub": "c"}, "a"},
		{"client_id", claims{"azp": nil, "client_id": "b", "sub": "c"}, "b"},
		{"sub", claims{"azp": "", "sub": "c"}, ""},
		{"service account", claims{"azp": nil, "sub": "system:serviceaccount:ns:name"}, ""},
		{"URL", claims{"azp": "https://a.example/b_c-D"}, "https://a.example/b_c-D"},
		{"address", claims{"azp": "jane@bank.example"}, ""},
		{"a person's", claims{"azp": "Jane Roe"}, ""},
		{"line break", claims{"azp": "a\nlevel=ERROR"}, ""},
		{"letters of others", claims{"azp": "ключ"}, ""},
		{"long", claims{"azp": strings.Repeat("a", 128)}, strings.Repeat("a", 128)},
		{"too long", claims{"azp": strings.Repeat("a", 129)}, ""},
	}
	seen := map[string]string{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.accepts(t, r.Token(tt.claims))
			if tt.want == "" {
				name := tt.claims[c.By].(string)
				if c.Name != pseudonym(r.URL, c.By, name) || c.By != "sub" && c.By != "azp" {
					t.Errorf("it is logged as %q by %s", c.Name, c.By)
				}
			} else if c.Name != tt.want || tt.claims[c.By] != tt.want {
				t.Errorf("it is %q by %s, want %q", c.Name, c.By, tt.want)
			}
			if c.Issuer != "clients.oidc[0]" {
				t.Errorf("its issuer is %q", c.Issuer)
			}
			if before, twice := seen[c.ID]; twice {
				t.Errorf("it is the same as %q", before)
			}
			seen[c.ID] = tt.name
		})
	}
}

// TestClientIDsAreDistinct checks that the IDs of two clients differ, even if their names contain
// quotes or are in different claims.
func TestClientIDsAreDistinct(t *testing.T) {
	var other *issuertest.Issuer
	r := newFixture(t, func(c *config.Clients) {
		other = issuertest.Start(t, newClock().Now)
		o := c.OIDC[0]
		o.Issuer = other.URL
		c.OIDC = append(c.OIDC, o)
	})
	key, err := r.authenticate(apiKey)
	if err != nil {
		t.Fatal(err)
	}
	all := []auth.Client{
		key, r.accepts(t, r.Token(nil)), r.accepts(t, other.Token(nil)),
		r.accepts(t, r.Token(map[string]any{"azp": nil, "sub": issuertest.App})),
		r.accepts(t, r.Token(map[string]any{"azp": nil, "client_id": issuertest.App})),
		r.accepts(t, r.Token(map[string]any{"azp": issuertest.App + `"azp"`})),
		r.accepts(t, r.Token(map[string]any{"azp": strings.ToUpper(issuertest.App)})),
	}
	if key.ID != issuertest.App {
		t.Errorf("the key's client is %q: what was kept for it is lost", key.ID)
	}
	ids := map[string]bool{}
	for _, c := range all {
		ids[c.ID] = true
	}
	if len(ids) != len(all) {
		t.Errorf("%d clients are %d: %+v", len(all), len(ids), all)
	}
	if again := r.accepts(t, r.Token(map[string]any{"scope": config.ScopeBalances, "jti": "2"})); again.ID != all[1].ID {
		t.Errorf("one client is two: %q, %q", again.ID, all[1].ID)
	}
}

func TestScopes(t *testing.T) {
	const accounts, balances = config.ScopeAccounts, config.ScopeBalances
	type claims = map[string]any
	tests := []struct {
		name   string
		claims claims
		want   []string
	}{
		{"none", nil, nil},
		{"scope", claims{"scope": "openid " + balances + "  " + accounts}, []string{balances, accounts}},
		{"scope as a list", claims{"scope": []string{"x", balances, accounts}}, []string{balances, accounts}},
		{"scp of several words", claims{"scp": "x " + balances + " " + accounts}, []string{balances, accounts}},
		{"both as lists", claims{"scope": []string{accounts}, "scp": []string{balances}}, []string{accounts, balances}},
		{"granted, with an empty list", claims{"azp": "granted", "scope": []string{}}, nil},
		{"scp as a text", claims{"scp": accounts}, []string{accounts}},
		{"scp as a list", claims{"scp": []string{"x", balances, accounts}}, []string{balances, accounts}},
		{"both", claims{"scp": []string{balances}, "scope": balances + " " + accounts}, []string{balances, accounts}},
		{"others", claims{"scope": "accounts accounts:read:all " + strings.ToUpper(accounts)}, nil},
		{"granted", claims{"azp": "granted"}, []string{accounts, balances}},
		{"granted, with scopes of its own", claims{"azp": "granted", "scope": accounts}, []string{accounts}},
		{"granted, with others' scopes", claims{"azp": "granted", "scp": []string{"openid"}}, nil},
		{"granted, with an empty scope", claims{"azp": "granted", "scope": ""}, nil},
		{"granted, with an empty scp", claims{"azp": "granted", "scp": []string{}}, nil},
		{"granted to another case", claims{"azp": "Granted"}, nil},
		{"a rate alone is granted", claims{"azp": "fast", "scope": accounts}, []string{accounts}},
	}
	r := newFixture(t, func(c *config.Clients) {
		c.OIDC[0].Grants = []config.Grant{
			{Client: "granted", Scopes: []string{accounts, balances}},
			{Client: "fast", RateLimit: &config.RateLimit{PerSecond: 1, Burst: 1}},
		}
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.accepts(t, r.Token(tt.claims))
			if diff := cmp.Diff(tt.want, c.Scopes); diff != "" {
				t.Error(diff)
			}
			if c.May(accounts) != slices.Contains(tt.want, accounts) || !c.May("") {
				t.Error("and it may something else")
			}
		})
	}
}

// TestErrorsQuoteNoToken searches the errors and the log for input of callers and of the issuer.
func TestErrorsQuoteNoToken(t *testing.T) {
	r := newFixture(t)
	r.Handle(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "canary-of-the-issuer")
	})
	var output strings.Builder
	for _, claims := range []map[string]any{
		nil, {"aud": "canary-aud"}, {"azp": "canary-azp", "exp": 1}, {"nbf": 1 << 39}, {"azp": nil}, {"scope": 5},
	} {
		token := r.Token(claims)
		_, err := r.authenticate(token)
		if err == nil {
			t.Fatal("accepted")
		}
		output.WriteString(err.Error())
		if strings.Contains(output.String(), token[10:30]) {
			t.Error("an error contains the token")
		}
	}
	output.WriteString(r.log.String())
	if !strings.Contains(output.String(), `"cause":"discovery_refused"`) || !strings.Contains(output.String(), `"issuer":"clients.oidc[0]"`) {
		t.Errorf("output: %s", output.String())
	}
	for _, secret := range []string{"canary", r.URL, "127.0.0.1", issuertest.App} {
		if strings.Contains(output.String(), secret) {
			t.Errorf("%q is in the output: %s", secret, output.String())
		}
	}
}

// A token without a kid is accepted only if its issuer has exactly one key of the algorithm,
// because many keys must not be tried for a client that is not authenticated yet.
func TestTokensWithoutKeyID(t *testing.T) {
	r := newFixture(t)
	nameless := func(alg jwa.SignatureAlgorithm) string {
		return issuertest.Sign(t, issuertest.CopyKey(t, r.Signer(), "", alg), issuertest.Marshal(t, r.Claims(nil)))
	}
	r.accepts(t, nameless(jwa.ES256()))
	r.Add(jwa.ES384())
	r.advance(minRefreshInterval)
	r.accepts(t, nameless(jwa.ES384())) // the key has another algorithm

	for _, keys := range []int{2, 64} {
		many := newFixture(t)
		for range keys - 1 {
			many.Add(jwa.ES256())
		}
		token := issuertest.Sign(t, issuertest.CopyKey(t, many.Signer(), "", jwa.ES256()), issuertest.Marshal(t, many.Claims(nil)))
		many.refuses(t, token, canonical.Unauthenticated)
		many.accepts(t, many.Token(nil))
	}
}

// Keys with the same kid are used only if there are few of them.
func TestKeysWithOneID(t *testing.T) {
	for shared, want := range map[int]canonical.Kind{2: "", 3: canonical.Unauthenticated} {
		r := newFixture(t)
		var all []jwk.Key
		for range shared {
			k, err := issuertest.CopyKey(t, asKey(t, issuertest.Key(t, jwa.ES256())), "shared", jwa.ES256()).PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, k)
		}
		signer := issuertest.CopyKey(t, r.Signer(), "shared", jwa.ES256())
		last, err := signer.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		all[shared-1] = last
		r.Handle(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/keys") {
				issuertest.WriteJSON(w, map[string]any{"keys": all})
				return
			}
			r.serve(w, req)
		})
		if _, err := r.authenticate(issuertest.Sign(t, signer, issuertest.Marshal(t, r.Claims(nil)))); kind(err) != want {
			t.Errorf("%d keys: %v", shared, err)
		}
	}
}

// pseudonym replaces a keyed hash.
func pseudonym(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:16])
}
