package telemetry

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/store"
)

// kept is an in-memory exporter that keeps its spans after Shutdown.
type kept struct{ *tracetest.InMemoryExporter }

func (kept) Shutdown(context.Context) error { return nil }

var _ trace.SpanExporter = kept{}

// collector is an OTLP receiver over HTTP that keeps the requests.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	posts  map[string]int
	bodies bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{posts: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.posts[r.URL.Path]++
		c.bodies.Write(body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// signals returns the paths that received requests.
func (c *collector) signals() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := map[string]bool{}
	for path, n := range c.posts {
		got[path] = n > 0
	}
	return got
}

func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bodies.String()
}

// work records a value of every metric, a span of each kind and a log line.
func work(t *testing.T, tel *Telemetry) {
	t.Helper()
	tel.AllowTemplates(templates...)
	tel.ObserveAudit(func() (bool, int64) { return true, 0 })
	tel.ObserveLog(func() int64 { return 0 })
	ctx, end := tel.Request(t.Context(), "GET", hostile())
	callCtx, called := tel.Call(ctx, providerCall)
	tel.Logger().InfoContext(callCtx, "done")
	called(200, "")
	tel.Slot(ctx, bank, "taken")
	tel.Breaker(bank, "open")
	tel.Reload(ctx, "cache", false)
	tel.ObserveStale(func() map[string]bool { return map[string]bool{"cache": true} })
	tel.Refused(ctx, bank, "aspsp")
	tel.countRead(ctx, event.Request{ASPSP: bank, Read: true, Attended: &no, Status: 200, Slots: 1})
	tel.Redis(store.Health{State: store.Usable})
	tel.Command(ctx, "EVALSHA", "noscript", time.Millisecond)
	tel.ObserveCertificates(func() map[string]time.Time { return map[string]time.Time{"cache": time.Unix(1_800_000_000, 0)} })
	tel.ObserveUnits(func(context.Context) map[string]map[string]int64 {
		return map[string]map[string]int64{bank: {"used_up": 1}}
	})
	tel.ObserveBreakers(func() []gateway.ASPSPInfo { return []gateway.ASPSPInfo{{ID: bank, Breaker: breaker.Open}} })
	end(event.Request{
		Route: "/v1/aspsps/{aspspId}/accounts", Method: "GET", Status: 200, ASPSP: bank, Provider: "mypos",
		Client: canary, Attended: &yes, Cache: "miss", Duration: 20 * time.Millisecond,
	})
}

// hostile returns headers whose values, except the trace ids, must not be recorded.
func hostile() http.Header {
	return http.Header{
		"Traceparent":            {parent},
		"Tracestate":             {"vendor=" + canary},
		"Baggage":                {"user=" + canary},
		"Authorization":          {"Bearer " + canary},
		"X-Api-Key":              {canary},
		"Consent-Id":             {canary},
		"Provider-Authorization": {"Bearer " + canary},
		"Psu-Ip-Address":         {canary},
		"User-Agent":             {canary},
		"Forwarded":              {"for=" + canary},
		"X-Forwarded-For":        {canary},
		"X-Request-Id":           {canary},
	}
}

var providerCall = upstream.Call{
	Provider: "mypos", ASPSP: bank, Method: "GET", Route: "/v1/accounts/{accountNumber}/balances",
	Host: "mp-psd2-api.mypos.com:443", Attended: true,
}

