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

// durable keeps what Redis answered over its end.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// A form is Redis as somebody runs it, and how it fails there.
type form struct {
	redis string // as in the configuration
	// breaks makes Redis fail for the consent, and returns what mends it.
	breaks map[string]func(consent string) (mend func())
}

func list(addresses []string) string { return "['" + strings.Join(addresses, "', '") + "']" }

// outages are those of a single server.
func outages(server *redistest.Server) map[string]func(string) func() {
	say := func(words ...any) {
		if err := server.Do(words...).Err(); err != nil {
			panic(err)
		}
	}
	return map[string]func(string) func(){
		"killed": func(string) func() { server.Stop(); return server.Restart },
		"paused": func(string) func() { server.Pause(); return server.Resume },
		"out of memory": func(string) func() {
			say("CONFIG", "SET", "maxmemory", "1")
			return func() { say("CONFIG", "SET", "maxmemory", "0") }
		},
		"a read-only replica": func(string) func() {
			say("REPLICAOF", "127.0.0.1", "1")
			return func() { say("REPLICAOF", "NO", "ONE") }
		},
	}
}

func forms(t *testing.T) map[string]func(t *testing.T) form {
	return map[string]func(t *testing.T) form{
		"standalone with a password": func(t *testing.T) form {
			server := redistest.Start(t, append(durable, "--requirepass", "open sesame")...)
			file := t.TempDir() + "/password"
			write(t, file, "open sesame\n")
			return form{fmt.Sprintf("{addresses: ['%s'], passwordFile: '%s'}", server.Addr, file), map[string]func(string) func(){
				"killed": func(string) func() { server.Stop(); return server.Restart },
			}}
		},
		"standalone": func(t *testing.T) form {
			server := redistest.Start(t, durable...)
			return form{"{addresses: ['" + server.Addr + "']}", outages(server)}
		},
		"TLS": func(t *testing.T) form {
			server, files := redistest.StartTLS(t, durable...)
			tls := fmt.Sprintf("{enabled: true, caFile: '%s', certificateFile: '%s', keyFile: '%s'}", files.CA, files.Certificate, files.Key)
			return form{fmt.Sprintf("{addresses: ['%s'], tls: %s}", server.Addr, tls), outages(server)}
		},
		"sentinel":               func(t *testing.T) form { return sentinelForm(t, 0) },
		"sentinel with replicas": func(t *testing.T) form { return sentinelForm(t, 1) },
		"cluster": func(t *testing.T) form {
			c := redistest.StartCluster(t, durable...)
			nodeOf := func(consent string) *redistest.Server {
				return c.NodeOf(store.Prefix("unattended", mastercardsim.WoodBank, consent))
			}
			return form{"{mode: cluster, addresses: " + list(c.Addrs) + "}", map[string]func(string) func(){
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

func sentinelForm(t *testing.T, waitReplicas int) form {
	s := redistest.StartSentinel(t, durable...)
	redis := fmt.Sprintf("{mode: sentinel, addresses: %s, masterName: %s, waitReplicas: %d}", list(s.Addrs), s.MasterName, waitReplicas)
	return form{redis, map[string]func(string) func(){
		"failed over": func(string) func() {
			s.AwaitReplicas() // what they lack, a failover forgets
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

// In whatever form Redis is run: lists are kept and slots counted for all gateways together; while it fails attended
// requests are answered and unattended ones are not made; afterwards all goes on, with no slot forgotten and nothing
// started again.
func TestEveryFormOfRedis(t *testing.T) {
	for name, open := range forms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			w := gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: f.redis})
			gateways := []*process{serve(t, w.ConfigFile), serve(t, w.ConfigFile)}
			worksTogether(t, w, gateways)
			for name, breaks := range f.breaks {
				t.Run(name, func(t *testing.T) { survives(t, w, gateways, breaks) })
			}
			if n := len(w.Ledger.Breaches()); n != 0 {
				t.Errorf("%d breaches", n)
			}
		})
	}
}

func worksTogether(t *testing.T, w *sandbox.Sandbox, gateways []*process) {
	t.Helper()
	var consent string
	// The first requests set connections up, which may take longer than the cache may cost.
	gatewaytest.Eventually(t, "lists are kept for the other gateway", func() bool {
		consent = mastercardsim.FreshConsent + uuid.NewString()
		status := func(g *process) string {
			resp, _ := gatewaytest.Call(t, http.MethodGet, g.API+wood+"/accounts", "Consent-ID", consent)
			return resp.Header.Get("Cache-Status")
		}
		return strings.HasSuffix(status(gateways[0]), "fwd=miss; stored") && strings.Contains(status(gateways[1]), "hit; ttl=")
	})
	// A gateway that asks while the other still tells Redis of its call's end shares that call.
	var answers []int
	for i, refused := 0, 0; i < 60 && refused < 2; i++ {
		resp, _ := gatewaytest.Call(t, http.MethodGet, gateways[i%2].API+wood+balances, "Consent-ID", consent)
		if resp.StatusCode == http.StatusServiceUnavailable {
			continue // Redis answers late on a busy machine
		}
		answers = append(answers, resp.StatusCode)
		if resp.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if n := len(answers); n < 5 || !slices.Equal(answers[n-3:], []int{200, 429, 429}) || reached(w.Ledger)[consent] != 4 {
		t.Errorf("%d calls reached the bank, answered %v", reached(w.Ledger)[consent], answers)
	}
	if resp, body := gatewaytest.Call(t, http.MethodDelete, gateways[0].API+wood+"/cached-data", "Consent-ID", consent); resp.StatusCode != 204 {
		t.Errorf("erasure: %d %s", resp.StatusCode, body)
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, gateways[1].API+wood+"/accounts", "Consent-ID", consent, "Cache-Control", "only-if-cached")
	if resp.StatusCode != 504 {
		t.Errorf("after the erasure: %d %s", resp.StatusCode, body)
	}
}

// survives asks before, while and after Redis fails.
func survives(t *testing.T, w *sandbox.Sandbox, gateways []*process, breaks func(string) func()) {
	used := mastercardsim.FreshConsent + uuid.NewString()
	ask := func(i int, consent string, header ...string) (int, string) {
		resp, body := gatewaytest.Call(t, http.MethodGet, gateways[i%2].API+wood+balances, append(header, "Consent-ID", consent)...)
		return resp.StatusCode, body
	}
	counted := func(i, want int) {
		t.Helper()
		var body string
		gatewaytest.Eventually(t, fmt.Sprintf("call %d is answered %d", i, want), func() bool {
			var status int
			if status, body = ask(i, used); status == 503 && strings.Contains(body, "COUNTER_UNAVAILABLE") {
				return false // Redis answers late on a busy machine
			} else if status != want {
				t.Fatalf("call %d: %d %s, want %d", i, status, body, want)
			}
			return true
		})
	}
	for i := range 3 {
		counted(i, 200)
	}
	mend := breaks(used)
	for i := range 2 {
		if status, body := ask(i, used); status != 503 || !strings.Contains(body, "COUNTER_UNAVAILABLE") {
			t.Errorf("unattended: %d %s", status, body)
		}
		for range 3 {
			if status, body := ask(i, used, "PSU-IP-Address", "203.0.113.7"); status != 200 {
				t.Errorf("attended: %d %s", status, body)
			}
			resp, body := gatewaytest.Call(t, http.MethodGet, gateways[i%2].API+wood+"/accounts", "Consent-ID", used, "PSU-IP-Address", "203.0.113.7")
			if resp.StatusCode != 200 {
				t.Errorf("attended list: %d %s", resp.StatusCode, body)
			}
		}
	}
	mend()
	for i := range gateways {
		fresh := mastercardsim.FreshConsent + uuid.NewString()
		gatewaytest.Eventually(t, "it counts again", func() bool { status, _ := ask(i, fresh); return status == 200 })
	}
	gatewaytest.Eventually(t, "what was not called is given back", func() bool {
		_, body := gatewaytest.Call(t, http.MethodGet, gateways[0].API+wood+"/unattended-access", "Consent-ID", used)
		return strings.Contains(body, `"used":3`)
	})
	counted(0, 200)
	counted(1, 429)
	if n := len(w.Ledger.Breaches()); n != 0 {
		t.Errorf("%d breaches", n)
	}
}

// Where too few replicas have a slot no unattended call is made, and a look says so.
func TestWaitReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: "{addresses: ['" + server.Addr + "'], waitReplicas: 1}"})
	p := serve(t, w.ConfigFile)
	for path, want := range map[string]int{balances: 503, "/unattended-access": 503, "/accounts": 503} {
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+path, "Consent-ID", mastercardsim.Consent)
		if resp.StatusCode != want || !strings.Contains(body, "COUNTER_UNAVAILABLE") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7")
	if resp.StatusCode != 200 {
		t.Errorf("attended: %d %s", resp.StatusCode, body)
	}
	if n := len(w.Ledger.Calls()); n != 1 {
		t.Errorf("%d calls reached the bank, want the attended one", n)
	}
}
