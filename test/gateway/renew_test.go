package gateway_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

const (
	pos     = "/v1/aspsps/" + sandbox.MyPOS
	nextKey = "sandbox-mypos-key-CANARY-2"
)

// signing is a new key for requests to Mastercard, as PEM, and a simulator that takes no other.
func signing(t *testing.T) (string, http.Handler) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sim := mastercardsim.New(mastercardsim.Config{
		ConsumerKey: "sandbox-consumer!sandbox-project", PublicKey: &key.PublicKey, Log: aspspsim.NewCallLog(time.Now),
	})
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), sim
}

func cacheKey(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(key)
}

// attended are requests to both providers, each of which makes a call.
func attended(t *testing.T, p *process) []*http.Request {
	t.Helper()
	return []*http.Request{
		request(t, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent),
		request(t, p.API+pos+"/accounts", "Consent-ID", mypossim.GoodConsent, "Provider-Authorization", "Bearer "+mypossim.GoodToken),
	}
}

// All secrets of providers and cache are renewed at once, as Kubernetes does it, and no request fails by that. Lists from
// before are still read, and what is kept from then on is under the new key.
func TestSecretsAreRenewedWhileRequestsGoOn(t *testing.T) {
	t.Parallel()
	pemKey, obc := signing(t)
	fronts := map[string]*either{
		"mastercard": {second: obc},
		"mypos":      {second: mypossim.New(mypossim.Config{APIKey: nextKey, Log: aspspsim.NewCallLog(time.Now), ASPSP: sandbox.MyPOS})},
	}
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(provider string, sim http.Handler) http.Handler {
		fronts[provider].first = sim
		return fronts[provider]
	}})
	file, secrets := onVolume(t, w, nil)
	p := serve(t, file)
	stop := steadily(t, http.DefaultClient, attended(t, p)...)
	kept := func(p *process, consent string) int {
		resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", consent, "Cache-Control", "only-if-cached")
		return resp.StatusCode
	}
	before, after := mastercardsim.FreshConsent+"before", mastercardsim.FreshConsent+"after"
	fetch := func(consent string) {
		t.Helper()
		if resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", consent); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	fetch(before)
	old, key := secrets.files["cache-key"], cacheKey(t)
	secrets.swap(map[string]string{"signing-key.pem": pemKey, "mypos-key": nextKey + "\n", "cache-key": key + "\n" + old})
	for _, part := range []string{"mastercard", "mypos", "cache"} {
		p.awaits(renewed, part, 1)
	}
	if status := kept(p, before); status != http.StatusOK {
		t.Errorf("a list from before is answered %d", status)
	}
	fetch(after)
	for provider, f := range fronts {
		n, all := f.seconds.Load(), f.all.Load()
		patiently(t, provider+" is called on", func() bool { return f.all.Load() > all+5 })
		if f.seconds.Load() == n {
			t.Errorf("%s is called with the old secret", provider)
		}
	}
	stop()
	secrets.swap(map[string]string{"cache-key": key})
	next := serve(t, file)
	if was, is := kept(next, before), kept(next, after); was != http.StatusGatewayTimeout || is != http.StatusOK {
		t.Errorf("under the new key alone the list from before is answered %d, the one from after %d", was, is)
	}
	p.awaits(renewed, "cache", 2)
	if status := kept(p, before); status != http.StatusGatewayTimeout {
		t.Errorf("the old key still opens: %d", status)
	}
	_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	for _, want := range []string{
		`ais_secrets_reloads_total{outcome="ok",part="mastercard"} 1`, `ais_secrets_reloads_total{outcome="ok",part="cache"} 2`,
		`ais_secrets_stale{part="mypos"} 0`, `ais_secrets_stale{part="clients"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// Whatever is wrong with new secrets, the old ones stay in use, others are renewed all the same, and whoever runs the gateway
// is told once, without a word of what stands in the files.
func TestBrokenSecretsStayOut(t *testing.T) {
	t.Parallel()
	const canary = "CANARY-CONTENT"
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	ca := founded(t, "ca")
	certificate, key := ca.issue("api")
	file, secrets := onVolume(t, w, map[string]string{"tls.crt": certificate, "tls.key": key})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good := strings.Replace(string(text), "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, ", 1)
	write(t, file, good)
	p := serve(t, file)
	p.API = strings.Replace(p.API, "http://", "https://", 1)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}}}
	whole := map[string]string{}
	for name, content := range secrets.files {
		whole[name] = content
	}
	_, stranger := ca.issue("stranger")
	type broken struct{ part, says string }
	all := []string{"cache", "clients", "mastercard", "mypos", "server_tls"}
	for i, tt := range []struct {
		change func()
		want   []broken
	}{
		{func() {
			secrets.swap(map[string]string{"signing-key.pem": canary, "mypos-key": canary + "\n" + canary, "cache-key": canary, "tls.key": stranger})
			replaced(t, file, good+"]"+canary)
		}, []broken{
			{"mastercard", "providers.mastercard.signingKeyFile (line 8)"},
			{"mypos", "providers.mypos.apiKeyFile (line 9)"},
			{"cache", "cache.encryptionKeyFile (line 15)"},
			{"server_tls", "server.tls.keyFile (line 2)"},
			{"clients", "invalid YAML"},
		}},
		{func() {
			secrets.swap(map[string]string{"signing-key.pem": whole["signing-key.pem"][:800], "cache-key": "", "tls.crt": certificate[:200]})
			secrets.must(os.Remove(secrets.path("mypos-key")))
			replaced(t, file, strings.Replace(good, "name: sandbox", "nam: "+canary, 1))
		}, []broken{
			{"mastercard", "providers.mastercard.signingKeyFile"},
			{"mypos", "does not exist"},
			{"cache", "is empty"},
			{"server_tls", "server.tls"},
			{"clients", "clients.apiKeys[0].nam (line 6)"},
		}},
		{func() {
			secrets.swap(map[string]string{"signing-key.pem": canary, "cache-key": cacheKey(t) + "\n" + whole["cache-key"]})
			replaced(t, file, good[:strings.Index(good, "aspsps:")])
		}, []broken{{"mastercard", "signingKeyFile"}, {"clients", "aspsps (line 1): is missing"}}},
	} {
		was, mended := map[string]int{}, map[string]int{}
		for _, part := range all {
			was[part], mended[part] = len(p.lines(stale, part)), len(p.lines(renewed, part))
		}
		tt.change()
		for _, b := range tt.want {
			p.awaits(stale, b.part, was[b.part]+1)
			if line := p.lines(stale, b.part)[was[b.part]]; !strings.Contains(line, `"level":"ERROR"`) || !strings.Contains(line, b.says) {
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
		for _, r := range attended(t, p) {
			if status, body := do(client, r); status != http.StatusOK {
				t.Errorf("%d: %d %s", i, status, body)
			}
		}
		client.CloseIdleConnections()
		if len(tt.want) < len(all) {
			p.awaits(renewed, "cache", mended["cache"]+1)
			time.Sleep(3 * time.Second) // looks that find the same say nothing
			for _, b := range tt.want {
				if n := len(p.lines(stale, b.part)); n != was[b.part]+1 {
					t.Errorf("%d, %s: logged %d times", i, b.part, n-was[b.part])
				}
			}
		}
		if _, err := os.Lstat(secrets.path("mypos-key")); err != nil {
			secrets.must(os.Symlink(filepath.Join("..data", "mypos-key"), secrets.path("mypos-key")))
		}
		replaced(t, file, good)
		secrets.swap(whole)
		for _, b := range tt.want {
			p.awaits(renewed, b.part, mended[b.part]+1)
		}
		_, ready := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
		_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
		if strings.Contains(ready, "secrets") || strings.Contains(metrics, "ais_secrets_stale{part=\"mypos\"} 1") {
			t.Errorf("%d: mended, and still %s", i, ready)
		}
	}
	if out := p.Stdout.String(); strings.Contains(out, canary) || strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("what stands in files is logged\n%s", out)
	}
}

// API keys come and go with the configuration's file; whatever else is changed there waits for the next start.
func TestAPIKeysAreRenewed(t *testing.T) {
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
		got, _ := do(http.DefaultClient, request(t, p.API+path, "Consent-ID", mastercardsim.Consent, "X-API-Key", key))
		return got
	}
	first, second := entry("sandbox", sandbox.Key, "'accounts:read', 'balances:read'"), entry("second", "second-key", "'accounts:read'")
	stop := steadily(t, http.DefaultClient, request(t, p.API+wood+balances, "Consent-ID", mastercardsim.Consent))
	if got := status("second-key", wood+"/accounts"); got != http.StatusUnauthorized {
		t.Errorf("unknown: %d", got)
	}
	replaced(t, file, with(first, second))
	p.awaits(renewed, "clients", 1)
	if got, forbidden := status("second-key", wood+"/accounts"), status("second-key", wood+balances); got != http.StatusOK || forbidden != http.StatusForbidden {
		t.Errorf("added: %d, without the scope %d", got, forbidden)
	}
	stop()
	if lines := p.lines("configuration changed: API keys were reloaded, the rest needs a restart", ""); len(lines) != 0 {
		t.Errorf("%v", lines)
	}
	// one goes, and more is changed, of which a secret that cannot be read is no reason to let in who no longer belongs
	changed := strings.Replace(with(second), "name: Wood Bank", "name: Tree Bank", 1)
	changed = strings.Replace(changed, "/cache-key", "/no-such-key", 1)
	replaced(t, file, changed)
	p.awaits(renewed, "clients", 2)
	if gone, stays := status(sandbox.Key, wood+"/accounts"), status("second-key", wood+"/accounts"); gone != http.StatusUnauthorized || stays != http.StatusOK {
		t.Errorf("removed: %d, kept: %d", gone, stays)
	}
	_, bank := do(http.DefaultClient, request(t, p.API+wood, "X-API-Key", "second-key"))
	if !strings.Contains(bank, "Wood Bank") {
		t.Errorf("another change took effect: %s", bank)
	}
	if lines := p.lines("configuration changed: API keys were reloaded, the rest needs a restart", ""); len(lines) != 1 || !strings.Contains(lines[0], "WARN") {
		t.Errorf("%v", lines)
	}
}

// A file that names issuers in the place of all API keys is not taken while no issuer is in use: nobody could call.
func TestKeysAreNotAllTakenAway(t *testing.T) {
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
	replaced(t, file, head+"  oidc: [{issuer: 'https://issuer.example.com', audiences: [ais-gateway]}]\n"+rest)
	gatewaytest.Eventually(t, "the change is refused", func() bool {
		return len(p.lines("secret reload failed, still using the previous secret", "clients")) == 1
	})
	if status, body := do(http.DefaultClient, request(t, p.API+wood, "X-API-Key", sandbox.Key)); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// A tlsBank is myPOS behind TLS that demands certificates, and remembers whose calls and connections it has seen.
type tlsBank struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string            // the names in the certificates, in order
	open  map[net.Conn]string // the name of each connection that is open, "" before it is known
}

func (b *tlsBank) last() (name string, calls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return "", 0
	}
	return b.calls[len(b.calls)-1], len(b.calls)
}

func (b *tlsBank) connections(name string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, of := range b.open {
		if of == name {
			n++
		}
	}
	return n
}

func demanding(t *testing.T, ca *authority) *tlsBank {
	t.Helper()
	b := &tlsBank{open: map[net.Conn]string{}}
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
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.pair("bank")},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
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

// The certificate that identifies the gateway to myPOS is renewed while calls go on, its two files one after the other.
func TestClientCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	ca := founded(t, "ca")
	bank := demanding(t, ca)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	write(t, roots, ca.pem)
	first, firstKey := ca.issue("first")
	second, secondKey := ca.issue("second")
	dir := t.TempDir()
	certificateFile, keyFile := filepath.Join(dir, "qwac.pem"), filepath.Join(dir, "qwac.key")
	write(t, certificateFile, first)
	write(t, keyFile, firstKey)
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.EditConfig(t, w, func(text string) string {
		head, rest, _ := strings.Cut(text, "  mypos: {baseURL: \"")
		_, rest, _ = strings.Cut(rest, `"`)
		return head + "  mypos: {baseURL: \"" + bank.URL + `", clientCertificateFile: "` + certificateFile + `", clientKeyFile: "` + keyFile + `"` + rest
	})
	p := serve(t, file, "SSL_CERT_FILE="+roots)
	stop := steadily(t, http.DefaultClient, attended(t, p)[1], attended(t, p)[1], attended(t, p)[1])
	patiently(t, "calls arrive", func() bool { name, n := bank.last(); return name == "first" && n > 5 })
	replaced(t, certificateFile, second)
	p.awaits(stale, "mypos", 1)
	_, n := bank.last()
	patiently(t, "calls go on", func() bool { _, now := bank.last(); return now > n+5 })
	if name, _ := bank.last(); name != "first" {
		t.Errorf("half of a pair is in use: %s", name)
	}
	replaced(t, keyFile, secondKey)
	p.awaits(renewed, "mypos", 1)
	_, n = bank.last()
	patiently(t, "calls go on", func() bool { _, now := bank.last(); return now > n+10 })
	bank.mu.Lock()
	for _, name := range bank.calls[n+5:] { // of those before, three may have been under way
		if name != "second" {
			t.Error("a call after the renewal came with the old certificate")
			break
		}
	}
	bank.mu.Unlock()
	stop()
	patiently(t, "the connections with the old certificate are closed", func() bool { return bank.connections("first") == 0 })
	resp, body := gatewaytest.Call(t, http.MethodGet, p.API+pos+"/accounts/"+mypossim.GoodAccount+"/balances", "Consent-ID", mypossim.GoodConsent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	if name, _ := bank.last(); resp.StatusCode != http.StatusOK || name != "second" {
		t.Errorf("unattended: %d with %s: %s", resp.StatusCode, name, body)
	}
	if strings.Contains(p.Stdout.String(), "PRIVATE") {
		t.Error("a key is logged")
	}
}
