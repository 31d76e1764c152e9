package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/prometheustest"
)

// The kinds of spans, as numbered in OTLP: of requests, of sources of aggregations, and of calls.
const kindServer, kindInternal, kindClient = 2, 1, 3

// scriptedKinds returns the problems that the fixture causes: all except INTERNAL_ERROR, CANCELED,
// which has no response, and NOT_IN_TIME, which only parts of responses have.
func scriptedKinds() []string {
	var kinds []string
	for _, k := range canonical.Kinds() {
		if k != canonical.InternalError && k != canonical.Canceled && k != canonical.NotInTime {
			kinds = append(kinds, string(k))
		}
	}
	return kinds
}

// TestTelemetryArrives: a real Prometheus and a real collector receive exactly the telemetry that
// docs/telemetry.md lists.
func TestTelemetryArrives(t *testing.T) {
	s := newFixture(t)
	s.run()
	s.prometheus.AwaitScrape()
	t.Run("metrics in Prometheus", s.testScraped)
	t.Run("metrics at the collector", s.testExported)
	t.Run("exemplars", s.testExemplars)
	t.Run("traces", s.testTraces)
	t.Run("logs", s.testLogs)
	t.Run("resource", s.testResource)
	t.Run("no trace is propagated", func(t *testing.T) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.leaked) > 0 || s.calls < 100 {
			t.Errorf("%d calls to providers; trace headers: %v", s.calls, s.leaked)
		}
	})
	s.collector.locked(func() {
		if len(s.collector.faults) > 0 {
			t.Error(s.collector.faults)
		}
	})
}

// testScraped checks names, types, labels and values in Prometheus, and that each metric is on the
// page.
func (s *fixture) testScraped(t *testing.T) {
	judge, named := labelChecks(t), map[string]bool{}
	for _, m := range documentedMetrics(t) {
		series := []string{m.scraped}
		if m.kind == "histogram" {
			series = []string{m.scraped + "_count", m.scraped + "_sum", m.scraped + "_bucket"}
		}
		labels := map[string]bool{}
		for _, name := range series {
			named[name] = true
			var samples []prometheustest.Sample
			if !holdsWithinMinute(func() bool { samples = s.prometheus.Query(name); return len(samples) > 0 }) {
				t.Errorf("%s does not arrive", name)
			}
			for _, sample := range samples {
				for label, value := range sample.Labels {
					switch {
					case label == "__name__" || label == "job" || label == "instance":
						continue
					case judge[label] == nil:
						t.Errorf("%s has the label %s, whose values the page does not list", name, label)
					case !judge[label](value):
						t.Errorf("%s has %s=%q", name, label, value)
					}
					if label != "le" || m.kind != "histogram" {
						labels[label] = true
					}
				}
			}
		}
		if got := slices.Sorted(maps.Keys(labels)); !slices.Equal(got, m.labels) {
			t.Errorf("%s has labels %v, want %v as on the page", m.scraped, got, m.labels)
		}
		var said []prometheustest.Metadata
		holdsWithinMinute(func() bool {
			metadata := s.prometheus.Metadata()
			if said = metadata[m.scraped]; said == nil {
				said = metadata[strings.TrimSuffix(m.scraped, "_total")]
			}
			return said != nil
		})
		if len(said) != 1 || said[0].Type != m.kind || said[0].Help == "" {
			t.Errorf("the metadata of %s are %+v, want type %s", m.scraped, said, m.kind)
		}
		suffix := map[string]string{"s": "_seconds", "By": "_bytes", "%": "_percent"}[m.unit]
		if !strings.HasSuffix(strings.TrimSuffix(m.scraped, "_total"), suffix) {
			t.Errorf("%s does not end in its unit, %s", m.scraped, m.unit)
		}
	}
	for _, sample := range s.prometheus.Query(`group by (__name__) ({job="` + prometheustest.Job + `", __name__!~"up|scrape_.*"})`) {
		if name := sample.Labels["__name__"]; !named[name] {
			t.Errorf("%s is not on the page", name)
		}
	}
	for _, k := range append(scriptedKinds(), string(canonical.Canceled)) {
		if s.prometheus.Query(`http_server_request_duration_seconds_count{error_type="`+k+`"}`) == nil {
			t.Errorf("no request is counted as %s", k)
		}
	}
	for _, some := range []string{
		`ais_breaker_state == 2`, `ais_breaker_transitions_total{state="open"} > 0`, `ais_secrets_reloads_total{outcome="failed"} > 0`,
		`ais_overload_refusals_total{reason="aspsp"} > 0`, `ais_audit_failures_total > 0`, `ais_unattended_slots_total{event="unavailable"} > 0`,
		`ais_aggregation_sources_total{outcome="failed"} > 0`, `ais_aggregation_slots_total{event="spent"} > 0`,
		`ais_unattended_slots_total{event="closed"} > 0`, `ais_unattended_slots_total{event="refused"} > 0`, `ais_cache_results_total{result="error"} > 0`,
		`sum(ais_telemetry_dropped_total) == 0`,
	} {
		if s.prometheus.Query(some) == nil {
			t.Errorf("no series matches %s", some)
		}
	}
}

