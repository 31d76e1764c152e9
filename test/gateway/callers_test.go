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

// A caller asks with a credential of its own: an API key's, or a token's header.
type caller struct{ header, credential string }

func withKey(key string) caller     { return caller{"X-API-Key", key} }
func withToken(token string) caller { return caller{"Authorization", "Bearer " + token} }

// call asks a gateway as this caller. header is name and value in turn.
func (c caller) call(t *testing.T, method, url string, header ...string) (*http.Response, string) {
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

// clientsOf is a configuration's part with two keys, and two issuers whose client app has the name of a key.
func clientsOf(text string, more string, issuers ...*issuertest.Issuer) string {
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

func fullToken(i *issuertest.Issuer) string {
	return i.Token(map[string]any{"scope": "openid accounts:read balances:read"})
}

// everyone are four clients, three of them of one name.
func everyone(issuers ...*issuertest.Issuer) []caller {
	return []caller{
		withKey("key-of-" + issuertest.App), withKey("key-of-other"),
		withToken(fullToken(issuers[0])), withToken(fullToken(issuers[1])),
	}
}

// known waits until gateways know the keys of all who call.
func known(t *testing.T, gateways []*process, all []caller) {
	t.Helper()
	for _, g := range gateways {
		for _, c := range all {
			soon(t, "the client is known", func() bool {
				resp, _ := c.call(t, http.MethodGet, g.API+"/v1/aspsps")
				return resp.StatusCode == http.StatusOK
			})
		}
	}
}

// soon waits for what a gateway learns between two readings of keys, which nobody hurries.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// Each client fetches, keeps and forgets for itself, on whatever gateway; the consent's count alone is everybody's.
func TestClientsAreApart(t *testing.T) {
	issuers := []*issuertest.Issuer{issuertest.Start(t, time.Now), issuertest.Start(t, time.Now)}
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := gatewaytest.EditConfig(t, w, func(text string) string { return clientsOf(text, "", issuers...) })
	gateways := []*process{serve(t, config), serve(t, config)}
	consent := mastercardsim.FreshConsent + uuid.NewString()
	all := everyone(issuers...)
	known(t, gateways, all)
	ask := func(c caller, n int, method, path string, header ...string) (*http.Response, string) {
		return c.call(t, method, gateways[n%2].API+wood+path, append(header, "Consent-ID", consent)...)
	}
	used := func(c caller) (n, remaining int) {
		_, body := ask(c, 0, http.MethodGet, "/unattended-access")
		var said struct{ Used, Remaining int }
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return said.Used, said.Remaining
	}
	for n, c := range all {
		if resp, body := ask(c, n, http.MethodGet, "/accounts", "Cache-Control", "only-if-cached"); resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("client %d sees what another fetched: %d %s", n, resp.StatusCode, body)
		}
		if resp, body := ask(c, n, http.MethodGet, "/accounts"); resp.Header.Get("Cache-Status") != "ais-gateway; fwd=miss; stored" {
			t.Errorf("client %d: %d %q %s", n, resp.StatusCode, resp.Header.Get("Cache-Status"), body)
		}
		for m, other := range all {
			if count, left := used(other); count != n+1 || left != 3-n {
				t.Errorf("after client %d's call, client %d is told %d used, %d left", n, m, count, left)
			}
		}
	}
	if n := len(w.Ledger.Calls()); n != len(all) || len(w.Ledger.Breaches()) != 0 {
		t.Fatalf("%d calls for %d clients", n, len(all))
	}
	for n, c := range all {
		if resp, body := ask(c, n, http.MethodDelete, "/cached-data"); resp.StatusCode != http.StatusNoContent {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		for m, other := range all {
			want := http.StatusOK
			if m <= n {
				want = http.StatusGatewayTimeout
			}
			resp, body := ask(other, n+m, http.MethodGet, "/accounts", "Cache-Control", "only-if-cached")
			if resp.StatusCode != want {
				t.Errorf("client %d has erased; client %d is answered %d %s", n, m, resp.StatusCode, body)
			}
		}
	}
}

// Many clients ask the same at once, of a bank that takes its time: no two share a call.
func TestClientsShareNoCall(t *testing.T) {
	// Only lists are kept: who asks for one late, on a slow machine, makes no call.
	for path, each := range map[string]int{"/accounts": 3, balances: 1} {
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
			config := gatewaytest.EditConfig(t, w, func(text string) string { return clientsOf(text, "", issuers...) })
			gateways := []*process{serve(t, config), serve(t, config)}
			all := everyone(issuers...)
			known(t, gateways, all)
			warm := mastercardsim.FreshConsent + uuid.NewString() // connections and the issuers' keys
			for _, g := range gateways {
				for _, c := range all {
					c.call(t, http.MethodGet, g.API+wood+path, "Consent-ID", warm)
				}
			}
			before := len(w.Ledger.Calls())
			slow.Store(true)
			consent := mastercardsim.FreshConsent + uuid.NewString()
			var asking sync.WaitGroup
			for n := range each * len(all) {
				asking.Go(func() {
					resp, body := all[n%len(all)].call(t, http.MethodGet, gateways[(n+n/len(all))%2].API+wood+path, "Consent-ID", consent)
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%d %s", resp.StatusCode, body)
					}
				})
			}
			asking.Wait()
			// each client's equal requests share theirs; were clients' shared too, it would be fewer
			if n := len(w.Ledger.Calls()) - before; n != len(all) {
				t.Errorf("%d calls for %d clients", n, len(all))
			}
		})
	}
}

