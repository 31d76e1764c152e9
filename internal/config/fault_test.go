package config_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
)

// Each change of the example is reported at its path and line.
func TestOneFault(t *testing.T) {
	t.Parallel()
	const (
		id    = "id: 4f1e2d3c-0000-4000-8000-000000000001"
		sum   = "sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc"
		base  = "baseURL: https://mp-psd2-api.mypos.com"
		key   = "encryptionKeyFile: /run/secrets/cache/key"
		redis = "addresses: [127.0.0.1:6379]"
	)
	tests := []struct{ name, old, new, path, words string }{
		{"server of a wrong type", "server:\n  address: 127.0.0.1:8080         # the API\n  adminAddress: 127.0.0.1:9090 ", "server: 1 ", "server", "must be a mapping"},
		{"address without a port", "address: 127.0.0.1:8080", "address: nowhere", "server.address", "host:port"},
		{"address port", "address: 127.0.0.1:8080", "address: 127.0.0.1:65536", "server.address", "port must be a number"},
		{"address host", "address: 127.0.0.1:8080", "address: 'a b:1'", "server.address", "host must be a name"},
		{"address empty", "address: 127.0.0.1:8080", "address: ''", "server.address", "is empty"},
		{"address null", "address: 127.0.0.1:8080", "address:", "server.address", "must have a value"},
		{"adminAddress of a wrong type", "adminAddress: 127.0.0.1:9090", "adminAddress: 9090", "server.adminAddress", "must be a string"},
		{"adminAddress same", "adminAddress: 127.0.0.1:9090", "adminAddress: 127.0.0.1:8080", "server.adminAddress", "must not be the same address"},
		{"adminAddress overlaps", "adminAddress: 127.0.0.1:9090", "adminAddress: 0.0.0.0:8080", "server.adminAddress", "must not be the same address"},
		{"server unknown", "adminAddress:", "adminAdress:", "server.adminAdress", "unknown key; known keys: address, adminAddress, drainFor, limits, profiling, tls"},
		{"redis.mode", "mode: standalone", "mode: Standalone", "redis.mode", "embedded, standalone, sentinel or cluster"},
		{"redis.mode of a wrong type", "mode: standalone", "mode: [a]", "redis.mode", "must be a string"},
		{"redis.addresses of a wrong type", redis, "addresses: 127.0.0.1:6379", "redis.addresses", "must be a list"},
		{"redis.addresses empty", redis, "addresses: []", "redis.addresses", "is empty"},
		{"redis.addresses two", redis, "addresses: [a:1, b:1]", "redis.addresses", "one address"},
		{"redis.addresses entry", redis, "addresses: [5]", "redis.addresses[0]", "must be a string"},
		{"redis.addresses no host", redis, "addresses: [':6379']", "redis.addresses[0]", "must be host:port with a host"},
		{"redis.addresses port 0", redis, "addresses: [a:0]", "redis.addresses[0]", "port must be a number"},
		{"redis.addresses twice", "mode: standalone                # embedded | standalone | sentinel | cluster\n  " + redis, "mode: cluster\n  addresses: [a:1, a:1]", "redis.addresses[1]", "duplicate of "},
		{"redis.mode twice", redis, "masterName: m\n  mode: sentinel", "redis.mode", "twice"},
		{"redis.addresses missing", "mode: standalone                # embedded | standalone | sentinel | cluster\n  " + redis, "mode: cluster", "redis.addresses", "is missing"},
		{"redis.masterName", redis, "masterName: m", "redis.masterName", "only with mode: sentinel"},
		{"redis.username", redis, "username: u", "redis.passwordFile", "is missing"},
		{"redis.username of a wrong type", redis, "username: 1.5", "redis.username", "must be a string"},
		{"redis.passwordFile", redis, "passwordFile: /run/secrets/none", "redis.passwordFile", "file does not exist (relative paths start at the working directory)"},
		{"redis.passwordFile of a wrong type", redis, "passwordFile: 1", "redis.passwordFile", "must be a string"},
		{"redis.passwordFile empty path", redis, "passwordFile: ''", "redis.passwordFile", "must not be empty"},
		{"redis.passwordFile empty", redis, "passwordFile: /run/secrets/bad/empty", "redis.passwordFile", "file is empty"},
		{"redis.passwordFile large", redis, "passwordFile: /run/secrets/bad/large", "redis.passwordFile", "file must not be larger than 1 MiB"},
		{"redis.passwordFile with a line break only", redis, "passwordFile: /run/secrets/bad/newline", "redis.passwordFile", "contains no password"},
		{"redis.tls of a wrong type", redis, "tls: true\n  " + redis, "redis.tls", "must be a mapping"},
		{"redis.tls off", redis, "tls: {serverName: a}\n  " + redis, "redis.tls.serverName", "only with redis.tls.enabled: true"},
		{"redis.tls.caFile off", redis, "tls: {caFile: /run/secrets/cache/key}\n  " + redis, "redis.tls.caFile", "only with redis.tls.enabled: true"},
		{"redis.tls.caFile", redis, "tls: {enabled: true, caFile: /run/secrets/cache/key}\n  " + redis, "redis.tls.caFile", "must contain a PEM certificate"},
		{"redis.tls.certificateFile alone", redis, "tls: {enabled: true, certificateFile: /run/secrets/cache/key}\n  " + redis, "redis.tls.keyFile", "is missing"},
		{"redis.tls.keyFile alone", redis, "tls: {enabled: true, keyFile: /run/secrets/cache/key}\n  " + redis, "redis.tls.certificateFile", "is missing"},
		{"redis.tls.keyFile", redis, "tls: {enabled: true, certificateFile: /run/secrets/cache/key, keyFile: /run/secrets/cache/key}\n  " + redis, "redis.tls.keyFile", "must be the private key of redis.tls.certificateFile"},
		{"redis.waitReplicas", redis, "waitReplicas: -1\n  " + redis, "redis.waitReplicas", "0 or more"},
		{"redis.waitReplicas of a wrong type", redis, "waitReplicas: one\n  " + redis, "redis.waitReplicas", "whole number"},
		{"redis.sentinelPasswordFile", redis, "sentinelPasswordFile: /run/secrets/redis/password\n  " + redis, "redis.sentinelPasswordFile", "only with mode: sentinel"},
		{"redis.sentinelUsername", redis, "sentinelUsername: u\n  " + redis, "redis.sentinelUsername", "only with mode: sentinel"},
		{"clients.apiKeys of a wrong type", "apiKeys:\n    - name: payments-team\n      " + sum, "apiKeys: {}\n  x:\n    - name: y\n      z: ", "clients.apiKeys", "must be a list"},
		{"apiKeys.name blank", "name: payments-team", "name: ' '", "clients.apiKeys[0].name", "is empty"},
		{"apiKeys.sha256", sum, "sha256: a1c7", "clients.apiKeys[0].sha256", "64 hex digits"},
		{"apiKeys.sha256 missing", sum, "", "clients.apiKeys[0].sha256", "is missing"},
		{"apiKeys.scopes empty", "scopes: [accounts:read, balances:read]", "scopes: []", "clients.apiKeys[0].scopes", "is empty"},
		{"apiKeys.scopes unknown", "scopes: [accounts:read, balances:read]", "scopes: [accounts:write]", "clients.apiKeys[0].scopes[0]", "accounts:read or balances:read"},
		{"apiKeys.scopes twice", "scopes: [accounts:read, balances:read]", "scopes: [accounts:read, accounts:read]", "clients.apiKeys[0].scopes[1]", "duplicate of "},
		{"apiKeys key inline", sum, sum + "\n      key: " + canary, "clients.apiKeys[0].key", "unknown key"},
		{"provider name", "mypos:", "'':", `providers[""]`, "name must not be empty"},
		{"provider of a wrong type", "mypos:\n    baseURL: https://mp-psd2-api.mypos.com", "mypos: 5\n  z:\n    baseURL: https://h", "providers.mypos", "must be a mapping"},
		{"baseURL relative", base, "baseURL: mp-psd2-api.mypos.com", "providers.mypos.baseURL", "absolute https URL"},
		{"baseURL scheme", base, "baseURL: ftp://h", "providers.mypos.baseURL", "absolute https URL"},
		{"baseURL malformed", base, "baseURL: 'https://a b'", "providers.mypos.baseURL", "absolute https URL"},
		{"baseURL http", base, "baseURL: http://mp-psd2-api.mypos.com", "providers.mypos.baseURL", "must be https"},
		{"baseURL http on a loopback-like name", base, "baseURL: http://127.0.0.1.example.com", "providers.mypos.baseURL", "must be https"},
		{"baseURL user", base, "baseURL: https://u:" + canary + "@h", "providers.mypos.baseURL", "not contain a user"},
		{"baseURL query", base, "baseURL: 'https://h?'", "providers.mypos.baseURL", "not contain a query"},
		{"baseURL fragment", base, "baseURL: 'https://h#'", "providers.mypos.baseURL", "not contain a fragment"},
		{"baseURL port", base, "baseURL: https://h:99999", "providers.mypos.baseURL", "port must be a number"},
		{"timeout zero", "qwac.key\n    timeout: 10s", "qwac.key\n    timeout: 0s", "providers.mypos.timeout", "must be greater than 0s"},
		{"caFile", "qwac.key\n    timeout: 10s", "qwac.key\n    caFile: /run/secrets/mypos/api-key", "providers.mypos.caFile", "must contain a PEM certificate"},
		{"caFile missing", "qwac.key\n    timeout: 10s", "qwac.key\n    caFile: /run/secrets/none", "providers.mypos.caFile", "does not exist"},
		{"proxy", "qwac.key\n    timeout: 10s", "qwac.key\n    proxy: http://u:" + canary + "@p", "providers.mypos.proxy", "none or environment"},
		{"drainFor", "address: 127.0.0.1:8080", "drainFor: -1s", "server.drainFor", "0s or more"},
		{"drainFor of a wrong type", "address: 127.0.0.1:8080", "drainFor: 5", "server.drainFor", "must be a duration"},
		{"profiling of a wrong type", "address: 127.0.0.1:8080", "profiling: 'on'", "server.profiling", "must be true or false"},
		{"limits.inFlight", "address: 127.0.0.1:8080", "limits: {inFlight: 0}", "server.limits.inFlight", "1 or more"},
		{"limits.perClient", "address: 127.0.0.1:8080", "limits: {perClient: -1}", "server.limits.perClient", "1 or more"},
		{"limits.perASPSP", "address: 127.0.0.1:8080", "limits: {perASPSP: 0}", "server.limits.perASPSP", "1 or more"},
		{"limits unknown", "address: 127.0.0.1:8080", "limits: {perBank: 1}", "server.limits.perBank", "unknown key"},
		{"timeout of a wrong type", "qwac.key\n    timeout: 10s", "qwac.key\n    timeout: 10", "providers.mypos.timeout", "must be a duration"},
		{"aspsps of a wrong type", "aspsps:\n  - id:", "aspsps:\n    id:", "aspsps", "must be a list"},
		{"id not a UUID", id, "id: 4f1e2d3c", "aspsps[0].id", "must be a UUID (36 characters)"},
		{"id UUID in another form", id, "id: 4f1e2d3c000040008000000000000001", "aspsps[0].id", "must be a UUID (36 characters)"},
		{"id twice in another case", id, id + "\n    name: B\n    provider: mypos\n  - id: 4F1E2D3C-0000-4000-8000-000000000001", "aspsps[1].id", "duplicate of "},
		{"name", "name: Wood Bank", "name: ''", "aspsps[0].name", "is empty"},
		{"name of a wrong type", "name: Wood Bank", "name: 42", "aspsps[0].name", "must be a string"},
		{"provider missing", "provider: mastercard", "", "aspsps[0].provider", "is missing"},
		{"provider not configured", "provider: mastercard", "provider: Mastercard", "aspsps[0].provider", "must be the name of a provider"},
		{"limit below 0", "limit: 4", "limit: -1", "aspsps[0].unattended.limit", "0 or more"},
		{"limit below 0 without effect", "limit: 4, window: 24h, unit: consent}", "limit: -1}\n    psuAddressRequired: true", "aspsps[0].unattended.limit", "0 or more"},
		{"psuAddressRequired of a wrong type", "    unattended: {limit: 4", "    psuAddressRequired: 1\n    unattended: {limit: 4", "aspsps[0].psuAddressRequired", "must be true or false"},
		{"limit as text", "limit: 4", "limit: '4'", "aspsps[0].unattended.limit", "whole number"},
		{"limit octal", "limit: 4", "limit: 010", "aspsps[0].unattended.limit", "whole number"},
		{"limit null", "limit: 4", "limit: ", "aspsps[0].unattended.limit", "must have a value"},
		{"window", "window: 24h", "window: -24h", "aspsps[0].unattended.window", "must be greater than 0s"},
		{"window in days", "window: 24h", "window: 1d", "aspsps[0].unattended.window", "must be a duration"},
		{"unit", "unit: consent}", "unit: bank}", "aspsps[0].unattended.unit", "aspsp, consent or resource"},
		{"closedUntil", "unit: consent}", "closedUntil: 2026-11-20 10:00}", "aspsps[0].unattended.closedUntil", "RFC 3339"},
		{"closedUntil of all", "cache:\n", "unattended: {closedUntil: tomorrow}\ncache:\n", "unattended.closedUntil", "RFC 3339"},
		{"unattended unknown", "cache:\n", "unattended: {limit: 0}\ncache:\n", "unattended.limit", "unknown key; known keys: closedUntil"},
		{"closedUntil without offset", "unit: consent}", "closedUntil: 2026-11-20T10:00:00}", "aspsps[0].unattended.closedUntil", "RFC 3339"},
		{"freshFor", "freshFor: 10m", "freshFor: 0s", "aspsps[0].accounts.freshFor", "must be greater than 0s"},
		{"keepFor shorter than freshFor", "keepFor: 2160h", "keepFor: 9m59s", "aspsps[0].accounts.keepFor", "must not be shorter than freshFor (default: 10m)"},
		{"keepFor shorter than the default of freshFor", "freshFor: 10m, keepFor: 2160h", "keepFor: 1m", "aspsps[0].accounts.keepFor", "must not be shorter than freshFor"},
		{"freshFor longer than the default of keepFor", "freshFor: 10m, keepFor: 2160h", "freshFor: 2161h", "aspsps[0].accounts.keepFor", "must not be shorter than freshFor"},
		{"consecutiveFailures", "consecutiveFailures: 5", "consecutiveFailures: 0", "aspsps[0].breaker.consecutiveFailures", "1 or more"},
		{"consecutiveFailures below 0", "consecutiveFailures: 5", "consecutiveFailures: -5", "aspsps[0].breaker.consecutiveFailures", "from 0 to 4294967295"},
		{"failureRatio 0", "failureRatio: 0.5", "failureRatio: 0", "aspsps[0].breaker.failureRatio", "greater than 0"},
		{"failureRatio above 1", "failureRatio: 0.5", "failureRatio: 1.01", "aspsps[0].breaker.failureRatio", "at most 1"},
		{"failureRatio not a number", "failureRatio: 0.5", "failureRatio: .nan", "aspsps[0].breaker.failureRatio", "must be a number"},
		{"minimumCalls", "minimumCalls: 20", "minimumCalls: 0", "aspsps[0].breaker.minimumCalls", "1 or more"},
		{"minimumCalls too large", "minimumCalls: 20", "minimumCalls: 4294967296", "aspsps[0].breaker.minimumCalls", "from 0 to 4294967295"},
		{"interval", "interval: 60s", "interval: 0s", "aspsps[0].breaker.interval", "must be greater than 0s"},
		{"openFor", "openFor: 30s", "openFor: true", "aspsps[0].breaker.openFor", "must be a duration"},
		{"cache missing", "cache:\n  " + key, "#", "cache.encryptionKeyFile", "is missing"},
		{"cache key short", key, "encryptionKeyFile: /run/secrets/bad/short", "cache.encryptionKeyFile", "line 1 must be 32 bytes in base64"},
		{"cache key twice", key, "encryptionKeyFile: /run/secrets/bad/twice", "cache.encryptionKeyFile", "line 2 is a duplicate of line 1"},
		{"cache key missing in the file", key, "encryptionKeyFile: /run/secrets/bad/newline", "cache.encryptionKeyFile", "file contains no key"},
		{"cache key directory", key, "encryptionKeyFile: /run/secrets", "cache.encryptionKeyFile", "not a directory"},
		{"cache unknown", key, key + "\n  keys: [" + canary + "]", "cache.keys", "unknown key"},
		{"psu.allowPrivateIP", "cache:\n", "psu: {allowPrivateIP: 'true'}\ncache:\n", "psu.allowPrivateIP", "true or false"},
		{"unknown at the top", "cache:\n", "secrets: " + canary + "\ncache:\n", "secrets", "unknown key"},
		{"unknown and not a word", "cache:\n", "\"a.b\\n" + strings.Repeat("c", 70) + "\": 1\ncache:\n", `["a.b\n` + strings.Repeat("c", 60) + `…"]`, "unknown key"},
		{"twice", "cache:\n", "psu: {}\npsu: {}\ncache:\n", "psu", "is defined twice"},
		{"twice in an adapter's keys", "    consumerKey: \"abc!def\"\n", "    consumerKey: a\n    consumerKey: " + canary + "\n", "providers.mastercard.consumerKey", "is defined twice"},
	}
	// The faults of these are not in the line of old, but in the line of this text.
	above := map[string]string{
		"redis.addresses missing": "redis:", "redis.username": "redis:", "apiKeys.sha256 missing": "name: payments-team",
		"provider missing": "- id:", "cache missing": "server:",
		"redis.mode twice": "mode: sentinel", "twice": "psu: {}\ncache", "twice in an adapter's keys": "consumerKey: " + canary,
		"aspsps of a wrong type": "aspsps:", "clients.apiKeys of a wrong type": "apiKeys:", "id twice in another case": "4F1E", "redis.addresses twice": "addresses: [a:1",
		"timeout zero": "timeout: 0s", "caFile": "caFile:", "caFile missing": "caFile:", "proxy": "proxy:", "timeout of a wrong type": "timeout: 10\n", "psu.allowPrivateIP": "psu:", "cache unknown": "keys:", "apiKeys key inline": "key: ",
		"redis.masterName": "masterName",
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(example, tt.old) != 1 {
				t.Fatalf("the example contains %q %d times", tt.old, strings.Count(example, tt.old))
			}
			text := strings.Replace(example, tt.old, tt.new, 1)
			at := strings.Index(example, tt.old)
			if mark := above[tt.name]; mark != "" {
				at = strings.Index(text, mark)
			}
			line := 1 + strings.Count(text[:at], "\n")
			_, err := config.Read([]byte(onDisk(t, text)))
			for _, f := range faultsOf(t, err) {
				if f.Path == tt.path && f.Line == line && strings.Contains(f.Detail, tt.words) {
					if strings.Contains(err.Error(), canary) {
						t.Errorf("the faults contain a value: %v", err)
					}
					return
				}
			}
			t.Errorf("no fault of %s in line %d with %q in:\n%v", tt.path, line, tt.words, err)
		})
	}
}

