package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v3/jwa"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/issuertest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// apiClient is a client of the API, with the header that authenticates it.
type apiClient struct{ header, credential string }

// keyClient returns a client with an API key, tokenClient one with a token.
func keyClient(key string) apiClient     { return apiClient{"X-API-Key", key} }
func tokenClient(token string) apiClient { return apiClient{"Authorization", "Bearer " + token} }

// get sends a request with the client's credential, and returns the response and its body. header
// alternates names and values.
func (c apiClient) get(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(c.header, c.credential)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(body)
}

// withClients returns a configuration in which the section clients has two API keys, the issuers,
// and the settings in more. The issuers' client has the same name as the first API key.
func withClients(text string, more string, issuers ...*issuertest.Issuer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "clients:\n  %s\n  apiKeys:\n", more)
	for _, name := range []string{issuertest.App, "other"} {
		sum := sha256.Sum256([]byte("key-of-" + name))
		fmt.Fprintf(&b, "    - {name: %s, sha256: %s, scopes: [\"accounts:read\", \"balances:read\"]}\n", name, hex.EncodeToString(sum[:]))
	}
	b.WriteString("  oidc:\n")
	for _, i := range issuers {
		fmt.Fprintf(&b, "    - issuer: %s\n      audiences: [%s]\n", i.URL, issuertest.Audience)
		b.WriteString("      grants: [{client: \"system:serviceaccount:ns:reader\", scopes: [\"accounts:read\"]}]\n")
	}
	begin, end := strings.Index(text, "clients:\n"), strings.Index(text, "providers:\n")
	return text[:begin] + b.String() + text[end:]
}

// fullToken returns a token with both scopes.
func fullToken(i *issuertest.Issuer) string {
	return i.Token(map[string]any{"scope": "openid accounts:read balances:read"})
}

// fourClients returns four clients, three of which have the same name.
func fourClients(issuers ...*issuertest.Issuer) []apiClient {
	return []apiClient{
		keyClient("key-of-" + issuertest.App), keyClient("key-of-other"),
		tokenClient(fullToken(issuers[0])), tokenClient(fullToken(issuers[1])),
	}
}

// waitForClients waits until each gateway accepts the credentials of all clients.
func waitForClients(t *testing.T, gateways []*process, all []apiClient) {
	t.Helper()
	for _, g := range gateways {
		for _, c := range all {
			waitFor(t, "the client is accepted", func() bool {
				resp, _ := c.get(t, http.MethodGet, g.API+"/v1/aspsps")
				return resp.StatusCode == http.StatusOK
			})
		}
	}
}

// TestClientsAreIsolated: clients do not share cached lists or deletions, on any gateway. They
// share only the counter of the consent.
func TestClientsAreIsolated(t *testing.T) {
	issuers := []*issuertest.Issuer{issuertest.Start(t, time.Now), issuertest.Start(t, time.Now)}
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := gatewaytest.EditConfig(t, w, func(text string) string { return withClients(text, "", issuers...) })
	gateways := []*process{serve(t, config), serve(t, config)}
	consent := mastercardsim.FreshConsent + uuid.NewString()
	all := fourClients(issuers...)
	waitForClients(t, gateways, all)
	send := func(c apiClient, n int, method, path string, header ...string) (*http.Response, string) {
		return c.get(t, method, gateways[n%2].API+woodPath+path, append(header, "Consent-ID", consent)...)
	}
	used := func(c apiClient) (n, remaining int) {
		_, body := send(c, 0, http.MethodGet, "/unattended-access")
		var access struct{ Used, Remaining int }
		if err := json.Unmarshal([]byte(body), &access); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return access.Used, access.Remaining
	}
	for n, c := range all {
		if resp, body := send(c, n, http.MethodGet, "/accounts", "Cache-Control", "only-if-cached"); resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("client %d gets another client's list: %d %s", n, resp.StatusCode, body)
		}
		if resp, body := send(c, n, http.MethodGet, "/accounts"); resp.Header.Get("Cache-Status") != "ais-gateway; fwd=miss; stored" {
			t.Errorf("client %d: %d %q %s", n, resp.StatusCode, resp.Header.Get("Cache-Status"), body)
		}
		for m, other := range all {
			if count, left := used(other); count != n+1 || left != 3-n {
				t.Errorf("after client %d's call, client %d gets %d used, %d remaining", n, m, count, left)
			}
		}
	}
	if n := len(w.CallLog.Calls()); n != len(all) || len(w.CallLog.Breaches()) != 0 {
		t.Fatalf("%d calls for %d clients", n, len(all))
	}
	for n, c := range all {
		if resp, body := send(c, n, http.MethodDelete, "/cached-data"); resp.StatusCode != http.StatusNoContent {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		for m, other := range all {
			want := http.StatusOK
			if m <= n {
				want = http.StatusGatewayTimeout
			}
			resp, body := send(other, n+m, http.MethodGet, "/accounts", "Cache-Control", "only-if-cached")
			if resp.StatusCode != want {
				t.Errorf("after client %d deleted its list, client %d gets %d %s, want %d", n, m, resp.StatusCode, body, want)
			}
		}
	}
}

