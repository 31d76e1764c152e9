// Package servertest runs another project's server for a test, and ends it with the test, however that ends. Only
// tests import it, and packages that run one certain server for them.
package servertest

import (
	"errors"
	"fmt"
	"io"
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

const (
	startWithin = time.Minute           // for a server to be ready
	askEvery    = 20 * time.Millisecond // while it starts
	tries       = 3                     // somebody else may take a free port before the server does
)

// guard becomes the server itself, and leaves behind a shell that ends the server and removes its directory ($0) when
// nobody holds the other end of its input any more: that is so once the test binary is gone, after a panic or a
// timeout too.
const guard = `exec 3<&0; (read -r _ <&3; kill -9 "$$" 2>/dev/null; rm -rf "$0") & exec 3<&- </dev/null; exec "$@"`

// A Server is a program that runs. Its methods are for the goroutine of the test that started it.
type Server struct {
	Dir string // its own, which goes with it
	Log string // the file that it writes its output to

	cmd   *exec.Cmd
	held  io.Closer // the guard acts when this is closed
	ended chan struct{}
}

// Start runs a program until the test ends, and waits until ready finds nothing amiss. command says, for a directory of
// the server's own, what to run; it is asked again where the server ends at once, with other ports. A program that is
// missing, that is not ready within 30 s or that ends fails the test.
func Start(t testing.TB, command func(dir string) (args []string, ready func() error)) *Server {
	t.Helper()
	var err error
	for range tries {
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
	s := &Server{Dir: dir, Log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	if err := s.run(args); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := s.await(ready); err != nil {
		said := s.Said()
		s.Stop()
		return nil, fmt.Errorf("%s: %w; it says:\n%s", filepath.Base(args[0]), err, said)
	}
	return s, nil
}

func (s *Server) run(args []string) error {
	log, err := os.Create(s.Log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command("sh", append([]string{"-c", guard, s.Dir}, args...)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for the guard
	heard, held, err := os.Pipe()                           // not StdinPipe, which is closed once the server ends: its log would be gone
	if err != nil {
		return err
	}
	defer heard.Close()
	s.cmd.Stdin, s.held = heard, held
	if err := s.cmd.Start(); err != nil {
		_ = held.Close()
		return err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	return nil
}

func (s *Server) await(ready func() error) error {
	for deadline := time.Now().Add(startWithin); ; {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v: %w", startWithin, err)
		}
		select {
		case <-s.ended:
			return errors.New("ended by itself")
		case <-time.After(askEvery):
		}
	}
}

// Said is what the server has written so far.
func (s *Server) Said() string {
	said, _ := os.ReadFile(s.Log)
	return strings.TrimSpace(string(said))
}

// Terminate asks the server to end (SIGTERM), and returns once it has: what it held back it has then written.
func (s *Server) Terminate() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(startWithin):
		return errors.New("the server does not end")
	}
}

// Pause freezes the server (SIGSTOP): it takes connections and answers nothing.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Stop ends the server at once (SIGKILL), and removes its directory. A server that is stopped stays so.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill() // fails only on what is gone, which is what is wanted
	<-s.ended
	_ = s.held.Close()
	_ = os.RemoveAll(s.Dir)
}

// Ports that FreeAddr chooses: below those that systems give to connections and to listeners on port 0, so that none of
// these takes the port of a server that is not started yet, or that is started again.
const (
	firstPort = 10_000
	lastPort  = 21_999
)

// FreeAddr returns a loopback address, host:port, on which no program listens.
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
