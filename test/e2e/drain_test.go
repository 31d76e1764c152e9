package e2e_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// serveSlowBanks starts simulators that send to arrived when a call arrives, and respond after
// release. It returns the configuration.
func serveSlowBanks(t *testing.T) (config string, arrived <-chan struct{}, release func()) {
	came, held := make(chan struct{}, 1), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			came <- struct{}{}
			<-held
			next.ServeHTTP(rw, r)
		})
	}})
	config = gatewaytest.EditConfig(t, w, func(text string) string { return strings.ReplaceAll(text, "{baseURL: ", "{timeout: 2m, baseURL: ") })
	return config, came, release
}

// waitForDraining waits until /readyz of a gateway that was terminated reports draining.
func waitForDraining(t *testing.T, p *gatewaytest.Process) {
	t.Helper()
	gatewaytest.Eventually(t, "readyz reports draining", func() bool {
		resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(body, "draining")
	})
}

func TestTermination(t *testing.T) {
	t.Parallel()
	config, arrived, release := serveSlowBanks(t)
	p := gatewaytest.Serve(t, config)
	if resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != 200 || !strings.Contains(body, `"redis":"ok"`) {
		t.Errorf("before: %d %s", resp.StatusCode, body)
	}
	status := make(chan int)
	go func() {
		resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent)
		status <- resp.StatusCode
	}()
	<-arrived
	p.Terminate()
	waitForDraining(t, p)
	release()
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request in progress got %d", got)
	}
	if code := p.Wait(); code != 0 || !strings.Contains(p.Stdout.String(), `"msg":"stopped"`) {
		t.Errorf("exit %d\n%s", code, p.Stdout.String())
	}
}

// A counted call whose callers have left is finished, and its result is stored, before the process
// ends.
func TestTerminationFinishesCountedCalls(t *testing.T) {
	t.Parallel()
	config, arrived, release := serveSlowBanks(t)
	p := gatewaytest.Serve(t, config)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.API+wood+"/accounts", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	req.Header.Set("Consent-ID", mastercardsim.Consent)
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-arrived
	leave()
	gatewaytest.Eventually(t, "the gateway has noticed that the caller has left", func() bool {
		_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
		return strings.Contains(metrics, "\nhttp_server_active_requests{http_request_method=\"GET\"} 0\n")
	})
	p.Terminate()
	waitForDraining(t, p)
	release()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stdout.String())
	}
	next := gatewaytest.Serve(t, config)
	resp, body := gatewaytest.Call(t, http.MethodGet, next.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "Cache-Control", "only-if-cached")
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// SIGHUP, SIGUSR1, SIGUSR2 and SIGPIPE do not end the service or the sandbox. SIGHUP makes the
// service reload secrets.
func TestIgnoredSignals(t *testing.T) {
	config, arrived, release := serveSlowBanks(t)
	p := gatewaytest.Serve(t, config)
	status := make(chan int)
	go func() {
		resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent)
		status <- resp.StatusCode
	}()
	<-arrived
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		if err := p.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	gatewaytest.Eventually(t, "secrets are reloaded", func() bool { return strings.Contains(p.Stdout.String(), `"msg":"reloading secrets"`) })
	release()
	if got := <-status; got != http.StatusOK {
		t.Errorf("the counted call got %d", got)
	}
	if p.Exited() {
		t.Error("the process has ended")
	}
	box := gatewaytest.Start(t, nil, "sandbox")
	gatewaytest.Eventually(t, "the guide is printed", func() bool { return strings.Contains(box.Stdout.String(), "Ctrl-C") })
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		if err := box.Signal(s); err != nil {
			t.Fatal("the sandbox has ended:", err)
		}
	}
	box.Terminate()
	if code := box.Wait(); code != 0 {
		t.Errorf("exit %d of the sandbox\n%s", code, box.Stderr.String())
	}
}