// A gateway starts while the issuer is away. Keys work at once, tokens once it has come, and then whether it is there
// or not; its keys are replaced; scopes are the token's, or granted.
func TestTokens(t *testing.T) {
	t.Parallel()
	issuer := issuertest.Start(t, time.Now)
	issuer.Down()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.EditConfig(t, w, func(text string) string { return clientsOf(text, "", issuer) }))
	consent := mastercardsim.FreshConsent + uuid.NewString()
	ask := func(c caller, path string) (*http.Response, string) {
		return c.call(t, http.MethodGet, p.API+wood+path, "Consent-ID", consent, "PSU-IP-Address", "203.0.113.7")
	}
	expect := func(c caller, path string, status int, code string) *http.Response {
		t.Helper()
		resp, body := ask(c, path)
		if resp.StatusCode != status || code != "" && !strings.Contains(body, `"code":"`+code+`"`) {
			t.Errorf("answered %d %s, want %d %s", resp.StatusCode, body, status, code)
		}
		return resp
	}
	answered := func(c caller) func() bool {
		return func() bool { resp, _ := ask(c, "/accounts"); return resp.StatusCode == http.StatusOK }
	}
	expect(withKey("key-of-other"), "/accounts", 200, "")
	if resp := expect(withToken(fullToken(issuer)), "/accounts", 503, "OVERLOADED"); resp.Header.Get("Retry-After") == "" {
		t.Error("no word of when to try again")
	}
	if resp := expect(withToken("no.such.token"), "/accounts", 401, "UNAUTHENTICATED"); resp.Header.Get("WWW-Authenticate") == "" {
		t.Error("no word of how to authenticate")
	}
	issuer.Handle(nil)
	old := withToken(fullToken(issuer))
	soon(t, "the issuer is known", answered(old))
	expect(old, balances, 200, "")
	issuer.Add(jwa.ES256())
	young := withToken(fullToken(issuer))
	soon(t, "the new key is known", answered(young))
	expect(old, "/accounts", 200, "")
	issuer.Down()
	expect(young, "/accounts", 200, "")

	expect(withToken(issuer.Token(map[string]any{"scp": []string{"accounts:read"}})), balances, 403, "FORBIDDEN")
	expect(withToken(issuer.Token(nil)), "/accounts", 403, "FORBIDDEN")
	account := withToken(issuer.Token(map[string]any{"azp": nil, "sub": "system:serviceaccount:ns:reader"}))
	expect(account, "/accounts", 200, "")
	expect(account, balances, 403, "FORBIDDEN")
	person := withToken(issuer.Token(map[string]any{"azp": "jane@bank.example", "scope": "accounts:read"}))
	expect(person, "/accounts", 200, "")
	expect(caller{"X-API-Key", strings.TrimPrefix(young.credential, "Bearer ")}, "/accounts", 401, "UNAUTHENTICATED")

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
			t.Errorf("no %s in the log", want)
		}
	}
	for _, secret := range []string{issuer.URL, "jane", "serviceaccount", "ais-gateway\"", young.credential[20:60]} {
		if strings.Contains(log+p.Stderr.String(), secret) {
			t.Errorf("%q stands in the log", secret)
		}
	}
}

// Beyond its limit a client is answered RATE_LIMITED, and nobody else is; nothing is sent, and nothing counted.
func TestRateLimit(t *testing.T) {
	issuer := issuertest.Start(t, time.Now)
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := serve(t, gatewaytest.EditConfig(t, w, func(text string) string {
		return clientsOf(text, "rateLimit: {perSecond: 0.001, burst: 3}", issuer)
	}))
	consent := mastercardsim.FreshConsent + uuid.NewString()
	another := withToken(issuer.Token(map[string]any{"azp": "another"}))
	soon(t, "the issuer is known", func() bool {
		resp, _ := another.call(t, http.MethodGet, p.API+"/v1/aspsps")
		return resp.StatusCode == http.StatusOK
	})
	for n, c := range []caller{withKey("key-of-" + issuertest.App), withToken(fullToken(issuer))} {
		for i := range 5 {
			resp, body := c.call(t, http.MethodGet, p.API+wood+balances, "Consent-ID", consent, "PSU-IP-Address", "203.0.113.7")
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
		if calls := len(w.Ledger.Calls()); calls != 3*(n+1) {
			t.Errorf("%d calls reached the bank", calls)
		}
	}
}
