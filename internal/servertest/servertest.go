// Package servertest runs programs for tests: gateways, redis-server, Prometheus. A program ends
// with its test, or with the test binary if that ends first. Only tests and other test support
// import it.
package servertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startAttempts is how often a server is started: another program can take the chosen port before
// the server does.
const startAttempts = 3

// Server is a running server with a directory of its own. Its methods must be called by the
// goroutine of the test that started it.
type Server struct {
	Dir string // removed with the server
	Log string // the file with the server's output

	process *Process
}

// Start runs a server until the test ends, and waits until it is ready. command returns what to
// run, with the server's own directory given, and a function that returns an error while the server
// is not ready. command is called again, to choose another port, if the server exits or is not
// ready within a minute. Start fails the test after three attempts, with the server's output.
func Start(t testing.TB, command func(dir string) (args []string, ready func() error)) *Server {
	t.Helper()
	var err error
	for range startAttempts {
		var s *Server
		if s, err = launch(command); err == nil {
			t.Cleanup(s.Stop)
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func launch(command func(dir string) ([]string, func() error)) (*Server, error) {
	dir, err := os.MkdirTemp("", "servertest-")
	if err != nil {
		return nil, err
	}
	args, ready := command(dir)
	s := &Server{Dir: dir, Log: filepath.Join(dir, "log")}
	if s.process, err = s.run(args); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.process.AwaitReady(ready); err != nil {
		output := s.Output()
		s.Stop()
		return nil, fmt.Errorf("%s: %w; its output:\n%s", filepath.Base(args[0]), err, output)
	}
	return s, nil
}

func (s *Server) run(args []string) (*Process, error) {
	log, err := os.Create(s.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	return Run(cmd, s.Dir)
}

// Output returns what the server has written so far.
func (s *Server) Output() string {
	text, _ := os.ReadFile(s.Log)
	return strings.TrimSpace(string(text))
}

// Terminate stops the server gracefully (SIGTERM) and waits until it has exited. It returns an
// error if the server has exited before, or does not exit within a minute.
func (s *Server) Terminate() error {
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.process.Exited():
		return nil
	case <-time.After(startTimeout):
		return errors.New("the server does not exit")
	}
}

// Pause stops the server's execution (SIGSTOP): its port accepts connections, and nothing responds.
func (s *Server) Pause() error { return s.process.Signal(syscall.SIGSTOP) }

// Stop ends the server (SIGKILL) and removes its directory. It may be called more than once.
func (s *Server) Stop() {
	_ = s.process.Kill()
	_ = os.RemoveAll(s.Dir)
}

// FreeAddr chooses ports below those that systems assign to connections and to listeners on port 0,
// so that these cannot take the port of a server that is not started yet or is restarted.
const (
	firstPort = 10_000
	lastPort  = 21_999
)

// FreeAddr returns a loopback address, host:port, on which no program listens, or an error if it
// finds none in 1,000 attempts.
func FreeAddr() (string, error) {
	var err error
	for range 1000 {
		var l net.Listener
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}
