package main_test

import (
	"bufio"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }

// A process is a gateway that runs.
type process struct{ *gatewaytest.Program }

// start runs the program until the test ends.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return &process{gatewaytest.Start(t, env, args...)}
}

// serve runs the service with a configuration, and waits until it listens.
func serve(t *testing.T, config string, env ...string) *process {
	t.Helper()
	return &process{gatewaytest.Serve(t, config, env...)}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	gatewaytest.Eventually(t, what, holds)
}

func world(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	return gatewaytest.World(t, o)
}

func worldOn(t *testing.T, server *redistest.Server, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	return gatewaytest.WorldOn(t, server, o)
}

func call(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	return gatewaytest.Call(t, method, url, header...)
}

func configured(t *testing.T, w *sandbox.Sandbox, change func(text string) string) string {
	t.Helper()
	return gatewaytest.Configured(t, w, change)
}

func reconfigured(t *testing.T, w *sandbox.Sandbox, oldnew ...string) string {
	t.Helper()
	return gatewaytest.Reconfigured(t, w, oldnew...)
}

// residentMB is a process's memory as the system counts it.
func residentMB(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kb / 1024
		}
	}
	t.Fatal("the system does not say")
	return 0
}
