package main_test

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

const (
	wood     = "/v1/aspsps/" + mastercardsim.WoodBank
	balances = "/accounts/" + mastercardsim.Account + "/balances"
)

// TestDemo holds that the tour passes, and shows requests line by line and the detail of each problem.
func TestDemo(t *testing.T) {
	p := start(t, nil, "sandbox", "--demo")
	code, tour := p.Ended(), p.Stdout.String()
	if code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
	for _, want := range []string{
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

// Each step of the tour must be able to fail: here an answer on the way spoils one after the other.
func TestEachStepOfTheTourCanFail(t *testing.T) {
	t.Parallel()
	w := world(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
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
			way := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
				ModifyResponse: func(r *http.Response) error { spoil(r); return nil },
			})
			defer way.Close()
			if err := w.Tour(t.Context(), io.Discard, way.URL); err == nil || !strings.Contains(err.Error(), step+" ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

var pasted = regexp.MustCompile(`(?m)^  curl -i (\S+)(.*)$`)

// The sandbox runs in less than 60 MB, and every line that it offers for pasting works.
func TestSandbox(t *testing.T) {
	p := start(t, nil, "sandbox")
	var lines [][]string
	eventually(t, "the guide stands", func() bool {
		guide := p.Stdout.String()
		lines = pasted.FindAllStringSubmatch(guide, -1)
		return strings.Contains(guide, "Ctrl-C")
	})
	if len(lines) != 8 {
		t.Fatalf("%d lines to paste\n%s", len(lines), p.Stdout.String())
	}
	for _, line := range lines {
		var header []string
		for _, h := range regexp.MustCompile(`-H '([^']*)'`).FindAllStringSubmatch(line[2], -1) {
			name, value, _ := strings.Cut(h[1], ": ")
			header = append(header, name, value)
		}
		if resp, body := call(t, http.MethodGet, line[1], header...); resp.StatusCode != http.StatusOK {
			t.Errorf("%s%s\n%d %s", line[1], line[2], resp.StatusCode, body)
		}
	}
	if runtime.GOOS == "linux" {
		if mb := residentMB(t, p.Process.Pid); mb >= 60 {
			t.Errorf("%d MB", mb)
		}
	}
	p.Terminate()
	if code := p.Ended(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stderr.String())
	}
}

// slowWorld is a configuration of banks that report each call that arrives, and answer once they are released.
func slowWorld(t *testing.T) (config string, arrived <-chan struct{}, release func()) {
	came, held := make(chan struct{}, 1), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	w := world(t, sandbox.Options{Front: func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			came <- struct{}{}
			<-held
			next.ServeHTTP(rw, r)
		})
	}})
	config = configured(t, w, func(text string) string { return strings.ReplaceAll(text, "{baseURL: ", "{timeout: 2m, baseURL: ") })
	return config, came, release
}

// drains waits until a gateway that was terminated reports that it drains.
func drains(t *testing.T, p *process) {
	t.Helper()
	eventually(t, "it says that it drains", func() bool {
		resp, body := call(t, http.MethodGet, p.Admin+"/readyz")
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(body, "draining")
	})
}

func TestTermination(t *testing.T) {
	t.Parallel()
	config, arrived, release := slowWorld(t)
	p := serve(t, config)
	if resp, body := call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != 200 || !strings.Contains(body, `"redis":"ok"`) {
		t.Errorf("before: %d %s", resp.StatusCode, body)
	}
	answered := make(chan int)
	go func() {
		resp, _ := call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent)
		answered <- resp.StatusCode
	}()
	<-arrived
	p.Terminate()
	drains(t, p)
	release()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("what was under way is answered %d", status)
	}
	if code := p.Ended(); code != 0 || !strings.Contains(p.Stdout.String(), `"msg":"stopped"`) {
		t.Errorf("exit %d\n%s", code, p.Stdout.String())
	}
}

