package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
)

const keysOnly = `clients:
  apiKeys:
    - {name: a, sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read]}
`

// withClients returns the minimal file with other clients.
func withClients(t *testing.T, clients string) string {
	t.Helper()
	return onDisk(t, strings.Replace(minimal, keysOnly, "clients:\n"+clients, 1))
}

func TestOIDCDefaults(t *testing.T) {
	t.Parallel()
	c := mustRead(t, withClients(t, "  oidc: [{issuer: 'https://issuer.example/realm', audiences: [gateway]}]\n"))
	want := config.Clients{OIDC: []config.OIDC{{
		Issuer: "https://issuer.example/realm", Audiences: []string{"gateway"}, ClockSkew: time.Minute,
		Algorithms: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"},
	}}}
	if diff := cmp.Diff(want, c.Clients, sameConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	roundTrip(t, c)
}

const allOfClients = `  rateLimit: {perSecond: 2.5, burst: 10}
  apiKeys:
    - {name: a, sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read], rateLimit: {perSecond: 1, burst: 1}}
  oidc:
    - issuer: https://kubernetes.default.svc.cluster.local
      audiences: [ais-gateway, b]
      algorithms: [RS256, EdDSA]
      clockSkew: 0s
      jwksURL: https://kubernetes.default.svc/openid/v1/jwks?x=1
      tokenFile: /run/secrets/mypos/api-key
      grants:
        - {client: "system:serviceaccount:ns:name", scopes: [balances:read]}
        - {client: fast, rateLimit: {perSecond: 100, burst: 200}}
    - {issuer: 'http://127.0.0.1:9000', audiences: [c]}
`

func TestClientsInFull(t *testing.T) {
	t.Parallel()
	c := roundTrip(t, mustRead(t, withClients(t, allOfClients)))
	k := c.Clients.OIDC[0]
	switch {
	case c.Clients.RateLimit.PerSecond != 2.5 || c.Clients.RateLimit.Burst != 10 || c.Clients.APIKeys[0].RateLimit.Burst != 1:
		t.Errorf("limits are %+v", c.Clients)
	case len(k.Algorithms) != 2 || k.ClockSkew != 0 || !strings.HasSuffix(k.JWKSURL, "?x=1") || !k.TokenFile.Given():
		t.Errorf("the issuer is %+v", k)
	case k.Grants[0].Scopes[0] != config.ScopeBalances || k.Grants[0].RateLimit != nil || k.Grants[1].RateLimit.Burst != 200:
		t.Errorf("grants are %+v", k.Grants)
	}
	if text := printed(t, c); strings.Contains(text, canary) || !strings.Contains(text, "mypos/api-key") {
		t.Errorf("printed:\n%s", text)
	}
}

// All faults of clients are reported together.
func TestClientsWithFaults(t *testing.T) {
	t.Parallel()
	_, err := config.Read([]byte(withClients(t, `  rateLimit: {perSecond: 0, burst: 0}
  apiKeys:
    - {name: 'oidc:a', sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read], rateLimit: {burst: 1}}
    - {name: b, sha256: [zz, '', a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc], scopes: [accounts:read]}
    - {name: c, sha256: [], scopes: [accounts:read]}
    - {name: d, sha256: [{}], scopes: [accounts:read]}
    - {name: e, sha256: {}, scopes: [accounts:read]}
    - {name: f, sha256: [a, "1111111111111111111111111111111111111111111111111111111111111111", "2222222222222222222222222222222222222222222222222222222222222222", "3333333333333333333333333333333333333333333333333333333333333333", "4444444444444444444444444444444444444444444444444444444444444444", "5555555555555555555555555555555555555555555555555555555555555555", "6666666666666666666666666666666666666666666666666666666666666666", "7777777777777777777777777777777777777777777777777777777777777777", "8888888888888888888888888888888888888888888888888888888888888888"], scopes: [accounts:read]}
  oidc:
    - issuer: http://issuer.example
      audiences: []
      algorithms: [none, HS256, hs256, RS256, RS256]
      clockSkew: 6m
      jwksURL: "http://issuer.example/keys?a#b"
      caFile: /run/secrets/mypos/api-key
      tokenFile: /run/secrets/bad/newline
      grants:
        - {client: '', scopes: [accounts:read]}
        - {client: a, scopes: []}
        - {client: a, scopes: [openid, balances:read, balances:read], rateLimit: {perSecond: 1000001, burst: 1000001}}
    - {audiences: [a, a, ' '], algorithms: []}
    - {issuer: 'https://u:p@h/?x', audiences: [a], clockSkew: -1s, client: x}
    - {issuer: 'https://u:p@h/?x', audiences: a, tokenFile: /run/secrets/none}
`)))
	const want = `clients.rateLimit.perSecond: must be greater than 0 and at most 1000000
clients.rateLimit.burst: must be from 1 to 1000000
clients.apiKeys[0].name: must not begin with oidc:
clients.apiKeys[0].rateLimit.perSecond: is missing
clients.apiKeys[1].sha256[0]: must be 64 hex digits
clients.apiKeys[1].sha256[1]: is empty
clients.apiKeys[1].sha256[2]: duplicate of clients.apiKeys[0].sha256
clients.apiKeys[2].sha256: is empty
clients.apiKeys[3].sha256[0]: must be a string (quote it if it looks like a number or a boolean)
clients.apiKeys[4].sha256: must be a string (quote it if it looks like a number or a boolean)
clients.apiKeys[5].sha256: must not have more than 8 hashes
clients.apiKeys[5].sha256[0]: must be 64 hex digits
clients.oidc[0].issuer: must be https (http only for loopback addresses)
clients.oidc[0].audiences: is empty
clients.oidc[0].algorithms[0]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA
clients.oidc[0].algorithms[1]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA
clients.oidc[0].algorithms[2]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA
clients.oidc[0].algorithms[4]: duplicate of clients.oidc[0].algorithms[3]
clients.oidc[0].clockSkew: must be from 0s to 5m
clients.oidc[0].jwksURL: must be https (http only for loopback addresses)
clients.oidc[0].jwksURL: must not contain a fragment
clients.oidc[0].caFile: file must contain a PEM certificate
clients.oidc[0].tokenFile: file contains no token
clients.oidc[0].grants[0].client: is empty
clients.oidc[0].grants[1].scopes: is empty
clients.oidc[0].grants[2].client: duplicate of clients.oidc[0].grants[1].client
clients.oidc[0].grants[2].scopes[0]: must be accounts:read or balances:read
clients.oidc[0].grants[2].scopes[2]: duplicate of clients.oidc[0].grants[2].scopes[1]
clients.oidc[0].grants[2].rateLimit.perSecond: must be greater than 0 and at most 1000000
clients.oidc[0].grants[2].rateLimit.burst: must be from 1 to 1000000
clients.oidc[1].issuer: is missing
clients.oidc[1].audiences[1]: duplicate of clients.oidc[1].audiences[0]
clients.oidc[1].audiences[2]: is empty
clients.oidc[1].algorithms: is empty
clients.oidc[2].issuer: must not contain a user or password
clients.oidc[2].issuer: must not contain a query
clients.oidc[2].clockSkew: must be from 0s to 5m
clients.oidc[2].client: unknown key; known keys: algorithms, audiences, caFile, clockSkew, grants, issuer, jwksURL, tokenFile
clients.oidc[3].issuer: must not contain a user or password
clients.oidc[3].issuer: must not contain a query
clients.oidc[3].issuer: duplicate of clients.oidc[2].issuer
clients.oidc[3].audiences: must be a list
clients.oidc[3].tokenFile: file does not exist (relative paths start at the working directory)
`
	var got strings.Builder
	for _, f := range faultsOf(t, err) {
		if f.Line == 0 {
			t.Errorf("%s has no line", f.Path)
		}
		fmt.Fprintf(&got, "%s: %s\n", f.Path, f.Detail)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A file needs an API key or an issuer.
func TestClientIsRequired(t *testing.T) {
	t.Parallel()
	for clients, want := range map[string]string{
		"  oidc: []\n":                "clients.apiKeys",
		"  apiKeys: []\n  oidc: []\n": "clients.apiKeys",
		"  apiKeys: []\n  oidc: [{issuer: 'https://h', audiences: [a]}]\n": "",
		"  oidc: 5\n": "clients.oidc",
	} {
		_, err := config.Read([]byte(withClients(t, clients)))
		faults := faultsOf(t, err)
		if want == "" && faults != nil || want != "" && (len(faults) != 1 || faults[0].Path != want) {
			t.Errorf("%q: %v", clients, faults)
		}
	}
}

// A file without clients does not hide the faults of their rate limit.
func TestRateLimitWithoutClients(t *testing.T) {
	t.Parallel()
	_, err := config.Read([]byte(withClients(t, "  rateLimit: {perSecond: 0, burst: 1}\n")))
	want := "clients.apiKeys (line 2): is missing\nclients.rateLimit.perSecond (line 3): must be greater than 0 and at most 1000000"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// A client may have several keys. One hash is printed as a string, several as a list.
func TestSeveralHashes(t *testing.T) {
	t.Parallel()
	hashes := make([]string, 8)
	for i := range hashes {
		hashes[i] = strings.Repeat(fmt.Sprint(i), 64)
	}
	c := mustRead(t, withClients(t, `  apiKeys:
    - {name: a, sha256: ["`+strings.Join(hashes, `", "`)+`"], scopes: [accounts:read]}
    - {name: b, sha256: [`+strings.Repeat("A", 64)+`], scopes: [accounts:read]}
`))
	if got := c.Clients.APIKeys; !slices.Equal(got[0].SHA256, hashes) || !slices.Equal(got[1].SHA256, []string{strings.Repeat("a", 64)}) {
		t.Errorf("hashes are %v and %v", got[0].SHA256, got[1].SHA256)
	}
	text := printed(t, c)
	if !strings.Contains(text, `sha256: ["`+hashes[0]+`", `) || !strings.Contains(text, "sha256: "+strings.Repeat("a", 64)) {
		t.Errorf("printed:\n%s", text)
	}
}
