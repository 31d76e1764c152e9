package gateway_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

const (
	myPOSPath      = "/v1/aspsps/" + sandbox.MyPOS
	secondMyPOSKey = "sandbox-mypos-key-CANARY-2"
)

// newSigningKey returns a new key that signs requests to Mastercard, as PEM, and a simulator that
// accepts only that key.
func newSigningKey(t *testing.T) (string, http.Handler) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sim := mastercardsim.New(mastercardsim.Config{
		ConsumerKey: "sandbox-consumer!sandbox-project", PublicKey: &key.PublicKey, Log: aspspsim.NewCallLog(time.Now),
	})
	return certtest.New(t, x509.Certificate{}, nil, key).KeyPEM, sim
}

// newCacheKey returns a new key of the cache, as it is in the file.
func newCacheKey(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(key)
}

// attendedRequests returns a request for each provider. Each makes a call.
func attendedRequests(t *testing.T, p *process) []*http.Request {
	t.Helper()
	return []*http.Request{
		newRequest(t, p.API+woodPath+"/accounts", "Consent-ID", mastercardsim.Consent),
		newRequest(t, p.API+myPOSPath+"/accounts", "Consent-ID", mypossim.GoodConsent, "Provider-Authorization", "Bearer "+mypossim.GoodToken),
	}
}

