package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const (
	bank    = "4f1e2d3c-0000-4000-8000-000000000001"
	unknown = "9a9a9a9a-0000-4000-8000-00000000ffff"
	parent  = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	canary  = "canary-7f3a"
)

// templates lists the allowed path templates.
var templates = []string{"/r", "/v1/aspsps/{aspspId}/accounts", providerCall.Route}

// silence clears the OTEL_* variables of the environment.
func silence(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

// logOutput is a LogOutput that is safe to read concurrently.
type logOutput struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *logOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *logOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func options(w io.Writer) Options {
	return Options{Version: "1.2.3", LogOutput: w, LogLevel: slog.LevelInfo, ASPSPs: []string{bank}, Secrets: []string{"cache", "clients"}, Limits: map[string]int{"in_flight": 1000, "client": 250, "aspsp": 100}}
}

// inMemory returns Telemetry that keeps its spans in memory.
func inMemory(t *testing.T, exp exporters) (*Telemetry, *tracetest.InMemoryExporter, *logOutput) {
	t.Helper()
	silence(t)
	spans, out := &tracetest.InMemoryExporter{}, &logOutput{}
	exp.spans = kept{spans}
	tel, err := build(t.Context(), options(out), exp, localLog(options(out)))
	if err != nil {
		t.Fatal(err)
	}
	tel.AllowTemplates(templates...)
	return tel, spans, out
}

// scrape returns the metrics in the form that Prometheus reads.
func scrape(t *testing.T, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrapeText(t, tel, "")))
	if err != nil {
		t.Fatalf("the scrape is no Prometheus text: %v", err)
	}
	return families
}

func scrapeText(t *testing.T, tel *Telemetry, accept string) string {
	t.Helper()
	server := httptest.NewServer(tel.MetricsHandler())
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("scrape: status %d, %v", answer.StatusCode, err)
	}
	return string(body)
}

// labels returns the names of the labels of a family's series.
func labels(f *dto.MetricFamily) map[string]bool {
	names := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return names
}
