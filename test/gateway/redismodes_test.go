package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
	"ais-gateway/internal/store"
)

// durableArgs make a redis-server persist each write before it responds.
var durableArgs = []string{"--appendonly", "yes", "--appendfsync", "always"}

// redisMode is a way to run Redis, with the outages that it can have.
type redisMode struct {
	config string // the value of `redis` in the configuration
	// outages make Redis fail for a consent, and return a function that ends the outage.
	outages map[string]func(consent string) (end func())
}

// yamlList returns addresses as a YAML list.
func yamlList(addresses []string) string { return "['" + strings.Join(addresses, "', '") + "']" }

// serverOutages returns the outages of a single server.
func serverOutages(server *redistest.Server) map[string]func(string) func() {
	do := func(command ...any) {
		if err := server.Do(command...).Err(); err != nil {
			panic(err)
		}
	}
	return map[string]func(string) func(){
		"killed": func(string) func() { server.Stop(); return server.Restart },
		"paused": func(string) func() { server.Pause(); return server.Resume },
		"out of memory": func(string) func() {
			do("CONFIG", "SET", "maxmemory", "1")
			return func() { do("CONFIG", "SET", "maxmemory", "0") }
		},
		"a read-only replica": func(string) func() {
			do("REPLICAOF", "127.0.0.1", "1")
			return func() { do("REPLICAOF", "NO", "ONE") }
		},
	}
}

// redisModes returns functions that start a Redis of each mode.
func redisModes(t *testing.T) map[string]func(t *testing.T) redisMode {
	return map[string]func(t *testing.T) redisMode{
		"standalone with a password": func(t *testing.T) redisMode {
			server := redistest.Start(t, append(durableArgs, "--requirepass", "open sesame")...)
			file := t.TempDir() + "/password"
			writeFile(t, file, "open sesame\n")
			return redisMode{fmt.Sprintf("{addresses: ['%s'], passwordFile: '%s'}", server.Addr, file), map[string]func(string) func(){
				"killed": func(string) func() { server.Stop(); return server.Restart },
			}}
		},
		"standalone": func(t *testing.T) redisMode {
			server := redistest.Start(t, durableArgs...)
			return redisMode{"{addresses: ['" + server.Addr + "']}", serverOutages(server)}
		},
		"TLS": func(t *testing.T) redisMode {
			server, files := redistest.StartTLS(t, durableArgs...)
			tls := fmt.Sprintf("{enabled: true, caFile: '%s', certificateFile: '%s', keyFile: '%s'}", files.CA, files.Certificate, files.Key)
			return redisMode{fmt.Sprintf("{addresses: ['%s'], tls: %s}", server.Addr, tls), serverOutages(server)}
		},
		"sentinel":               func(t *testing.T) redisMode { return sentinelMode(t, 0) },
		"sentinel with replicas": func(t *testing.T) redisMode { return sentinelMode(t, 1) },
		"cluster": func(t *testing.T) redisMode {
			c := redistest.StartCluster(t, durableArgs...)
			nodeOf := func(consent string) *redistest.Server {
				return c.NodeOf(store.Prefix("unattended", mastercardsim.WoodBank, consent))
			}
			return redisMode{"{mode: cluster, addresses: " + yamlList(c.Addrs) + "}", map[string]func(string) func(){
				"its node killed": func(consent string) func() {
					node := nodeOf(consent)
					node.Stop()
					return func() { node.Restart(); c.Await() }
				},
				"its node paused": func(consent string) func() {
					node := nodeOf(consent)
					node.Pause()
					return func() { node.Resume(); c.Await() }
				},
			}}
		},
	}
}

// sentinelMode starts a Redis with sentinels.
func sentinelMode(t *testing.T, waitReplicas int) redisMode {
	s := redistest.StartSentinel(t, durableArgs...)
	redis := fmt.Sprintf("{mode: sentinel, addresses: %s, masterName: %s, waitReplicas: %d}", yamlList(s.Addrs), s.MasterName, waitReplicas)
	return redisMode{redis, map[string]func(string) func(){
		"failed over": func(string) func() {
			s.AwaitReplicas() // a failover loses what the replicas do not have
			old := s.Primary()
			old.Stop()
			return func() {
				s.AwaitPrimary(old)
				old.Restart()
				s.AwaitReplicas()
			}
		},
	}}
}

// TestRedisModes: in each mode of Redis, gateways share lists and slots. During an outage attended
// requests succeed and unattended calls are not made. After it the gateways continue without a
// restart, and no slot is lost.
func TestRedisModes(t *testing.T) {
	for name, start := range redisModes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mode := start(t)
			w := gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: mode.config})
			gateways := []*process{serve(t, w.ConfigFile), serve(t, w.ConfigFile)}
			testSharedState(t, w, gateways)
			for name, outage := range mode.outages {
				t.Run(name, func(t *testing.T) { testOutage(t, w, gateways, outage) })
			}
			if n := len(w.CallLog.Breaches()); n != 0 {
				t.Errorf("%d breaches", n)
			}
		})
	}
}