// TestSecretsAreReloadedUnderLoad: the secrets of providers and cache are replaced as Kubernetes
// does it, and no request fails. Earlier lists can still be read, and new lists are encrypted with
// the new key.
func TestSecretsAreReloadedUnderLoad(t *testing.T) {
	t.Parallel()
	pemKey, signingSim := newSigningKey(t)
	fronts := map[string]*fallbackSimulator{
		"mastercard": {second: signingSim},
		"mypos":      {second: mypossim.New(mypossim.Config{APIKey: secondMyPOSKey, Log: aspspsim.NewCallLog(time.Now), ASPSP: sandbox.MyPOS})},
	}
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(provider string, sim http.Handler) http.Handler {
		front := fronts[provider]
		if front == nil { // a provider whose secrets stay the same
			return sim
		}
		front.first = sim
		return front
	}})
	file, secrets := withSecretVolume(t, w, nil)
	p := serve(t, file)
	stop := sendSteadily(t, http.DefaultClient, attendedRequests(t, p)...)
	cachedStatus := func(p *process, consent string) int {
		resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+woodPath+"/accounts", "Consent-ID", consent, "Cache-Control", "only-if-cached")
		return resp.StatusCode
	}
	before, after := mastercardsim.FreshConsent+"before", mastercardsim.FreshConsent+"after"
	fetch := func(consent string) {
		t.Helper()
		if resp, body := gatewaytest.Call(t, http.MethodGet, p.API+woodPath+"/accounts", "Consent-ID", consent); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	fetch(before)
	old, key := secrets.files["cache-key"], newCacheKey(t)
	secrets.swap(map[string]string{"signing-key.pem": pemKey, "mypos-key": secondMyPOSKey + "\n", "cache-key": key + "\n" + old})
	for _, part := range []string{"mastercard", "mypos", "cache"} {
		p.waitForLog(reloadedMsg, part, 1)
	}
	if status := cachedStatus(p, before); status != http.StatusOK {
		t.Errorf("a list from before the reload: %d", status)
	}
	fetch(after)
	for provider, f := range fronts {
		n, all := f.secondOK.Load(), f.total.Load()
		waitFor(t, provider+" gets more calls", func() bool { return f.total.Load() > all+5 })
		if f.secondOK.Load() == n {
			t.Errorf("%s is called with the old secret", provider)
		}
	}
	stop()
	secrets.swap(map[string]string{"cache-key": key})
	next := serve(t, file)
	if was, is := cachedStatus(next, before), cachedStatus(next, after); was != http.StatusGatewayTimeout || is != http.StatusOK {
		t.Errorf("with the new key only: the earlier list gets %d, the later one %d", was, is)
	}
	p.waitForLog(reloadedMsg, "cache", 2)
	if status := cachedStatus(p, before); status != http.StatusGatewayTimeout {
		t.Errorf("the old key still decrypts: %d", status)
	}
	_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	for _, want := range []string{
		`ais_secrets_reloads_total{outcome="ok",part="mastercard"} 1`, `ais_secrets_reloads_total{outcome="ok",part="cache"} 2`,
		`ais_secrets_stale{part="mypos"} 0`, `ais_secrets_stale{part="clients"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not contain %s", want)
		}
	}
}

// TestInvalidSecretsAreNotUsed: if a new secret is invalid, the previous one stays in use, and
// other secrets are reloaded. The fault is logged once and is in the metrics and in /readyz,
// without the contents of the files.
func TestInvalidSecretsAreNotUsed(t *testing.T) {
	t.Parallel()
	const canary = "CANARY-CONTENT"
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	ca := certtest.CA(t, "ca")
	api := ca.Issue("api")
	file, secrets := withSecretVolume(t, w, map[string]string{"tls.crt": api.PEM, "tls.key": api.KeyPEM})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good := strings.Replace(string(text), "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, ", 1)
	writeFile(t, file, good)
	p := serve(t, file)
	p.API = strings.Replace(p.API, "http://", "https://", 1)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Client()}}
	valid := map[string]string{}
	for name, content := range secrets.files {
		valid[name] = content
	}
	type invalid struct{ part, message string }
	all := []string{"cache", "clients", "mastercard", "mypos", "server_tls"}
	for i, tt := range []struct {
		change func()
		want   []invalid
	}{
		{func() {
			secrets.swap(map[string]string{"signing-key.pem": canary, "mypos-key": canary + "\n" + canary, "cache-key": canary, "tls.key": ca.Issue("stranger").KeyPEM})
			replaceFile(t, file, good+"]"+canary)
		}, []invalid{
			{"mastercard", "providers.mastercard.signingKeyFile (line 8)"},
			{"mypos", "providers.mypos.apiKeyFile (line 9)"},
			{"cache", "cache.encryptionKeyFile (line 25)"},
			{"server_tls", "server.tls.keyFile (line 2)"},
			{"clients", "invalid YAML"},
		}},
		{func() {
			secrets.swap(map[string]string{"signing-key.pem": valid["signing-key.pem"][:800], "cache-key": "", "tls.crt": api.PEM[:200]})
			secrets.must(os.Remove(secrets.path("mypos-key")))
			replaceFile(t, file, strings.Replace(good, "name: sandbox", "nam: "+canary, 1))
		}, []invalid{
			{"mastercard", "providers.mastercard.signingKeyFile"},
			{"mypos", "does not exist"},
			{"cache", "is empty"},
			{"server_tls", "server.tls"},
			{"clients", "clients.apiKeys[0].nam (line 6)"},
		}},
		{func() {
			secrets.swap(map[string]string{"signing-key.pem": canary, "cache-key": newCacheKey(t) + "\n" + valid["cache-key"]})
			replaceFile(t, file, good[:strings.Index(good, "aspsps:")])
		}, []invalid{{"mastercard", "signingKeyFile"}, {"clients", "aspsps (line 1): is missing"}}},
	} {
		failed, reloaded := map[string]int{}, map[string]int{}
		for _, part := range all {
			failed[part], reloaded[part] = len(p.logLines(reloadFailedMsg, part)), len(p.logLines(reloadedMsg, part))
		}
		tt.change()
		for _, b := range tt.want {
			p.waitForLog(reloadFailedMsg, b.part, failed[b.part]+1)
			if line := p.logLines(reloadFailedMsg, b.part)[failed[b.part]]; !strings.Contains(line, `"level":"ERROR"`) || !strings.Contains(line, b.message) {
				t.Errorf("%d, %s: %s", i, b.part, line)
			}
			_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
			if !strings.Contains(metrics, `ais_secrets_stale{part="`+b.part+`"} 1`) || !strings.Contains(metrics, `ais_secrets_reloads_total{outcome="failed",part="`+b.part+`"} `) {
				t.Errorf("%d, %s: not in the metrics", i, b.part)
			}
			resp, ready := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
			if resp.StatusCode != http.StatusOK || !strings.Contains(ready, `"status":"ready"`) || !strings.Contains(ready, `"secrets of `+b.part+` could not be reloaded`) {
				t.Errorf("%d, %s: %d %s", i, b.part, resp.StatusCode, ready)
			}
		}
		for _, r := range attendedRequests(t, p) {
			if status, body := do(client, r); status != http.StatusOK {
				t.Errorf("%d: %d %s", i, status, body)
			}
		}
		client.CloseIdleConnections()
		if len(tt.want) < len(all) {
			p.waitForLog(reloadedMsg, "cache", reloaded["cache"]+1)
			time.Sleep(3 * time.Second) // reads that find the same fault log nothing
			for _, b := range tt.want {
				if n := len(p.logLines(reloadFailedMsg, b.part)); n != failed[b.part]+1 {
					t.Errorf("%d, %s: logged %d times", i, b.part, n-failed[b.part])
				}
			}
		}
		if _, err := os.Lstat(secrets.path("mypos-key")); err != nil {
			secrets.must(os.Symlink(filepath.Join("..data", "mypos-key"), secrets.path("mypos-key")))
		}
		replaceFile(t, file, good)
		secrets.swap(valid)
		for _, b := range tt.want {
			p.waitForLog(reloadedMsg, b.part, reloaded[b.part]+1)
		}
		_, ready := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
		_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
		if strings.Contains(ready, "secrets") || strings.Contains(metrics, "ais_secrets_stale{part=\"mypos\"} 1") {
			t.Errorf("%d: after the fault is corrected: %s", i, ready)
		}
	}
	if out := p.Stdout.String(); strings.Contains(out, canary) || strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("the log has contents of the files\n%s", out)
	}
}

