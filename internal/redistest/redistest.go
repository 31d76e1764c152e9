// Package redistest runs real Redis servers for tests: what Redis must guarantee is tested on Redis. Only tests
// import it. Where redis-server is missing these tests fail; they are never skipped.
package redistest

import (
	"os"
	"sync"
	"syscall"
	"testing"
)

// A Server is a redis-server on a loopback port of its own. Its methods fail the test that started it, and are
// for that test's goroutine alone.
type Server struct {
	Addr string // host:port

	t    testing.TB
	dir  string
	args []string
	run  *process // nil while stopped
}

// Start runs a redis-server in a directory of its own and waits until it answers. args are settings as
// redis-server takes them ("--appendonly", "yes"). The server is stopped when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), args: args}
	addr, run, err := launchAnywhere(s.dir, args)
	if err != nil {
		t.Fatal(err)
	}
	s.Addr, s.run = addr, run
	t.Cleanup(s.Stop)
	return s
}

// Stop ends the server at once, as a crash does, and leaves its directory as it is. A server that is stopped
// stays so.
func (s *Server) Stop() {
	if s.run != nil {
		s.run.kill()
		s.run = nil
	}
}

// Restart stops the server, if it runs, and starts it again on the same port and directory.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	run, err := launch(s.dir, s.Addr, s.args)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run = run
}

// Pause freezes the server (SIGSTOP): it takes connections and answers nothing.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume lets a paused server go on (SIGCONT).
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.run == nil {
		s.t.Fatal("redis-server is stopped")
	}
	if err := s.run.server.Process.Signal(sig); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
}

// Shared is the host:port of one server for the whole test binary. It is started by the first test that asks,
// and its guard ends it with the binary. Tests keep to keys of their own there, and never flush it.
func Shared(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.Addr
}

// shared holds on to its server: were the pipe to the guard collected, the guard would act.
var shared = sync.OnceValues(func() (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	addr, run, err := launchAnywhere(dir, nil)
	return &Server{Addr: addr, run: run}, err
})
