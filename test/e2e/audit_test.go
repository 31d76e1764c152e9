package e2e_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// A record has members of a log line or an audit record.
type record struct {
	Record, Msg, Level, Code, Cause string
	Client, Issuer                  string
	IdentifiedBy                    string `json:"identified_by"`
	RequestID                       string `json:"request_id"`
	ConsentHash                     string `json:"consent_hash"`
	Slots                           *int
	Status                          int
}

// records returns the lines of text that are JSON and match.
func records(text string, match func(record) bool) []record {
	var all []record
	for line := range strings.Lines(text) {
		var r record
		if json.Unmarshal([]byte(line), &r) == nil && match(r) {
			all = append(all, r)
		}
	}
	return all
}

// requestOf waits for the log line and the audit record of a request.
func requestOf(t *testing.T, p *gatewaytest.Process, id string) (line, audited record) {
	t.Helper()
	gatewaytest.Eventually(t, "the request is logged", func() bool {
		lines := records(p.Stdout.String(), func(r record) bool { return r.Msg == "request" && r.RequestID == id })
		audit := records(p.Stdout.String(), func(r record) bool { return r.Record == "audit" && r.RequestID == id })
		if len(lines) > 0 && len(audit) > 0 {
			line, audited = lines[0], audit[0]
		}
		return len(lines) > 0 && len(audit) > 0
	})
	return line, audited
}

// Log line and audit record have the slots that a request took: one for each page, and 0 if no call
// was made or sent.
func TestSlotsAreLogged(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	unsent := gatewaytest.Serve(t, gatewaytest.EditConfig(t, w, func(text string) string {
		return regexp.MustCompile(`(mypos: \{baseURL: )"[^"]*"`).ReplaceAllString(text, `$1"http://127.0.0.1:1"`)
	}))
	pos, fresh := "/v1/aspsps/"+sandbox.MyPOS, uuid.NewString()
	slots := func(p *gatewaytest.Process, status int, path string, header ...string) int {
		t.Helper()
		id := uuid.NewString()
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+path, append(header, "X-Request-ID", id, "Provider-Authorization", "Bearer "+mypossim.GoodToken)...)
		if resp.StatusCode != status {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		line, audited := requestOf(t, p, id)
		if line.Slots == nil || audited.Slots == nil || *line.Slots != *audited.Slots {
			t.Fatalf("the log line is %+v, the audit record %+v", line, audited)
		}
		return *line.Slots
	}
	for _, tt := range []struct {
		name    string
		process *gatewaytest.Process
		status  int
		path    string
		header  []string
		want    int
	}{
		{"attended", p, 200, pos + "/accounts/" + mypossim.GoodAccount + "/balances", []string{"Consent-ID", fresh, "PSU-IP-Address", "203.0.113.7"}, 0},
		{"unattended", p, 200, pos + "/accounts", []string{"Consent-ID", fresh}, 1},
		{"cached", p, 200, pos + "/accounts", []string{"Consent-ID", fresh}, 0},
		{"balances", p, 200, pos + "/accounts/" + mypossim.GoodAccount + "/balances", []string{"Consent-ID", fresh}, 1},
		{"unattended-access", p, 200, pos + "/unattended-access", []string{"Consent-ID", fresh}, 0},
		{"three pages", p, 200, pos + "/accounts", []string{"Consent-ID", mypossim.ManyConsent}, 3},
		{"last slot", p, 200, pos + "/accounts/50050000001/balances", []string{"Consent-ID", mypossim.ManyConsent}, 1},
		{"no slot left", p, 429, pos + "/accounts/50050000001/balances", []string{"Consent-ID", mypossim.ManyConsent}, 0},
		{"released", unsent, 503, pos + "/accounts", []string{"Consent-ID", uuid.NewString()}, 0},
		{"not authenticated", p, 401, pos + "/accounts", []string{"Consent-ID", fresh, "X-API-Key", "x"}, 0},
	} {
		if got := slots(tt.process, tt.status, tt.path, tt.header...); got != tt.want {
			t.Errorf("%s: %d slots, want %d", tt.name, got, tt.want)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	shared, consent := 0, mastercardsim.FreshConsent+uuid.NewString()
	for range 10 {
		all.Go(func() {
			n := slots(p, 200, wood+"/accounts", "Consent-ID", consent)
			mu.Lock()
			defer mu.Unlock()
			shared += n
		})
	}
	all.Wait()
	if shared != 1 {
		t.Errorf("%d slots for ten concurrent equal requests, want 1", shared)
	}
}

// hashOf returns the hash of a consent in records whose key is derived from the cache's. It does
// not use the gateway's code.
func hashOf(t *testing.T, cacheKey, aspsp, consent string) string {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(cacheKey))
	if err != nil {
		t.Fatal(err)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "ais-gateway audit records, consents, version 1", 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{aspsp, consent} {
		mac.Write(append(make([]byte, 7), byte(len(part))))
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil))[:32]
}

// Without an audit key, gateways with the same cache key write the same hash of a consent. Without
// both, the key is random.
func TestAuditKeyIsDerivedFromTheCacheKey(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	key, err := os.ReadFile(filepath.Join(filepath.Dir(w.ConfigFile), "cache-key"))
	if err != nil {
		t.Fatal(err)
	}
	want := hashOf(t, string(key), mastercardsim.WoodBank, mastercardsim.Consent)
	for range 2 {
		p, id := gatewaytest.Serve(t, w.ConfigFile), uuid.NewString()
		gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "X-Request-ID", id)
		if _, audited := requestOf(t, p, id); audited.ConsentHash != want {
			t.Errorf("the consent's hash is %q, want %q", audited.ConsentHash, want)
		}
	}
	without := gatewaytest.EditConfig(t, w, func(text string) string {
		return regexp.MustCompile(`(?m)^(redis|cache): .*$`).ReplaceAllString(text, "") + "redis: {mode: embedded}\n"
	})
	seen := map[string]bool{want: true}
	for range 2 {
		p, id := gatewaytest.Serve(t, without), uuid.NewString()
		gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "X-Request-ID", id)
		_, audited := requestOf(t, p, id)
		if len(audited.ConsentHash) != 32 || seen[audited.ConsentHash] {
			t.Errorf("without keys the consent's hash is %q", audited.ConsentHash)
		}
		seen[audited.ConsentHash] = true
	}
}

