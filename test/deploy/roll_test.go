package deploy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

const (
	// rollDrain is server.drainFor, and rollLag is the delay until the balancer removes a
	// terminating gateway. rollDrain is much longer, so that the balancer is in time on a busy
	// machine.
	rollDrain, rollLag = 12 * time.Second, time.Second
	// rollPause is how long there is load before, between and after the replacements.
	rollPause = 500 * time.Millisecond
)

// TestRoll: three gateways are replaced one after the other under load, as Kubernetes does it. No
// request fails, no call is beyond the limit, and each consent gets its four calls.
func TestRoll(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := gatewaytest.ReplaceInConfig(t, w, "drainFor: 0s", "drainFor: "+rollDrain.String())
	b := startBalancer(t)
	var old []*gatewaytest.Process
	for range 3 {
		old = append(old, startReady(t, b, config))
	}
	load := startRollLoad(t, b.address)
	for _, g := range old {
		time.Sleep(rollPause)
		startReady(t, b, config)
		seen := watchAdmin(g)
		ending := time.Now()
		g.Terminate()
		time.Sleep(rollLag)
		b.remove(g.API)
		if code := g.Wait(); code != 0 {
			t.Errorf("exit %d\n%s%s", code, g.Stdout.String(), g.Stderr.String())
		}
		if took := time.Since(ending); took < rollDrain {
			t.Errorf("the gateway exited after %v, want at least %v", took, rollDrain)
		}
		if last := <-seen; !last.draining || !last.scraped {
			t.Errorf("while the gateway drains: /readyz and /metrics are %+v", last)
		}
	}
	time.Sleep(rollPause)
	load.stop()
	for failure, n := range load.failed {
		t.Errorf("%d times: %s", n, failure)
	}
	if n := len(w.CallLog.Breaches()); n != 0 {
		t.Errorf("the bank refused %d calls", n)
	}
	t.Logf("%d requests, %d connections, %d consents", load.requests.Load(), load.opened.Load(), load.usedConsents())
	load.exhaust(t)
	reached := map[string]int{}
	for _, c := range w.CallLog.Calls() {
		if !c.Attended {
			reached[c.Consent]++
		}
	}
	for i := range load.usedConsents() {
		if n := reached[load.consent(i).id]; n != 4 {
			t.Errorf("%d calls of a consent reached the bank, want 4", n)
		}
	}
}

// TestRollDetectsFailures: the load of TestRoll detects a gateway that is killed, and one that
// exits while it still gets connections.
func TestRollDetectsFailures(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	b := startBalancer(t)
	stays, killed, hasty := startReady(t, b, w.ConfigFile), startReady(t, b, w.ConfigFile), startReady(t, b, w.ConfigFile)
	load := startRollLoad(t, b.address)
	for _, end := range []func(){killed.Kill, hasty.Terminate} {
		load.takeFailures()
		end()
		gatewaytest.Eventually(t, "the load sees a failure", func() bool { return load.takeFailures() > 0 })
		b.remove(killed.API)
		time.Sleep(rollPause) // connections that are open still fail
	}
	b.remove(hasty.API)
	load.stop()
	if n := len(w.CallLog.Breaches()); n != 0 || stays.Exited() {
		t.Errorf("the bank refused %d calls", n)
	}
}

// startReady starts a gateway, waits until it is ready, and adds it to the balancer.
func startReady(t *testing.T, b *balancer, config string) *gatewaytest.Process {
	t.Helper()
	g := gatewaytest.Serve(t, config)
	gatewaytest.Eventually(t, "the gateway is ready", func() bool {
		resp, _ := gatewaytest.Call(t, http.MethodGet, g.Admin+"/readyz")
		return resp.StatusCode == http.StatusOK
	})
	b.add(g.API)
	return g
}

// adminStatus is the state of the admin server: whether /readyz reports draining, and whether
// /metrics responds.
type adminStatus struct{ draining, scraped bool }