// TestClientsDoNotShareCalls: identical concurrent requests of several clients to a slow bank make
// one call for each client.
func TestClientsDoNotShareCalls(t *testing.T) {
	// Only lists are cached, so only a list may be requested several times: on a slow machine, a
	// late request makes no call.
	for path, each := range map[string]int{"/accounts": 3, balancesPath: 1} {
		t.Run(path[1:9], func(t *testing.T) {
			issuers := []*issuertest.Issuer{issuertest.Start(t, time.Now), issuertest.Start(t, time.Now)}
			var slow atomic.Bool
			w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(_ string, next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if slow.Load() {
						time.Sleep(time.Second)
					}
					next.ServeHTTP(rw, r)
				})
			}})
			config := gatewaytest.EditConfig(t, w, func(text string) string { return withClients(text, "", issuers...) })
			gateways := []*process{serve(t, config), serve(t, config)}
			all := fourClients(issuers...)
			waitForClients(t, gateways, all)
			warm := mastercardsim.FreshConsent + uuid.NewString() // to open connections and fetch the issuers' keys
			for _, g := range gateways {
				for _, c := range all {
					c.get(t, http.MethodGet, g.API+woodPath+path, "Consent-ID", warm)
				}
			}
			before := len(w.CallLog.Calls())
			slow.Store(true)
			consent := mastercardsim.FreshConsent + uuid.NewString()
			var requests sync.WaitGroup
			for n := range each * len(all) {
				requests.Go(func() {
					resp, body := all[n%len(all)].get(t, http.MethodGet, gateways[(n+n/len(all))%2].API+woodPath+path, "Consent-ID", consent)
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%d %s", resp.StatusCode, body)
					}
				})
			}
			requests.Wait()
			// The identical requests of one client share a call. If clients shared calls, too,
			// there would be fewer.
			if n := len(w.CallLog.Calls()) - before; n != len(all) {
				t.Errorf("%d calls for %d clients", n, len(all))
			}
		})
	}
}

