//go:build measure

package compare_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
	"ais-gateway/internal/servertest"
)

// kind is a kind of server, as the tables name it.
type kind string

const (
	stub, slowStub            kind = "stub", "slow stub"
	reverseProxy, slowProxy   kind = "ReverseProxy", "ReverseProxy with the same upstream"
	nginx                     kind = "nginx cache hit"
	gateway, slowGateway      kind = "gateway", "gateway with a slow upstream"
	tracing                   kind = "gateway with traces"
	oneProcessor, anotherOne  kind = "GOMAXPROCS=1", "another with GOMAXPROCS=1"
	twoProcessors, twoOfThese kind = "GOMAXPROCS=2", "two with GOMAXPROCS=1 each"
	redisItself               kind = "Redis"

	// upstreamDelay is the delay of a slow upstream.
	upstreamDelay = 20 * time.Millisecond
)

// server is a running server. Its load is spread over the addresses.
type server struct {
	addresses []string
	pids      []int
	stub      string // the address of its upstream; "" if it has none
}

// servers starts each kind of server once, when it is needed. They run until the test ends.
type servers struct {
	t       *testing.T
	peer    string // the program of the stub and of the proxy
	nginx   string // the program; "" if it is not installed
	redis   *redistest.Server
	sandbox *sandbox.Sandbox
	running map[kind]server
}

// newServers builds the peer, and starts Redis.
func newServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{t: t, peer: filepath.Join(t.TempDir(), "peer"), redis: redistest.Start(t), running: map[kind]server{}}
	if out, err := exec.Command("go", "build", "-tags", "nomsgpack", "-o", s.peer, "./peer").CombinedOutput(); err != nil {
		t.Fatalf("building the peer: %v\n%s", err, out)
	}
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			s.nginx = path
		}
	}
	s.sandbox = gatewaytest.NewSandboxOn(t, s.redis, sandbox.Options{})
	info := s.redis.Do("INFO", "server").String()
	pid, err := strconv.Atoi(regexp.MustCompile(`process_id:(\d+)`).FindStringSubmatch(info)[1])
	if err != nil {
		t.Fatal(err)
	}
	s.running[redisItself] = server{addresses: []string{s.redis.Addr}, pids: []int{pid}}
	return s
}

// get returns the server of a kind, which it starts unless it runs.
func (s *servers) get(k kind) server {
	s.t.Helper()
	running, found := s.running[k]
	if !found {
		running = s.start(k)
		s.running[k] = running
	}
	return running
}

func (s *servers) start(k kind) server {
	s.t.Helper()
	if k == twoOfThese {
		one, other := s.get(oneProcessor), s.get(anotherOne)
		return server{append(one.addresses, other.addresses...), append(one.pids, other.pids...), one.stub}
	}
	c := s.command(k)
	p := gatewaytest.Run(s.t, c.cmd, c.env...)
	if err := p.AwaitReady(func() error { return succeeds("http://" + c.address + c.ready) }); err != nil {
		s.t.Fatalf("%s: %v\n%s", k, err, p.Stderr.String())
	}
	return server{[]string{c.address}, []int{p.Pid()}, c.stub}
}

// command is how a server is started.
type command struct {
	cmd     *exec.Cmd
	env     []string
	address string // on which the server listens
	ready   string // a path whose status is 200 when the server is ready
	stub    string // the address of the upstream; "" if there is none
}

// command returns how a new server of a kind is started.
func (s *servers) command(k kind) command {
	s.t.Helper()
	address, err := servertest.FreeAddr()
	if err != nil {
		s.t.Fatal(err)
	}
	switch k {
	case stub, slowStub:
		delay := time.Duration(0)
		if k == slowStub {
			delay = upstreamDelay
		}
		// The stub collects its garbage less often, so that it disturbs less.
		return command{exec.Command(s.peer, "-listen", address, "-delay", delay.String()), []string{"GOGC=400"}, address, "/calls", ""}
	case reverseProxy, slowProxy:
		upstream := s.upstream(k)
		return command{exec.Command(s.peer, "-listen", address, "-upstream", "http://"+upstream), nil, address, providerList, upstream}
	case nginx:
		upstream := s.upstream(k)
		return command{exec.Command(s.nginx, "-c", s.nginxFile(address, upstream)), nil, address, providerList, upstream}
	}
	upstream := s.upstream(k)
	cmd := exec.Command(gatewaytest.Binary(), "serve", "--config", s.gatewayFile(address, upstream))
	cmd.Stdout = s.discard()
	return command{cmd, gatewayEnv(k, upstream), address, "/openapi.yaml", upstream}
}

