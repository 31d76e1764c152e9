package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/telemetry/aggregations"
)

// hostileResult returns a result with an outcome and a failure, if kind is not "". All its texts are
// the canary.
func hostileResult(outcome aggregation.Outcome, kind canonical.Kind) aggregation.SourceResult {
	r := aggregation.SourceResult{
		Ref: canary, ASPSP: canary, Provider: canary, RequestID: canary, Outcome: outcome,
		Accounts: []aggregation.Account{{
			ID: canary, IBAN: canary, Currency: canary, JSON: json.RawMessage(canary), Failure: canonical.NewError(canonical.NotInTime, canary),
		}},
		Missing: []aggregation.Missing{{ID: canary, Failure: canonical.NewError(canonical.AccountUnknown, canary)}},
	}
	if kind != "" {
		r.Failure = canonical.NewError(kind, canary)
		r.Failure.Upstream = &canonical.UpstreamError{Source: canary, ReasonCode: canary}
	}
	return r
}

func TestSourceSpan(t *testing.T) {
	for _, c := range []struct {
		name, aspsp, provider string
		attended              bool
		outcome               aggregation.Outcome
		failure               canonical.Kind
		want                  map[string]any
		status                codes.Code
	}{
		{
			name: "ok", aspsp: bank, provider: "mypos", attended: true, outcome: aggregation.OK,
			want: map[string]any{"ais.aspsp.id": bank, "ais.provider": "mypos", "ais.attended": true, "ais.outcome": "ok"},
		},
		{
			name: "partial", aspsp: bank, provider: "mypos", outcome: aggregation.Partial,
			want: map[string]any{"ais.aspsp.id": bank, "ais.provider": "mypos", "ais.attended": false, "ais.outcome": "partial"},
		},
		{
			name: "skipped", aspsp: bank, provider: "mypos", outcome: aggregation.Skipped, failure: canonical.UnattendedLimit,
			want: map[string]any{
				"ais.aspsp.id": bank, "ais.provider": "mypos", "ais.attended": false, "ais.outcome": "skipped", "error.type": "UNATTENDED_LIMIT",
			},
		},
		{
			name: "failed", aspsp: bank, provider: "mypos", outcome: aggregation.Failed, failure: canonical.ProviderTimeout, status: codes.Error,
			want: map[string]any{
				"ais.aspsp.id": bank, "ais.provider": "mypos", "ais.attended": false, "ais.outcome": "failed", "error.type": "PROVIDER_TIMEOUT",
			},
		},
		{
			name: "unknown ASPSP", aspsp: canary, outcome: aggregation.Failed, failure: canonical.ASPSPUnknown, status: codes.Error,
			want: map[string]any{"ais.attended": false, "ais.outcome": "failed", "error.type": "ASPSP_UNKNOWN"},
		},
		{name: "unknown outcome", aspsp: canary, outcome: canary, want: map[string]any{"ais.attended": false, "ais.outcome": "_OTHER"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tel, spans, _ := inMemory(t, exporters{})
			_, end := tel.Aggregations().Source(t.Context(), c.aspsp, c.provider, c.attended)
			end(hostileResult(c.outcome, c.failure), aggregation.Slots{})
			want := spanContent{Name: "aggregation source", Kind: trace.SpanKindInternal, Status: c.status, Attrs: c.want}
			if diff := cmp.Diff(want, contentOf(only(t, tel, spans))); diff != "" {
				t.Errorf("span (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSourceInTrace: the spans of sources are below the server span, those of their calls below
// them, also after the request has ended.
func TestSourceInTrace(t *testing.T) {
	tel, spans, _ := inMemory(t, exporters{})
	ctx, done := tel.Request(t.Context(), http.MethodPost, nil)
	source := func() func() {
		ctx, end := tel.Aggregations().Source(context.WithoutCancel(ctx), bank, "mypos", false)
		return func() {
			_, called := tel.Call(ctx, providerCall)
			called(http.StatusOK, "")
			end(aggregation.SourceResult{Outcome: aggregation.OK}, aggregation.Slots{})
		}
	}
	source()()
	late := source()
	done(event.Request{Route: "/r", Status: 200})
	late()
	source()()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	byID, below := map[trace.SpanID]tracetest.SpanStub{}, map[string]int{}
	for _, s := range spans.GetSpans() {
		byID[s.SpanContext.SpanID()] = s
	}
	for _, s := range byID {
		below[s.SpanKind.String()+" below "+byID[s.Parent.SpanID()].SpanKind.String()]++
	}
	want := map[string]int{"server below unspecified": 1, "internal below server": 3, "client below internal": 3}
	if diff := cmp.Diff(want, below); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if n := tel.droppedSpans.Load(); n != 0 {
		t.Errorf("%d parts of spans are dropped", n)
	}
}

// TestSourceWithoutSpan: a source has a span only where its calls have spans. It is always counted.
func TestSourceWithoutSpan(t *testing.T) {
	unsampled := http.Header{"Traceparent": {strings.TrimSuffix(parent, "1") + "0"}}
	for _, c := range []struct {
		name, sampler string
		without       bool // no exporter of spans
		header        http.Header
		spans         int
	}{
		{name: "exported", spans: 3},
		{name: "not sampled by the caller", header: unsampled},
		{name: "always_off", sampler: "always_off"},
		{name: "no exporter", without: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			silence(t)
			t.Setenv("OTEL_TRACES_SAMPLER", c.sampler)
			spans, exp, out := &tracetest.InMemoryExporter{}, exporters{}, &logOutput{}
			if !c.without {
				exp.spans = kept{spans}
			}
			tel, err := build(t.Context(), options(out), exp, localLog(options(out)))
			if err != nil {
				t.Fatal(err)
			}
			ctx, done := tel.Request(t.Context(), http.MethodPost, c.header)
			before := trace.SpanContextFromContext(ctx)
			below, end := tel.Aggregations().Source(ctx, bank, "mypos", false)
			if same := trace.SpanContextFromContext(below).Equal(before); same != (c.spans == 0) {
				t.Errorf("the context of the calls has the span of the request: %v", same)
			}
			_, called := tel.Call(below, providerCall)
			called(http.StatusOK, "")
			end(hostileResult(aggregation.Failed, canonical.ProviderError), aggregation.Slots{})
			done(event.Request{Route: "/r", Status: 200})
			if got := series(scrape(t, tel)["ais_aggregation_sources_total"])["ais_aspsp_id="+bank+" outcome=failed"]; got != 1 {
				t.Errorf("%v sources are counted, want 1", got)
			}
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(spans.GetSpans()); n != c.spans {
				t.Errorf("%d spans, want %d", n, c.spans)
			}
		})
	}
}

func TestSourceCounters(t *testing.T) {
	tel, _, _ := inMemory(t, exporters{})
	source := func(aspsp string, outcome aggregation.Outcome, s aggregation.Slots) {
		_, end := tel.Aggregations().Source(t.Context(), aspsp, "", false)
		end(hostileResult(outcome, ""), s)
	}
	source(bank, aggregation.OK, aggregation.Slots{Planned: 5, Reserved: 4, Spent: 3, Released: 1})
	source(bank, aggregation.OK, aggregation.Slots{Planned: 1, Reserved: 1, Spent: 1})
	source(bank, aggregation.Stale, aggregation.Slots{})
	source(bank, canary, aggregation.Slots{})
	source(unknown, aggregation.Failed, aggregation.Slots{})
	families := scrape(t, tel)
	for name, want := range map[string]map[string]float64{
		"ais_aggregation_sources_total": {
			"ais_aspsp_id=" + bank + " outcome=ok": 2, "ais_aspsp_id=" + bank + " outcome=stale": 1,
			"ais_aspsp_id=" + bank + " outcome=_OTHER": 1, "outcome=failed": 1,
		},
		"ais_aggregation_slots_total": {
			"ais_aspsp_id=" + bank + " event=planned": 6, "ais_aspsp_id=" + bank + " event=reserved": 5,
			"ais_aspsp_id=" + bank + " event=spent": 4, "ais_aspsp_id=" + bank + " event=released": 1,
		},
	} {
		if diff := cmp.Diff(want, series(families[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := len(families["ais_aggregation_slots_total"].GetMetric()); n != len(aggregations.Slots) {
		t.Errorf("%d series of slots, want one per event of the configured ASPSP", n)
	}
}

// TestSourceDataStaysOut: no text of a result appears in telemetry.
func TestSourceDataStaysOut(t *testing.T) {
	logs := &records{}
	tel, spans, out := inMemory(t, exporters{logs: logs})
	ctx, done := tel.Request(t.Context(), http.MethodPost, hostile())
	for _, aspsp := range []string{bank, canary} {
		for _, outcome := range append(aggregation.Outcomes, canary) {
			_, end := tel.Aggregations().Source(ctx, aspsp, "mypos", false)
			end(hostileResult(outcome, canonical.ProviderError), aggregation.Slots{Planned: 1, Spent: 1})
		}
	}
	tel.Logger().InfoContext(ctx, "done")
	done(event.Request{Route: "/r", Status: 200})
	metrics := scrapeText(t, tel, "application/openmetrics-text") + scrapeText(t, tel, "")
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if want := 2*(len(aggregation.Outcomes)+1) + 1; len(got) != want {
		t.Errorf("%d spans, want %d", len(got), want)
	}
	for where, text := range map[string]string{"spans": fmt.Sprintf("%+v", got), "metrics": metrics, "log": out.String(), "log records": fmt.Sprint(logs.got)} {
		if strings.Contains(text, canary) {
			t.Errorf("%s contain a text of the result", where)
		}
	}
}