// TestTokens: a gateway that starts while the issuer is down accepts API keys immediately, and
// tokens as soon as it has fetched the issuer's keys. It continues when the issuer goes down again,
// and fetches new keys. Scopes come from the token or from a grant.
func TestTokens(t *testing.T) {
	t.Parallel()
	issuer := issuertest.Start(t, time.Now)
	issuer.Down()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.EditConfig(t, w, func(text string) string { return withClients(text, "", issuer) }))
	consent := mastercardsim.FreshConsent + uuid.NewString()
	send := func(c apiClient, path string) (*http.Response, string) {
		return c.get(t, http.MethodGet, p.API+woodPath+path, "Consent-ID", consent, "PSU-IP-Address", "203.0.113.7")
	}
	expect := func(c apiClient, path string, status int, code string) *http.Response {
		t.Helper()
		resp, body := send(c, path)
		if resp.StatusCode != status || code != "" && !strings.Contains(body, `"code":"`+code+`"`) {
			t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, status, code)
		}
		return resp
	}
	succeeds := func(c apiClient) func() bool {
		return func() bool { resp, _ := send(c, "/accounts"); return resp.StatusCode == http.StatusOK }
	}
	expect(keyClient("key-of-other"), "/accounts", 200, "")
	if resp := expect(tokenClient(fullToken(issuer)), "/accounts", 503, "OVERLOADED"); resp.Header.Get("Retry-After") == "" {
		t.Error("the response has no Retry-After")
	}
	if resp := expect(tokenClient("no.such.token"), "/accounts", 401, "UNAUTHENTICATED"); resp.Header.Get("WWW-Authenticate") == "" {
		t.Error("the response has no WWW-Authenticate")
	}
	issuer.Handle(nil)
	older := tokenClient(fullToken(issuer))
	waitFor(t, "the gateway has the issuer's keys", succeeds(older))
	expect(older, balancesPath, 200, "")
	issuer.Add(jwa.ES256())
	newer := tokenClient(fullToken(issuer))
	waitFor(t, "the gateway has the new key", succeeds(newer))
	expect(older, "/accounts", 200, "")
	issuer.Down()
	expect(newer, "/accounts", 200, "")

	expect(tokenClient(issuer.Token(map[string]any{"scp": []string{"accounts:read"}})), balancesPath, 403, "FORBIDDEN")
	expect(tokenClient(issuer.Token(nil)), "/accounts", 403, "FORBIDDEN")
	account := tokenClient(issuer.Token(map[string]any{"azp": nil, "sub": "system:serviceaccount:ns:reader"}))
	expect(account, "/accounts", 200, "")
	expect(account, balancesPath, 403, "FORBIDDEN")
	person := tokenClient(issuer.Token(map[string]any{"azp": "jane@bank.example", "scope": "accounts:read"}))
	expect(person, "/accounts", 200, "")
	expect(apiClient{"X-API-Key", strings.TrimPrefix(newer.credential, "Bearer ")}, "/accounts", 401, "UNAUTHENTICATED")

	p.Terminate()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
	log := p.Stdout.String()
	for _, want := range []string{
		`"msg":"cannot fetch issuer keys","issuer":"clients.oidc[0]","cause":"unreachable"`, `"msg":"issuer keys available again"`,
		`"client":"app","identified_by":"azp","issuer":"clients.oidc[0]"`, `"identified_by":"sub","issuer":"clients.oidc[0]"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not contain %s", want)
		}
	}
	for _, secret := range []string{issuer.URL, "jane", "serviceaccount", "ais-gateway\"", newer.credential[20:60]} {
		if strings.Contains(log+p.Stderr.String(), secret) {
			t.Errorf("the log contains %q", secret)
		}
	}
}

// TestRateLimit: a request beyond the client's rate limit gets RATE_LIMITED and makes no call.
// Other clients are not affected.
func TestRateLimit(t *testing.T) {
	issuer := issuertest.Start(t, time.Now)
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.EditConfig(t, w, func(text string) string {
		return withClients(text, "rateLimit: {perSecond: 0.001, burst: 3}", issuer)
	}))
	consent := mastercardsim.FreshConsent + uuid.NewString()
	another := tokenClient(issuer.Token(map[string]any{"azp": "another"}))
	waitFor(t, "the gateway has the issuer's keys", func() bool {
		resp, _ := another.get(t, http.MethodGet, p.API+"/v1/aspsps")
		return resp.StatusCode == http.StatusOK
	})
	for n, c := range []apiClient{keyClient("key-of-" + issuertest.App), tokenClient(fullToken(issuer))} {
		for i := range 5 {
			resp, body := c.get(t, http.MethodGet, p.API+woodPath+balancesPath, "Consent-ID", consent, "PSU-IP-Address", "203.0.113.7")
			want := http.StatusOK
			if i >= 3 {
				want = http.StatusTooManyRequests
				if !strings.Contains(body, `"code":"RATE_LIMITED"`) || resp.Header.Get("Retry-After") == "" {
					t.Errorf("Retry-After %q: %s", resp.Header.Get("Retry-After"), body)
				}
			}
			if resp.StatusCode != want {
				t.Errorf("client %d, request %d: %d %s", n, i, resp.StatusCode, body)
			}
		}
		if calls := len(w.CallLog.Calls()); calls != 3*(n+1) {
			t.Errorf("%d calls reached the bank", calls)
		}
	}
}
