package deploy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/servertest"
)

// OTLP in JSON, as the collector forwards it:
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
type (
	otlpAttribute struct {
		Key   string
		Value map[string]any
	}
	otlpResource struct{ Attributes []otlpAttribute }
	otlpSpan     struct {
		TraceID, SpanID, ParentSpanID, TraceState, Name string
		Kind                                            int // kindServer and so on
		Attributes                                      []otlpAttribute
		Events, Links                                   []any
		Status                                          struct {
			Code    int
			Message string
		}
	}
	otlpPoints struct {
		DataPoints []struct{ Attributes []otlpAttribute }
	}
	otlpMetric struct {
		Name, Description, Unit string
		Sum                     *struct {
			otlpPoints
			IsMonotonic bool
		}
		Gauge, Histogram *otlpPoints
	}
	otlpLog struct {
		TraceID, SpanID string
		Body            map[string]any
		Attributes      []otlpAttribute
	}
	otlpRequest struct {
		ResourceSpans []struct {
			Resource   otlpResource
			ScopeSpans []struct{ Spans []otlpSpan }
		}
		ResourceMetrics []struct {
			Resource     otlpResource
			ScopeMetrics []struct{ Metrics []otlpMetric }
		}
		ResourceLogs []struct {
			Resource  otlpResource
			ScopeLogs []struct{ LogRecords []otlpLog }
		}
	}
)

// attributeValue returns the value of an attribute as text, or "" if there is none.
func attributeValue(attributes []otlpAttribute, key string) string {
	for _, a := range attributes {
		if a.Key == key {
			for _, value := range a.Value {
				return fmt.Sprint(value)
			}
		}
	}
	return ""
}

// attributeKeys returns the keys of attributes.
func attributeKeys(attributes []otlpAttribute) []string {
	var keys []string
	for _, a := range attributes {
		keys = append(keys, a.Key)
	}
	return keys
}

// collector is a real collector, with the data that it has forwarded.
type collector struct {
	*servertest.Server
	http string // http://host:port, where gateways send to

	mu        sync.Mutex
	spans     []otlpSpan
	metrics   map[string]otlpMetric // the last of each name, with the points of all
	logs      []otlpLog
	resources map[string]otlpResource // by the signal
	faults    []string
}

