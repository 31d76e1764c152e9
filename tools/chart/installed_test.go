package chart_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// within is how long a test waits for what must come.
const within = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// A process runs until the test is over, or until it is ended.
type process struct {
	*exec.Cmd
	output output
	ended  chan struct{}
}

func start(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: c, ended: make(chan struct{})}
	c.Stdout, c.Stderr = &p.output, &p.output
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it starts can be ended with it
	must(t, c.Start())
	go func() { _ = c.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		p.end(t, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(c.Path), p.output.String())
		}
	})
	return p
}

func (p *process) end(t *testing.T, s os.Signal) {
	t.Helper()
	_ = p.Process.Signal(s)
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Errorf("does not end with %s: %s", s, p.output.String())
	}
}

// A server is the chart's Redis, run by its own script on this machine.
type server struct {
	*process
	root, port string
	all        []runtime.Object
}

// here is a text of the chart's with the places of this machine.
func (s *server) here(text string) string {
	return strings.NewReplacer("/run/secrets/", s.root+"/run/secrets/", "/etc/redis/", s.root+"/etc/redis/", "dir /data", "dir "+s.root+"/data\nport "+s.port,
		"redis-cli", "redis-cli -p "+s.port).Replace(text)
}

// run starts Redis, and waits until it is ready by the pod's own probe.
func (s *server) run(t *testing.T) {
	t.Helper()
	files := one[*core.ConfigMap](t, s.all, "redis").Data
	for name, text := range files {
		write(t, filepath.Join(s.root, "etc/redis", name), []byte(s.here(text)))
	}
	c := pods(s.all)["redis"].Spec.Containers[0]
	s.process = start(t, command(s.root, c.Command[0], s.here(c.Command[1])))
	eventually(t, "Redis is ready", func() bool { return s.probe(c.ReadinessProbe) == nil })
}

// probe runs the command of a probe.
func (s *server) probe(p *core.Probe) error {
	return command(s.root, p.Exec.Command[0], p.Exec.Command[1], s.here(p.Exec.Command[2])).Run()
}

