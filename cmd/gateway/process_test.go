package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// binary is the program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if slices.Contains(os.Args, "-test.fuzzworker") {
			return m.Run() // which needs none
		}
		dir, err := os.MkdirTemp("", "gateway-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "gateway")
		build := exec.Command("go", "build", "-tags", "nomsgpack", "-o", binary, ".")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the gateway: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
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

// A process is a gateway that runs.
type process struct {
	*exec.Cmd
	t              *testing.T
	stdout, stderr output
	api, admin     string
	exited         chan error
}

// start runs the program until the test ends.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(binary, args...), t: t, exited: make(chan error, 1)}
	p.Cmd.Stdout, p.Cmd.Stderr, p.Env = &p.stdout, &p.stderr, append(os.Environ(), env...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.Wait() }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
	})
	return p
}

// serve runs the service with a configuration, and waits until it listens.
func serve(t *testing.T, config string, env ...string) *process {
	t.Helper()
	return listening(t, start(t, env, "serve", "--config", config))
}

// listening waits until a gateway listens.
func listening(t *testing.T, p *process) *process {
	t.Helper()
	eventually(t, "the gateway listens", func() bool {
		for line := range strings.Lines(p.stdout.String()) {
			var l struct {
				Msg, Address string
				Admin        string `json:"admin_address"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "serving" {
				p.api, p.admin = "http://"+l.Address, "http://"+l.Admin
				return true
			}
		}
		return false
	})
	return p
}

// ended waits for the process to end by itself and returns its exit code.
func (p *process) ended() int {
	p.t.Helper()
	select {
	case err := <-p.exited:
		p.exited <- err
		return p.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		p.t.Fatalf("the process does not end\n%s%s", p.stdout.String(), p.stderr.String())
		return 0
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// world is a sandbox whose gateways share a real Redis.
func world(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	return worldOn(t, redistest.Start(t), o)
}

// worldOn is a sandbox whose gateways share the Redis given.
func worldOn(t *testing.T, server *redistest.Server, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Redis = "{mode: standalone, addresses: ['" + server.Addr + "']}"
	return worldOf(t, o)
}

// worldOf is a sandbox whose gateways share the Redis that the options say.
func worldOf(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Address = "127.0.0.1:0"
	w, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// call asks a gateway as a caller does. header is name and value in turn.
func call(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// residentMB is a process's memory as the system counts it.
func residentMB(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kb / 1024
		}
	}
	t.Fatal("the system does not say")
	return 0
}

// configured is the world's configuration after a change.
func configured(t *testing.T, w *sandbox.Sandbox, change func(text string) string) string {
	t.Helper()
	text, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		t.Fatal("nothing was changed")
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, file, changed)
	return file
}

// reconfigured is the world's configuration with each old text, which stands there once, replaced by the one after it.
func reconfigured(t *testing.T, w *sandbox.Sandbox, oldnew ...string) string {
	t.Helper()
	return configured(t, w, func(text string) string {
		for i := 0; i+1 < len(oldnew); i += 2 {
			if n := strings.Count(text, oldnew[i]); n != 1 {
				t.Fatalf("%q stands there %d times", oldnew[i], n)
			}
			text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
		}
		return text
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *process) terminate() {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}
