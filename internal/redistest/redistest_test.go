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
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// call sends one inline command and returns the first line of the answer.
func call(t *testing.T, addr, command string) (string, error) {
	t.Helper()
	return callWithin(t, addr, command, startTimeout)
}

func callWithin(t *testing.T, addr, command string, within time.Duration) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, startTimeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

const startTimeout = time.Minute

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
	if got, err := callWithin(t, addr, "PING", 300*time.Millisecond); err == nil { // however long: it cannot answer
		t.Fatalf("a paused server responds with %q", got)
	}
	s.Resume()
	want(t, addr, "PING", "+PONG")

	s.Stop()
	if got, err := call(t, addr, "PING"); err == nil {
		t.Fatalf("a stopped server responds with %q", got)
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

// TestDurability shows what a crash leaves of an answered write.
func TestDurability(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		left int64
	}{
		{name: "nothing is written down", args: nil, left: 0},
		{name: "every write is", args: []string{"--appendonly", "yes", "--appendfsync", "always"}, left: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Start(t, c.args...)
			says(t, s, "OK", "SET", "k", "v")
			s.Stop()
			s.Restart()
			if n, err := s.Do("EXISTS", "k").Int64(); err != nil || n != c.left {
				t.Errorf("%d keys, %v, want %d", n, err, c.left)
			}
		})
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	says(t, s, "OK", "SET", "first", "v")
	says(t, s, "OK", "SET", "last", "v")
	s.Stop()
	files, err := filepath.Glob(filepath.Join(s.Dir(), "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatalf("append-only files %v, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()-1); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	says(t, s, "v", "GET", "first")
	if err := s.Do("GET", "last").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("what was cut off is answered with %v", err)
	}
}

// TestRestartAwaitsData lets a server load slowly, and answer meanwhile.
func TestRestartAwaitsData(t *testing.T) {
	t.Parallel()
	const keys = 5000
	s := Start(t, "--appendonly", "yes", "--key-load-delay", "100")
	if err := s.Do("EVAL", "for i = 1, ARGV[1] do redis.call('SET', i, i) end", 0, keys).Err(); !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	s.Restart()
	if n, err := s.Do("DBSIZE").Int(); err != nil || n != keys {
		t.Errorf("%d keys, %v, want %d", n, err, keys)
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := Start(t)
	says(t, s, "OK", "CONFIG", "SET", "maxmemory", "1mb")
	says(t, s, "OK", "SCRIPT", "FLUSH")
	says(t, s, "OK", "DEBUG", "SLEEP", 0.01)
	if got, err := s.Do("INFO", "memory").Text(); err != nil || !strings.Contains(got, "maxmemory:1048576\r\n") {
		t.Errorf("got %q, %v", got, err)
	}
	for range 2 {
		s.Do("GET", "none")
	}
	if n := s.Calls("get"); n != 2 || s.Calls("set") != 0 || s.UsedMemory() < 100_000 {
		t.Errorf("%d calls of get, %d of set, %d bytes used", n, s.Calls("set"), s.UsedMemory())
	}
	if err := s.Do("CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
		t.Error(err)
	}
	if err := s.Do("NONSENSE").Err(); !redis.HasErrorPrefix(err, "unknown command") {
		t.Errorf("Redis's own error is %v", err)
	}
	if err := s.Do("GET", "none").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("a missing key is %v", err)
	}
	s.Stop()
	failing := &failingTB{TB: t}
	broken := *s
	broken.t = failing
	done := make(chan struct{})
	go func() {
		defer close(done)
		broken.Do("PING")
	}()
	<-done
	if !strings.Contains(failing.said, "PING") {
		t.Errorf("a command to a stopped server ends with %q", failing.said)
	}
}

// A failingTB takes the failure of a test upon itself.
type failingTB struct {
	testing.TB
	said string
}

func (f *failingTB) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestStopEndsChildren stops a server while a child process of it saves the data.
func TestStopEndsChildren(t *testing.T) {
	t.Parallel()
	s := Start(t, "--rdb-key-save-delay", "1000000")
	says(t, s, "OK", "DEBUG", "POPULATE", 100)
	if err := s.Do("BGSAVE").Err(); err != nil {
		t.Fatal(err)
	}
	s.Stop() // fails the test if the child does not end
}

func TestServerWithPassword(t *testing.T) {
	s := Start(t, "--requirepass", "p")
	want(t, s.Addr, "PING", "-NOAUTH Authentication required.")
	if err := s.Do("PING").Err(); !redis.HasErrorPrefix(err, "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}

func TestStartReportsWhatRedisSays(t *testing.T) {
	_, err := launch(setup{dir: t.TempDir(), args: []string{"--no-such-setting", "1"}}, "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Fatalf("got %v, want the setting named", err)
	}
	if strings.Contains(err.Error(), "not ready within") {
		t.Fatalf("it is not seen that the server has ended: %v", err)
	}
}

func TestForeignServerOnPort(t *testing.T) {
	s := Start(t)
	dial := func() (net.Conn, error) { return s.setup.dial(s.Addr) }
	if err := ping(dial, s.process.Pid()); err != nil {
		t.Fatal(err)
	}
	if err := ping(dial, os.Getpid()); err == nil {
		t.Fatal("a server of another process is taken for one's own")
	}
}

func TestMissingServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, _, err := launchAnywhere(setup{dir: t.TempDir()})
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
		sentinels, cluster := StartSentinel(t), StartCluster(t)
		addrs := slices.Concat([]string{Start(t).Addr, Shared(t)}, sentinels.Addrs, cluster.Addrs)
		for _, server := range sentinels.data {
			addrs = append(addrs, server.Addr)
		}
		_, _ = io.WriteString(os.Stdout, strings.Join(addrs, " ")+"\n")
		time.Sleep(time.Hour)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestGuard$")
	child.Env = append(os.Environ(), "REDISTEST_CHILD=1", "TMPDIR="+t.TempDir())
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
	if want := 2 + sentinels + nodes + 1 + replicas; len(addrs) != want {
		t.Fatalf("%d servers, want %d", len(addrs), want)
	}
	for _, addr := range addrs {
		want(t, addr, "PING", "+PONG")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed, and says so
	for _, addr := range addrs {
		for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
			if _, err := call(t, addr, "PING"); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the server on %s outlives its test binary", addr)
			}
		}
	}
}
