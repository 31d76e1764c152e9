// Package redistest runs real Redis servers for tests, in every form that operators run them: one
// server, with TLS, with sentinels, as a cluster. Tests of what the gateway needs from Redis use
// it. Only tests and other test support import it. Without redis-server these tests fail; they are
// never skipped.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ais-gateway/internal/servertest"
)

// commandTimeout limits one command of a test. A command can make the server sleep.
const commandTimeout = time.Minute

// Server is a redis-server on a loopback port of its own. Its methods fail the test that started it
// and, except Do, must be called by that test's goroutine.
type Server struct {
	Addr string // host:port

	t       testing.TB
	setup   setup
	process *servertest.Process // nil while stopped
}

// Start runs a redis-server in a directory of its own until the test ends, and waits until it
// responds. args are settings as redis-server takes them ("--appendonly", "yes").
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, setup{dir: t.TempDir(), args: args})
}

func start(t testing.TB, s setup) *Server {
	t.Helper()
	addr, process, err := launchAnywhere(s)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Addr: addr, t: t, setup: s, process: process}
	t.Cleanup(server.Stop)
	server.started()
	return server
}

// Stop ends the server and its children (SIGKILL), as a crash does, and keeps its directory. It
// does nothing if the server is stopped.
func (s *Server) Stop() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Kill(); err != nil {
		s.t.Error(err)
	}
	s.process = nil
}

// Restart stops the server if it runs, starts it again on the same port and directory, and waits
// until it has loaded its data and responds.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	process, err := launch(s.setup, s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = process
	s.started()
}

// started runs the command that the server needs after each start.
func (s *Server) started() {
	s.t.Helper()
	if s.setup.onStarted == nil {
		return
	}
	if err := s.Do(s.setup.onStarted...).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the server's execution (SIGSTOP): its port accepts connections, and nothing responds.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume continues a paused server (SIGCONT).
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatal("redis-server is stopped")
	}
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
}

// Dir returns the directory of the server's data; its append-only file is below appendonlydir.
// Change files only while the server is stopped.
func (s *Server) Dir() string { return s.setup.dir }

// Do runs one command on a connection of its own and returns the result, whose error can be one of
// Redis, such as redis.Nil. If there is no response within a minute, Do fails the test.
func (s *Server) Do(args ...any) *redis.Cmd {
	s.t.Helper()
	client := redis.NewClient(s.options(commandTimeout))
	defer client.Close()
	result := client.Do(context.Background(), args...)
	var own redis.Error
	if err := result.Err(); err != nil && !errors.As(err, &own) {
		s.t.Fatalf("redis-server: %v: %v", args, err)
	}
	return result
}

// Calls returns how many times the server has executed a command, such as "evalsha", since its start.
func (s *Server) Calls(command string) int {
	s.t.Helper()
	return s.number("commandstats", "cmdstat_"+command+":calls=")
}

// UsedMemory returns the bytes that the server has allocated.
func (s *Server) UsedMemory() int {
	s.t.Helper()
	return s.number("memory", "used_memory:")
}

// number returns the number after a text in a section of INFO, or 0 if the section does not have the
// text.
func (s *Server) number(section, text string) (n int) {
	s.t.Helper()
	if _, after, ok := strings.Cut(s.Do("INFO", section).String(), text); ok {
		if _, err := fmt.Sscanf(after, "%d", &n); err != nil {
			s.t.Fatalf("redis-server: INFO %s: %v", section, err)
		}
	}
	return n
}

// options returns those of a client that tries once and gives up after the timeout.
func (s *Server) options(timeout time.Duration) *redis.Options {
	return &redis.Options{
		Addr:                     s.Addr,
		TLSConfig:                s.setup.tls,
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              timeout,
		ReadTimeout:              timeout,
		WriteTimeout:             timeout,
		PoolSize:                 1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Shared returns the address, host:port, of one server for the whole test binary. The first call
// starts it, and it ends with the binary. Tests must use keys of their own there, and must not
// flush it.
func Shared(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.Addr
}

// shared keeps a reference to its server: if the pipe to the guard were collected, the guard would
// kill the server.
var shared = sync.OnceValues(func() (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	addr, process, err := launchAnywhere(setup{dir: dir})
	return &Server{Addr: addr, process: process}, err
})
