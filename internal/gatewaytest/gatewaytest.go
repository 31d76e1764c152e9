// Package gatewaytest runs gateways as processes for tests, with the simulators of a sandbox and a
// real Redis. Tests of test/e2e, test/gateway and test/deploy use it.
package gatewaytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ais-gateway/internal/servertest"
)

const (
	// waitTimeout is how long a test waits for a condition.
	waitTimeout = 2 * time.Minute
	// exitTimeout is how long a process may take to exit.
	exitTimeout = 2 * time.Minute
)

// binary is the gateway's binary, built once for all tests of a package, or by make for all
// packages.
var binary string

// Main builds the gateway's binary, runs the tests and removes it. TestMain calls it, and exits
// with the code that it returns. If the variable GATEWAY names a binary, as in `make test`, Main
// builds none.
func Main(m *testing.M) int {
	if binary = os.Getenv("GATEWAY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gateway-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gateway")
	build := exec.Command("go", "build", "-tags", "nomsgpack", "-o", binary, "ais-gateway/cmd/gateway")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Binary returns the path of the gateway's binary. It panics in a package whose tests run without
// Main, where there is none.
func Binary() string {
	if binary == "" {
		panic("gatewaytest.Main has built no gateway")
	}
	return binary
}

// Output is what a process has written so far. It is safe for concurrent use.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// Take returns the output and empties it.
func (o *Output) Take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.text.Reset()
	return o.text.String()
}

// String returns the output.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Process is a running gateway. Its methods fail the test that started it.
type Process struct {
	*servertest.Process
	T              *testing.T
	Stdout, Stderr Output
	API, Admin     string // base URLs of the API and the admin server, set by Listening
}

// Start runs the gateway with arguments until the test ends. env is added to the test's own
// environment.
func Start(t *testing.T, env []string, args ...string) *Process {
	t.Helper()
	return Run(t, exec.Command(Binary(), args...), env...)
}

// Run is Start for a command with another binary. If the command's Stdout is set, Process.Stdout
// stays empty.
func Run(t *testing.T, cmd *exec.Cmd, env ...string) *Process {
	t.Helper()
	statSources()
	p := &Process{T: t}
	cmd.Stderr, cmd.Env = &p.Stderr, append(os.Environ(), env...)
	if cmd.Stdout == nil {
		cmd.Stdout = &p.Stdout
	}
	var err error
	if p.Process, err = servertest.Run(cmd, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.keepLog(filepath.Base(cmd.Path))
	})
	return p
}

// keepLog writes the output of the process to a file in the directory that the variable
// GATEWAY_LOGS names. Without it, keepLog logs the last lines if the test failed. Output that the
// test has taken with Take is missing.
func (p *Process) keepLog(program string) {
	dir, log := os.Getenv("GATEWAY_LOGS"), p.Stdout.String()+p.Stderr.String()
	switch {
	case dir != "":
		name := fmt.Sprintf("%s-%d.log", strings.ReplaceAll(p.T.Name(), "/", "-"), p.Pid())
		if err := os.WriteFile(filepath.Join(dir, name), []byte(log), 0o600); err != nil {
			p.T.Errorf("GATEWAY_LOGS: %v", err)
		}
	case p.T.Failed():
		lines := strings.Split(strings.TrimSpace(log), "\n")
		p.T.Logf("the last lines of %s (all of them: GATEWAY_LOGS=DIR):\n%s", program, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}

// Serve runs `gateway serve` with a configuration file until the test ends, and waits until the
// gateway listens.
func Serve(t *testing.T, config string, env ...string) *Process {
	t.Helper()
	return Start(t, env, "serve", "--config", config).Listening()
}

// Listening waits until the gateway listens, sets API and Admin, and returns p.
func (p *Process) Listening() *Process {
	p.T.Helper()
	Eventually(p.T, "the gateway listens", func() bool {
		if p.Exited() && !strings.Contains(p.Stdout.String(), `"msg":"serving"`) {
			p.T.Fatalf("the gateway exited before it listened\n%s%s", p.Stdout.String(), p.Stderr.String())
		}
		for line := range strings.Lines(p.Stdout.String()) {
			if p.SetAddresses(line) {
				return true
			}
		}
		return false
	})
	return p
}

// SetAddresses sets API and Admin from a log line, and reports whether the line has them.
func (p *Process) SetAddresses(line string) bool {
	var l struct {
		Msg, Address string
		Admin        string `json:"admin_address"`
	}
	if json.Unmarshal([]byte(line), &l) != nil || l.Msg != "serving" {
		return false
	}
	p.API, p.Admin = "http://"+l.Address, "http://"+l.Admin
	return true
}

// Wait waits until the process exits by itself and returns its exit code. It fails the test after
// two minutes.
func (p *Process) Wait() int {
	p.T.Helper()
	select {
	case <-p.Process.Exited():
		return p.ExitCode()
	case <-time.After(exitTimeout):
		p.T.Fatalf("the process does not exit\n%s%s", p.Stdout.String(), p.Stderr.String())
		return 0
	}
}

// Exited reports whether the process has exited.
func (p *Process) Exited() bool {
	select {
	case <-p.Process.Exited():
		return true
	default:
		return false
	}
}

// Terminate sends SIGTERM to the process, as Kubernetes does.
func (p *Process) Terminate() {
	p.T.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		p.T.Fatal(err)
	}
}

// Kill ends the process without a warning (SIGKILL) and waits until it has exited.
func (p *Process) Kill() {
	p.T.Helper()
	if err := p.Process.Kill(); err != nil {
		p.T.Error(err)
	}
}

// Eventually waits until a condition holds, and fails the test after two minutes. what describes
// the condition.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// ResidentMB returns the resident memory of a process in MB, as Linux counts it.
func ResidentMB(t *testing.T, pid int) int {
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
	t.Fatal("the status of the process has no VmRSS")
	return 0
}

// statSources looks at all files from which the gateway is built. The go command caches test
// results until a file changes that the tests looked at, and does not know that they run the
// gateway.
var statSources = sync.OnceFunc(func() {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return
	}
	for _, dir := range []string{"cmd", "internal"} {
		_ = filepath.WalkDir(filepath.Join(filepath.Dir(string(mod)), dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && !strings.HasSuffix(path, "_test.go") {
				_, err = os.Stat(path)
			}
			return err
		})
	}
})