// TestAPIKeysAreReloaded: API keys are added and removed when the configuration file changes. Other
// changes need a restart.
func TestAPIKeysAreReloaded(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.EditConfig(t, w, func(text string) string { return text + "# mine\n" })
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, file)
	entry := func(name, key, scopes string) string {
		sum := sha256.Sum256([]byte(key))
		return "    - {name: " + name + ", sha256: " + hex.EncodeToString(sum[:]) + ", scopes: [" + scopes + "]}\n"
	}
	with := func(entries ...string) string {
		head, rest, _ := strings.Cut(string(text), "  apiKeys:\n")
		_, rest, _ = strings.Cut(rest, "\n")
		return head + "  apiKeys:\n" + strings.Join(entries, "") + rest
	}
	status := func(key, path string) int {
		got, _ := do(http.DefaultClient, newRequest(t, p.API+path, "Consent-ID", mastercardsim.Consent, "X-API-Key", key))
		return got
	}
	first, second := entry("sandbox", sandbox.Key, "'accounts:read', 'balances:read'"), entry("second", "second-key", "'accounts:read'")
	stop := sendSteadily(t, http.DefaultClient, newRequest(t, p.API+woodPath+balancesPath, "Consent-ID", mastercardsim.Consent))
	if got := status("second-key", woodPath+"/accounts"); got != http.StatusUnauthorized {
		t.Errorf("unknown key: %d", got)
	}
	replaceFile(t, file, with(first, second))
	p.waitForLog(reloadedMsg, "clients", 1)
	if got, forbidden := status("second-key", woodPath+"/accounts"), status("second-key", woodPath+balancesPath); got != http.StatusOK || forbidden != http.StatusForbidden {
		t.Errorf("added key: %d, without the scope: %d", got, forbidden)
	}
	stop()
	if lines := p.logLines("configuration changed: API keys were reloaded, the rest needs a restart", ""); len(lines) != 0 {
		t.Errorf("%v", lines)
	}
	// One key is removed, and more is changed. A secret that cannot be read does not keep the
	// removed key valid.
	changed := strings.Replace(with(second), "name: Wood Bank", "name: Tree Bank", 1)
	changed = strings.Replace(changed, "/cache-key", "/no-such-key", 1)
	replaceFile(t, file, changed)
	p.waitForLog(reloadedMsg, "clients", 2)
	if gone, stays := status(sandbox.Key, woodPath+"/accounts"), status("second-key", woodPath+"/accounts"); gone != http.StatusUnauthorized || stays != http.StatusOK {
		t.Errorf("removed key: %d, remaining key: %d", gone, stays)
	}
	_, bank := do(http.DefaultClient, newRequest(t, p.API+woodPath, "X-API-Key", "second-key"))
	if !strings.Contains(bank, "Wood Bank") {
		t.Errorf("another change is in effect: %s", bank)
	}
	if lines := p.logLines("configuration changed: API keys were reloaded, the rest needs a restart", ""); len(lines) != 1 || !strings.Contains(lines[0], "WARN") {
		t.Errorf("%v", lines)
	}
}

// TestLastKeysAreKept: a file with issuers instead of all API keys is refused if no issuer is in
// use, because no client could authenticate.
func TestLastKeysAreKept(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.EditConfig(t, w, func(text string) string { return text + "# mine\n" })
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, file)
	head, rest, _ := strings.Cut(string(text), "  apiKeys:\n")
	_, rest, _ = strings.Cut(rest, "\n")
	replaceFile(t, file, head+"  oidc: [{issuer: 'https://issuer.example.com', audiences: [ais-gateway]}]\n"+rest)
	gatewaytest.Eventually(t, "the change is refused", func() bool {
		return len(p.logLines("secret reload failed, still using the previous secret", "clients")) == 1
	})
	if status, body := do(http.DefaultClient, newRequest(t, p.API+woodPath, "X-API-Key", sandbox.Key)); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// tlsProvider is a simulator of myPOS that requires client certificates, and records which calls
