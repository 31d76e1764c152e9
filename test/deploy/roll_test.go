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
	// rollDrain is server.drainFor, and rollLag how long the balancer takes to learn that a gateway is to end. The one is so
	// much longer that a busy machine tells the balancer in time.
	rollDrain, rollLag = 12 * time.Second, time.Second
	// rollBetween is how long there is load before, between and after.
	rollBetween = 500 * time.Millisecond
)

// Three gateways are replaced one after the other, as Kubernetes does it (a new one first), under load: no request fails,
// no call is beyond the limit, and each consent has its four.
func TestRoll(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := gatewaytest.ReplaceInConfig(t, w, "drainFor: 0s", "drainFor: "+rollDrain.String())
	b := startBalancer(t)
	var old []*gatewaytest.Process
	for range 3 {
		old = append(old, rollOut(t, b, config))
	}
	load := startRollLoad(t, b.address)
	for _, g := range old {
		time.Sleep(rollBetween)
		rollOut(t, b, config)
		seen := watchAdmin(g)
		ending := time.Now()
		g.Terminate()
		time.Sleep(rollLag)
		b.remove(g.API)
		if code := g.Wait(); code != 0 {
			t.Errorf("exit %d\n%s%s", code, g.Stdout.String(), g.Stderr.String())
		}
		if took := time.Since(ending); took < rollDrain {
			t.Errorf("it ended after %v", took)
		}
		if last := <-seen; !last.draining || !last.scraped {
			t.Errorf("while it drains, /readyz and /metrics say %+v", last)
		}
	}
	time.Sleep(rollBetween)
	load.stop()
	for failure, n := range load.failed {
		t.Errorf("%d times: %s", n, failure)
	}
	if n := len(w.Ledger.Breaches()); n != 0 {
		t.Errorf("the bank refused %d calls", n)
	}
	t.Logf("%d requests, %d connections, %d consents", load.asked.Load(), load.opened.Load(), load.used())
	load.exhaust(t)
	reached := map[string]int{}
	for _, c := range w.Ledger.Calls() {
		if !c.Attended {
			reached[c.Consent]++
		}
	}
	for i := range load.used() {
		if n := reached[load.consent(i).id]; n != 4 {
			t.Errorf("%d calls of a consent reached the bank, want 4", n)
		}
	}
}

// The same load sees it when a gateway is killed, and when one ends while it is still sent connections: who sees
// nothing proves nothing.
func TestRollSeesWhatFails(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	b := startBalancer(t)
	stays, killed, hasty := rollOut(t, b, w.ConfigFile), rollOut(t, b, w.ConfigFile), rollOut(t, b, w.ConfigFile)
	load := startRollLoad(t, b.address)
	for _, end := range []func(){killed.Kill, hasty.Terminate} {
		load.fails()
		end()
		gatewaytest.Eventually(t, "the load sees a failure", func() bool { return load.fails() > 0 })
		b.remove(killed.API)
		time.Sleep(rollBetween) // connections that are open still fail
	}
	b.remove(hasty.API)
	load.stop()
	if n := len(w.Ledger.Breaches()); n != 0 || stays.Exited() {
		t.Errorf("the bank refused %d calls", n)
	}
}

// rollOut starts a gateway, and has it sent connections once it is ready.
func rollOut(t *testing.T, b *balancer, config string) *gatewaytest.Process {
	t.Helper()
	g := gatewaytest.Serve(t, config)
	gatewaytest.Eventually(t, "it is ready", func() bool {
		resp, _ := gatewaytest.Call(t, http.MethodGet, g.Admin+"/readyz")
		return resp.StatusCode == http.StatusOK
	})
	b.add(g.API)
	return g
}

// lastSeen is what the platform saw of a gateway before it was gone.
type lastSeen struct{ draining, scraped bool }

// watchAdmin goes on asking as kubelet and scraper do, each time on a connection of its own, and tells what the last
// answers were when there are no more.
func watchAdmin(g *gatewaytest.Process) <-chan lastSeen {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	status := func(path string) int {
		resp, err := client.Get(g.Admin + path)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	seen := make(chan lastSeen, 1)
	go func() {
		var last lastSeen
		for {
			ready, scraped := status("/readyz"), status("/metrics")
			if ready == 0 || scraped == 0 {
				seen <- last
				return
			}
			last = lastSeen{ready == http.StatusServiceUnavailable, scraped == http.StatusOK}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return seen
}

// A connection on which nothing is under way is left to its caller, who is told to leave with the next answer; so is he
// whose request came before. When no more connections are taken, what is under way still ends, and the platform still has
// its answers.
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
	kept := &rollCaller{address: address, keeps: true}
	defer kept.leave()
	list := rollAsk{method: http.MethodGet, path: "/v1/aspsps"}
	if resp, err := kept.ask(list); err != nil || resp.close || resp.status != http.StatusOK {
		t.Fatalf("before: %+v, %v", resp, err)
	}
	underWay := func(path string) <-chan string {
		said := make(chan string, 1)
		go func() {
			c := &rollCaller{address: address, keeps: true}
			defer c.leave()
			of := rollConsent{sandbox.MyPOS, "3c7816ee-3d51-4bf5-8ced-ece2af35d431"}
			resp, err := c.ask(of.ask(http.MethodGet, path, true))
			said <- fmt.Sprint(resp.status, resp.close, err)
		}()
		<-arrived
		return said
	}
	first, second := underWay("/accounts"), underWay("/accounts/"+mypossim.GoodAccount+"/balances")
	g.Terminate()
	gatewaytest.Eventually(t, "it says that it drains", func() bool {
		resp, _ := gatewaytest.Call(t, http.MethodGet, g.Admin+"/readyz")
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	close(early)
	if got := <-first; got != "200 true <nil>" {
		t.Errorf("what began before: %s", got)
	}
	for _, c := range []*rollCaller{kept, {address: address}} {
		if resp, err := c.ask(list); err != nil || !resp.close || resp.status != http.StatusOK {
			t.Errorf("while it drains: %+v, %v", resp, err)
		}
	}
	gatewaytest.Eventually(t, "it takes no more connections", func() bool {
		_, err := (&rollCaller{address: address}).ask(list)
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
		t.Errorf("what was under way: %s", got)
	}
	if code := g.Wait(); code != 0 || !strings.Contains(g.Stdout.String(), `"msg":"stopped"`) {
		t.Errorf("exit %d\n%s", code, g.Stdout.String())
	}
}

// exhaust asks for what is left of every consent that the load used, until nothing is.
func (l *rollLoad) exhaust(t *testing.T) {
	t.Helper()
	c := &rollCaller{address: l.address, keeps: true}
	defer c.leave()
	for i := range l.used() {
		of, last := l.consent(i), ""
		for try := range 6 {
			resp, err := c.ask(of.ask(http.MethodGet, fmt.Sprintf("/accounts/none-%d/balances", 100+try), false))
			if last = resp.said(); err != nil || !slices.Contains(rollUnattended, last) {
				t.Fatalf("%s, %v", last, err)
			}
			if last == rollLimited {
				break
			}
		}
		if last != rollLimited {
			t.Errorf("a consent is never used up: %s", last)
		}
	}
}
