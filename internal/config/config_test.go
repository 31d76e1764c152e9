package config_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ais-gateway/internal/config"
	"ais-gateway/internal/config/strict"
)

const canary = "canary-4711"

// example is a typical file. onDisk replaces the paths of its secrets.
const example = `server:
  address: 127.0.0.1:8080         # the API
  adminAddress: 127.0.0.1:9090    # /livez, /readyz, /metrics; never exposed to callers
redis:
  mode: standalone                # embedded | standalone | sentinel | cluster
  addresses: [127.0.0.1:6379]     # sentinel: the sentinels, with masterName
clients:
  apiKeys:
    - name: payments-team
      sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc   # of the key, which is not in the file
      scopes: [accounts:read, balances:read]
providers:
  mastercard:
    baseURL: https://sandbox.api.mastercard.com/openbanking/connect/api
    consumerKey: "abc!def"
    signingKeyFile: /run/secrets/mastercard/key.p12     # PKCS#12 or PEM
    signingKeyPasswordFile: /run/secrets/mastercard/password
    timeout: 10s
  mypos:
    baseURL: https://mp-psd2-api.mypos.com
    apiKeyFile: /run/secrets/mypos/api-key
    clientCertificateFile: /run/secrets/mypos/qwac.pem
    clientKeyFile: /run/secrets/mypos/qwac.key
    timeout: 10s
aspsps:
  - id: 4f1e2d3c-0000-4000-8000-000000000001
    name: Wood Bank
    provider: mastercard
    unattended: {limit: 4, window: 24h, unit: consent}   # unit: aspsp | consent | resource
    accounts: {freshFor: 10m, keepFor: 2160h}
    breaker: {consecutiveFailures: 5, failureRatio: 0.5, minimumCalls: 20, interval: 60s, openFor: 30s}
accounts:
  keyFile: /run/secrets/accounts/key
cache:
  encryptionKeyFile: /run/secrets/cache/key              # base64 of 32 bytes a line; the first encrypts, all decrypt
`

// minimal has only required keys.
const minimal = `redis: {mode: embedded}
clients:
  apiKeys:
    - {name: a, sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read]}
providers:
  p:
    baseURL: http://localhost:9000
aspsps:
  - id: 4F1E2D3C-0000-4000-8000-000000000001
    name: Wood Bank
    provider: p
`

func keyLine(fill byte) string {
	return base64.StdEncoding.EncodeToString(slices.Repeat([]byte{fill}, 32))
}

// onDisk writes the files of secrets to a temporary directory, and returns the text with their
// paths.
func onDisk(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"mastercard/key.p12": canary, "mastercard/password": canary + "\n", "mypos/api-key": canary,
		"mypos/qwac.pem": canary, "mypos/qwac.key": canary, "cache/key": keyLine(1) + "\n\n" + keyLine(2) + "\n",
		"redis/password": canary + "\n", "bad/empty": "", "bad/newline": "\n", "bad/short": "c2hvcnQ=\n" + keyLine(3),
		"accounts/key": keyLine(4) + "\n", "bad/twice": keyLine(1) + "\n" + keyLine(1), "bad/large": strings.Repeat("x", 1<<20+1),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(text, "/run/secrets", dir)
}

func mustRead(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Read([]byte(text))
	if err != nil {
		t.Fatalf("faults:\n%v", err)
	}
	return c
}

func faultsOf(t *testing.T, err error) config.Faults {
	t.Helper()
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		t.Fatalf("error is %T, want Faults: %v", err, err)
	}
	return faults
}

// sameConfig compares the exported values of configurations.
var sameConfig = cmp.Options{
	cmp.Comparer(func(a, b strict.Mapping) bool { return reflect.DeepEqual(a, b) }),
	cmpopts.IgnoreUnexported(config.Config{}),
	cmp.Comparer(func(a, b config.File) bool {
		return a.Path() == b.Path() && string(a.Content()) == string(b.Content())
	}),
}