// buildCollector returns the path of the collector: the one that `make` has built and COLLECTOR
// names, or one that it builds.
var buildCollector = sync.OnceValues(func() (string, error) {
	if file := os.Getenv("COLLECTOR"); file != "" {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(cache, "ais-gateway", "tools", "collector-tested")
	build := exec.Command("go", "build", "-C", "../../tools/collector", "-trimpath", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the collector: %w\n%s", err, said)
	}
	return file, nil
})

// collectorFile returns the path of the collector.
func collectorFile(t *testing.T) string {
	t.Helper()
	file, err := buildCollector()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// startCollector runs a collector that forwards all data to c.
func startCollector(t *testing.T) *collector {
	t.Helper()
	program := collectorFile(t)
	c := &collector{metrics: map[string]otlpMetric{}, resources: map[string]otlpResource{}}
	sink := httptest.NewServer(c)
	t.Cleanup(sink.Close)
	c.Server = servertest.Start(t, func(dir string) ([]string, func() error) {
		addr, err := servertest.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		c.http = "http://" + addr
		file := filepath.Join(dir, "collector.yaml")
		config := strings.NewReplacer("$LISTEN", addr, "$SINK", sink.URL).Replace(collectorConfig)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{program, "--config", "file:" + file}, func() error {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	})
	return c
}

const collectorConfig = `
receivers: {otlp: {protocols: {http: {endpoint: "$LISTEN"}}}}
processors: {memory_limiter: {check_interval: 1s, limit_mib: 512}, batch: {timeout: 100ms}}
exporters: {otlp_http: {endpoint: "$SINK", encoding: json, compression: none}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_http]}
    metrics: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_http]}
    logs: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_http]}
`

// ServeHTTP receives the data that the collector forwards.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var got otlpRequest
	if err == nil {
		err = json.Unmarshal(body, &got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.faults = append(c.faults, r.URL.Path+": "+err.Error())
	}
	for _, resource := range got.ResourceSpans {
		c.resources["traces"] = resource.Resource
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	for _, resource := range got.ResourceMetrics {
		c.resources["metrics"] = resource.Resource
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				c.metrics[m.Name] = c.metrics[m.Name].merge(m)
			}
		}
	}
	for _, resource := range got.ResourceLogs {
		c.resources["logs"] = resource.Resource
		for _, scope := range resource.ScopeLogs {
			c.logs = append(c.logs, scope.LogRecords...)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

// points returns the data points of a metric of any type.
func (m otlpMetric) points() *otlpPoints {
	switch {
	case m.Sum != nil:
		return &m.Sum.otlpPoints
	case m.Gauge != nil:
		return m.Gauge
	case m.Histogram != nil:
		return m.Histogram
	}
	return new(otlpPoints)
}

// merge returns next with the earlier points of the metric, one for each combination of keys.
func (m otlpMetric) merge(next otlpMetric) otlpMetric {
	all := next.points()
	for _, point := range m.points().DataPoints {
		keys := fmt.Sprint(attributeKeys(point.Attributes))
		if !slices.ContainsFunc(all.DataPoints, func(p struct{ Attributes []otlpAttribute }) bool {
			return fmt.Sprint(attributeKeys(p.Attributes)) == keys
		}) {
			all.DataPoints = append(all.DataPoints, point)
		}
	}
	return next
}

// locked calls read while c is locked.
func (c *collector) locked(read func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read()
}

// TestCollectorMatchesItsBuilderFile: the collector consists of exactly the components that
// builder.yaml lists.
func TestCollectorMatchesItsBuilderFile(t *testing.T) {
	const dir = "../../tools/collector/"
	read := func(name string) string {
		text, err := os.ReadFile(dir + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	parts := regexp.MustCompile(`(?m)^  - gomod: (\S+) (v\S+)$`).FindAllStringSubmatch(read("builder.yaml"), -1)
	version := regexp.MustCompile(`(?m)^  version: (\S+)$`).FindStringSubmatch(read("builder.yaml"))
	if len(parts) < 5 || version == nil {
		t.Fatalf("%d parts, version %v", len(parts), version)
	}
	parts = append(parts, []string{"", "go.opentelemetry.io/collector/otelcol", "v" + version[1]})
	mod, code := read("go.mod"), read("components.go")+read("main.go")
	listed := map[string]bool{}
	for _, part := range parts {
		listed[part[1]] = true
		if !strings.Contains(mod, "\t"+part[1]+" "+part[2]+"\n") || !strings.Contains(code, `"`+part[1]+`"`) {
			t.Errorf("%s %s is not built in: run `make collector`", part[1], part[2])
		}
	}
	for _, match := range regexp.MustCompile(`"(\S+/(receiver|processor|exporter|connector|extension|provider)/\S+)"`).FindAllStringSubmatch(code, -1) {
		if !listed[match[1]] {
			t.Errorf("%s is built in, and not listed: run `make collector`", match[1])
		}
	}
}

// TestComposeCollectorConfig: the collector accepts the configuration in deploy/compose, and
// refuses an invalid one.
func TestComposeCollectorConfig(t *testing.T) {
	const file = "../../deploy/compose/collector.yaml"
	if said, err := exec.Command(collectorFile(t), "validate", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", file, err, said)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("receivers: {otlp: {}}\nservice: {pipelines: {traces: {receivers: [otlp], exporters: [none]}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if exec.Command(collectorFile(t), "validate", "--config", bad).Run() == nil {
		t.Error("a configuration with an unknown exporter is accepted")
	}
}