func TestSignalsAreExportedIfConfigured(t *testing.T) {
	const spans, metrics, logs = "/v1/traces", "/v1/metrics", "/v1/logs"
	own := func(signal string) map[string]string {
		return map[string]string{"OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT": "URL/v1/" + strings.ToLower(signal)}
	}
	for _, c := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{name: "nothing configured"},
		{name: "protocol alone", env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}},
		{name: "general endpoint", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL"}, want: []string{spans, metrics, logs}},
		{name: "traces endpoint", env: own("TRACES"), want: []string{spans}},
		{name: "metrics endpoint", env: own("METRICS"), want: []string{metrics}},
		{name: "logs endpoint", env: own("LOGS"), want: []string{logs}},
		{name: "without logs", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_LOGS_EXPORTER": "none"}, want: []string{spans, metrics}},
		{name: "without traces and metrics", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, want: []string{logs}},
		{name: "metrics for Prometheus", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_METRICS_EXPORTER": "prometheus"}, want: []string{spans, logs}},
		{name: "disabled", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_SDK_DISABLED": "TRUE"}},
		{name: "disabled with yes", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_SDK_DISABLED": " Yes "}},
		{name: "not disabled", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_SDK_DISABLED": "off"}, want: []string{spans, metrics, logs}},
	} {
		t.Run(c.name, func(t *testing.T) {
			silence(t)
			receiver, out := newCollector(t), &logOutput{}
			for name, value := range c.env {
				t.Setenv(name, strings.Replace(value, "URL", receiver.URL, 1))
			}
			tel, err := Start(t.Context(), options(out))
			if err != nil {
				t.Fatal(err)
			}
			work(t, tel)
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			want := map[string]bool{}
			for _, path := range c.want {
				want[path] = true
			}
			if diff := cmp.Diff(want, receiver.signals()); diff != "" {
				t.Errorf("signals sent (-want +got):\n%s", diff)
			}
			if !strings.Contains(out.String(), `"msg":"done"`) || strings.Contains(out.String(), "telemetry") {
				t.Errorf("log: %s", out)
			}
			if want["/v1/traces"] && !strings.Contains(receiver.text(), "/v1/aspsps/{aspspId}/accounts") {
				t.Error("an exported request cannot be read")
			}
			if strings.Contains(receiver.text()+out.String(), canary) {
				t.Error("a header's value was sent or logged")
			}
		})
	}
}

// By default nothing connects to OTLP's default ports, and nothing listens on the port of
// OpenTelemetry's Prometheus server. If another program uses these ports, the test checks only that
// there are no exporters.
func TestNoConnectionsByDefault(t *testing.T) {
	silence(t)
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	if exp, err := fromEnvironment(t.Context()); err != nil || exp != (exporters{}) {
		t.Errorf("exporters %+v, %v", exp, err)
	}
	var calls atomic.Int64
	for _, address := range []string{"localhost:4317", "localhost:4318"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Logf("%s is taken", address)
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				calls.Add(1)
				_ = conn.Close()
			}
		}()
	}
	before := free("localhost:9464")
	tel, err := Start(t.Context(), options(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if before && !free("localhost:9464") {
		t.Error("the port of OpenTelemetry's own Prometheus server was opened")
	}
	work(t, tel)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("%d connections", n)
	}
}

// free reports whether no process listens on address.
func free(address string) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	return err == nil && l.Close() == nil
}

func TestStartNamesInvalidVariables(t *testing.T) {
	for _, c := range []struct{ name, variable, value, want string }{
		{"exporter", "OTEL_TRACES_EXPORTER", canary, "OTEL_TRACES_EXPORTER"},
		{"two exporters", "OTEL_METRICS_EXPORTER", "otlp,prometheus", "OTEL_METRICS_EXPORTER"},
		{"logs exporter", "OTEL_LOGS_EXPORTER", canary, "OTEL_LOGS_EXPORTER"},
		{"resource", "OTEL_RESOURCE_ATTRIBUTES", canary, "OTEL_RESOURCE_ATTRIBUTES"},
		{"disabled", "OTEL_SDK_DISABLED", canary, "OTEL_SDK_DISABLED"},
		{"endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", canary + ":4318", "OTEL_EXPORTER_OTLP_ENDPOINT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			silence(t)
			t.Setenv(c.variable, c.value)
			_, err := Start(t.Context(), options(io.Discard))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("error %v, want one that names %s alone", err, c.want)
			}
		})
	}
}

func TestResource(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want map[string]string
	}{
		{name: "by itself", want: map[string]string{"service_name": "ais-gateway"}},
		{name: "named", env: map[string]string{"OTEL_SERVICE_NAME": "bank-reader"}, want: map[string]string{"service_name": "bank-reader"}},
		{
			name: "with attributes",
			env:  map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.instance.id=pod-7"},
			want: map[string]string{"service_name": "other", "service_instance_id": "pod-7"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			silence(t)
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			tel, err := Start(t.Context(), options(io.Discard))
			if err != nil {
				t.Fatal(err)
			}
			c.want["service_version"] = "1.2.3"
			c.want["telemetry_sdk_language"], c.want["telemetry_sdk_name"] = "go", "opentelemetry"
			got := map[string]string{}
			for _, l := range scrape(t, tel)["target_info"].GetMetric()[0].GetLabel() {
				got[l.GetName()] = l.GetValue()
			}
			delete(got, "telemetry_sdk_version")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
		})
	}
}

// If the collector is unreachable, there is one log line without its address, and Shutdown returns
// an error.
func TestLostCollector(t *testing.T) {
	silence(t)
	receiver, out := newCollector(t), &logOutput{}
	receiver.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", canary)
	tel, err := Start(t.Context(), options(out))
	if err != nil {
		t.Fatal(err)
	}
	work(t, tel)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("shutdown returns %v", err)
	}
	if n := strings.Count(out.String(), `"msg":"telemetry error"`); n != 1 {
		t.Errorf("%d lines about it, want 1:\n%s", n, out)
	}
	if !strings.Contains(out.String(), `"msg":"invalid telemetry setting","setting":"OTEL_BSP_SCHEDULE_DELAY"`) {
		t.Errorf("nothing about the delay:\n%s", out)
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), "127.0.0.1") {
		t.Errorf("a setting's value was logged:\n%s", out)
	}
}