// A value with a fault causes no further faults.
func TestFaultsDoNotCascade(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, old, new string }{
		{"clients", "clients:\n", "clients: 1\nx1:\n"},
		{"redis.mode", "mode: standalone", "mode: 1"},
		{"cache", "cache:\n  encryptionKeyFile: /run/secrets/cache/key", "cache: 1"},
		{"missing file", "/run/secrets/cache/key", "/run/secrets/none"},
		{"id", "id: 4f1e2d3c-0000-4000-8000-000000000001", "id: 1"},
		{"unit", "unit: consent", "unit: 1"},
		{"limit", "limit: 4", "limit: x"},
		{"freshFor", "freshFor: 10m", "freshFor: x"},
		{"keepFor", "keepFor: 2160h", "keepFor: 0s"},
		{"name", "name: payments-team", "name: 1"},
		{"baseURL", "baseURL: https://mp-psd2-api.mypos.com", "baseURL: 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Read([]byte(onDisk(t, strings.Replace(example, tt.old, tt.new, 1))))
			faults := slices.DeleteFunc(faultsOf(t, err), func(f config.Fault) bool { return f.Path == "x1" })
			if len(faults) != 1 {
				t.Errorf("want one fault, got:\n%v", err)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	const text = `server:
  address: x
  port: 1
redis:
  mode: sentinel
  addresses: [a:1, ":2"]
  passwordFile: /does/not/exist
clients:
  apiKeys:
    - {name: a, sha256: zz, scopes: [x]}
    - {name: a}
providers:
  p:
    baseURL: http://u@example.com?q
    timeout: soon
    own: 1
aspsps:
  - name: A
    provider: q
    unattended: {limit: many, window: 0s, unit: 1}
    accounts: {freshFor: 2h, keepFor: 1h}
    breaker:
      failureRatio: 2
      minimumCalls: 0
      minimumCalls: 0
tracing: {}
`
	c, err := config.Read([]byte(text))
	if c == nil {
		t.Fatal("Read returned no Config")
	}
	if !slices.IsSortedFunc(faultsOf(t, err), func(a, b config.Fault) int { return a.Line - b.Line }) {
		t.Errorf("the faults are not in the order of the file:\n%v", err)
	}
	var own struct{}
	got := append(faultsOf(t, err), c.Locate("providers.p", c.Decoder("p")(&own))...)
	got = append(got, c.UnknownProviders([]string{"r", "s"})...)
	c.Sort(got)
	want := []string{
		"cache.encryptionKeyFile (line 1): is missing",
		"server.address (line 2): must be host:port",
		"server.port (line 3): unknown key; known keys: address, adminAddress, drainFor, limits, profiling, tls",
		"redis.masterName (line 4): is missing",
		"redis.addresses[1] (line 6): must be host:port with a host",
		"redis.passwordFile (line 7): file does not exist (relative paths start at the working directory)",
		"clients.apiKeys[0].sha256 (line 10): must be 64 hex digits",
		"clients.apiKeys[0].scopes[0] (line 10): must be accounts:read or balances:read",
		"clients.apiKeys[1].sha256 (line 11): is missing",
		"clients.apiKeys[1].scopes (line 11): is missing",
		"clients.apiKeys[1].name (line 11): duplicate of clients.apiKeys[0].name",
		"providers.p (line 13): unknown provider; known providers: r, s",
		"providers.p.baseURL (line 14): must be https (http only for loopback addresses)",
		"providers.p.baseURL (line 14): must not contain a user or password",
		"providers.p.baseURL (line 14): must not contain a query",
		"providers.p.timeout (line 15): must be a duration such as 30s, 10m or 24h",
		"providers.p.own (line 16): unknown key; known keys: baseURL, caFile, proxy, timeout",
		"aspsps[0].id (line 18): is missing",
		"aspsps[0].provider (line 19): must be the name of a provider under providers",
		"aspsps[0].unattended.limit (line 20): must be a whole number",
		"aspsps[0].unattended.window (line 20): must be greater than 0s",
		"aspsps[0].unattended.unit (line 20): must be a string (quote it if it looks like a number or a boolean)",
		"aspsps[0].accounts.keepFor (line 21): must not be shorter than freshFor (default: 10m)",
		"aspsps[0].breaker.failureRatio (line 23): must be greater than 0 and at most 1",
		"aspsps[0].breaker.minimumCalls (line 25): is defined twice",
		"aspsps[0].breaker.minimumCalls (line 25): must be 1 or more",
		"tracing (line 26): unknown key; known keys: accounts, aspsps, audit, cache, clients, log, providers, psu, redis, server, unattended",
	}
	if diff := cmp.Diff(want, strings.Split(got.Error(), "\n")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// Refused parts of YAML do not hide other faults, and cause no further ones.
func TestUnsupportedYAMLHidesNoFault(t *testing.T) {
	t.Parallel()
	const text = `%YAML 1.1
---
redis: &r {mode: embedded, nodes: 1}
clients: !keys
  apiKeys: [*key]
  <<: {x: 1}
? providers
: p: &p {baseURL: https://h, timeout: !!str soon}
  q: *p
  r:
    <<: *p
    own: 1
aspsps:
  - <<: *a
    provider: p
    breaker: {minimumCalls: 0}
  - &a
    name: A
    provider: q
    unattended: *u
    &l limit: 4
`
	c, err := config.Read([]byte(text))
	if c == nil {
		t.Fatalf("Read returned no Config:\n%v", err)
	}
	got := faultsOf(t, err)
	for _, name := range []string{"p", "q", "r"} {
		var part struct {
			Own string `yaml:"own"`
		}
		var faults config.Faults
		if err := c.Decoder(name)(&part); err != nil && !errors.As(err, &faults) {
			t.Fatal(err)
		}
		faults.Add("key", "is missing")
		got = append(got, c.Locate("providers."+name, faults)...)
	}
	c.Sort(got)
	const alias = "must not use anchors, aliases or merge keys (quote a string that begins with & or *)"
	const tag = "must not use tags (quote a string that begins with !)"
	want := []string{
		"line 1: must not use directives (quote a string that begins with %)",
		"line 3: " + alias,
		"redis.nodes (line 3): unknown key; known keys: addresses, masterName, mode, passwordFile, sentinelPasswordFile, sentinelUsername, tls, username, waitReplicas",
		"line 4: " + tag,
		"line 5: " + alias,
		"line 6: " + alias,
		"line 7: must not use keys marked with ? (quote a string that begins with ?)",
		"line 8: " + alias,
		"line 8: " + tag,
		"providers.p.key (line 8): is missing",
		"providers.p.timeout (line 8): must be a duration such as 30s, 10m or 24h",
		"line 9: " + alias,
		"line 11: " + alias,
		"line 11: " + alias,
		"providers.r.own (line 12): must be a string (quote it if it looks like a number or a boolean)",
		"line 14: " + alias,
		"line 14: " + alias,
		"aspsps[0].breaker.minimumCalls (line 16): must be 1 or more",
		"line 17: " + alias,
		"aspsps[1].id (line 18): is missing",
		"line 20: " + alias,
		"line 21: " + alias,
		"aspsps[1].limit (line 21): unknown key; known keys: accounts, breaker, id, name, options, provider, psuAddressRequired, unattended",
	}
	if diff := cmp.Diff(want, strings.Split(got.Error(), "\n")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestSyntaxFaultsAreInOrder(t *testing.T) {
	t.Parallel()
	_, err := config.Read([]byte("a: b: c\nd: !x 1\n"))
	faults := faultsOf(t, err)
	if len(faults) != 2 || faults[0].Line != 1 || faults[1].Line != 2 {
		t.Errorf("faults are:\n%v", err)
	}
}

func TestAliasOfProvidersCausesNoFault(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"*p", "{<<: *p}"} {
		text := strings.Replace(minimal, "providers:\n  p:\n    baseURL: http://localhost:9000", "providers: "+value, 1)
		_, err := config.Read([]byte(text))
		for _, f := range faultsOf(t, err) {
			if f.Path != "" {
				t.Errorf("the alias causes a fault: %v", f)
			}
		}
		if err == nil {
			t.Errorf("%s is accepted", value)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	t.Parallel()
	want := "clients.apiKeys (line 1): is missing\nproviders (line 1): is missing\naspsps (line 1): is missing\n" +
		"cache.encryptionKeyFile (line 1): is missing"
	for _, text := range []string{"", "\n\n", "# empty\n", "---\n", "{}"} {
		_, err := config.Read([]byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q: got\n%v", text, err)
		}
	}
}

func TestEmbeddedRedisAllowsNoConnectionKeys(t *testing.T) {
	t.Parallel()
	text := strings.Replace(minimal, "{mode: embedded}",
		"{mode: embedded, addresses: [a:1], masterName: m, username: u, passwordFile: /run/secrets/redis/password, waitReplicas: 1, tls: {enabled: true}}", 1)
	_, err := config.Read([]byte(onDisk(t, text)))
	got := []string{}
	for _, f := range faultsOf(t, err) {
		got = append(got, f.Path)
	}
	want := []string{"redis.masterName", "redis.username", "redis.passwordFile", "redis.waitReplicas", "redis.tls.enabled"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestPlainHTTPOnlyOnLoopback(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1:1", "127.9.9.9", "[::1]:1", "localhost:9000", "LOCALHOST"} {
		mustRead(t, strings.Replace(minimal, "localhost:9000", host, 1))
	}
	for _, host := range []string{"128.0.0.1", "[::2]", "localhost.example.com", "0.0.0.0", "[::1%25eth0]"} {
		_, err := config.Read([]byte(strings.Replace(minimal, "http://localhost:9000", "'http://"+host+"'", 1)))
		if err == nil || !strings.Contains(err.Error(), "must be https") {
			t.Errorf("http://%s: %v", host, err)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	c := mustRead(t, onDisk(t, example))
	if got := c.Locate("providers.mypos", nil); got.Err() != nil {
		t.Errorf("nil became %v", got)
	}
	got := c.Locate("providers.mypos", config.Faults{
		{Path: "clientKeyFile", Detail: "a"}, {Path: "keyId", Detail: "b"}, {Detail: "c"}, {Path: "[0]", Detail: "d"},
	})
	want := "providers.mypos.keyId (line 19): b\nproviders.mypos (line 19): c\nproviders.mypos[0] (line 19): d\n" +
		"providers.mypos.clientKeyFile (line 23): a"
	if got.Error() != want {
		t.Errorf("got\n%v", got)
	}
	if got := c.Locate("providers.mypos", errors.New("cannot be opened")).Error(); got != "providers.mypos (line 19): cannot be opened" {
		t.Errorf("another error became %q", got)
	}
	withoutFile := config.Defaults()
	if got := withoutFile.Locate("providers.p", config.Faults{{Path: "x", Detail: "a"}}).Error(); got != "providers.p.x: a" {
		t.Errorf("without a file: %q", got)
	}
}

// A provider that is one bank may have only one entry.
func TestSecondASPSPs(t *testing.T) {
	t.Parallel()
	const text = `aspsps:
  - {id: 4f1e2d3c-0000-4000-8000-000000000001, provider: one}
  - {id: 4f1e2d3c-0000-4000-8000-000000000002, provider: many}
  - {id: 4f1e2d3c-0000-4000-8000-000000000003, provider: many}
  - {id: 4f1e2d3c-0000-4000-8000-000000000004}
  - {id: 4f1e2d3c-0000-4000-8000-000000000005}
  - id: 4f1e2d3c-0000-4000-8000-000000000006
    provider: one
`
	c, _ := config.Read([]byte(text))
	if c == nil {
		t.Fatal("Read returned no Config")
	}
	got := c.SecondASPSPs(func(provider string) bool { return provider == "one" })
	want := "aspsps[5].provider (line 8): this provider is one bank and allows one entry; it already has aspsps[0]"
	if len(got) != 1 || got[0].String() != want {
		t.Errorf("faults %v, want %s", got, want)
	}
	if got := c.SecondASPSPs(func(string) bool { return false }); len(got) > 0 {
		t.Errorf("faults %v, although no provider is one bank", got)
	}
}