// testSharedState tests that the gateways share lists, slots and deletions.
func testSharedState(t *testing.T, w *sandbox.Sandbox, gateways []*process) {
	t.Helper()
	var consent string
	// The first requests open connections, which may take longer than the cache's timeout.
	gatewaytest.Eventually(t, "lists are cached for the other gateway", func() bool {
		consent = mastercardsim.FreshConsent + uuid.NewString()
		status := func(g *process) string {
			resp, _ := gatewaytest.Call(t, http.MethodGet, g.API+woodPath+"/accounts", "Consent-ID", consent)
			return resp.Header.Get("Cache-Status")
		}
		return strings.HasSuffix(status(gateways[0]), "fwd=miss; stored") && strings.Contains(status(gateways[1]), "hit; ttl=")
	})
	// A request that arrives while the other gateway still writes the outcome of its call to Redis
	// shares that call.
	var statuses []int
	for i, refused := 0, 0; i < 60 && refused < 2; i++ {
		resp, _ := gatewaytest.Call(t, http.MethodGet, gateways[i%2].API+woodPath+balancesPath, "Consent-ID", consent)
		if resp.StatusCode == http.StatusServiceUnavailable {
			continue // Redis responds late on a busy machine
		}
		statuses = append(statuses, resp.StatusCode)
		if resp.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if n := len(statuses); n < 5 || !slices.Equal(statuses[n-3:], []int{200, 429, 429}) || callsByConsent(w.CallLog)[consent] != 4 {
		t.Errorf("%d calls reached the bank, statuses %v", callsByConsent(w.CallLog)[consent], statuses)
	}
	if resp, body := gatewaytest.Call(t, http.MethodDelete, gateways[0].API+woodPath+"/cached-data", "Consent-ID", consent); resp.StatusCode != 204 {
		t.Errorf("deletion: %d %s", resp.StatusCode, body)
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, gateways[1].API+woodPath+"/accounts", "Consent-ID", consent, "Cache-Control", "only-if-cached")
	if resp.StatusCode != 504 {
		t.Errorf("after the deletion: %d %s", resp.StatusCode, body)
	}
}

// testOutage sends requests before, during and after an outage of Redis.
func testOutage(t *testing.T, w *sandbox.Sandbox, gateways []*process, outage func(string) func()) {
	used := mastercardsim.FreshConsent + uuid.NewString()
	send := func(i int, consent string, header ...string) (int, string) {
		resp, body := gatewaytest.Call(t, http.MethodGet, gateways[i%2].API+woodPath+balancesPath, append(header, "Consent-ID", consent)...)
		return resp.StatusCode, body
	}
	sendCounted := func(i, want int) {
		t.Helper()
		var body string
		gatewaytest.Eventually(t, fmt.Sprintf("call %d gets %d", i, want), func() bool {
			var status int
			if status, body = send(i, used); status == 503 && strings.Contains(body, "COUNTER_UNAVAILABLE") {
				return false // Redis responds late on a busy machine
			} else if status != want {
				t.Fatalf("call %d: %d %s, want %d", i, status, body, want)
			}
			return true
		})
	}
	for i := range 3 {
		sendCounted(i, 200)
	}
	end := outage(used)
	for i := range 2 {
		if status, body := send(i, used); status != 503 || !strings.Contains(body, "COUNTER_UNAVAILABLE") {
			t.Errorf("unattended: %d %s", status, body)
		}
		for range 3 {
			if status, body := send(i, used, "PSU-IP-Address", "203.0.113.7"); status != 200 {
				t.Errorf("attended: %d %s", status, body)
			}
			resp, body := gatewaytest.Call(t, http.MethodGet, gateways[i%2].API+woodPath+"/accounts", "Consent-ID", used, "PSU-IP-Address", "203.0.113.7")
			if resp.StatusCode != 200 {
				t.Errorf("attended list: %d %s", resp.StatusCode, body)
			}
		}
	}
	end()
	for i := range gateways {
		fresh := mastercardsim.FreshConsent + uuid.NewString()
		gatewaytest.Eventually(t, "the gateway counts calls again", func() bool { status, _ := send(i, fresh); return status == 200 })
	}
	gatewaytest.Eventually(t, "slots without a call are released", func() bool {
		_, body := gatewaytest.Call(t, http.MethodGet, gateways[0].API+woodPath+"/unattended-access", "Consent-ID", used)
		return strings.Contains(body, `"used":3`)
	})
	sendCounted(0, 200)
	sendCounted(1, 429)
	if n := len(w.CallLog.Breaches()); n != 0 {
		t.Errorf("%d breaches", n)
	}
}

// TestWaitReplicas: if fewer replicas than waitReplicas have a slot, no unattended call is made,
// and unattended-access reports COUNTER_UNAVAILABLE.
func TestWaitReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: "{addresses: ['" + server.Addr + "'], waitReplicas: 1}"})
	p := serve(t, w.ConfigFile)
	for path, want := range map[string]int{balancesPath: 503, "/unattended-access": 503, "/accounts": 503} {
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+woodPath+path, "Consent-ID", mastercardsim.Consent)
		if resp.StatusCode != want || !strings.Contains(body, "COUNTER_UNAVAILABLE") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, p.API+woodPath+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7")
	if resp.StatusCode != 200 {
		t.Errorf("attended: %d %s", resp.StatusCode, body)
	}
	if n := len(w.CallLog.Calls()); n != 1 {
		t.Errorf("%d calls reached the bank, want the attended one", n)
	}
}