// testExported checks the same for metrics at the collector.
func (s *fixture) testExported(t *testing.T) {
	promised := map[string]documentedMetric{}
	for _, m := range documentedMetrics(t) {
		if m.otlp != "" {
			promised[m.otlp] = m
		}
	}
	waitFor(t, "all metrics are sent, with all labels", func() error {
		var faults []error
		s.collector.locked(func() {
			for name, want := range promised {
				m, labels := s.collector.metrics[name], map[string]bool{}
				for _, point := range m.points().DataPoints {
					for _, a := range point.Attributes {
						labels[strings.ReplaceAll(a.Key, ".", "_")] = true
					}
				}
				kind := map[bool]string{m.Gauge != nil: "gauge", m.Histogram != nil: "histogram", m.Sum != nil && m.Sum.IsMonotonic: "counter"}[true]
				if m.Sum != nil && !m.Sum.IsMonotonic {
					kind = "gauge"
				}
				got := slices.Sorted(maps.Keys(labels))
				if m.Unit != want.unit || m.Description == "" || kind != want.kind || !slices.Equal(got, want.labels) {
					faults = append(faults, fmt.Errorf("%s: got %s in %q with %v, described %q; want %+v", name, kind, m.Unit, got, m.Description, want))
				}
			}
			for name := range s.collector.metrics {
				if _, known := promised[name]; !known {
					faults = append(faults, fmt.Errorf("%s is not on the page", name))
				}
			}
		})
		return errors.Join(faults...)
	})
}

// traces returns the requests of the script by trace id.
func (s *fixture) traces() map[string]scriptedRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]scriptedRequest{}
	for _, a := range s.requests {
		all[a.trace] = a
	}
	return all
}

// testExemplars checks that each histogram has exemplars, only from sampled requests.
func (s *fixture) testExemplars(t *testing.T) {
	traces := s.traces()
	for _, m := range documentedMetrics(t) {
		if m.kind != "histogram" {
			continue
		}
		exemplars := s.prometheus.Exemplars(m.scraped + "_bucket")
		if len(exemplars) == 0 {
			t.Errorf("%s has no exemplars", m.scraped)
		}
		for _, e := range exemplars {
			if a, known := traces[e.Labels["trace_id"]]; !known || a.sample != "01" || e.Value < 0 || len(e.Labels) != 2 || e.Labels["span_id"] == "" {
				t.Errorf("%s has the exemplar %v", m.scraped, e)
			}
		}
	}
}

