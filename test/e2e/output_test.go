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

// piped is a gateway whose standard output is a pipe, read up to the line that says where it listens.
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

// withLongName is a configuration whose client has a name of 30 KB, so that few requests fill a queue of log lines.
func withLongName(t *testing.T, w *sandbox.Sandbox, more string) string {
	t.Helper()
	return gatewaytest.EditConfig(t, w, func(text string) string {
		return strings.Replace(text, "{name: sandbox,", "{name: "+strings.Repeat("n", 30_000)+",", 1) + more
	})
}

// enough is how many requests of that client no pipe and no queue has room for: 4 MiB and 2 KiB for each of 1000 in progress.
const enough = 300

// What reads the log may stop reading: requests, probes and the end go on without it, and what is lost is counted.
func TestOutputThatIsNotRead(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, withLongName(t, w, ""))
	for i := range enough {
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

// When the log is read again, it goes on, and says what is missing.
func TestOutputThatIsReadLate(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, withLongName(t, w, ""))
	for range enough {
		gatewaytest.Call(t, http.MethodGet, p.API+"/v1/aspsps")
	}
	kept, told := 0, false
	go func() { // ends with what the gateway writes
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
			t.Errorf("no JSON: %.100s", line)
		}
		if strings.Contains(line, `"record":"audit"`) {
			kept++
		}
		told = told || strings.Contains(line, `"msg":"audit records written again","lost":`)
	}
	if !told || kept == 0 || kept >= enough+10 {
		t.Errorf("%d records, told of the gap: %t", kept, told)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// With whenFull: refuse no request is served whose record could be lost, and each that is served has one.
func TestRefuseWithoutAudit(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := servePiped(t, withLongName(t, w, "audit: {whenFull: refuse}\n"))
	served, refused := 0, 0
	for range enough {
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
		t.Error("the metrics do not tell refusals from losses")
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

// Whoever reads the log may end: the gateway does not end with it.
func TestOutputThatIsClosed(t *testing.T) {
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

// A request has one line where audit records go to the log, and two where they go elsewhere; the record is kept whatever
// the log's level is.
func TestLinesOfARequest(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := filepath.Join(t.TempDir(), "audit.log")
	for _, tt := range []struct {
		name, config     string
		lines, requested int // of standard output: with the request's id, and those of msg request
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
				t.Error("the consent's hash is in the log of a gateway whose records are elsewhere, or in none")
			}
		})
	}
}
