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

// sleeper writes its process id and stays.
func sleeper(dir string) ([]string, func() error) {
	return []string{"sh", "-c", "echo $$ >pid; echo ready; exec sleep 1000"}, func() error {
		if text, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || string(text) != "ready\n" {
			return errors.New("it is not ready")
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
		if id != s.cmd.Process.Pid || s.Said() != "ready" || gone(id, s.Dir) {
			t.Errorf("process %d runs as %d and says %q", s.cmd.Process.Pid, id, s.Said())
		}
	})
	if !gone(id, s.Dir) {
		t.Error("it is there after its test")
	}
	s.Stop()

	s = Start(t, sleeper)
	if err := s.Pause(); err != nil {
		t.Error(err)
	}
	s = Start(t, sleeper)
	if err := s.Terminate(); err != nil || s.Terminate() == nil {
		t.Error("it does not end, or does so twice")
	}
	if s.Said() != "ready" {
		t.Error("what it wrote is gone before its test has ended")
	}
}

func TestFails(t *testing.T) {
	for _, args := range [][]string{{"false"}, {"/no/such/program"}} {
		_, err := launch(func(string) ([]string, func() error) {
			return args, func() error { return errors.New("no") }
		})
		if err == nil || !strings.Contains(err.Error(), "ended by itself") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// A test binary that is killed takes its servers along.
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
		t.Fatal("it was not killed")
	}
	dir, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id := 0
	if text, err := os.ReadFile(filepath.Join(string(dir), "pid")); err == nil {
		id, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	for deadline := time.Now().Add(startWithin); !gone(id, string(dir)); time.Sleep(10 * time.Millisecond) {
		if id == 0 {
			id = 1 << 30 // removed before it could be read
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d outlives its test", id)
		}
	}
}
