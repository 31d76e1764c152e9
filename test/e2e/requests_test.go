package e2e_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/sandbox"
)

func TestAllowPrivateIP(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.EditConfig(t, w, func(text string) string { return text + "psu: {allowPrivateIP: true}\n" })
	for config, want := range map[string]int{w.ConfigFile: http.StatusBadRequest, file: http.StatusOK} {
		p := gatewaytest.Serve(t, config)
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "PSU-IP-Address", "10.0.0.1")
		if resp.StatusCode != want {
			t.Errorf("%d, want %d\n%s", resp.StatusCode, want, body)
		}
	}
}

func TestBreakerIsReported(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	for range 6 {
		gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.ConsentUnavailable, "PSU-IP-Address", "203.0.113.7")
	}
	_, body := gatewaytest.Call(t, http.MethodGet, p.API+wood)
	if !strings.Contains(body, `"breaker":{"state":"open"}`) {
		t.Errorf("%s", body)
	}
	_, metrics := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	if !regexp.MustCompile(`ais_breaker_transitions_total\{[^}]*` + mastercardsim.WoodBank + `[^}]*\} 1`).MatchString(metrics) {
		t.Error("the transition is not counted")
	}
}

// Connections of callers that are slow, or send a header that is too large, are closed. Their
// addresses and bytes are not logged.
func TestSlowAndOversizedCallers(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.API, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		return conn
	}
	slow := dial()
	_, _ = io.WriteString(slow, "GET /v1/aspsps HTTP/1.1\r\nHost: a\r\nX-A: ")
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("a caller that never ends the header is not disconnected: %v", err)
	}
	large := dial()
	_, _ = io.WriteString(large, "GET /v1/aspsps HTTP/1.1\r\nHost: a\r\nX-A: "+strings.Repeat("a", 48<<10)+"\r\n\r\n")
	answer, _ := io.ReadAll(large)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431") {
		t.Errorf("%.60q", answer)
	}
	broken := dial()
	_, _ = io.WriteString(broken, "CANARY-METHOD\r\n\r\n")
	_, _ = io.ReadAll(broken)
	p.Terminate()
	p.Wait()
	if out := p.Stdout.String(); strings.Contains(out, "127.0.0.1:"+port(slow)) || strings.Contains(out, "CANARY") {
		t.Errorf("the log has addresses or bytes of callers\n%s", out)
	}
}

func port(c net.Conn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

// With an embedded Redis, no other setting of Redis or the cache is required.
func TestEmbeddedNeedsNoKey(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, gatewaytest.EditConfig(t, w, func(text string) string {
		return regexp.MustCompile(`(?m)^(redis|cache): .*$`).ReplaceAllString(text, "") + "redis: {mode: embedded}\n"
	}))
	consent, stored := "", false
	for range 10 { // on a busy machine Redis may be too slow to store a list: try again with another consent
		consent = mastercardsim.FreshConsent + uuid.NewString()
		resp, _ := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", consent)
		if stored = resp.Header.Get("Cache-Status") == "ais-gateway; fwd=miss; stored"; stored {
			break
		}
	}
	if !stored {
		t.Error("no list is stored")
	}
	for _, want := range []string{`ais-gateway; hit; ttl=\d+`} {
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", consent)
		if got := resp.Header.Get("Cache-Status"); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%q, want %q\n%s", got, want, body)
		}
	}
}

// Each line of the log is a JSON object, and each request has one line.
func TestLog(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", "Consent-ID", mastercardsim.Consent, "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	gatewaytest.Call(t, http.MethodGet, p.API+"/nowhere")
	p.Terminate()
	p.Wait()
	requests := 0
	for line := range strings.Lines(p.Stdout.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("not JSON: %s", line)
		}
		if l["msg"] == "request" {
			requests++
			if l["route"] == "/v1/aspsps/{aspspId}/accounts" && (l["trace_id"] != trace || l["client"] != "sandbox") {
				t.Errorf("%s", line)
			}
		}
	}
	if requests != 2 {
		t.Errorf("%d lines for 2 requests\n%s", requests, p.Stdout.String())
	}
}
