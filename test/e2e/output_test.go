package e2e_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

// piped is a gateway whose standard output is a pipe. The pipe has been read up to the line with
// the addresses.
type piped struct {
	*gatewaytest.Process
	out  *bufio.Reader
	pipe *os.File
}

func servePiped(t *testing.T, config string) *piped {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	cmd := exec.Command(gatewaytest.Binary(), "serve", "--config", config)
	cmd.Stdout = write
	p := &piped{gatewaytest.Run(t, cmd), bufio.NewReader(read), read}
	_ = write.Close()
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if p.SetAddresses(line) {
			return p
		}
	}
}

// withLongName returns a configuration whose client has a name of 30 KB, so that few requests fill
// the queue of log lines.
func withLongName(t *testing.T, w *sandbox.Sandbox, more string) string {
	t.Helper()
	return gatewaytest.EditConfig(t, w, func(text string) string {
		return strings.Replace(text, "{name: sandbox,", "{name: "+strings.Repeat("n", 30_000)+",", 1) + more
	})
}

// overflow is a number of requests of that client that fills the pipe and the queue, which has 4
// MiB and 2 KiB for each of 1000 requests in flight.
const overflow = 300

// If the log is not read, requests and probes are served, the process ends as usual, and lost lines
// are counted.
func TestOutputNotRead(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, withLongName(t, w, ""))
	for i := range overflow {
		if resp, body := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps"); resp.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, resp.StatusCode, body)
		}
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "log lines cannot be written") && !strings.Contains(body, "audit records cannot be written") {
		t.Errorf("readyz: %d %s", resp.StatusCode, body)
	}
	_, body = gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	if !strings.Contains(body, "\nais_audit_failures_total ") || strings.Contains(body, "\nais_audit_failures_total 0\n") {
		t.Error("no record is counted as lost")
	}
	p.Terminate()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// When the log is read again, lines are written again, with the number of lost records.
func TestOutputReadLate(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, withLongName(t, w, ""))
	for range overflow {
		gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps")
	}
	kept, reported := 0, false
	go func() { // ends when the process ends
		for range 10 {
			gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps")
		}
		p.Terminate()
	}()
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			break
		}
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %.100s", line)
		}
		if strings.Contains(line, `"record":"audit"`) {
			kept++
		}
		reported = reported || strings.Contains(line, `"msg":"audit records written again","lost":`)
	}
	if !reported || kept == 0 || kept >= overflow+10 {
		t.Errorf("%d records, the gap is reported: %t", kept, reported)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// With whenFull: refuse, every request that is served has a record, and requests without space for
// a record are refused.
func TestRefuseWithoutAudit(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, withLongName(t, w, "audit: {whenFull: refuse}\n"))
	served, refused := 0, 0
	for range overflow {
		switch resp, body := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps"); {
		case resp.StatusCode == http.StatusOK:
			served++
		case resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(body, "OVERLOADED"):
			refused++
		default:
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	if served == 0 || refused == 0 {
		t.Fatalf("%d served, %d refused", served, refused)
	}
	_, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	if !strings.Contains(body, "\nais_audit_failures_total 0\n") || strings.Contains(body, "ais_overload_refusals_total{reason=\"audit\"} 0\n") {
		t.Error("the metrics have losses or no refusals")
	}
	p.Terminate()
	kept := 0
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			break
		}
		if strings.Contains(line, `"record":"audit"`) && strings.Contains(line, `"status":200`) {
			kept++
		}
	}
	if kept != served {
		t.Errorf("%d records of %d requests that were served", kept, served)
	}
}

// The gateway continues if the reader of its log ends.
func TestOutputClosed(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, w.ConfigFile)
	if err := p.pipe.Close(); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the loss is reported", func() bool {
		if resp, body := gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps"); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		_, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
		return strings.Contains(body, "cannot be written")
	})
	p.Terminate()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A request has one log line: its audit record if these go to standard output, and a line without
// the hash of the consent if they go elsewhere.
func TestLinesOfARequest(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := filepath.Join(t.TempDir(), "audit.log")
	for _, tt := range []struct {
		name, config     string
		lines, requested int // on standard output: with the request id, and with msg request
		recorded         func(p *gatewaytest.Process) string
	}{
		{"in the log", "audit: {output: stdout}\n", 1, 2, func(p *gatewaytest.Process) string { return p.Stdout.String() }},
		{"in a file", "audit: {output: file, file: '" + file + "'}\n", 1, 2, func(*gatewaytest.Process) string { text, _ := os.ReadFile(file); return string(text) }},
		{"on standard error", "audit: {output: stderr}\n", 1, 2, func(p *gatewaytest.Process) string { return p.Stderr.String() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, id := gatewaytest.Serve(t, gatewaytest.EditConfig(t, w, func(text string) string { return text + tt.config })), uuid.NewString()
			gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "X-Request-ID", id)
			gatewaytest.Call(t, http.MethodGet, p.API+"/nowhere")
			p.Terminate()
			p.Wait()
			if n := strings.Count(p.Stdout.String(), id); n != tt.lines {
				t.Errorf("%d lines of the request, want %d", n, tt.lines)
			}
			if n := strings.Count(p.Stdout.String(), `"msg":"request"`); n != tt.requested {
				t.Errorf("%d lines of requests, want %d", n, tt.requested)
			}
			if strings.Contains(p.Stdout.String(), `:""`) || strings.Contains(p.Stdout.String(), `:null`) {
				t.Errorf("empty members:\n%s", p.Stdout.String())
			}
			kept := records(tt.recorded(p), func(r record) bool { return r.Record == "audit" && r.RequestID == id })
			if len(kept) != 1 || kept[0].ConsentHash == "" || kept[0].Client != "sandbox" || kept[0].IdentifiedBy != "api_key" {
				t.Errorf("records: %+v", kept)
			}
			if strings.Contains(p.Stdout.String(), "consent_hash") != (tt.name == "in the log") {
				t.Error("the log has the consent's hash although records go elsewhere, or does not have it")
			}
		})
	}
}