// A call that nobody waits for any more, but that was counted, is finished and kept before the process ends.
func TestTerminationFinishesWhatWasCounted(t *testing.T) {
	t.Parallel()
	config, arrived, release := slowWorld(t)
	p := serve(t, config)
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
	eventually(t, "the gateway knows that the caller has left", func() bool {
		_, metrics := call(t, http.MethodGet, p.Admin+"/metrics")
		return strings.Contains(metrics, "\nhttp_server_active_requests{http_request_method=\"GET\"} 0\n")
	})
	p.Terminate()
	drains(t, p)
	release()
	if code := p.Ended(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.Stdout.String())
	}
	next := serve(t, config)
	resp, body := call(t, http.MethodGet, next.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "Cache-Control", "only-if-cached")
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestAdmin(t *testing.T) {
	w := world(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	for range 5 {
		call(t, http.MethodGet, p.API+wood+balances, "Consent-ID", mastercardsim.Consent)
	}
	call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7")
	if resp, body := call(t, http.MethodGet, p.Admin+"/livez"); resp.StatusCode != 200 || !strings.Contains(body, "live") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, body := call(t, http.MethodGet, p.Admin+"/metrics")
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
		if resp, _ := call(t, http.MethodGet, p.API+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("callers reach %s: %d", path, resp.StatusCode)
		}
	}
}

