package telemetry

import (
	"io"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry/aggregations"
)

// table returns the rows of the table in docs/telemetry.md whose first column has the given head.
func table(t *testing.T, head string) [][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n| "+head+" |")
	if !found {
		t.Fatalf("docs/telemetry.md has no table %q", head)
	}
	var rows [][]string
	for _, line := range strings.Split(rest, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// quoted returns the backquoted words of a cell, sorted.
func quoted(cell string) []string {
	var words []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	slices.Sort(words)
	return words
}

// everything returns Telemetry that has recorded a series of every metric with every label.
func everything(t *testing.T, exp exporters) *Telemetry {
	t.Helper()
	old := debug.SetMemoryLimit(math.MaxInt64 - 1)
	t.Cleanup(func() { debug.SetMemoryLimit(old) })
	tel, _, _ := inMemory(t, exp)
	work(t, tel)
	ctx, end := tel.Request(t.Context(), "GET", nil)
	_, called := tel.Call(ctx, providerCall)
	called(400, "PROVIDER_ERROR")
	end(event.Request{Route: "/r", Status: 502, Code: "PROVIDER_ERROR", ASPSP: bank, Duration: 40 * time.Millisecond})
	return tel
}

func TestMetricsAreAsDocumented(t *testing.T) {
	type metric struct {
		Type   string
		Labels []string
	}
	documented, scraped := map[string]metric{}, map[string]metric{}
	for _, row := range table(t, "metric") {
		documented[quoted(row[1])[0]] = metric{Type: row[2], Labels: quoted(row[4])}
	}
	for name, f := range scrape(t, everything(t, exporters{})) {
		m := metric{Type: strings.ToLower(f.GetType().String())}
		for l := range labels(f) {
			m.Labels = append(m.Labels, l)
		}
		slices.Sort(m.Labels)
		scraped[name] = m
	}
	if diff := cmp.Diff(documented, scraped); diff != "" {
		t.Errorf("docs/telemetry.md and the scrape differ (-documented +scraped):\n%s", diff)
	}
}

func TestExportedMetricsAreAsDocumented(t *testing.T) {
	documented, exported := map[string]string{}, map[string]string{}
	for _, row := range table(t, "metric") {
		if row[0] != "" {
			documented[quoted(row[0])[0]] = row[3]
		}
	}
	reader := sdkmetric.NewManualReader()
	everything(t, exporters{reader: reader})
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			exported[m.Name] = m.Unit
			if m.Description == "" {
				t.Errorf("%s has no description", m.Name)
			}
		}
	}
	if diff := cmp.Diff(documented, exported); diff != "" {
		t.Errorf("docs/telemetry.md and the export differ in names or units (-documented +exported):\n%s", diff)
	}
}

func TestSpanAttributesAreAsDocumented(t *testing.T) {
	documented := map[string][]string{}
	for _, row := range table(t, "attribute") {
		key := quoted(row[0])[0]
		for i, span := range []string{"server", "internal", "client"} {
			if row[i+1] == "yes" {
				documented[span] = append(documented[span], key)
			}
		}
	}
	tel, spans, _ := inMemory(t, exporters{})
	ctx, end := tel.Request(t.Context(), "GET", nil)
	again := providerCall
	again.Resend = 1
	ctx, sourceEnd := tel.Aggregations().Source(ctx, bank, "mypos", false)
	_, called := tel.Call(ctx, again)
	called(400, "PROVIDER_ERROR")
	sourceEnd(hostileResult(aggregation.Failed, canonical.ProviderError), aggregation.Slots{})
	end(event.Request{
		Route: "/r", Method: "GET", Status: 502, Code: "PROVIDER_ERROR", ASPSP: bank, Provider: "mypos", Client: "c",
		Attended: &no, Cache: "error",
	})
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	made := map[string][]string{}
	for _, s := range spans.GetSpans() {
		for _, a := range s.Attributes {
			made[s.SpanKind.String()] = append(made[s.SpanKind.String()], string(a.Key))
		}
	}
	for _, keys := range []map[string][]string{documented, made} {
		for span := range keys {
			slices.Sort(keys[span])
		}
	}
	if diff := cmp.Diff(documented, made); diff != "" {
		t.Errorf("docs/telemetry.md and the spans differ (-documented +made):\n%s", diff)
	}
}

func TestLabelValuesAreAsDocumented(t *testing.T) {
	states := slices.Concat(breakerStates, unitStates)
	for _, s := range store.States() {
		states = append(states, string(s))
	}
	for name, values := range map[string][]string{
		"`result`": cacheResults, "`event`": append(slices.Clone(slotEvents), aggregations.Slots...), "`state`": states, "`slot`": slotUses, "`db_operation_name`": append(slices.Clone(commands), "_OTHER"), "`outcome`": append(slices.Clone(reloads), aggregations.Outcomes()...), "`reason`": refusals,
	} {
		var cell string
		for _, row := range table(t, "label") {
			if row[0] == name {
				cell = row[1]
			}
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(values)), quoted(cell)); diff != "" {
			t.Errorf("values of %s (-code +documented):\n%s", name, diff)
		}
	}
}

// series returns a family's values by labels, without counters at 0.
func series(f *dto.MetricFamily) map[string]float64 {
	got := map[string]float64{}
	for _, m := range f.GetMetric() {
		var l []string
		for _, p := range m.GetLabel() {
			l = append(l, p.GetName()+"="+p.GetValue())
		}
		slices.Sort(l)
		n := m.GetCounter().GetValue() + m.GetGauge().GetValue() +
			float64(m.GetHistogram().GetSampleCount())
		if n != 0 || m.GetCounter() == nil { // TestCountersBeginAtZero checks counters at 0
			got[strings.Join(l, " ")] = n
		}
	}
	return got
}

