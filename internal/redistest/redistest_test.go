package redistest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// call sends one inline command and returns the first line of the answer.
func call(t *testing.T, addr, command string) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func want(t *testing.T, addr, command, answer string) {
	t.Helper()
	if got, err := call(t, addr, command); err != nil || got != answer {
		t.Fatalf("%s: got %q, %v, want %q", command, got, err, answer)
	}
}

func TestServer(t *testing.T) {
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	addr := s.Addr
	want(t, addr, "SET k v", "+OK")

	s.Pause()
	if got, err := call(t, addr, "PING"); err == nil {
		t.Fatalf("a paused server answers %q", got)
	}
	s.Resume()
	want(t, addr, "PING", "+PONG")

	s.Stop()
	if got, err := call(t, addr, "PING"); err == nil {
		t.Fatalf("a stopped server answers %q", got)
	}
	s.Stop()

	s.Restart()
	if s.Addr != addr {
		t.Fatalf("restarted on %s, want %s", s.Addr, addr)
	}
	want(t, addr, "GET k", "$1") // the bytes that follow are the value's: its directory was kept

	s.Restart()
	want(t, addr, "EXISTS k", ":1")

	s.Pause() // the cleanup must end a paused server too
}

func TestServerWithPassword(t *testing.T) {
	s := Start(t, "--requirepass", "p")
	want(t, s.Addr, "PING", "-NOAUTH Authentication required.")
}

func TestStartReportsWhatRedisSays(t *testing.T) {
	began := time.Now()
	_, err := launch(t.TempDir(), "127.0.0.1:0", []string{"--no-such-setting", "1"})
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Fatalf("got %v, want the setting named", err)
	}
	if took := time.Since(began); took > startWithin/2 {
		t.Fatalf("took %v to see that the server had ended", took)
	}
}

func TestForeignServerOnPort(t *testing.T) {
	s := Start(t)
	if err := ask(s.Addr, s.run.server.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := ask(s.Addr, os.Getpid()); err == nil {
		t.Fatal("a server of another process is taken for one's own")
	}
}

func TestMissingServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, _, err := launchAnywhere(t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "make redis") {
		t.Fatalf("got %v, want the target that installs Redis", err)
	}
}

func TestShared(t *testing.T) {
	addr := Shared(t)
	want(t, addr, "PING", "+PONG")
	if again := Shared(t); again != addr {
		t.Fatalf("got a second server on %s beside %s", again, addr)
	}
}

// TestGuard runs a test binary that is killed, and sees its servers go.
func TestGuard(t *testing.T) {
	if os.Getenv("REDISTEST_CHILD") != "" {
		s := Start(t)
		_, _ = io.WriteString(os.Stdout, s.Addr+" "+Shared(t)+"\n")
		time.Sleep(time.Minute)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestGuard$")
	child.Env = append(os.Environ(), "REDISTEST_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addrs := strings.Fields(line)
	for _, addr := range addrs {
		want(t, addr, "PING", "+PONG")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed, and says so
	for _, addr := range addrs {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if _, err := call(t, addr, "PING"); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the server on %s outlives its test binary", addr)
			}
		}
	}
}
