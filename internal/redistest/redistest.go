// Package redistest runs real Redis servers for tests, in every form that the gateway's operators run them: alone,
// with TLS, behind sentinels, in a cluster. What Redis must guarantee is tested on Redis. Only tests import it.
// Where redis-server is missing these tests fail; they are never skipped.
package redistest

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// doWithin bounds one command of a test; it may be one that makes the server sleep.
const doWithin = time.Minute

// A Server is a redis-server on a loopback port of its own. Its methods fail the test that started it, and are
// for that test's goroutine alone; Do is for any.
type Server struct {
	Addr string // host:port

	t     testing.TB
	setup setup
	run   *process // nil while stopped
}

// Start runs a redis-server in a directory of its own and waits until it answers. args are settings as
// redis-server takes them ("--appendonly", "yes"). The server is stopped when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, setup{dir: t.TempDir(), args: args})
}

func start(t testing.TB, s setup) *Server {
	t.Helper()
	addr, run, err := launchAnywhere(s)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Addr: addr, t: t, setup: s, run: run}
	t.Cleanup(server.Stop)
	server.tell()
	return server
}

// Stop ends the server at once, as a crash does (SIGKILL), and leaves its directory as it is. A server that is
// stopped stays so.
func (s *Server) Stop() {
	if s.run != nil {
		s.run.kill()
		s.run = nil
	}
}

// Restart stops the server, if it runs, starts it again on the same port and directory, and waits until it has
// loaded its data and answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	run, err := launch(s.setup, s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run = run
	s.tell()
}

func (s *Server) tell() {
	s.t.Helper()
	if s.setup.told == nil {
		return
	}
	if err := s.Do(s.setup.told...).Err(); err != nil {
		s.t.Fatal(err)
	}
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

// Dir is where the server keeps its data; its append-only file is below appendonlydir. To be changed only while the
// server is stopped.
func (s *Server) Dir() string { return s.setup.dir }

// Do runs one command on a connection of its own and returns the answer, which holds Redis's own errors (redis.Nil
// among them). No answer within a minute, or none at all, fails the test.
func (s *Server) Do(args ...any) *redis.Cmd {
	s.t.Helper()
	client := redis.NewClient(s.options(doWithin))
	defer client.Close()
	answer := client.Do(context.Background(), args...)
	var own redis.Error
	if err := answer.Err(); err != nil && !errors.As(err, &own) {
		s.t.Fatalf("redis-server: %v: %v", args, err)
	}
	return answer
}

// options are those of a client that asks once and waits for no longer than within.
func (s *Server) options(within time.Duration) *redis.Options {
	return &redis.Options{
		Addr:                     s.Addr,
		TLSConfig:                s.setup.secure,
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              within,
		ReadTimeout:              within,
		WriteTimeout:             within,
		PoolSize:                 1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
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
	addr, run, err := launchAnywhere(setup{dir: dir})
	return &Server{Addr: addr, run: run}, err
})