func TestCounters(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	ctx := t.Context()
	requested := func(aspsp, result string) {
		_, end := tel.Request(ctx, "GET", nil)
		end(event.Request{ASPSP: aspsp, Status: 200, Cache: result})
	}
	for _, result := range []string{"hit", "hit", "miss", "hitt", ""} {
		requested(bank, result)
	}
	requested(unknown, "hit")
	for _, event := range []string{"taken", "given_back", "taken", "x"} {
		tel.Slot(ctx, bank, upstream.SlotEvent(event))
	}
	for _, bound := range []string{"aspsp", "aspsp", "client", "x"} {
		tel.Refused(ctx, bank, bulkhead.Refusal(bound))
	}
	tel.Refused(ctx, unknown, "in_flight")
	tel.Breaker(bank, "open")
	tel.Breaker(bank, "half_open")
	state := breaker.HalfOpen
	if got := scrape(t, tel)["ais_breaker_state"]; got != nil {
		t.Errorf("a state before there are breakers: %v", got)
	}
	tel.ObserveBreakers(func() []gateway.ASPSPInfo {
		return []gateway.ASPSPInfo{{ID: bank, Breaker: state}, {ID: unknown, Breaker: breaker.Open}}
	})
	families := scrape(t, tel)
	for name, want := range map[string]map[string]float64{
		"ais_cache_results_total": {
			"ais_aspsp_id=" + bank + " result=hit": 2, "ais_aspsp_id=" + bank + " result=miss": 1,
			"ais_aspsp_id=" + bank + " result=_OTHER": 1, "result=hit": 1,
		},
		"ais_unattended_slots_total": {
			"ais_aspsp_id=" + bank + " event=taken": 2, "ais_aspsp_id=" + bank + " event=given_back": 1,
			"ais_aspsp_id=" + bank + " event=_OTHER": 1,
		},
		"ais_breaker_transitions_total": {
			"ais_aspsp_id=" + bank + " state=open": 1, "ais_aspsp_id=" + bank + " state=half_open": 1,
		},
		"ais_overload_refusals_total": {
			"ais_aspsp_id=" + bank + " reason=aspsp": 2, "ais_aspsp_id=" + bank + " reason=client": 1,
			"ais_aspsp_id=" + bank + " reason=_OTHER": 1, "reason=in_flight": 1,
		},
		"ais_breaker_state": {"ais_aspsp_id=" + bank: 1},
	} {
		got := series(families[name])
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for s, want := range map[breaker.State]float64{"closed": 0, "open": 2} {
		state = s
		if got := series(scrape(t, tel)["ais_breaker_state"])["ais_aspsp_id="+bank]; got != want {
			t.Errorf("state %s is %v, want %v", s, got, want)
		}
	}
}

// OpenTelemetry's default limit of 2000 series would merge all further ASPSPs into one series.
func TestManyBanks(t *testing.T) {
	silence(t)
	o := options(io.Discard)
	for i := range 2500 {
		o.ASPSPs = append(o.ASPSPs, strconv.Itoa(i))
	}
	tel, err := build(t.Context(), o, exporters{}, localLog(o))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range o.ASPSPs {
		tel.countCache(t.Context(), event.Request{ASPSP: id, Cache: "hit"})
	}
	if n := len(series(scrape(t, tel)["ais_cache_results_total"])); n != len(o.ASPSPs) {
		t.Errorf("%d series for %d banks", n, len(o.ASPSPs))
	}
}

func TestDurations(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	_, end := tel.Request(t.Context(), "GET", nil)
	if got := series(scrape(t, tel)["http_server_active_requests"])["http_request_method=GET"]; got != 1 {
		t.Errorf("%v active requests, want 1", got)
	}
	end(event.Request{Route: "/r", Status: 200, Duration: 30 * time.Millisecond, Waited: 20 * time.Millisecond})
	families := scrape(t, tel)
	if got := series(families["http_server_active_requests"])["http_request_method=GET"]; got != 0 {
		t.Errorf("%v active requests, want 0", got)
	}
	h := families["http_server_request_duration_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 1 || h.GetSampleSum() != 0.03 {
		t.Errorf("%d requests of %v s, want 1 of 0.03", h.GetSampleCount(), h.GetSampleSum())
	}
	own := families["ais_gateway_duration_seconds"].GetMetric()[0]
	if got := own.GetHistogram().GetSampleSum(); math.Abs(got-0.01) > 1e-9 || own.GetLabel()[0].GetValue() != "/r" {
		t.Errorf("the gateway's own share is %v s of %v, want 0.01 of /r", got, own.GetLabel())
	}
	var bounds []float64
	for _, b := range h.GetBucket() {
		bounds = append(bounds, b.GetUpperBound())
	}
	// Semantic conventions 1.43, HTTP metrics.
	want := []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, math.Inf(1)}
	if diff := cmp.Diff(want, bounds); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

func TestExemplars(t *testing.T) {
	text := scrapeText(t, everything(t, exporters{}), "application/openmetrics-text; version=1.0.0")
	if !strings.Contains(text, `trace_id="4bf92f3577b34da6a3ce929d0e0e4736"`) {
		t.Error("no exemplar of the caller's trace")
	}
}
