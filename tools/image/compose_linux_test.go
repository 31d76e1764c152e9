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

// redis runs Redis as deploy/compose.yaml does, but at a free port, and returns where. The port may
// be taken in between: then another is tried.
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
		var said output
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatalf("%v (make redis installs it)", err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
		for deadline := time.After(time.Minute); ; {
			select {
			case <-time.After(10 * time.Millisecond):
				if strings.Contains(said.String(), "Ready to accept connections") {
					return address
				}
				continue
			case <-ended:
			case <-deadline:
			}
			break
		}
		t.Logf("Redis at %s: %s", address, &said)
	}
	t.Fatal("Redis does not start")
	return ""
}

// asked is what Redis answers to a command, in one line.
func asked(t *testing.T, address, what string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\n", what)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestComposeGatewayRuns: the gateway's container, from the image's layers, with the arguments, the
// variables and the /tmp that compose.yaml gives it, but for the addresses: it counts in the Redis
// of compose.yaml, and sends its spans, and nothing else, to the collector.
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
		t.Fatalf("as %s with %q", gateway.User, gateway.Tmpfs)
	}
	root := unpacked(t)
	p := container{Root: root, Tmp: true, Args: args, Env: env}.start(t)
	api, admin := p.listening(t)
	p.await(t, "Redis is known", func() bool {
		_, body := get(t, admin+"/readyz")
		return strings.Contains(body, `"redis":"ok","maxmemoryPolicy":"noeviction"`)
	})
	if code, body := get(t, api+"/v1/aspsps/"+bank+"/accounts", "X-API-Key", "sandbox-key", "Consent-ID", "GFiTpF3:EBy5xGqQMatk"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if n := asked(t, counter, "DBSIZE"); n == ":0" {
		t.Error("nothing was counted")
	}
	p.stop(t) // which sends what is left
	mu.Lock()
	defer mu.Unlock()
	if !received["/v1/traces"] || len(received) != 1 {
		t.Errorf("the collector was sent %v", received)
	}
	if left, err := os.ReadDir(root + "/tmp"); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