func TestExampleReads(t *testing.T) {
	t.Parallel()
	c := mustRead(t, onDisk(t, example))
	if got := c.Cache.Keys(); len(got) != 2 || got[0][0] != 1 || got[1][31] != 2 {
		t.Errorf("keys are %v", got)
	}
	want := config.ASPSPDefaults()
	want.ID, want.Name, want.Provider = "4f1e2d3c-0000-4000-8000-000000000001", "Wood Bank", "mastercard"
	if diff := cmp.Diff([]config.ASPSP{want}, c.ASPSPs, sameConfig); diff != "" {
		t.Errorf("the example does not have the defaults (-want +got):\n%s", diff)
	}
	mypos := config.Provider{BaseURL: "https://mp-psd2-api.mypos.com", Timeout: 10 * time.Second, Proxy: config.NoProxy}
	if diff := cmp.Diff(mypos, c.Providers["mypos"], sameConfig); diff != "" {
		t.Error(diff)
	}
	if got := c.Redis.Addresses; !slices.Equal(got, []string{"127.0.0.1:6379"}) {
		t.Errorf("addresses are %v", got)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := mustRead(t, minimal)
	want := config.Config{
		Server: config.Server{
			Address: "127.0.0.1:8080", AdminAddress: "127.0.0.1:9090", DrainFor: 5 * time.Second,
			Limits: config.Limits{InFlight: 1000, PerClient: 250, PerASPSP: 100},
		},
		Redis: config.Redis{Mode: config.Embedded},
		Clients: config.Clients{APIKeys: []config.APIKey{{
			Name: "a", SHA256: config.Hashes{"a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc"}, Scopes: []string{config.ScopeAccounts},
		}}},
		Providers: map[string]config.Provider{"p": {BaseURL: "http://localhost:9000", Timeout: 10 * time.Second, Proxy: config.NoProxy}},
		ASPSPs: []config.ASPSP{{
			ID: "4f1e2d3c-0000-4000-8000-000000000001", Name: "Wood Bank", Provider: "p",
			Unattended: config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
			Accounts:   config.Accounts{FreshFor: 10 * time.Minute, KeepFor: 90 * 24 * time.Hour},
			Breaker: config.Breaker{
				ConsecutiveFailures: 5, FailureRatio: 0.5, MinimumCalls: 20, Interval: time.Minute, OpenFor: 30 * time.Second,
			},
		}},
		Audit: config.Audit{Output: config.AuditStdout, WhenFull: config.AuditDrop},
		Log:   config.Log{Level: "info"},
	}
	if diff := cmp.Diff(want, *c, sameConfig); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if keys := c.Cache.Keys(); keys != nil {
		t.Errorf("keys without a file are %v", keys)
	}
}

func TestPartlyGivenBlocksKeepTheOtherDefaults(t *testing.T) {
	t.Parallel()
	c := mustRead(t, minimal+`    unattended: {limit: 0, closedUntil: 2026-11-20T12:00:00+02:00}
    accounts: {freshFor: 1s}
    breaker: {failureRatio: 1}
server: {address: ":0"}
psu: {allowPrivateIP: true}
`)
	want := config.ASPSPDefaults()
	want.ID, want.Name, want.Provider = c.ASPSPs[0].ID, "Wood Bank", "p"
	want.Unattended.Limit = 0
	want.Unattended.ClosedUntil = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	want.Accounts.FreshFor, want.Breaker.FailureRatio = time.Second, 1
	if diff := cmp.Diff(want, c.ASPSPs[0], sameConfig); diff != "" {
		t.Errorf("ASPSP (-want +got):\n%s", diff)
	}
	if c.Server.Address != ":0" || c.Server.AdminAddress != "127.0.0.1:9090" || c.Server.Limits != config.Defaults().Server.Limits || !c.PSU.AllowPrivateIP {
		t.Errorf("server is %+v, psu %+v", c.Server, c.PSU)
	}
}

// Every positive duration is accepted, if lists are kept as long as they are fresh. Those above 100
// years are reduced to it.
func TestAnyDurationIsAccepted(t *testing.T) {
	t.Parallel()
	const century = 876_000 * time.Hour
	for given, want := range map[string]time.Duration{
		"1ns": 1, "876000h": century, "876000h1ns": century, "1290000h": century, "2562047h": century,
	} {
		text := strings.Replace(minimal, "9000", "9000\n    timeout: "+given, 1) + "    unattended: {window: " + given + "}\n" +
			"    accounts: {freshFor: " + given + ", keepFor: " + given + "}\n    breaker: {interval: " + given + ", openFor: " + given + "}\n"
		c := mustRead(t, text)
		a := c.ASPSPs[0]
		got := []time.Duration{
			c.Providers["p"].Timeout, a.Unattended.Window, a.Accounts.FreshFor, a.Accounts.KeepFor, a.Breaker.Interval, a.Breaker.OpenFor,
		}
		if diff := cmp.Diff(slices.Repeat([]time.Duration{want}, 6), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", given, diff)
		}
		roundTrip(t, c)
	}
	c := mustRead(t, minimal+"    accounts: {freshFor: 1h, keepFor: 1h}\n    unattended: {closedUntil: 9999-12-31T23:59:59Z}\n")
	if a := c.ASPSPs[0]; a.Accounts.FreshFor != time.Hour || a.Accounts.KeepFor != time.Hour || a.Unattended.ClosedUntil.Year() != 9999 {
		t.Errorf("ASPSP is %+v", a)
	}
}

func TestRedisForms(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, redis string }{
		{"sentinel", "{mode: sentinel, addresses: [a:1, 'b:2'], masterName: m, username: u, passwordFile: /run/secrets/redis/password}"},
		{"sentinels with a password", "{mode: sentinel, addresses: [a:1], masterName: m, sentinelUsername: u, sentinelPasswordFile: /run/secrets/redis/password}"},
		{"TLS and replicas", "{addresses: [a:1], waitReplicas: 2, tls: {enabled: true, serverName: redis.internal}}"},
		{"cluster", "{mode: cluster, addresses: ['[::1]:1', b:2]}"},
		{"standalone by default", "{passwordFile: /run/secrets/redis/password}"},
		{"embedded with an empty list", "{mode: embedded, addresses: []}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(minimal, "{mode: embedded}", tt.redis, 1) + "cache: {encryptionKeyFile: /run/secrets/cache/key}\n"
			c := mustRead(t, onDisk(t, text))
			if c.Redis.PasswordFile.Given() && c.Redis.PasswordFile.Line() != canary {
				t.Error("the password has a line break")
			}
			roundTrip(t, c)
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := config.Load(write("good.yaml", minimal)); err != nil {
		t.Errorf("valid file: %v", err)
	}
	tests := []struct{ name, path, words string }{
		{"missing", filepath.Join(dir, "none.yaml"), "none.yaml: file does not exist"},
		{"directory", dir, "must be a file, not a directory"},
		{"device", os.DevNull, "must be a regular file"},
		{"too large", write("large.yaml", strings.Repeat("#", 1<<20+1)), "file must not be larger than 1 MiB"},
		{"path through a file", filepath.Join(dir, "good.yaml", "x"), "file cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(tt.path)
			if faults := faultsOf(t, err); len(faults) != 1 || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want one fault with %q", err, tt.words)
			}
		})
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	for content, line := range map[string]string{"": "", "a": "a", "a\n": "a", "a\r\n": "a", "a\r": "a\r", "a\n\n": "a\n", " a \n": " a "} {
		f := config.InMemoryFile([]byte(content))
		if f.Line() != line || string(f.Content()) != content || !f.Given() || f.String() != f.Path() {
			t.Errorf("%q: line %q, content %q, %s", content, f.Line(), f.Content(), f)
		}
		if got := fmt.Sprintf("%#v %d", f, f); got != "(memory) (memory)" {
			t.Errorf("it is formatted as %s", got)
		}
	}
	if none := (config.File{}); none.Given() || none.Content() != nil || none.Line() != "" {
		t.Error("the zero File has a content")
	}
}