// Whatever is wrong with Redis, a gateway stays ready, says what it is, and logs when that changes.
func TestReadySaysWhatIsWrongWithRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	say := func(words ...any) {
		if err := rdb.Do(context.Background(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w := worldOn(t, server, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	for _, tt := range []struct {
		name  string
		do    func()
		state string
		says  []string
		not   string
	}{
		{"evicting", func() {}, "ok", []string{`"maxmemoryPolicy":"allkeys-lru"`, "set noeviction"}, "refused"},
		{"evicting what expires", func() { say("CONFIG", "SET", "maxmemory-policy", "volatile-ttl") }, "ok", []string{`"maxmemoryPolicy":"volatile-ttl"`, "set noeviction"}, "refused"},
		{"well", func() { say("CONFIG", "SET", "maxmemory-policy", "noeviction") }, "ok", []string{`"maxmemoryPolicy":"noeviction"`}, "warnings"},
		{"out of memory", func() { say("CONFIG", "SET", "maxmemory", "1") }, "out_of_memory", []string{"unattended calls are refused"}, "may evict"},
		{"a replica", func() { say("CONFIG", "SET", "maxmemory", "0"); say("REPLICAOF", "127.0.0.1", "1") }, "read_only", []string{"refused"}, "may evict"},
		{"without replicas", func() { say("REPLICAOF", "NO", "ONE"); say("CONFIG", "SET", "min-replicas-to-write", "1") }, "refuses_writes", []string{"refused"}, "may evict"},
		{"well again", func() { say("CONFIG", "SET", "min-replicas-to-write", "0") }, "ok", nil, "warnings"},
		{"without a permission", func() { say("ACL", "SETUSER", "default", "-zscore") }, "no_permission", []string{"refused"}, "may evict"},
		{"with it again", func() { say("ACL", "SETUSER", "default", "+zscore") }, "ok", nil, "warnings"},
		{"paused", server.Pause, "unreachable", []string{"refused"}, "may evict"},
		{"resumed", server.Resume, "ok", nil, "warnings"},
		{"gone", server.Stop, "unreachable", []string{"refused"}, "may evict"},
	} {
		tt.do()
		var body string
		eventually(t, tt.name+": the state is seen", func() bool {
			var resp *http.Response
			if resp, body = call(t, http.MethodGet, p.Admin+"/readyz"); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"status":"ready"`) {
				t.Fatalf("%s: %d %s", tt.name, resp.StatusCode, body)
			}
			return strings.Contains(body, `"redis":"`+tt.state+`"`)
		})
		for _, want := range tt.says {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", tt.name, want, body)
			}
		}
		if strings.Contains(body, tt.not) {
			t.Errorf("%s: %s", tt.name, body)
		}
		resp, body := call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7", "Cache-Control", "no-cache")
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: attended: %d %s", tt.name, resp.StatusCode, body)
		}
		unattended := func() bool {
			resp, body = call(t, http.MethodGet, p.API+wood+balances, "Consent-ID", mastercardsim.FreshConsent+uuid.NewString())
			return resp.StatusCode == http.StatusOK
		}
		if tt.state == "ok" {
			eventually(t, tt.name+": unattended calls are made", unattended)
		} else if unattended() || !strings.Contains(body, "COUNTER_UNAVAILABLE") {
			t.Errorf("%s: unattended: %d %s", tt.name, resp.StatusCode, body)
		}
	}
	eventually(t, "the log says what was wrong", func() bool {
		out := p.Stdout.String()
		return strings.Contains(out, `"maxmemory_policy":"allkeys-lru","warnings":["redis may evict`) && strings.Contains(out, `"state":"unreachable"`)
	})
}

func TestPrivateAddressesWhereConfigured(t *testing.T) {
	w := world(t, sandbox.Options{})
	file := configured(t, w, func(text string) string { return text + "psu: {allowPrivateIP: true}\n" })
	for config, want := range map[string]int{w.ConfigFile: http.StatusBadRequest, file: http.StatusOK} {
		p := serve(t, config)
		resp, body := call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "10.0.0.1")
		if resp.StatusCode != want {
			t.Errorf("%d, want %d\n%s", resp.StatusCode, want, body)
		}
	}
}

func TestBreakerIsTold(t *testing.T) {
	w := world(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	for range 6 {
		call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.ConsentUnavailable, "PSU-IP-Address", "203.0.113.7")
	}
	_, body := call(t, http.MethodGet, p.API+wood)
	if !strings.Contains(body, `"breaker":{"state":"open"}`) {
		t.Errorf("%s", body)
	}
	_, metrics := call(t, http.MethodGet, p.Admin+"/metrics")
	if !regexp.MustCompile(`ais_breaker_transitions_total\{[^}]*` + mastercardsim.WoodBank + `[^}]*\} 1`).MatchString(metrics) {
		t.Error("the transition is not counted")
	}
}

// Callers who are slow, or who send too much before there is anything to answer, are cut off.
func TestSlowAndOversizedCallers(t *testing.T) {
	t.Parallel()
	w := world(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		return conn
	}
	slow := dial()
	_, _ = io.WriteString(slow, "GET /v1/aspsps HTTP/1.1\r\nHost: a\r\nX-A: ")
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("a caller who never ends his headers is not cut off: %v", err)
	}
	large := dial()
	_, _ = io.WriteString(large, "GET /v1/aspsps HTTP/1.1\r\nHost: a\r\nX-A: "+strings.Repeat("a", 48<<10)+"\r\n\r\n")
	answer, _ := io.ReadAll(large)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431") {
		t.Errorf("%.60q", answer)
	}
	broken := dial()
	_, _ = io.WriteString(broken, "CANARY-METHOD\r\n\r\n")
	_, _ = io.ReadAll(broken)
	p.Terminate()
	p.Ended()
	if out := p.Stdout.String(); strings.Contains(out, "127.0.0.1:"+port(slow)) || strings.Contains(out, "CANARY") {
		t.Errorf("callers' addresses or bytes stand in the log\n%s", out)
	}
}

func port(c net.Conn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

func TestCheck(t *testing.T) {
	w := world(t, sandbox.Options{})
	good, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, old, new string
		faults         []string
	}{
		{"good", "", "", nil},
		{"unknown key", "server: {", "server: {host: x, ", []string{"server.host (line 2)"}},
		{"an adapter's key", "consumerKey:", "consumerKay:", []string{"providers.mastercard.consumerKay (line 8)", "providers.mastercard.consumerKey (line 8)"}},
		{"unknown provider", "  mypos: {", "  nobody: {baseURL: 'http://127.0.0.1:1'}\n  mypos: {", []string{"providers.nobody (line 9)"}},
		{
			"many at once", "server: {", "sever: {", []string{"sever (line 2)"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			text := strings.Replace(string(good), tt.old, tt.new, 1)
			if tt.old != "" && text == string(good) {
				t.Fatal("nothing was changed")
			}
			if tt.name == "many at once" {
				text = strings.Replace(text, "unit: resource", "unit: customer", 1)
				text = strings.Replace(text, "signing-key.pem", "mypos-key", 1)
				tt.faults = append(tt.faults, "providers.mastercard.signingKeyFile (line 8)", "aspsps[1].unattended.unit (line 12)")
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				if command == "serve" && tt.faults == nil {
					continue
				}
				out, err := exec.Command(gatewaytest.Binary(), command, "--config", file).CombinedOutput()
				if (err == nil) != (tt.faults == nil) {
					t.Errorf("%s: %v\n%s", command, err, out)
				}
				if command == "serve" { // says them in one line of the log
					var line struct {
						Msg, Level string
						Faults     []string
					}
					if err := json.Unmarshal(out, &line); err != nil || line.Msg != "start failed" || line.Level != "ERROR" {
						t.Errorf("%v\n%s", err, out)
					}
					out = []byte(strings.Join(line.Faults, "\n"))
				}
				if n := strings.Count(strings.TrimSpace(string(out)), "\n") + 1; tt.faults != nil && n != len(tt.faults) {
					t.Errorf("%s: %d faults, want %d\n%s", command, n, len(tt.faults), out)
				}
				for _, fault := range tt.faults {
					if !strings.Contains(string(out), fault+": ") {
						t.Errorf("%s: no %s in\n%s", command, fault, out)
					}
				}
			}
		})
	}
	out, err := exec.Command(gatewaytest.Binary(), "check", "--config", w.ConfigFile, "--print").Output()
	if err != nil || !strings.Contains(string(out), "freshFor: 10m") || strings.Contains(string(out), "PRIVATE KEY") {
		t.Errorf("%v\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "effective.yaml")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gatewaytest.Binary(), "check", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("what is printed is not accepted: %v\n%s", err, out)
	}
}

// TestCommandLine holds that help which was requested is on standard output with exit code 0, and an error with its usage on
// standard error with exit code 2.
func TestCommandLine(t *testing.T) {
	const (
		overview = "Usage: gateway COMMAND"
		absent   = "file does not exist (relative paths start at the working directory)"
	)
	for _, tt := range []struct {
		args []string
		code int
		says []string
	}{
		{nil, 2, []string{"a command is required\n", overview}},
		{[]string{"bogus"}, 2, []string{"unknown command \"bogus\"\n", overview}},
		{[]string{"serve"}, 2, []string{"--config FILE is required\n", "Usage: gateway serve --config FILE\n"}},
		{[]string{"check"}, 2, []string{"--config FILE is required\n", "Usage: gateway check --config FILE [--print]\n"}},
		{[]string{"check", "--config"}, 2, []string{"--config requires a value\n", "Usage: gateway check"}},
		{[]string{"serve", "--config", "/no/such/file"}, 1, []string{"/no/such/file: " + absent}},
		{[]string{"check", "--config", "/no/such/file"}, 1, []string{"/no/such/file: " + absent}},
		{[]string{"serve", "--confg", "x"}, 2, []string{"unknown flag \"--confg\"\n", "Usage: gateway serve"}},
		{[]string{"check", "--config", "x", "extra"}, 2, []string{"unexpected argument \"extra\"\n", "Usage: gateway check"}},
		{[]string{"version", "extra"}, 2, []string{"unexpected argument \"extra\"\n", "Usage: gateway version\n"}},
		{[]string{"sandbox", "--address", "nowhere"}, 1, []string{"server.address"}},
		{[]string{"sandbox", "--admin-address", "nowhere"}, 1, []string{"server.adminAddress"}},
		{[]string{"sandbox", "--redis", "nowhere"}, 2, []string{"--redis must be HOST:PORT\n", "Usage: gateway sandbox [flags]\n"}},
		{[]string{"sandbox", "--redis", ":6379"}, 2, []string{"--redis must be HOST:PORT\n"}},
		{[]string{"sandbox", "--demo", "--redis", "127.0.0.1:6379"}, 2, []string{"--redis cannot be used with --demo\n"}},
		{[]string{"version"}, 0, []string{"gateway "}},
		{[]string{"--version"}, 0, []string{"gateway "}},
		{[]string{"help"}, 0, []string{overview, "gateway sandbox --demo", "README.md"}},
		{[]string{"--help"}, 0, []string{overview, "run the gateway with simulated providers", "start the service", "validate the configuration", "print the version"}},
		{[]string{"sandbox", "--help"}, 0, []string{"Usage: gateway sandbox", "--admin-address HOST:PORT   where", "(default: a free loopback port)", "Example:\n  gateway sandbox", "README.md"}},
		{[]string{"serve", "--help"}, 0, []string{"Usage: gateway serve", "Example:\n  gateway serve", "README.md"}},
		{[]string{"check", "-h"}, 0, []string{"Usage: gateway check", "--print", "(default: false)", "Example:\n  gateway check", "README.md"}},
		{[]string{"version", "--help"}, 0, []string{"Usage: gateway version", "Example:\n  gateway version", "README.md"}},
	} {
		p := start(t, nil, tt.args...)
		code, stdout, stderr := p.Ended(), p.Stdout.String(), p.Stderr.String()
		if code != tt.code {
			t.Errorf("%q: exit %d, want %d", tt.args, code, tt.code)
		}
		for _, want := range tt.says {
			if said := map[int]string{0: stdout, 1: stdout + stderr, 2: stderr}[code]; !strings.Contains(said, want) {
				t.Errorf("%q: no %q in\n%s", tt.args, want, said)
			}
		}
		if code == 0 && stderr != "" || code == 2 && stdout != "" {
			t.Errorf("%q: exit %d, standard output %q, standard error %q", tt.args, code, stdout, stderr)
		}
	}
}

// With an embedded Redis, nothing of Redis or the cache need be configured.
func TestEmbeddedNeedsNoKey(t *testing.T) {
	w := world(t, sandbox.Options{})
	p := serve(t, configured(t, w, func(text string) string {
		return regexp.MustCompile(`(?m)^(redis|cache): .*$`).ReplaceAllString(text, "") + "redis: {mode: embedded}\n"
	}))
	consent, stored := "", false
	for range 10 { // on a busy machine Redis may be too late to store a list: the next consent has another try
		consent = mastercardsim.FreshConsent + uuid.NewString()
		resp, _ := call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", consent)
		if stored = resp.Header.Get("Cache-Status") == "ais-gateway; fwd=miss; stored"; stored {
			break
		}
	}
	if !stored {
		t.Error("no list is stored")
	}
	for _, want := range []string{`ais-gateway; hit; ttl=\d+`} {
		resp, body := call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", consent)
		if got := resp.Header.Get("Cache-Status"); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%q, want %q\n%s", got, want, body)
		}
	}
}

// A port that is taken is said, and nothing is left running.
func TestPortTaken(t *testing.T) {
	w := world(t, sandbox.Options{})
	first := serve(t, w.ConfigFile)
	file := reconfigured(t, w, `{address: "127.0.0.1:0"`, `{address: "`+strings.TrimPrefix(first.API, "http://")+`"`)
	p := start(t, nil, "serve", "--config", file)
	if code := p.Ended(); code != 1 || !strings.Contains(p.Stdout.String(), `"level":"ERROR","msg":"start failed","cause":"listening on `) || !strings.Contains(p.Stdout.String(), "address already in use") || p.Stderr.String() != "" {
		t.Errorf("exit %d\n%s%s", code, p.Stdout.String(), p.Stderr.String())
	}
}

// Every folder of an adapter has its line in the table.
func TestEveryAdapterIsInTheTable(t *testing.T) {
	packages, err := filepath.Glob("../../internal/providers/*/*.go")
	if err != nil || len(packages) == 0 {
		t.Fatal(packages, err)
	}
	var found []string
	for _, file := range packages {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "Open" {
				found = append(found, filepath.Base(filepath.Dir(file)))
			}
		}
	}
	table, err := os.ReadFile("adapters.go")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if !slices.Contains(found, "mastercard") || !slices.Contains(found, "mypos") {
		t.Fatalf("adapters found: %v", found)
	}
	for _, name := range found {
		if !strings.Contains(string(table), `"`+name+`":`) || !strings.Contains(string(table), "open: "+name+".Open") {
			t.Errorf("adapter %s has no line in adapters.go", name)
		}
	}
}

// The log is one JSON object a line, with one line for each request.
func TestLog(t *testing.T) {
	w := world(t, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	call(t, http.MethodGet, p.API+"/nowhere")
	p.Terminate()
	p.Ended()
	requests := 0
	for line := range strings.Lines(p.Stdout.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("no JSON: %s", line)
		}
		if l["msg"] == "request" {
			requests++
			if l["route"] == "/v1/aspsps/{aspspId}/accounts" && (l["trace_id"] != trace || l["client"] != "sandbox") {
				t.Errorf("%s", line)
			}
		}
	}
	if requests != 2 {
		t.Errorf("%d lines for 2 requests\n%s", requests, p.Stdout.String())
	}
}
