package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// The tour passes, and prints the header of requests line by line and the detail of each problem.
func TestDemo(t *testing.T) {
	p := gatewaytest.Start(t, nil, "sandbox", "--demo")
	code, tour := p.Wait(), p.Stdout.String()
	if code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
	for _, want := range []string{
		"\n   Elm Bank         7f-19:a/2 ", "\n   Kingfisher Bank  22289 ", "\n   Wood Bank        account1 ", "\n   myPOS            50044620073 ",
		"-12.50  EUR  DBIT", "-12.50  GBP  DBIT", "-47.10  GBP  DBIT", "-17.355  PLN  DBIT",
		"/balances\n   PSU-IP-Address: 203.0.113.7\n   200",
		"action retry_attended\n   detail: All 4 unattended calls of the last 24 hours are used",
		"action renew_consent\n   detail: The consent or the user's token has expired",
		"\n\nAll steps passed. Try it yourself: gateway sandbox\n",
	} {
		if !strings.Contains(tour, want) {
			t.Errorf("no %q in\n%s", want, tour)
		}
	}
	if line := regexp.MustCompile(`(?m)^.* $`).FindString(tour); line != "" {
		t.Errorf("%q ends with a space", line)
	}
}

// Each step of the tour fails if a proxy changes a response of that step.
func TestEachStepOfTheTourCanFail(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	target, err := url.Parse(p.API)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(r *http.Response, old, text string) {
		body, _ := io.ReadAll(r.Body)
		changed := strings.ReplaceAll(string(body), old, text)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
		r.Header.Del("Content-Length")
	}
	attended := func(r *http.Response) bool { return r.Request.Header.Get("PSU-IP-Address") != "" }
	for step, spoil := range map[string]func(r *http.Response){
		"step 1": func(r *http.Response) { replace(r, `"accountId"`, `"id"`) },
		"step 2": func(r *http.Response) { replace(r, `"value":"-`, `"value":"`) },
		"step 3": func(r *http.Response) { r.Header.Del("Cache-Status") },
		"step 4": func(r *http.Response) { replace(r, `"origin":"gateway"`, `"origin":"aspsp"`) },
		"step 5": func(r *http.Response) {
			if attended(r) && strings.HasSuffix(r.Request.URL.Path, "/balances") {
				r.StatusCode = http.StatusTooManyRequests
			}
		},
		"step 6": func(r *http.Response) { replace(r, `"origin":"provider"`, `"origin":"gateway"`) },
	} {
		t.Run(step, func(t *testing.T) {
			proxy := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
				ModifyResponse: func(r *http.Response) error { spoil(r); return nil },
			})
			defer proxy.Close()
			if err := w.Tour(t.Context(), io.Discard, proxy.URL); err == nil || !strings.Contains(err.Error(), step+" ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

var pasted = regexp.MustCompile(`(?m)^  curl -i (\S+)(.*)$`)

// The sandbox needs less than 60 MB, and every command of its guide works.
func TestSandbox(t *testing.T) {
	p := gatewaytest.Start(t, nil, "sandbox")
	var lines [][]string
	gatewaytest.Eventually(t, "the guide is printed", func() bool {
		guide := p.Stdout.String()
		lines = pasted.FindAllStringSubmatch(guide, -1)
		return strings.Contains(guide, "Ctrl-C")
	})
	if len(lines) != 11 {
		t.Fatalf("%d commands\n%s", len(lines), p.Stdout.String())
	}
	for _, line := range lines {
		var header []string
		for _, h := range regexp.MustCompile(`-H '([^']*)'`).FindAllStringSubmatch(line[2], -1) {
			name, value, _ := strings.Cut(h[1], ": ")
			header = append(header, name, value)
		}
		call := func() (*http.Response, string) { return gatewaytest.Call(t, http.MethodGet, line[1], header...) }
		if body := regexp.MustCompile(`-d '([^']*)'`).FindStringSubmatch(line[2]); body != nil {
			call = func() (*http.Response, string) { return gatewaytest.Post(t, line[1], body[1], header...) }
		}
		if resp, body := call(); resp.StatusCode != http.StatusOK {
			t.Errorf("%s%s\n%d %s", line[1], line[2], resp.StatusCode, body)
		}
	}
	if runtime.GOOS == "linux" {
		if mb := gatewaytest.ResidentMB(t, p.Pid()); mb >= 60 {
			t.Errorf("%d MB", mb)
		}
	}
	p.Terminate()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
}

var guided = regexp.MustCompile(`(?m)^  (API|admin) +(http://\S+)$`)

// The sandbox as deploy/compose.yaml runs it: with given addresses and a given Redis. The URLs in
// its guide can be called although it listens on an unspecified address.
func TestSandboxFlags(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	p := gatewaytest.Start(t, nil, "sandbox", "--address", "0.0.0.0:0", "--admin-address", "0.0.0.0:0", "--redis", server.Addr)
	gatewaytest.Eventually(t, "the guide is printed", func() bool { return strings.Contains(p.Stdout.String(), "Ctrl-C") })
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
	gatewaytest.Eventually(t, "the log names the admin address", func() bool { return everywhere.MatchString(p.Stderr.String()) })
	if resp, body := gatewaytest.Call(t, http.MethodGet, at["API"].String()+wood+"/accounts", "Consent-ID", mastercardsim.Consent); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if keys := server.Do("DBSIZE").Val(); fmt.Sprint(keys) == "0" {
		t.Error("nothing was counted in the given Redis")
	}
	gatewaytest.Eventually(t, "the state of that Redis is reported", func() bool {
		_, body := gatewaytest.Call(t, http.MethodGet, at["admin"].String()+"/readyz")
		return strings.Contains(body, `"redis":"ok","maxmemoryPolicy":"allkeys-lru"`)
	})
	p.Terminate()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
}
