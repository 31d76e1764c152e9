package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// A setting is a variable with an invalid value, which must not be logged.
type setting struct{ name, value string }

func (s setting) String() string { return s.name + "=" + s.value }

// linesNaming returns the lines of a log that name a variable.
func linesNaming(t *testing.T, log, name string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(log) {
		var l struct{ Setting, Cause string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("not JSON: %s", line)
		}
		if l.Setting == name || slices.Contains(strings.FieldsFunc(l.Cause, func(r rune) bool { return r == ' ' || r == ';' }), name) {
			lines = append(lines, line)
		}
	}
	return lines
}

// An invalid variable whose default may be used is logged in one line, and the gateway serves.
func TestInvalidTelemetrySettings(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	settings := []setting{
		{"OTEL_BSP_SCHEDULE_DELAY", "5s"},
		{"OTEL_BSP_EXPORT_TIMEOUT", "30sec"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-512"},
		{"OTEL_BLRP_SCHEDULE_DELAY", "1m"},
		{"OTEL_BLRP_MAX_QUEUE_SIZE", "2k"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "60sec"},
		{"OTEL_METRIC_EXPORT_TIMEOUT", "-30000"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10sec"},
		{"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"},
		{"OTEL_PROPAGATORS", "tracecontext,w3c"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "low_memory"},
		{"OTEL_METRICS_EXEMPLAR_FILTER", "with_sampled_trace"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "unlimited"},
		{"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "limitless"},
		{"OTEL_SDK_DISABLE", "canary-true"},
		{"OTEL_LOG_LEVEL", "canary-debug"}, // no library reads these two
	}
	collector := httptest.NewServer(http.NotFoundHandler())
	defer collector.Close()
	env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL}
	for _, s := range settings {
		env = append(env, s.String())
	}
	p := gatewaytest.Serve(t, w.ConfigFile, env...)
	p.Terminate()
	p.Wait()
	log := p.Stdout.String()
	for _, s := range settings {
		if lines := linesNaming(t, log, s.name); len(lines) != 1 || strings.Contains(lines[0], `:"`+s.value) || strings.Contains(lines[0], s.value+`"`) {
			t.Errorf("%s: lines %v, want one without the value", s, lines)
		}
	}
	if strings.Contains(log, `"setting":"parse`) {
		t.Errorf("a line without the name of a variable:\n%s", log)
	}
}

// An invalid variable that decides whether and where data is exported prevents the start.
func TestTelemetrySettingsThatPreventTheStart(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	settings := []setting{
		{"OTEL_SDK_DISABLED", "maybe"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "canary-host:4318"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"},
		{"OTEL_TRACES_EXPORTER", "canary-jaeger"},
		{"OTEL_TRACES_SAMPLER", "allways_off"},
		{"OTEL_TRACES_SAMPLER_ARG", "1.7"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "canary-key"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "flase"},
		{"OTEL_RESOURCE_ATTRIBUTES", "canary-pod"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/canary/ca.pem"},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/canary/key.pem"},
	}
	var all []string
	for _, s := range settings {
		all = append(all, s.String())
	}
	p := gatewaytest.Start(t, all, "serve", "--config", w.ConfigFile)
	code, log := p.Wait(), p.Stdout.String()
	if code != 1 || strings.Contains(log, "serving") || p.Stderr.String() != "" {
		t.Errorf("exit %d:\n%s%s", code, log, p.Stderr.String())
	}
	for _, s := range settings {
		if lines := linesNaming(t, log, s.name); len(lines) != 1 || strings.Count(log, s.name+" must be ") != 1 || strings.Contains(log, s.value) {
			t.Errorf("%s: lines %v, want one without the value", s, lines)
		}
	}
	// If telemetry is disabled, the others are only logged.
	p = gatewaytest.Serve(t, w.ConfigFile, append(all, "OTEL_SDK_DISABLED=true")...)
	p.Terminate()
	p.Wait()
	for _, s := range settings[1:] {
		if lines := linesNaming(t, p.Stdout.String(), s.name); len(lines) != 1 || !strings.Contains(lines[0], "invalid telemetry setting") {
			t.Errorf("disabled, %s: lines %v, want one", s, lines)
		}
	}
}

// Disabled telemetry exports nothing, in every accepted spelling.
func TestTelemetryDisabled(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	for _, tt := range []struct {
		value string
		sends bool
	}{{"yes", false}, {"1", false}, {" On ", false}, {"no", true}, {"", true}} {
		t.Run(tt.value, func(t *testing.T) {
			var calls atomic.Int64
			collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { calls.Add(1) }))
			defer collector.Close()
			p := gatewaytest.Serve(t, w.ConfigFile, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_SDK_DISABLED="+tt.value)
			p.Terminate()
			p.Wait()
			if sent := calls.Load() > 0; sent != tt.sends {
				t.Errorf("sent: %v, want %v", sent, tt.sends)
			}
			if lines := linesNaming(t, p.Stdout.String(), "OTEL_SDK_DISABLED"); len(lines) > 0 {
				t.Errorf("a valid value is logged: %v", lines)
			}
		})
	}
}
