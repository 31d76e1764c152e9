package servertest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper is a server that writes its process id to a file and sleeps.
func sleeper(dir string) ([]string, func() error) {
	return []string{"sh", "-c", "echo $$ >pid; echo ready; exec sleep 1000"}, func() error {
		if text, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || string(text) != "ready\n" {
			return errors.New("not ready yet")
		}
		return nil
	}
}

func pid(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func gone(pid int, dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) && errors.Is(err, os.ErrNotExist)
}

func TestServer(t *testing.T) {
	var s *Server
	var id int
	t.Run("runs", func(t *testing.T) {
		s = Start(t, sleeper)
		id = pid(t, s.Dir)
		if id != s.process.Pid() || s.Output() != "ready" || gone(id, s.Dir) {
			t.Errorf("process %d runs as %d and writes %q", s.process.Pid(), id, s.Output())
		}
	})
	if !gone(id, s.Dir) {
		t.Error("the server runs after its test")
	}
	s.Stop()

	s = Start(t, sleeper)
	if err := s.Pause(); err != nil {
		t.Error(err)
	}
	s = Start(t, sleeper)
	if err := s.Terminate(); err != nil || s.Terminate() == nil {
		t.Error("the server does not exit, or exits twice")
	}
	if s.Output() != "ready" {
		t.Error("the output is gone before the test has ended")
	}
}

func TestFailedStart(t *testing.T) {
	for program, want := range map[string]string{"false": "exited by itself", "/no/such/program": "no such file"} {
		_, err := launch(func(string) ([]string, func() error) {
			return []string{program}, func() error { return errors.New("no") }
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", program, err, want)
		}
	}
}

// TestKill kills programs that have exited, and those whose children go on after them.
func TestKill(t *testing.T) {
	for name, script := range map[string]string{
		"running":             "exec sleep 1000",
		"exited":              "exit 3",
		"with a child":        "sleep 1000 & wait",
		"outlived by a child": "sleep 1000 & exit 3",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Run(exec.Command("sh", "-c", script), "")
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(script, "exit 3") {
				if <-p.Exited(); p.ExitCode() != 3 {
					t.Errorf("exit %d, want 3", p.ExitCode())
				}
			}
			for range 2 {
				if err := p.Kill(); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-p.gone:
			default:
				t.Error("a child still runs")
			}
		})
	}
}

// TestGuard kills a test binary and expects its servers to go with it.
func TestGuard(t *testing.T) {
	const child = "SERVERTEST_CHILD"
	if file := os.Getenv(child); file != "" {
		s := Start(t, sleeper)
		if err := os.WriteFile(file, []byte(s.Dir), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	file := filepath.Join(t.TempDir(), "dir")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestGuard$")
	cmd.Env = append(os.Environ(), child+"="+file)
	if err := cmd.Run(); err == nil {
		t.Fatal("the test binary was not killed")
	}
	dir, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id := 1 << 30 // no process: the guard may have removed the file with the id
	if text, err := os.ReadFile(filepath.Join(string(dir), "pid")); err == nil {
		id, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	for deadline := time.Now().Add(startTimeout); !gone(id, string(dir)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives its test binary", id)
		}
	}
}