func (s *server) ask(t *testing.T, args ...string) string {
	t.Helper()
	c := command(s.root, "redis-cli", append([]string{"-p", s.port}, args...)...)
	c.Env = append(c.Env, "REDISCLI_AUTH="+password)
	out, err := c.Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// redis starts the chart's Redis with what its pod mounts.
func redis(t *testing.T, all []runtime.Object) *server {
	t.Helper()
	s := idle(t, all)
	s.run(t)
	return s
}

// idle is the same, not started yet.
func idle(t *testing.T, all []runtime.Object) *server {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, _ := net.SplitHostPort(free.Addr().String())
	must(t, free.Close())
	s := &server{root: t.TempDir(), port: port, all: all}
	must(t, os.Mkdir(filepath.Join(s.root, "data"), 0o700))
	write(t, filepath.Join(s.root, "run/secrets/redis/password"), []byte(password+"\n"))
	return s
}

// TestRedis: the chart's Redis is what the limit needs: run by its own script, on a real server, it
// takes no call without the password, whatever stands in this, forgets nothing that it has
// confirmed when it is killed, and evicts nothing.
func TestRedis(t *testing.T) {
	all := objects(t, "small")
	s := redis(t, all)
	c := pods(all)["redis"].Spec.Containers[0]
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "", "no-appendfsync-on-rewrite": "no",
		"maxmemory": fmt.Sprint(c.Resources.Limits.Memory().Value() / 2),
	} {
		if got := strings.TrimSpace(strings.TrimPrefix(s.ask(t, "CONFIG", "GET", name), name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if out, _ := command(s.root, "redis-cli", "-p", s.port, "GET", "a").CombinedOutput(); !strings.Contains(string(out), "NOAUTH") {
		t.Errorf("without a password: %s", out)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.Process.Pid)); err == nil && strings.Contains(string(line), "word") {
		t.Errorf("the password is in the command line: %q", line)
	}
	if s.ask(t, "SET", "slot", "taken") != "OK" {
		t.Fatal("nothing can be written")
	}
	s.end(t, syscall.SIGKILL)
	if s.probe(c.LivenessProbe) == nil || s.probe(c.ReadinessProbe) == nil {
		t.Error("a dead Redis passes its probes")
	}
	s.run(t)
	if got := s.ask(t, "GET", "slot"); got != "taken" {
		t.Errorf("after it was killed: %q", got)
	}
	s.end(t, syscall.SIGTERM) // which must reach Redis, and not a shell before it
	if s.ProcessState.ExitCode() != 0 || !strings.Contains(s.output.String(), "Redis is now ready to exit") {
		t.Errorf("told to end: %s", s.output.String())
	}
}

// serve runs the gateway as its container would be, on what its pod mounts, and gives the addresses
// of API and admin.
func serve(t *testing.T, s *server, all []runtime.Object) (api, admin string) {
	t.Helper()
	m := lay(t, all)
	text, err := os.ReadFile(m.config)
	must(t, err)
	write(t, m.config, []byte(strings.NewReplacer(
		fmt.Sprintf("%s-ais-gateway-redis.%s.svc:6379", release, namespace), "127.0.0.1:"+s.port,
		"address: :8080", "address: 127.0.0.1:0", "adminAddress: :9090", "adminAddress: 127.0.0.1:0").Replace(string(text))))
	var args []string
	for _, a := range pods(all)["gateway"].Spec.Containers[0].Args {
		args = append(args, strings.Replace(a, "/etc/ais-gateway/", filepath.Dir(m.config)+"/", 1))
	}
	p := start(t, command(m.root, gateway, args...))
	eventually(t, "the gateway serves", func() bool {
		for line := range strings.Lines(p.output.String()) {
			var said struct {
				Address string `json:"address"`
				Admin   string `json:"admin_address"`
			}
			if json.Unmarshal([]byte(line), &said) == nil && said.Admin != "" {
				api, admin = said.Address, said.Admin
				return true
			}
		}
		return false
	})
	return api, admin
}

// tried runs the test hook's question, as its container would, and gives what it wrote.
func tried(t *testing.T, all []runtime.Object, api, admin string) (string, error) {
	t.Helper()
	ask := pods(all)["test"].Spec.Containers[1]
	c := command(t.TempDir(), ask.Command[0], ask.Command[1:]...)
	scheme, _, _ := strings.Cut(ask.Env[slices.IndexFunc(ask.Env, func(e core.EnvVar) bool { return e.Name == "API" })].Value, "://")
	c.Env = append(c.Env, "API="+scheme+"://"+api, "ADMIN=http://"+admin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestInstalled runs what the small install is made of as processes: the chart's Redis, the gateway
// with the chart's configuration, its probes, and the test hook. The hook must see what is wrong,
// too.
func TestInstalled(t *testing.T) {
	const (
		tls  = `config.server={"tls":{"certificateFile":"/run/secrets/api/tls.crt","keyFile":"/run/secrets/api/tls.key"}}`
		mtls = `config.server={"tls":{"certificateFile":"/run/secrets/api/tls.crt","keyFile":"/run/secrets/api/tls.key","clientCAFile":"/run/secrets/api/ca.crt"}}`
		api  = `secrets.api={"secret":"ais-api"}`
	)
	all, secured, mutual := objects(t, "small"), objects(t, "small", tls, api), objects(t, "small", mtls, api)
	if hook := pods(all)["test"]; hook.Annotations["helm.sh/hook"] != "test" || hook.Spec.RestartPolicy != core.RestartPolicyNever {
		t.Error("helm test would not run the hook, or would run it for ever")
	}
	s := redis(t, all)
	plain, admin := serve(t, s, all)
	c := one[*apps.Deployment](t, all, "gateway").Spec.Template.Spec.Containers[0]
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p.HTTPGet.Port.StrVal != "admin" {
			t.Errorf("%s is asked for at port %s", p.HTTPGet.Path, p.HTTPGet.Port.String())
		}
		eventually(t, p.HTTPGet.Path+" answers", func() bool {
			answer, err := http.Get("http://" + admin + p.HTTPGet.Path)
			return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
		})
	}
	overTLS, adminTLS := serve(t, s, secured)
	overMutual, adminMutual := serve(t, s, mutual)
	for _, try := range []struct {
		name       string
		hook       []runtime.Object
		api, admin string
		ok         bool
	}{
		{"plain", all, plain, admin, true},
		{"TLS", secured, overTLS, adminTLS, true},
		{"callers' certificates", mutual, overMutual, adminMutual, true},
		{"something else in the API's place", all, admin, admin, false},
		{"plain HTTP where TLS was meant", secured, plain, admin, false},
		{"nobody asked for a certificate", mutual, overTLS, adminTLS, false},
		{"a certificate is asked for, and none was meant", secured, overMutual, adminMutual, false},
	} {
		if out, err := tried(t, try.hook, try.api, try.admin); (err == nil) != try.ok {
			t.Errorf("%s: %v, %s", try.name, err, out)
		}
	}
	s.end(t, syscall.SIGKILL)
	if out, err := tried(t, all, plain, admin); err == nil || !strings.Contains(out, "Redis cannot be used") {
		t.Errorf("without Redis: %v, %s", err, out)
	}
}
