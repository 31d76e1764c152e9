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
	"time"

	"ais-gateway/internal/servertest"
)

const (
	startAttempts = 3                     // another program can take a free port before Redis does
	pingTimeout   = time.Second           // for one response of a server that starts
	pollInterval  = 10 * time.Millisecond // between two checks of a condition
)

// setup is the part of a server that stays the same when it is restarted.
type setup struct {
	dir       string      // of its data and its log
	config    string      // the path of the configuration file that it rewrites; empty for none
	args      []string    // further settings; of two that contradict, the later one holds
	cluster   bool        // a node of a cluster, which needs a second port
	tls       *tls.Config // of its clients, if it serves TLS only
	onStarted []any       // a command that is run after each start, because the server does not keep its effect
}

// command returns the arguments of redis-server.
func (s setup) command(host, port string) []string {
	var command []string
	if s.config != "" {
		command = append(command, s.config)
	}
	command = append(command, "--bind", host, "--dir", s.dir, "--save", "", "--appendonly", "no", "--enable-debug-command", "local")
	if s.tls != nil {
		command = append(command, "--port", "0", "--tls-port", port)
	} else {
		command = append(command, "--port", port)
	}
	return append(command, s.args...)
}

func (s setup) dial(addr string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: pingTimeout}
	if s.tls != nil {
		return tls.DialWithDialer(dialer, "tcp", addr, s.tls)
	}
	return dialer.Dial("tcp", addr)
}

// launchAnywhere starts a server on a free port and returns its address.
func launchAnywhere(s setup) (addr string, p *servertest.Process, err error) {
	for range startAttempts {
		if addr, err = freeAddr(s.cluster); err != nil {
			return "", nil, err
		}
		if p, err = launch(s, addr); err == nil {
			return addr, p, nil
		}
	}
	return "", nil, err
}

// launch starts a server and waits until it responds. The error contains the server's log.
func launch(s setup, addr string) (*servertest.Process, error) {
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
	cmd := exec.Command(path, s.command(host, port)...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := servertest.Run(cmd, s.dir)
	if err != nil {
		return nil, err
	}
	if err := p.AwaitReady(func() error { return ping(func() (net.Conn, error) { return s.dial(addr) }, p.Pid()) }); err != nil {
		text, _ := os.ReadFile(logPath)
		return nil, errors.Join(fmt.Errorf("redis-server: %w; its log:\n%s", err, text), p.Kill())
	}
	return p, nil
}

// ping returns an error unless a Redis server with the process id responds. The id of a server that
// requires a password is not checked.
func ping(dial func() (net.Conn, error), pid int) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(pingTimeout)); err != nil {
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

// await calls ready until it returns nil, and returns its last error if the timeout has passed.
func await(timeout time.Duration, ready func() error) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(pollInterval) {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", timeout, err)
		}
	}
}

// busOffset is the difference between the cluster bus port of a node and its own port, by default:
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
const busOffset = 10000

// freeAddr returns a loopback address on which no program listens, nor, with bus, on the bus port
// that belongs to it.
func freeAddr(bus bool) (string, error) {
	for {
		addr, err := servertest.FreeAddr()
		if err != nil || !bus || isFree(int(netip.MustParseAddrPort(addr).Port())+busOffset) {
			return addr, err
		}
	}
}

func isFree(port int) bool {
	if port > math.MaxUint16 {
		return false
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