// watchAdmin requests /readyz and /metrics repeatedly, each time on a new connection as kubelet and
// Prometheus do. When the gateway does not respond any more, it sends the last status.
func watchAdmin(g *gatewaytest.Process) <-chan adminStatus {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	status := func(path string) int {
		resp, err := client.Get(g.Admin + path)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	seen := make(chan adminStatus, 1)
	go func() {
		var last adminStatus
		for {
			ready, scraped := status("/readyz"), status("/metrics")
			if ready == 0 || scraped == 0 {
				seen <- last
				return
			}
			last = adminStatus{ready == http.StatusServiceUnavailable, scraped == http.StatusOK}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return seen
}

// TestDraining: a draining gateway keeps idle connections open and closes each with its next
// response, also for requests that came before. After it has stopped listening, requests in
// progress are completed, and the admin server still responds.
func TestDraining(t *testing.T) {
	t.Parallel()
	arrived, early, late := make(chan struct{}, 2), make(chan struct{}), make(chan struct{})
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			goOn := early
			if strings.HasSuffix(r.URL.Path, "/balances") {
				goOn = late
			}
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
			next.ServeHTTP(rw, r)
		})
	}})
	g := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, "drainFor: 0s", "drainFor: "+rollDrain.String(), "mypos: {", "mypos: {timeout: 5m, "))
	address := strings.TrimPrefix(g.API, "http://")
	kept := &rollCaller{address: address, keepAlive: true}
	defer kept.close()
	list := rollRequest{method: http.MethodGet, path: "/v1/aspsps"}
	if resp, err := kept.do(list); err != nil || resp.close || resp.status != http.StatusOK {
		t.Fatalf("before: %+v, %v", resp, err)
	}
	underWay := func(path string) <-chan string {
		said := make(chan string, 1)
		go func() {
			c := &rollCaller{address: address, keepAlive: true}
			defer c.close()
			of := rollConsent{sandbox.MyPOS, "3c7816ee-3d51-4bf5-8ced-ece2af35d431"}
			resp, err := c.do(of.request(http.MethodGet, path, true))
			said <- fmt.Sprint(resp.status, resp.close, err)
		}()
		<-arrived
		return said
	}
	first, second := underWay("/accounts"), underWay("/accounts/"+mypossim.GoodAccount+"/balances")
	g.Terminate()
	gatewaytest.Eventually(t, "/readyz reports that the gateway drains", func() bool {
		resp, _ := gatewaytest.Call(t, http.MethodGet, g.Admin+"/readyz")
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	close(early)
	if got := <-first; got != "200 true <nil>" {
		t.Errorf("a request from before the drain: %s", got)
	}
	for _, c := range []*rollCaller{kept, {address: address}} {
		if resp, err := c.do(list); err != nil || !resp.close || resp.status != http.StatusOK {
			t.Errorf("while the gateway drains: %+v, %v", resp, err)
		}
	}
	gatewaytest.Eventually(t, "the gateway accepts no more connections", func() bool {
		_, err := (&rollCaller{address: address}).do(list)
		return err != nil
	})
	if resp, _ := gatewaytest.Call(t, http.MethodGet, g.Admin+"/readyz"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", resp.StatusCode)
	}
	if resp, body := gatewaytest.Call(t, http.MethodGet, g.Admin+"/metrics"); resp.StatusCode != 200 || !strings.Contains(body, "ais_") {
		t.Errorf("/metrics: %d", resp.StatusCode)
	}
	close(late)
	if got := <-second; got != "200 true <nil>" {
		t.Errorf("a request in progress: %s", got)
	}
	if code := g.Wait(); code != 0 || !strings.Contains(g.Stdout.String(), `"msg":"stopped"`) {
		t.Errorf("exit %d\n%s", code, g.Stdout.String())
	}
}

// exhaust sends requests under each consent that the load used until it gets UNATTENDED_LIMIT.
func (l *rollLoad) exhaust(t *testing.T) {
	t.Helper()
	c := &rollCaller{address: l.address, keepAlive: true}
	defer c.close()
	for i := range l.usedConsents() {
		of, last := l.consent(i), ""
		for try := range 6 {
			resp, err := c.do(of.request(http.MethodGet, fmt.Sprintf("/accounts/none-%d/balances", 100+try), false))
			if last = resp.outcome(); err != nil || !slices.Contains(rollUnattended, last) {
				t.Fatalf("%s, %v", last, err)
			}
			if last == rollLimited {
				break
			}
		}
		if last != rollLimited {
			t.Errorf("a consent does not reach the limit: %s", last)
		}
	}
}
