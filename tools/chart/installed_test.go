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

// waitTimeout is how long a test waits for a condition.
const waitTimeout = 30 * time.Second

// eventually waits until ok returns true. The test fails after waitTimeout.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(waitTimeout); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout after %s: %s", waitTimeout, what)
		}
	}
}

// output collects what a process writes, and can be read while it runs.
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

// A process runs until end is called or the test is over.
type process struct {
	*exec.Cmd
	output output
	ended  chan struct{}
}

// start starts a command in a new process group, which is killed when the test is over.
func start(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: c, ended: make(chan struct{})}
	c.Stdout, c.Stderr = &p.output, &p.output
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children can be killed with it
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

// end sends a signal to the process and waits until it exits.
func (p *process) end(t *testing.T, s os.Signal) {
	t.Helper()
	_ = p.Process.Signal(s)
	select {
	case <-p.ended:
	case <-time.After(waitTimeout):
		t.Errorf("the process does not exit after %s: %s", s, p.output.String())
	}
}

// A server is the chart's Redis, started by its own script on this machine.
type server struct {
	*process
	root, port string
	all        []runtime.Object
}

// localize returns a text of the chart with the paths and the port of this machine.
func (s *server) localize(text string) string {
	return strings.NewReplacer("/run/secrets/", s.root+"/run/secrets/", "/etc/redis/", s.root+"/etc/redis/", "dir /data", "dir "+s.root+"/data\nport "+s.port,
		"redis-cli", "redis-cli -p "+s.port).Replace(text)
}

// run starts Redis, and waits until the readiness probe of the pod succeeds.
func (s *server) run(t *testing.T) {
	t.Helper()
	files := one[*core.ConfigMap](t, s.all, "redis").Data
	for name, text := range files {
		write(t, filepath.Join(s.root, "etc/redis", name), []byte(s.localize(text)))
	}
	c := pods(s.all)["redis"].Spec.Containers[0]
	s.process = start(t, command(s.root, c.Command[0], s.localize(c.Command[1])))
	eventually(t, "Redis is ready", func() bool { return s.probe(c.ReadinessProbe) == nil })
}

// probe runs the command of a probe, and returns an error if the probe fails.
func (s *server) probe(p *core.Probe) error {
	return command(s.root, p.Exec.Command[0], p.Exec.Command[1], s.localize(p.Exec.Command[2])).Run()
}