// testTraces checks that each trace has the caller's span, below it one server span of the gateway,
// and below that its calls, or its sources with their calls.
func (s *fixture) testTraces(t *testing.T) {
	traces := s.traces()
	waitFor(t, "all spans are sent", func() error {
		served := map[string]bool{}
		s.collector.locked(func() {
			for _, span := range s.collector.spans {
				served[span.TraceID] = served[span.TraceID] || span.Kind == kindServer
			}
		})
		for trace, a := range traces {
			if !served[trace] && a.sample == "01" {
				return fmt.Errorf("none of %s %s", a.method, a.path)
			}
		}
		return nil
	})
	var spans []otlpSpan
	s.collector.locked(func() { spans = slices.Clone(s.collector.spans) })
	byID, servers := map[string]otlpSpan{}, map[string]bool{} // servers by trace
	for _, span := range spans {
		byID[span.SpanID] = span
		if span.Kind == kindServer {
			if servers[span.TraceID] {
				t.Errorf("the trace %s has two server spans", span.TraceID)
			}
			servers[span.TraceID] = true
		}
	}
	keys, called := map[int]map[string]bool{kindServer: {}, kindInternal: {}, kindClient: {}}, map[string]int{}
	for _, span := range spans {
		switch above := byID[span.ParentSpanID]; span.Kind {
		case kindServer:
			assertServerSpan(t, span, traces[span.TraceID])
		case kindInternal:
			assertSourceSpan(t, span, above)
		default:
			called[span.TraceID]++
			assertClientSpan(t, span, above)
		}
		for _, key := range attributeKeys(span.Attributes) {
			keys[span.Kind][key] = true
		}
	}
	for kind, want := range documentedAttributes(t) {
		if got := slices.Sorted(maps.Keys(keys[kind])); !slices.Equal(got, want) {
			t.Errorf("spans of kind %d have %v, want %v as on the page", kind, got, want)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	resent := 0
	for _, a := range s.requests {
		if slices.Contains(a.header, breaksOnce) {
			resent = max(resent, called[a.trace])
		}
	}
	if resent != 2 {
		t.Errorf("a call that was sent again has %d spans, want 2", resent)
	}
	if n := len(slices.Collect(maps.Keys(called))); n < 50 {
		t.Errorf("only %d traces have a call", n)
	}
}

// assertServerSpan checks the server span of a request.
func assertServerSpan(t *testing.T, span otlpSpan, a scriptedRequest) {
	t.Helper()
	route := attributeValue(span.Attributes, "http.route")
	method := a.method
	if method == "BREW" {
		method = "HTTP"
	}
	name := strings.TrimSpace(method + " " + route)
	status := attributeValue(span.Attributes, "http.response.status_code")
	if a.sample != "01" || span.ParentSpanID != a.span || span.Name != name || status != strconv.Itoa(a.status) ||
		route != "" && !matchesTemplate(route, a.path) || attributeValue(span.Attributes, "error.type") != a.code || (a.status >= 500) != (span.Status.Code == 2) {
		t.Errorf("%s %s, answered %d %s, has the span %+v", a.method, a.path, a.status, a.code, span)
	}
	assertNoFreeText(t, span)
}

// matchesTemplate reports whether a path matches a template.
func matchesTemplate(template, path string) bool {
	parts, of := strings.Split(template, "/"), strings.Split(path, "/")
	if len(parts) != len(of) {
		return false
	}
	for i, part := range parts {
		if !strings.HasPrefix(part, "{") && part != of[i] {
			return false
		}
	}
	return true
}

// assertSourceSpan checks the span of a source below the server span of an aggregation.
func assertSourceSpan(t *testing.T, span, server otlpSpan) {
	t.Helper()
	outcome := attributeValue(span.Attributes, "ais.outcome")
	if span.Name != "aggregation source" || server.Kind != kindServer || server.Name != "POST /v1/aggregations" || span.TraceID != server.TraceID ||
		outcome == "" || (outcome == "failed") != (span.Status.Code == 2) {
		t.Errorf("below %+v is the span %+v", server, span)
	}
	assertNoFreeText(t, span)
}

// assertClientSpan checks a client span below a server span or that of a source.
func assertClientSpan(t *testing.T, span, above otlpSpan) {
	t.Helper()
	name := attributeValue(span.Attributes, "http.request.method") + " " + attributeValue(span.Attributes, "url.template")
	failed := attributeValue(span.Attributes, "error.type") != ""
	if span.Kind != kindClient || above.SpanID == "" || above.Kind == kindClient || span.TraceID != above.TraceID || span.Name != name ||
		!slices.Contains(providers, attributeValue(span.Attributes, "ais.provider")) ||
		attributeValue(span.Attributes, "ais.aspsp.id") != attributeValue(above.Attributes, "ais.aspsp.id") || failed != (span.Status.Code == 2) {
		t.Errorf("below %+v is the span %+v", above, span)
	}
	assertNoFreeText(t, span)
}

// assertNoFreeText checks that a span has no free text.
func assertNoFreeText(t *testing.T, span otlpSpan) {
	t.Helper()
	if span.Events != nil || span.Links != nil || span.Status.Message != "" || span.TraceState != "" {
		t.Errorf("%+v has free text", span)
	}
}

// testLogs checks that the log line of each request, its audit record and its record at the
// collector have the trace id.
func (s *fixture) testLogs(t *testing.T) {
	traces := s.traces()
	type line struct {
		Record, Msg string
		Route       string
		TraceID     string `json:"trace_id"`
		SpanID      string `json:"span_id"`
		Status      int
	}
	waitFor(t, "all lines are written and sent", func() error {
		logged, audited, sent := map[string]line{}, map[string]line{}, map[string]otlpLog{}
		for _, g := range s.gateways {
			for text := range strings.Lines(g.Stdout.String()) {
				var l line
				if json.Unmarshal([]byte(text), &l) != nil {
					continue
				}
				if l.Record == "audit" {
					audited[l.TraceID] = l
				}
				if l.Msg == "request" {
					logged[l.TraceID] = l
				}
			}
		}
		s.collector.locked(func() {
			for _, record := range s.collector.logs {
				if record.Body["stringValue"] == "request" {
					sent[record.TraceID] = record
				}
			}
		})
		for trace, a := range traces {
			l, record := logged[trace], sent[trace]
			recorded := audited[trace].Status == l.Status && audited[trace].TraceID == trace
			wanted := strings.HasPrefix(a.path, "/v1") && a.gateway != 1 // its audit records are lost
			if l.Msg == "" || len(l.SpanID) != 16 || a.status != l.Status || record.SpanID != l.SpanID || wanted && !recorded ||
				attributeValue(record.Attributes, "route") != l.Route {
				return fmt.Errorf("%s %s, answered %d, has the line %+v, the record %+v, and sent was %+v", a.method, a.path, a.status, l, audited[trace], record)
			}
		}
		return nil
	})
}

// testResource checks the resource of each signal.
func (s *fixture) testResource(t *testing.T) {
	version := ""
	for _, sample := range s.prometheus.Query("target_info") {
		version = sample.Labels["service_version"]
	}
	s.collector.locked(func() {
		for _, signal := range []string{"traces", "metrics", "logs"} {
			a := s.collector.resources[signal].Attributes
			keys := attributeKeys(a)
			slices.Sort(keys)
			want := []string{"service.name", "service.version", "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"}
			if !slices.Equal(keys, want) || attributeValue(a, "service.name") != "ais-gateway" || version == "" || attributeValue(a, "service.version") != version {
				t.Errorf("%s come from %v", signal, a)
			}
		}
	})
}

// TestCollectorUnavailable: a collector that hangs or has exited affects no request, and does not
// delay the exit.
func TestCollectorUnavailable(t *testing.T) {
	s := newFixture(t)
	if err := s.collector.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	serves := func(gateway int) {
		t.Helper()
		for range 300 {
			a := s.send(gateway, http.MethodGet, "/v1/aspsps")
			if a.status != http.StatusOK || time.Since(began) > 3*time.Minute {
				t.Fatalf("%d %s after %v", a.status, a.code, time.Since(began))
			}
		}
	}
	serves(0)
	s.collector.Stop()
	serves(2)
	g := s.gateways[0]
	g.Terminate()
	g.Wait()
	if n := strings.Count(g.Stdout.String(), `"level":"ERROR"`); n > 0 {
		t.Errorf("%d errors are logged:\n%s", n, g.Stdout.String())
	}
}
