package main_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
)

var guided = regexp.MustCompile(`(?m)^  (API|admin) +(http://\S+)$`)

// The sandbox as deploy/compose.yaml runs it: on addresses that are given, counting in a Redis that others look into.
// What it says can be called can be called, though one listens on every address of the machine.
func TestSandboxElsewhere(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	p := start(t, nil, "sandbox", "--address", "0.0.0.0:0", "--admin-address", "0.0.0.0:0", "--redis", server.Addr)
	eventually(t, "the guide stands", func() bool { return strings.Contains(p.Stdout.String(), "Ctrl-C") })
	at := map[string]*url.URL{}
	for _, line := range guided.FindAllStringSubmatch(p.Stdout.String(), -1) {
		u, err := url.Parse(line[2])
		if err != nil {
			t.Fatal(err)
		}
		at[line[1]] = u
	}
	if len(at) != 2 || at["API"].Hostname() != "127.0.0.1" || at["admin"].Hostname() != "127.0.0.1" {
		t.Fatalf("%v\n%s", at, p.Stdout.String())
	}
	everywhere := regexp.MustCompile(`"admin_address":"(0\.0\.0\.0|\[::\]):`)
	eventually(t, "the log names the admin address", func() bool { return everywhere.MatchString(p.Stderr.String()) })
	if resp, body := call(t, http.MethodGet, at["API"].String()+wood+"/accounts", "Consent-ID", mastercardsim.Consent); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if keys := server.Do("DBSIZE").Val(); fmt.Sprint(keys) == "0" {
		t.Error("nothing was counted in the Redis that was given")
	}
	eventually(t, "the state of that Redis is told", func() bool {
		_, body := call(t, http.MethodGet, at["admin"].String()+"/readyz")
		return strings.Contains(body, `"redis":"ok","maxmemoryPolicy":"allkeys-lru"`)
	})
	p.Terminate()
	if code := p.Ended(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
}
