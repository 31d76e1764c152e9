package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	startWithin = 10 * time.Second      // for a server to answer; it may have to load its data first
	askWithin   = time.Second           // for one answer of a server that starts
	askEvery    = 10 * time.Millisecond // while it starts
)

// A process is a redis-server and its guard: a shell that ends the server and removes its directory when the
// test binary is gone, however it went. Nothing else would, after a panic or a timeout.
type process struct {
	server, guard *exec.Cmd
	guarded       io.WriteCloser // the guard acts when this is closed
	life          *os.File       // is at its end once the server is gone
}

// launchAnywhere starts a server on a free port. Somebody else may take the port before Redis does, so it
// tries thrice.
func launchAnywhere(dir string, args []string) (addr string, p *process, err error) {
	for range 3 {
		if addr, err = freeAddr(); err != nil {
			return "", nil, err
		}
		if p, err = launch(dir, addr, args); err == nil {
			return addr, p, nil
		}
	}
	return "", nil, err
}

func launch(dir, addr string, args []string) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not on the PATH; `make redis` installs it")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(dir, "redis.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	settings := []string{"--bind", host, "--port", port, "--dir", dir, "--save", "", "--appendonly", "no"}
	server := exec.Command(path, append(settings, args...)...)
	server.Stdout, server.Stderr = log, log
	p := &process{server: server}
	if err := p.start(dir); err != nil {
		p.kill()
		return nil, err
	}
	if err := p.await(addr); err != nil {
		p.kill()
		said, _ := os.ReadFile(logPath)
		return nil, fmt.Errorf("redis-server: %w; its log:\n%s", err, said)
	}
	return p, nil
}

func (p *process) start(dir string) error {
	life, held, err := os.Pipe()
	if err != nil {
		return err
	}
	defer held.Close()
	p.life = life
	p.server.ExtraFiles = []*os.File{held}
	if err := p.server.Start(); err != nil {
		return err
	}
	const guard = `read -r _; kill -9 "$1"; rm -rf "$2"`
	p.guard = exec.Command("sh", "-c", guard, "sh", strconv.Itoa(p.server.Process.Pid), dir)
	if p.guarded, err = p.guard.StdinPipe(); err != nil {
		return err
	}
	return p.guard.Start()
}

// kill ends guard and server, in this order, and waits for both.
func (p *process) kill() {
	for _, cmd := range []*exec.Cmd{p.guard, p.server} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Kill() // fails only on a process that is gone, which is what is wanted
			_ = cmd.Wait()
		}
	}
	if p.life != nil {
		_ = p.life.Close()
	}
}

// await returns once the server answers.
func (p *process) await(addr string) error {
	deadline := time.Now().Add(startWithin)
	for {
		err := ask(addr, p.server.Process.Pid)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within %v: %w", startWithin, err)
		}
		if err := p.life.SetReadDeadline(time.Now().Add(askEvery)); err != nil {
			return err
		}
		if _, err := p.life.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			return errors.New("ended by itself")
		}
	}
}

// ask asks whoever listens on addr for its process id. A server that wants a password is taken at its word.
func ask(addr string, pid int) error {
	conn, err := net.DialTimeout("tcp", addr, askWithin)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(askWithin)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\nINFO server\r\n"); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for first := true; lines.Scan(); first = false {
		line := lines.Text()
		switch id, found := strings.CutPrefix(line, "process_id:"); {
		case first && strings.HasPrefix(line, "-NOAUTH"):
			return nil
		case first && line != "+PONG":
			return errors.New(line)
		case found && id == strconv.Itoa(pid):
			return nil
		case found:
			return errors.New("another server has the port")
		}
	}
	return errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
