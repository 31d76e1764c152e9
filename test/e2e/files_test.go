package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// limitFiles sets the limit of open files of a running process.
func limitFiles(t *testing.T, pid int, most uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = min(most, limit.Max)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
}

// nextFile returns the number that the next open file of a process gets. With this limit the
// process can open no more.
func nextFile(t *testing.T, pid int) uint64 {
	t.Helper()
	for n := uint64(0); ; n++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, n)); err != nil {
			return n
		}
	}
}

// A gateway that cannot open files logs and counts that, refuses calls with OVERLOADED, and works
// again when it can open files.
func TestOutOfFiles(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	read := func() (int, string) {
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps/"+mastercardsim.WoodBank+"/accounts",
			"Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "203.0.113.7", "Cache-Control", "no-cache")
		return resp.StatusCode, body
	}
	counted := func(labels string) int {
		_, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
		for line := range strings.Lines(body) {
			if n, found := strings.CutPrefix(line, "ais_overload_refusals_total{"+labels+"} "); found {
				count, err := strconv.Atoi(strings.TrimSpace(n))
				if err != nil {
					t.Fatal(err)
				}
				return count
			}
		}
		return -1
	}
	// This opens connections to both ports, which are used again below. There is no connection to
	// the bank yet.
	gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps")
	const calls, callers = `ais_aspsp_id="` + mastercardsim.WoodBank + `",reason="files"`, `reason="files"`
	if counted(calls) != 0 || counted(callers) != 0 {
		t.Fatalf("%d and %d at first", counted(calls), counted(callers))
	}
	var body string
	gatewaytest.Eventually(t, "a call gets no file", func() bool {
		limitFiles(t, p.Pid(), nextFile(t, p.Pid()))
		var status int
		status, body = read()
		return status == http.StatusServiceUnavailable
	})
	if !strings.Contains(body, `"code":"OVERLOADED"`) || !strings.Contains(body, `"origin":"gateway"`) {
		t.Errorf("got %s", body)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	gatewaytest.Eventually(t, "a caller's connection gets no file", func() bool { return counted(callers) > 0 })
	if counted(calls) < 1 {
		t.Error("the call is not counted")
	}
	limitFiles(t, p.Pid(), 1<<20)
	if status, body := read(); status != http.StatusOK {
		t.Errorf("afterwards: %d %s", status, body)
	}
	gatewaytest.Eventually(t, "the lack of files is logged", func() bool {
		return len(records(p.Stdout.String(), func(r record) bool { return r.Msg == "too many open files" })) > 0
	})
	others := records(p.Stdout.String(), func(r record) bool { return strings.Contains(r.Msg, "connection failed") })
	if len(others) != 0 {
		t.Errorf("the log has %d lines about other causes", len(others))
	}
}
