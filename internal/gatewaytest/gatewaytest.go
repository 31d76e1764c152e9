// Package gatewaytest runs the program itself for tests: real processes of gateways, on a sandbox's providers and a
// real Redis. Tests of cmd/gateway and deploy import it.
package gatewaytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// within is how long a test waits for what must come.
	within = 2 * time.Minute
	// endsWithin is how long a process may take to end by itself.
	endsWithin = 2 * time.Minute
)

// binary is the program, built once for all tests of a package, or of all packages by make.
var binary string

// Main builds the program, runs the tests and removes it. TestMain calls it, and exits with what it returns. If the
// variable GATEWAY names the program, as in `make test`, Main does not build it.
func Main(m *testing.M) int {
	if slices.Contains(os.Args, "-test.fuzzworker") {
		return m.Run() // which needs none
	}
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

// Binary is the program's file.
func Binary() string { return binary }

// Output is what a process has written so far.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write takes what the process writes.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// Take returns what the process has written, and forgets it.
func (o *Output) Take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.text.Reset()
	return o.text.String()
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// A Program is a gateway that runs. Its methods fail the test that started it.
type Program struct {
	*exec.Cmd
	T              *testing.T
	Stdout, Stderr Output
	API, Admin     string // where it listens, as http://HOST:PORT

	exited chan struct{} // closed when it has
}

// Start runs the program with arguments, and variables besides those of the test, until the test ends.
func Start(t *testing.T, env []string, args ...string) *Program {
	t.Helper()
	return Run(t, exec.Command(binary, args...), env...)
}

// Run runs a command as Start does.
func Run(t *testing.T, cmd *exec.Cmd, env ...string) *Program {
	t.Helper()
	return run(t, cmd, nil, env...)
}

// RunTo runs a command as Run does, with a file for its standard output.
func RunTo(t *testing.T, cmd *exec.Cmd, stdout *os.File, env ...string) *Program {
	t.Helper()
	return run(t, cmd, stdout, env...)
}

func run(t *testing.T, cmd *exec.Cmd, stdout *os.File, env ...string) *Program {
	t.Helper()
	sources()
	p := &Program{Cmd: cmd, T: t, exited: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr, p.Env = &p.Stdout, &p.Stderr, append(os.Environ(), env...)
	if stdout != nil {
		p.Cmd.Stdout = stdout
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait() // ProcessState says how
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		p.keepLog()
	})
	return p
}

// keepLog writes what the process has written to a file in the directory that the variable GATEWAY_LOGS names. Without it,
// a test that failed logs the last lines. What the test has taken with Take is missing.
func (p *Program) keepLog() {
	dir, log := os.Getenv("GATEWAY_LOGS"), p.Stdout.String()+p.Stderr.String()
	switch {
	case dir != "":
		name := fmt.Sprintf("%s-%d.log", strings.ReplaceAll(p.T.Name(), "/", "-"), p.Process.Pid)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(log), 0o600); err != nil {
			p.T.Errorf("GATEWAY_LOGS: %v", err)
		}
	case p.T.Failed():
		lines := strings.Split(strings.TrimSpace(log), "\n")
		p.T.Logf("the last lines of %s (all of them: GATEWAY_LOGS=DIR):\n%s", filepath.Base(p.Path), strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}

// Serve runs the service with a configuration, and waits until it listens.
func Serve(t *testing.T, config string, env ...string) *Program {
	t.Helper()
	return Start(t, env, "serve", "--config", config).Listening()
}

// Listening waits until the gateway listens, and reads from its log where.
func (p *Program) Listening() *Program {
	p.T.Helper()
	Eventually(p.T, "the gateway listens", func() bool {
		if p.Exited() && !strings.Contains(p.Stdout.String(), `"msg":"serving"`) {
			p.T.Fatalf("the gateway ended before it listened\n%s%s", p.Stdout.String(), p.Stderr.String())
		}
		for line := range strings.Lines(p.Stdout.String()) {
			var l struct {
				Msg, Address string
				Admin        string `json:"admin_address"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "serving" {
				p.API, p.Admin = "http://"+l.Address, "http://"+l.Admin
				return true
			}
		}
		return false
	})
	return p
}

// Ended waits for the process to end by itself and returns its exit code.
func (p *Program) Ended() int {
	p.T.Helper()
	select {
	case <-p.exited:
		return p.ProcessState.ExitCode()
	case <-time.After(endsWithin):
		p.T.Fatalf("the process does not end\n%s%s", p.Stdout.String(), p.Stderr.String())
		return 0
	}
}

// Exited reports whether the process has ended.
func (p *Program) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Terminate asks the process to end (SIGTERM), as Kubernetes does.
func (p *Program) Terminate() {
	p.T.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.T.Fatal(err)
	}
}

// Eventually waits until something holds, and fails the test where it does not for a long time.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// sources looks at all files that the program is built of. The go command keeps results of tests until a file changes that
// they looked at, and does not know by itself that they run the program.
var sources = sync.OnceFunc(func() {
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