// upstream returns the address of the stub for a kind of server.
func (s *servers) upstream(k kind) string {
	if k == slowProxy || k == slowGateway {
		return s.get(slowStub).addresses[0]
	}
	return s.get(stub).addresses[0]
}

// gatewayEnv returns what a kind of gateway has in its environment.
func gatewayEnv(k kind, collector string) []string {
	switch k {
	case tracing:
		return []string{
			"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + collector + "/v1/traces",
			"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1",
		}
	case oneProcessor, anotherOne:
		return []string{"GOMAXPROCS=1"}
	case twoProcessors:
		return []string{"GOMAXPROCS=2"}
	}
	return nil
}

// gatewayFile writes the configuration of a gateway: the sandbox's, with the stub as both
// providers.
func (s *servers) gatewayFile(address, upstream string) string {
	s.t.Helper()
	provider := regexp.MustCompile(`baseURL: "[^"]*"`)
	return gatewaytest.EditConfig(s.t, s.sandbox, func(text string) string {
		text = strings.Replace(text, `{address: "127.0.0.1:0"`, `{address: "`+address+`"`, 1)
		return provider.ReplaceAllString(text, `baseURL: "http://`+upstream+`"`)
	})
}

// nginxFile writes the configuration of an nginx that caches every response of the stub.
func (s *servers) nginxFile(address, upstream string) string {
	s.t.Helper()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // by default, workers may not read the directory
	}
	dir := s.t.TempDir()
	text := fmt.Sprintf(`daemon off; worker_processes auto; %[4]s
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	keepalive_requests 1000000000;
	open_file_cache max=100;
	proxy_cache_path %[1]s/cache keys_zone=lists:1m inactive=1d use_temp_path=off;
	proxy_temp_path %[1]s/proxy; client_body_temp_path %[1]s/body;
	fastcgi_temp_path %[1]s/fastcgi; scgi_temp_path %[1]s/scgi; uwsgi_temp_path %[1]s/uwsgi;
	server {
		listen %[2]s;
		location / { proxy_pass http://%[3]s; proxy_cache lists; proxy_cache_valid 200 1d; }
	}
}
`, dir, address, upstream, user)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// discard returns an open file that keeps nothing. A gateway's log lines go there: a pipe to the
// test would cost the test the time to read it.
func (s *servers) discard() *os.File {
	s.t.Helper()
	file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = file.Close() })
	return file
}

// succeeds returns an error unless a GET has the status 200.
func succeeds(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// counts returns how many calls a stub has received so far, and how many exports of traces.
func counts(t *testing.T, stub string) (calls, exports int) {
	t.Helper()
	resp, err := http.Get("http://" + stub + "/calls")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := fmt.Fscan(resp.Body, &calls, &exports); err != nil {
		t.Fatal(err)
	}
	return calls, exports
}

// startTime returns how long a new server of a kind takes from its start to the first response that
// a caller expects.
func (s *servers) startTime(k kind, r request) time.Duration {
	s.t.Helper()
	c := s.command(k)
	began := time.Now()
	p := gatewaytest.Run(s.t, c.cmd, c.env...)
	defer p.Kill()
	for deadline := began.Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		first := dial(c.address, r, 0, 0)
		first.exchange()
		first.close()
		if len(first.latencies) == 1 {
			return time.Since(began)
		}
	}
	s.t.Fatalf("%s: no response within a minute\n%s", k, p.Stderr.String())
	return 0
}