// Audit records are written to the configured output. If they cannot be written, the log, /readyz
// and metrics report it, and requests are served.
func TestAuditSinks(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.log")
	inFile := func(p *gatewaytest.Process) string {
		text, _ := os.ReadFile(file)
		return string(text)
	}
	nowhere := func(*gatewaytest.Process) string { return "" }
	for _, tt := range []struct {
		name, audit string
		sink        func(*gatewaytest.Process) string
		warning     string
		metrics     []string
		log         string // the beginning of a line after its time; "" for no line
	}{
		{"by default", "", func(p *gatewaytest.Process) string { return p.Stdout.String() }, "", []string{"ais_audit_enabled 1", "ais_audit_failures_total 0"}, ""},
		{"standard error", "{output: stderr}", func(p *gatewaytest.Process) string { return p.Stderr.String() }, "", []string{"ais_audit_enabled 1"}, ""},
		{"file", "{output: file, file: '" + file + "'}", inFile, "", []string{"ais_audit_enabled 1", "ais_audit_failures_total 0"}, ""},
		{"off", "{output: off}", nowhere, "audit records are off", []string{"ais_audit_enabled 0"}, `"level":"WARN","msg":"audit records are off"`},
		{
			"disk full", "{output: file, file: /dev/full}", nowhere, "audit records cannot be written",
			[]string{"ais_audit_enabled 1", "ais_audit_failures_total 3"},
			`"level":"ERROR","msg":"audit records cannot be written","cause":"disk_full","silenced":0`,
		},
		{
			"no directory", "{output: file, file: '" + dir + "/absent/audit.log'}", nowhere, "audit records cannot be written",
			[]string{"ais_audit_failures_total 3"},
			`"level":"ERROR","msg":"audit records cannot be written","cause":"no_such_directory","silenced":0`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := w.ConfigFile
			if tt.audit != "" {
				config = gatewaytest.EditConfig(t, w, func(text string) string { return text + "audit: " + tt.audit + "\n" })
			}
			p := gatewaytest.Serve(t, config)
			for i, want := range []int{200, 404, 401} {
				header := [][]string{nil, nil, {"X-API-Key", "x"}}[i]
				path := []string{"/v1/aspsps", "/v1/nowhere", wood}[i]
				if resp, body := gatewaytest.Call(t, http.MethodGet, p.API+path, header...); resp.StatusCode != want {
					t.Errorf("%d %s", resp.StatusCode, body)
				}
			}
			gatewaytest.Call(t, http.MethodGet, p.API+"/openapi.yaml") // has no audit record
			var body string
			gatewaytest.Eventually(t, "the metrics are as expected", func() bool {
				_, body = gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
				for _, want := range tt.metrics {
					if !strings.Contains(body, "\n"+want+"\n") {
						return false
					}
				}
				return true
			})
			resp, ready := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
			if resp.StatusCode != http.StatusOK || strings.Contains(ready, "audit") != (tt.warning != "") || !strings.Contains(ready, tt.warning) {
				t.Errorf("%d %s", resp.StatusCode, ready)
			}
			p.Terminate()
			if code := p.Wait(); code != 0 {
				t.Errorf("exit %d", code)
			}
			if n := strings.Count(p.Stdout.String(), `"msg":"audit`); n != strings.Count(p.Stdout.String(), tt.log) && tt.log != "" || !strings.Contains(p.Stdout.String(), tt.log) || tt.log == "" && n > 0 || n > 1 {
				t.Errorf("%d lines about audit records, want %s\n%s", n, tt.log, p.Stdout.String())
			}
			kept := records(tt.sink(p), func(r record) bool { return r.Record == "audit" })
			if want := map[bool]int{true: 3}[tt.warning == ""]; len(kept) != want {
				t.Errorf("%d records, want %d", len(kept), want)
			}
			if tt.name != "by default" && strings.Contains(p.Stdout.String(), `"record"`) {
				t.Error("the log has audit records too")
			}
			if n := len(records(p.Stdout.String(), func(r record) bool { return r.Msg == "request" && r.RequestID != "" })); n != 4 {
				t.Errorf("%d lines of the log for 4 requests", n)
			}
			if tt.sink(p) != "" && kept[2].Status != http.StatusUnauthorized {
				t.Errorf("%+v", kept)
			}
		})
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
