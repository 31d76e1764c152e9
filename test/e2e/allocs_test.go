package e2e_test

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// TestAllocations limits how many objects the gateway allocates for one request. The limits are
// at most 10 % above what was measured (docs/performance.md). They are of the whole process: net/http
// allocates more than half of them for a request with a call.
func TestAllocations(t *testing.T) {
	t.Parallel()
	const requests = 500
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, "server: {", "server: {profiling: true, "))
	list := "/v1/aspsps/" + sandbox.MyPOS + "/accounts"
	balances := list + "/" + mypossim.GoodAccount + "/balances"
	cached := uuid.NewString()
	send := func(path, consent string, attended bool) {
		req, err := http.NewRequest(http.MethodGet, p.API+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{
			"X-Api-Key": {sandbox.Key}, "Consent-Id": {consent}, "Provider-Authorization": {"Bearer " + mypossim.GoodToken},
		}
		if attended {
			req.Header["Psu-Ip-Address"] = []string{"203.0.113.7"}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s %v", resp.StatusCode, body, err)
		}
	}
	send(list, cached, true)
	for _, tt := range []struct {
		name, path string
		consent    func() string
		attended   bool
		most       uint64
	}{
		{"balances, attended", balances, uuid.NewString, true, 178},
		{"balances, unattended", balances, uuid.NewString, false, 455},
		{"cached list, attended", list, func() string { return cached }, true, 110},
		{"cached list, unattended", list, func() string { return cached }, false, 177},
		{"list, attended", list, uuid.NewString, true, 391},
	} {
		send(tt.path, tt.consent(), tt.attended) // loads scripts and opens connections
		before := mallocs(t, p)
		scrape := mallocs(t, p) - before
		before += scrape
		for range requests {
			send(tt.path, tt.consent(), tt.attended)
		}
		each := (mallocs(t, p) - before - scrape) / requests
		t.Logf("%s: %d allocations", tt.name, each)
		if each > tt.most || each < tt.most/2 {
			t.Errorf("%s: %d allocations for a request, want %d to %d", tt.name, each, tt.most/2, tt.most)
		}
	}
}

// mallocs returns how many objects a gateway with profiling has allocated since its start.
func mallocs(t *testing.T, p *gatewaytest.Process) uint64 {
	t.Helper()
	resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/debug/pprof/heap?debug=1")
	match := regexp.MustCompile(`# Mallocs = (\d+)`).FindStringSubmatch(body)
	if resp.StatusCode != http.StatusOK || match == nil {
		t.Fatalf("%d %.200s", resp.StatusCode, body)
	}
	n, err := strconv.ParseUint(match[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
