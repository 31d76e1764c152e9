package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ais-gateway/internal/servertest"
)

const (
	startWithin = time.Minute           // for a server to answer; it may have to load its data first
	askWithin   = time.Second           // for one answer of a server that starts
	askEvery    = 10 * time.Millisecond // while it starts
	endWithin   = 30 * time.Second      // for what a killed server forked to be gone as well
)

// A setup is what stays of a server over all its processes.
type setup struct {
	dir     string      // where it keeps its data and its log
	config  string      // the path of the configuration file that it writes, empty for none
	args    []string    // its other settings; of two that contradict the later holds
	cluster bool        // whether it is a node of a cluster, and so needs a second port
	secure  *tls.Config // what its clients need, where it speaks TLS alone
	told    []any       // a command that it is given whenever it starts, because it forgets it
}

// command is what follows redis-server.
func (s setup) command(host, port string) []string {
	var command []string
	if s.config != "" {
		command = append(command, s.config)
	}
	command = append(command, "--bind", host, "--dir", s.dir, "--save", "", "--appendonly", "no", "--enable-debug-command", "local")
	if s.secure != nil {
		command = append(command, "--port", "0", "--tls-port", port)
	} else {
		command = append(command, "--port", port)
	}
	return append(command, s.args...)
}

func (s setup) dial(addr string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: askWithin}
	if s.secure != nil {
		return tls.DialWithDialer(dialer, "tcp", addr, s.secure)
	}
	return dialer.Dial("tcp", addr)
}

// A process is a redis-server and its guard: a shell that ends the server and removes its directory when the
// test binary is gone, however it went. Nothing else would, after a panic or a timeout.
type process struct {
	server, guard *exec.Cmd
	guarded       io.WriteCloser // the guard acts when this is closed
	life          *os.File       // is at its end once the server is gone
}

// launchAnywhere starts a server on a free port. Somebody else may take the port before Redis does, so it
// tries thrice.
func launchAnywhere(s setup) (addr string, p *process, err error) {
	for range 3 {
		if addr, err = freeAddr(s.cluster); err != nil {
			return "", nil, err
		}
		if p, err = launch(s, addr); err == nil {
			return addr, p, nil
		}
	}
	return "", nil, err
}

func launch(s setup, addr string) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not on the PATH; `make redis` installs it")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(s.dir, "redis.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := exec.Command(path, s.command(host, port)...)
	server.Stdout, server.Stderr = log, log
	p := &process{server: server}
	if err := p.start(s.dir); err != nil {
		p.kill()
		return nil, err
	}
	if err := p.await(func() (net.Conn, error) { return s.dial(addr) }); err != nil {
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
	p.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it forks to write its data ends with it
	if err := p.server.Start(); err != nil {
		return err
	}
	const guard = `read -r _; kill -9 "-$1"; rm -rf "$2"`
	p.guard = exec.Command("sh", "-c", guard, "sh", strconv.Itoa(p.server.Process.Pid), dir)
	p.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for the guard
	if p.guarded, err = p.guard.StdinPipe(); err != nil {
		return err
	}
	return p.guard.Start()
}

// kill ends the guard, then the server with all that it forked, and waits for them.
func (p *process) kill() {
	for _, cmd := range []*exec.Cmd{p.guard, p.server} {
		if cmd != nil && cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails only on what is gone, which is what is wanted
			_ = cmd.Wait()
		}
	}
	if p.life != nil {
		_ = p.life.SetReadDeadline(time.Now().Add(endWithin))
		_, _ = p.life.Read(make([]byte, 1))
		_ = p.life.Close()
	}
}

// await returns once the server answers.
func (p *process) await(dial func() (net.Conn, error)) error {
	deadline := time.Now().Add(startWithin)
	for {
		err := ask(dial, p.server.Process.Pid)
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

// ask asks whoever listens there for its process id. A server that wants a password is taken at its word.
func ask(dial func() (net.Conn, error), pid int) error {
	conn, err := dial()
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

// await asks again and again until ready finds nothing amiss, and returns what it found last if that takes longer
// than within.
func await(within time.Duration, ready func() error) error {
	for deadline := time.Now().Add(within); ; time.Sleep(askEvery) {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", within, err)
		}
	}
}

// busOffset is how far the port on which a node of a cluster talks to the others stands above its own, unless it is
// told otherwise: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
const busOffset = 10000

// freeAddr is a loopback address on which nobody listens, nor on the bus port that belongs to it.
func freeAddr(bus bool) (string, error) {
	for {
		addr, err := servertest.FreeAddr()
		if err != nil || !bus || busIsFree(int(netip.MustParseAddrPort(addr).Port())+busOffset) {
			return addr, err
		}
	}
}

func busIsFree(port int) bool {
	if port > math.MaxUint16 {
		return false
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
