package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// redis runs Redis with the command of deploy/compose.yaml, but on a free port, and returns its
// address. If another process takes the port first, redis tries another port.
func redis(t *testing.T, args []string) string {
	t.Helper()
	for range 5 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		cmd := exec.Command(args[0], append(slices.Clone(args[1:]), "--bind", "127.0.0.1", "--port", port(t, address), "--dir", t.TempDir())...)
		var log output
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatalf("%v (make redis installs it)", err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
		for deadline := time.After(time.Minute); ; {
			select {
			case <-time.After(10 * time.Millisecond):
				if strings.Contains(log.String(), "Ready to accept connections") {
					return address
				}
				continue
			case <-ended:
			case <-deadline:
			}
			break
		}
		t.Logf("Redis at %s: %s", address, &log)
	}
	t.Fatal("Redis does not start")
	return ""
}

// do sends a command to Redis and returns the first line of the reply.
func do(t *testing.T, address, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\n", command)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestComposeGatewayRuns: the gateway's container runs from the image's layers with the arguments,
// environment variables and /tmp of compose.yaml, except for the addresses. It counts in the Redis
// of compose.yaml, and sends only spans to the collector.
func TestComposeGatewayRuns(t *testing.T) {
	services := composed(t).Services
	gateway := services["gateway"]
	counter := redis(t, services["redis"].Command)
	var mu sync.Mutex
	received := map[string]bool{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		received[r.URL.Path] = true
	}))
	t.Cleanup(collector.Close)
	args := slices.Clone(gateway.Command)
	for flag, value := range map[string]string{"--address": "127.0.0.1:0", "--admin-address": "127.0.0.1:0", "--redis": counter} {
		args[slices.Index(args, flag)+1] = value
	}
	var env []string
	for name, value := range gateway.Environment {
		env = append(env, name+"="+strings.Replace(*value, "http://collector:4318", collector.URL, 1))
	}
	if gateway.User != fmt.Sprintf("%d:%d", uid, uid) || !slices.Equal(gateway.Tmpfs, []string{"/tmp"}) {
		t.Fatalf("the user is %s, the tmpfs %q", gateway.User, gateway.Tmpfs)
	}
	root := unpacked(t)
	p := container{Root: root, Tmp: true, Args: args, Env: env}.start(t)
	api, admin := p.listening(t)
	p.await(t, "Redis is connected", func() bool {
		_, body := get(t, admin+"/readyz")
		return strings.Contains(body, `"redis":"ok","maxmemoryPolicy":"noeviction"`)
	})
	if code, body := get(t, api+"/v1/aspsps/"+bank+"/accounts", "X-API-Key", "sandbox-key", "Consent-ID", "GFiTpF3:EBy5xGqQMatk"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if n := do(t, counter, "DBSIZE"); n == ":0" {
		t.Error("the gateway has stored nothing in Redis")
	}
	p.stop(t) // sends the remaining spans
	mu.Lock()
	defer mu.Unlock()
	if !received["/v1/traces"] || len(received) != 1 {
		t.Errorf("the collector received %v", received)
	}
	if left, err := os.ReadDir(root + "/tmp"); err != nil || len(left) > 0 {
		t.Errorf("files are left in /tmp: %v, %v", left, err)
	}
}