// and connections used them.
type tlsProvider struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string            // the names in the certificates, in order
	open  map[net.Conn]string // the name of each connection that is open, "" before it is known
}

// lastCall returns the name in the certificate of the last call, and the number of calls.
func (b *tlsProvider) lastCall() (name string, calls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return "", 0
	}
	return b.calls[len(b.calls)-1], len(b.calls)
}

// connections returns the number of open connections with a certificate for name.
func (b *tlsProvider) connections(name string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, of := range b.open {
		if of == name {
			n++
		}
	}
	return n
}

// startTLSProvider starts a provider that trusts an authority and has a certificate of it.
func startTLSProvider(t *testing.T, ca *certtest.Pair) *tlsProvider {
	t.Helper()
	b := &tlsProvider{open: map[net.Conn]string{}}
	sim := mypossim.New(mypossim.Config{
		APIKey: "sandbox-mypos-key", Log: aspspsim.NewCallLog(time.Now), ASPSP: sandbox.MyPOS, RequireClientCertificate: true,
	})
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		b.mu.Lock()
		b.calls = append(b.calls, name)
		for conn := range b.open {
			if conn.RemoteAddr().String() == r.RemoteAddr {
				b.open[conn] = name
			}
		}
		b.mu.Unlock()
		sim.ServeHTTP(w, r)
	}))
	b.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue("bank").Certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}
	b.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch state {
		case http.StateNew:
			b.open[conn] = ""
		case http.StateClosed:
			delete(b.open, conn)
		}
	}
	b.StartTLS()
	t.Cleanup(b.Close)
	return b
}

// TestClientCertificateIsReloaded: the client certificate for myPOS and its key are replaced one
// after the other under load. Calls use the old pair until both files match, then only the new one.
func TestClientCertificateIsReloaded(t *testing.T) {
	t.Parallel()
	ca := certtest.CA(t, "ca")
	bank := startTLSProvider(t, ca)
	roots, _ := ca.Write()
	certificateFile, keyFile := ca.Issue("first").Write()
	second := ca.Issue("second")
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.EditConfig(t, w, func(text string) string {
		head, rest, _ := strings.Cut(text, "  mypos: {baseURL: \"")
		_, rest, _ = strings.Cut(rest, `"`)
		return head + "  mypos: {baseURL: \"" + bank.URL + `", clientCertificateFile: "` + certificateFile + `", clientKeyFile: "` + keyFile + `"` + rest
	})
	p := serve(t, file, "SSL_CERT_FILE="+roots)
	stop := sendSteadily(t, http.DefaultClient, attendedRequests(t, p)[1], attendedRequests(t, p)[1], attendedRequests(t, p)[1])
	waitFor(t, "calls reach the provider", func() bool { name, n := bank.lastCall(); return name == "first" && n > 5 })
	replaceFile(t, certificateFile, second.PEM)
	p.waitForLog(reloadFailedMsg, "mypos", 1)
	_, n := bank.lastCall()
	waitFor(t, "more calls reach the provider", func() bool { _, now := bank.lastCall(); return now > n+5 })
	if name, _ := bank.lastCall(); name != "first" {
		t.Errorf("a certificate without its key is in use: %s", name)
	}
	replaceFile(t, keyFile, second.KeyPEM)
	p.waitForLog(reloadedMsg, "mypos", 1)
	_, n = bank.lastCall()
	waitFor(t, "more calls reach the provider", func() bool { _, now := bank.lastCall(); return now > n+10 })
	bank.mu.Lock()
	for _, name := range bank.calls[n+5:] { // three calls may have been in progress at the reload
		if name != "second" {
			t.Error("a call after the reload used the old certificate")
			break
		}
	}
	bank.mu.Unlock()
	stop()
	waitFor(t, "the connections with the old certificate are closed", func() bool { return bank.connections("first") == 0 })
	resp, body := gatewaytest.Call(t, http.MethodGet, p.API+myPOSPath+"/accounts/"+mypossim.GoodAccount+"/balances", "Consent-ID", mypossim.GoodConsent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	if name, _ := bank.lastCall(); resp.StatusCode != http.StatusOK || name != "second" {
		t.Errorf("unattended: %d with %s: %s", resp.StatusCode, name, body)
	}
	if strings.Contains(p.Stdout.String(), "PRIVATE") {
		t.Error("the log has a private key")
	}
}
