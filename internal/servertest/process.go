package servertest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	startTimeout  = time.Minute           // for a server to be ready; it may have to load its data first
	readyInterval = 10 * time.Millisecond // between two checks of a server that starts
	killTimeout   = 30 * time.Second      // for a killed program and its children to be gone
)

// guardScript waits until the test binary has ended, after a panic or a timeout too. Then it kills
// the program with its children ($1), and removes a directory ($2) unless that is empty.
const guardScript = `read -r _; kill -9 "-$1"; [ -z "$2" ] || rm -rf "$2"`

// Process is a running program. It does not outlive the test binary.
type Process struct {
	cmd    *exec.Cmd
	guard  *exec.Cmd
	input  io.Closer     // standard input of the guard, which acts when it is closed
	exited chan struct{} // closed when the program has exited
	gone   chan struct{} // closed when the program and all its children have exited
}

// Run starts a command in a process group of its own. If dir is not empty, it is removed if the
// test binary ends before Kill is called.
func Run(cmd *exec.Cmd, dir string) (*Process, error) {
	alive, inherited, err := os.Pipe() // alive is at its end when no process has inherited any more
	if err != nil {
		return nil, err
	}
	defer inherited.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, inherited)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	p := &Process{cmd: cmd, exited: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // ExitCode returns the result
	}()
	go func() {
		defer close(p.gone)
		_, _ = alive.Read(make([]byte, 1))
		_ = alive.Close()
	}()
	if err := p.startGuard(dir); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

func (p *Process) startGuard(dir string) (err error) {
	p.guard = exec.Command("sh", "-c", guardScript, "sh", strconv.Itoa(p.Pid()), dir)
	p.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt from the terminal does not end it
	if p.input, err = p.guard.StdinPipe(); err != nil {
		return err
	}
	return p.guard.Start()
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the program, without its children. It returns an error if the program
// has exited.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Exited returns a channel that is closed when the program has exited and its output is complete.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode returns the exit code of a program that has exited, -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Kill ends the program and its children (SIGKILL) and waits until they are gone. It returns an
// error if one of them is not gone after 30 s. It may be called more than once, also if the program
// has exited.
func (p *Process) Kill() error {
	if p.guard != nil && p.guard.Process != nil {
		_ = p.guard.Process.Kill() // fails only if the guard is gone
		_ = p.guard.Wait()
	}
	select {
	case <-p.gone:
	default:
		_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // fails only if the processes are gone
	}
	select {
	case <-p.gone:
	case <-time.After(killTimeout):
		return fmt.Errorf("%s or a child of it still runs %v after SIGKILL", p.cmd.Path, killTimeout)
	}
	<-p.exited
	return nil
}

// AwaitReady calls ready until it returns nil. It returns an error if the program exits, or the
// last error of ready if a minute has passed.
func (p *Process) AwaitReady(ready func() error) error {
	for deadline := time.Now().Add(startTimeout); ; {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v: %w", startTimeout, err)
		}
		select {
		case <-p.exited:
			return errors.New("exited by itself")
		case <-time.After(readyInterval):
		}
	}
}