// do runs a Redis command with the password and returns its reply.
func (s *server) do(t *testing.T, args ...string) string {
	t.Helper()
	c := command(s.root, "redis-cli", append([]string{"-p", s.port}, args...)...)
	c.Env = append(c.Env, "REDISCLI_AUTH="+password)
	out, err := c.Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// startRedis starts the chart's Redis with the files that its pod mounts.
func startRedis(t *testing.T, all []runtime.Object) *server {
	t.Helper()
	s := newRedis(t, all)
	s.run(t)
	return s
}

// newRedis returns the chart's Redis without starting it.
func newRedis(t *testing.T, all []runtime.Object) *server {
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

// TestRedis: the chart's Redis, a real server that the chart's script starts, is safe for the
// limit: it requires the password, which may contain any character, keeps all confirmed writes when
// it is killed, and evicts nothing.
func TestRedis(t *testing.T) {
	all := objects(t, "small")
	s := startRedis(t, all)
	c := pods(all)["redis"].Spec.Containers[0]
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "", "no-appendfsync-on-rewrite": "no",
		"maxmemory": fmt.Sprint(c.Resources.Limits.Memory().Value() / 2),
	} {
		if got := strings.TrimSpace(strings.TrimPrefix(s.do(t, "CONFIG", "GET", name), name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if out, _ := command(s.root, "redis-cli", "-p", s.port, "GET", "a").CombinedOutput(); !strings.Contains(string(out), "NOAUTH") {
		t.Errorf("without a password: %s", out)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.Process.Pid)); err == nil && strings.Contains(string(line), "word") {
		t.Errorf("the password is in the command line: %q", line)
	}
	if s.do(t, "SET", "slot", "taken") != "OK" {
		t.Fatal("Redis does not accept a write")
	}
	s.end(t, syscall.SIGKILL)
	if s.probe(c.LivenessProbe) == nil || s.probe(c.ReadinessProbe) == nil {
		t.Error("the probes succeed after Redis was killed")
	}
	s.run(t)
	if got := s.do(t, "GET", "slot"); got != "taken" {
		t.Errorf("after Redis was killed and restarted, slot is %q", got)
	}
	s.end(t, syscall.SIGTERM) // which must reach Redis, not its shell
	if s.ProcessState.ExitCode() != 0 || !strings.Contains(s.output.String(), "Redis is now ready to exit") {
		t.Errorf("Redis does not shut down on SIGTERM: %s", s.output.String())
	}
}

// startGateway runs the gateway with the arguments of its container and the files that its pod
// mounts. It returns the addresses of the API and the admin port.
func startGateway(t *testing.T, s *server, all []runtime.Object) (api, admin string) {
	t.Helper()
	m := newMount(t, all)
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
			var entry struct {
				Address string `json:"address"`
				Admin   string `json:"admin_address"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Admin != "" {
				api, admin = entry.Address, entry.Admin
				return true
			}
		}
		return false
	})
	return api, admin
}

// runTestHook runs the command of the test hook's container and returns its output.
func runTestHook(t *testing.T, all []runtime.Object, api, admin string) (string, error) {
	t.Helper()
	ask := pods(all)["test"].Spec.Containers[1]
	c := command(t.TempDir(), ask.Command[0], ask.Command[1:]...)
	scheme, _, _ := strings.Cut(ask.Env[slices.IndexFunc(ask.Env, func(e core.EnvVar) bool { return e.Name == "API" })].Value, "://")
	c.Env = append(c.Env, "API="+scheme+"://"+api, "ADMIN=http://"+admin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestInstallation: the processes of the example "small" work together: the chart's Redis, and the
// gateway with the chart's configuration, its probes and the test hook. The hook fails if the
// installation is wrong.
func TestInstallation(t *testing.T) {
	const (
		tls  = `config.server={"tls":{"certificateFile":"/run/secrets/api/tls.crt","keyFile":"/run/secrets/api/tls.key"}}`
		mtls = `config.server={"tls":{"certificateFile":"/run/secrets/api/tls.crt","keyFile":"/run/secrets/api/tls.key","clientCAFile":"/run/secrets/api/ca.crt"}}`
		api  = `secrets.api={"secret":"ais-api"}`
	)
	all, secured, mutual := objects(t, "small"), objects(t, "small", tls, api), objects(t, "small", mtls, api)
	if hook := pods(all)["test"]; hook.Annotations["helm.sh/hook"] != "test" || hook.Spec.RestartPolicy != core.RestartPolicyNever {
		t.Error("helm test does not run the hook, or restarts it")
	}
	s := startRedis(t, all)
	plain, admin := startGateway(t, s, all)
	c := one[*apps.Deployment](t, all, "gateway").Spec.Template.Spec.Containers[0]
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p.HTTPGet.Port.StrVal != "admin" {
			t.Errorf("%s is probed at port %s", p.HTTPGet.Path, p.HTTPGet.Port.String())
		}
		eventually(t, p.HTTPGet.Path+" returns 200", func() bool {
			response, err := http.Get("http://" + admin + p.HTTPGet.Path)
			return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
		})
	}
	overTLS, adminTLS := startGateway(t, s, secured)
	overMutual, adminMutual := startGateway(t, s, mutual)
	for _, try := range []struct {
		name       string
		hook       []runtime.Object
		api, admin string
		ok         bool
	}{
		{"plain", all, plain, admin, true},
		{"TLS", secured, overTLS, adminTLS, true},
		{"mutual TLS", mutual, overMutual, adminMutual, true},
		{"admin port instead of the API", all, admin, admin, false},
		{"plain HTTP instead of TLS", secured, plain, admin, false},
		{"TLS instead of mutual TLS", mutual, overTLS, adminTLS, false},
		{"mutual TLS instead of TLS", secured, overMutual, adminMutual, false},
	} {
		if out, err := runTestHook(t, try.hook, try.api, try.admin); (err == nil) != try.ok {
			t.Errorf("%s: %v, %s", try.name, err, out)
		}
	}
	s.end(t, syscall.SIGKILL)
	if out, err := runTestHook(t, all, plain, admin); err == nil || !strings.Contains(out, "Redis cannot be used") {
		t.Errorf("without Redis: %v, %s", err, out)
	}
}
