package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

func TestAdmin(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	for range 5 {
		gatewaytest.Call(t, http.MethodGet, p.API+wood+balances, "Consent-ID", mastercardsim.Consent)
	}
	gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7")
	if resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/livez"); resp.StatusCode != 200 || !strings.Contains(body, "live") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	if resp.StatusCode != 200 {
		t.Fatalf("%d", resp.StatusCode)
	}
	for _, want := range []string{
		`ais_unattended_slots_total{ais_aspsp_id="` + mastercardsim.WoodBank + `",event="taken"`,
		`event="refused"`, `ais_cache_results_total{`, `ais_breaker_state{`,
		`http_route="/v1/aspsps/{aspspId}/accounts/{accountId}/balances"`, `http_server_request_duration_seconds_bucket`,
		`url_template="/accounts/account/balances"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("callers reach %s: %d", path, resp.StatusCode)
		}
	}
}

// A gateway stays ready with every state of Redis, reports the state, and logs its changes.
func TestReadyReportsTheStateOfRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	redisDo := func(words ...any) {
		if err := rdb.Do(context.Background(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	for _, tt := range []struct {
		name  string
		do    func()
		state string
		want  []string
		not   string
	}{
		{"evicting", func() {}, "ok", []string{`"maxmemoryPolicy":"allkeys-lru"`, "set noeviction"}, "refused"},
		{"evicting keys with an expiry", func() { redisDo("CONFIG", "SET", "maxmemory-policy", "volatile-ttl") }, "ok", []string{`"maxmemoryPolicy":"volatile-ttl"`, "set noeviction"}, "refused"},
		{"usable", func() { redisDo("CONFIG", "SET", "maxmemory-policy", "noeviction") }, "ok", []string{`"maxmemoryPolicy":"noeviction"`}, "warnings"},
		{"out of memory", func() { redisDo("CONFIG", "SET", "maxmemory", "1") }, "out_of_memory", []string{"unattended calls are refused"}, "may evict"},
		{"replica", func() { redisDo("CONFIG", "SET", "maxmemory", "0"); redisDo("REPLICAOF", "127.0.0.1", "1") }, "read_only", []string{"refused"}, "may evict"},
		{"too few replicas", func() { redisDo("REPLICAOF", "NO", "ONE"); redisDo("CONFIG", "SET", "min-replicas-to-write", "1") }, "refuses_writes", []string{"refused"}, "may evict"},
		{"usable again", func() { redisDo("CONFIG", "SET", "min-replicas-to-write", "0") }, "ok", nil, "warnings"},
		{"permission missing", func() { redisDo("ACL", "SETUSER", "default", "-zscore") }, "no_permission", []string{"refused"}, "may evict"},
		{"permission given", func() { redisDo("ACL", "SETUSER", "default", "+zscore") }, "ok", nil, "warnings"},
		{"paused", server.Pause, "unreachable", []string{"refused"}, "may evict"},
		{"resumed", server.Resume, "ok", nil, "warnings"},
		{"gone", server.Stop, "unreachable", []string{"refused"}, "may evict"},
	} {
		tt.do()
		var body string
		gatewaytest.Eventually(t, tt.name+": the state is reported", func() bool {
			var resp *http.Response
			if resp, body = gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"status":"ready"`) {
				t.Fatalf("%s: %d %s", tt.name, resp.StatusCode, body)
			}
			return strings.Contains(body, `"redis":"`+tt.state+`"`)
		})
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", tt.name, want, body)
			}
		}
		if strings.Contains(body, tt.not) {
			t.Errorf("%s: %s", tt.name, body)
		}
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7", "Cache-Control", "no-cache")
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: attended: %d %s", tt.name, resp.StatusCode, body)
		}
		unattended := func() bool {
			resp, body = gatewaytest.Call(t, http.MethodGet, p.API+wood+balances, "Consent-ID", mastercardsim.FreshConsent+uuid.NewString())
			return resp.StatusCode == http.StatusOK
		}
		if tt.state == "ok" {
			gatewaytest.Eventually(t, tt.name+": unattended calls are made", unattended)
		} else if unattended() || !strings.Contains(body, "COUNTER_UNAVAILABLE") {
			t.Errorf("%s: unattended: %d %s", tt.name, resp.StatusCode, body)
		}
	}
	gatewaytest.Eventually(t, "the log has the states", func() bool {
		out := p.Stdout.String()
		return strings.Contains(out, `"maxmemory_policy":"allkeys-lru","warnings":["redis may evict`) && strings.Contains(out, `"state":"unreachable"`)
	})
}

// Profiles are served only on the admin address, and only if they are enabled.
func TestProfiling(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	for _, on := range []bool{false, true} {
		config := gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {profiling: "+strconv.FormatBool(on)+", ")
		p := gatewaytest.Serve(t, config)
		_, unknown := gatewaytest.Call(t, http.MethodGet, p.Admin+"/unknown")
		for path, want := range map[string]string{
			"": "goroutine", "heap": "\x1f\x8b", "allocs": "\x1f\x8b", "goroutine?debug=1": "goroutine profile: total", "goroutine?debug=2": "[running]",
			"cmdline": gatewaytest.Binary() + "\x00serve\x00--config\x00" + config, "profile?seconds=1": "\x1f\x8b", "trace?seconds=1": "go 1.", "symbol": "num_symbols",
		} {
			path = "/debug/pprof/" + path
			resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+path)
			if on && (resp.StatusCode != http.StatusOK || !strings.Contains(body, want)) || !on && (resp.StatusCode != http.StatusNotFound || body != unknown) {
				t.Errorf("profiling %t: %s responds %d %.200q", on, path, resp.StatusCode, body)
			}
			assertNotFound(t, p.API+path)
		}
		if resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != http.StatusOK || strings.Contains(body, "warnings") {
			t.Errorf("profiling %t: %d %s", on, resp.StatusCode, body)
		}
	}
}

// assertNotFound checks that the API responds to a GET with and without credentials with the
// problem of an unknown path.
func assertNotFound(t *testing.T, url string) {
	t.Helper()
	for _, key := range []string{sandbox.Key, ""} {
		req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("X-API-Key", key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var problem struct{ Code string }
		err = json.NewDecoder(resp.Body).Decode(&problem)
		if err != nil || resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Type") != "application/problem+json" || problem.Code != "NOT_FOUND" {
			t.Errorf("%s with the key %q: %d %v %+v %v", url, key, resp.StatusCode, resp.Header, problem, err)
		}
	}
}

// A profile that is being recorded ends with the gateway, and does not delay its end.
func TestTerminationEndsProfiles(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {profiling: true, "))
	var all sync.WaitGroup
	for path, want := range map[string]int{"profile?seconds=60": http.StatusOK, "trace?seconds=60": http.StatusOK, "allocs?seconds=60": http.StatusInternalServerError} {
		all.Go(func() {
			resp, err := http.Get(p.Admin + "/debug/pprof/" + path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
				t.Errorf("%s: %d %v", path, resp.StatusCode, err)
			}
		})
	}
	gatewaytest.Eventually(t, "the profiles are being recorded", func() bool {
		_, stacks := gatewaytest.Call(t, http.MethodGet, p.Admin+"/debug/pprof/goroutine?debug=2")
		return strings.Contains(stacks, "pprof.Profile(") && strings.Contains(stacks, "pprof.Trace(") && strings.Contains(stacks, ".serveDeltaProfile(")
	})
	p.Terminate()
	all.Wait()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stdout.String())
	}
}
