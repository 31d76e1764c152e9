package telemetry

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/upstream"
)

// spanContent is the part of a span that tests compare.
type spanContent struct {
	Name   string
	Kind   trace.SpanKind
	Status codes.Code
	Attrs  map[string]any
}

func contentOf(s tracetest.SpanStub) spanContent {
	attrs := map[string]any{}
	for _, a := range s.Attributes {
		attrs[string(a.Key)] = a.Value.AsInterface()
	}
	return spanContent{Name: s.Name, Kind: s.SpanKind, Status: s.Status.Code, Attrs: attrs}
}

// only returns the single span, and checks that it has only attributes.
func only(t *testing.T, tel *Telemetry, spans *tracetest.InMemoryExporter) tracetest.SpanStub {
	t.Helper()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if len(got) != 1 {
		t.Fatalf("%d spans, want 1", len(got))
	}
	if s := got[0]; len(s.Events) != 0 || len(s.Links) != 0 || s.Status.Description != "" {
		t.Errorf("span has events, links or a description: %+v", s)
	}
	if name, _ := got[0].Resource.Set().Value("service.name"); name.AsString() != "ais-gateway" {
		t.Errorf("span of service %q", name.AsString())
	}
	return got[0]
}

var yes, no = true, false

var serverSpans = []struct {
	name   string
	method string
	info   event.Request
	want   spanContent
}{
	{
		name: "success", method: "GET",
		info: event.Request{
			Route: "/v1/aspsps/{aspspId}/accounts", Method: "GET", Status: 200, ASPSP: bank, Provider: "mypos",
			Client: canary, Attended: &yes, Cache: "hit",
		},
		want: spanContent{Name: "GET /v1/aspsps/{aspspId}/accounts", Attrs: map[string]any{
			"http.request.method": "GET", "http.route": "/v1/aspsps/{aspspId}/accounts",
			"http.response.status_code": int64(200), "ais.aspsp.id": bank, "ais.provider": "mypos",
			"ais.attended": true, "ais.cache": "hit",
		}},
	},
	{
		name: "refused", method: "GET",
		info: event.Request{Route: "/r", Method: "GET", Status: 429, Code: "UNATTENDED_LIMIT", ASPSP: bank, Attended: &no},
		want: spanContent{Name: "GET /r", Attrs: map[string]any{
			"http.request.method": "GET", "http.route": "/r", "http.response.status_code": int64(429),
			"error.type": "UNATTENDED_LIMIT", "ais.aspsp.id": bank, "ais.attended": false,
		}},
	},
	{
		name: "failed", method: "POST",
		info: event.Request{Route: "/r", Status: 502, Code: "PROVIDER_ERROR"},
		want: spanContent{Name: "POST /r", Status: codes.Error, Attrs: map[string]any{
			"http.request.method": "POST", "http.route": "/r", "http.response.status_code": int64(502),
			"error.type": "PROVIDER_ERROR",
		}},
	},
	{
		name: "failed without a code", method: "GET", info: event.Request{Route: "/r", Status: 500},
		want: spanContent{Name: "GET /r", Status: codes.Error, Attrs: map[string]any{
			"http.request.method": "GET", "http.route": "/r", "http.response.status_code": int64(500), "error.type": "500",
		}},
	},
	{
		name: "the caller was gone", method: "GET", info: event.Request{Route: "/r", Status: 499, Code: "CANCELED"},
		want: spanContent{Name: "GET /r", Attrs: map[string]any{
			"http.request.method": "GET", "http.route": "/r", "http.response.status_code": int64(499), "error.type": "CANCELED",
		}},
	},
	{
		name: "nothing answered", method: "GET", info: event.Request{Route: "/r"},
		want: spanContent{Name: "GET /r", Status: codes.Error, Attrs: map[string]any{
			"http.request.method": "GET", "http.route": "/r", "error.type": "_OTHER",
		}},
	},
	{
		name: "unknown method, route and ASPSP", method: canary,
		info: event.Request{Method: canary, Status: 404, Code: "NOT_FOUND", ASPSP: unknown},
		want: spanContent{Name: "HTTP", Attrs: map[string]any{
			"http.request.method": "_OTHER", "http.response.status_code": int64(404), "error.type": "NOT_FOUND",
		}},
	},
	{
		name: "method in lower case", method: "get", info: event.Request{Route: "/r", Status: 405},
		want: spanContent{Name: "HTTP /r", Attrs: map[string]any{
			"http.request.method": "_OTHER", "http.route": "/r", "http.response.status_code": int64(405),
		}},
	},
}

func TestServerSpan(t *testing.T) {
	for _, c := range serverSpans {
		t.Run(c.name, func(t *testing.T) {
			tel, spans, _ := inMemory(t, exporters{})
			_, end := tel.Request(t.Context(), c.method, hostile())
			end(c.info)
			c.want.Kind = trace.SpanKindServer
			if diff := cmp.Diff(c.want, contentOf(only(t, tel, spans))); diff != "" {
				t.Errorf("span (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSpanAfterItsParent: a call that outlives its request has a span.
func TestSpanAfterItsParent(t *testing.T) {
	tel, spans, _ := inMemory(t, exporters{})
	ctx, done := tel.Request(t.Context(), http.MethodGet, http.Header{})
	done(event.Request{Method: http.MethodGet, Status: 499})
	_, end := tel.Call(context.WithoutCancel(ctx), upstream.Call{Provider: "mypos", Method: http.MethodGet, Host: "bank:443"})
	end(http.StatusOK, "")
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	var kinds []trace.SpanKind
	for _, s := range spans.GetSpans() {
		kinds = append(kinds, s.SpanKind)
	}
	if !slices.Equal(kinds, []trace.SpanKind{trace.SpanKindServer, trace.SpanKindClient}) {
		t.Errorf("spans of the kinds %v", kinds)
	}
}

func TestClientSpan(t *testing.T) {
	base := map[string]any{
		"http.request.method": "GET", "url.template": "/v1/accounts/{accountNumber}/balances",
		"server.address": "mp-psd2-api.mypos.com", "server.port": int64(443),
		"ais.aspsp.id": bank, "ais.provider": "mypos", "ais.attended": true,
	}
	with := func(more map[string]any) map[string]any {
		attrs := map[string]any{}
		for _, from := range []map[string]any{base, more} {
			for k, v := range from {
				attrs[k] = v
			}
		}
		return attrs
	}
	for _, c := range []struct {
		name   string
		status int
		kind   canonical.Kind
		want   map[string]any
		code   codes.Code
	}{
		{name: "success", status: 200, want: with(map[string]any{"http.response.status_code": int64(200)})},
		{
			name: "unusable answer", status: 200, kind: "PROVIDER_INVALID_RESPONSE", code: codes.Error,
			want: with(map[string]any{"http.response.status_code": int64(200), "error.type": "PROVIDER_INVALID_RESPONSE"}),
		},
		{
			name: "refused", status: 400, code: codes.Error,
			want: with(map[string]any{"http.response.status_code": int64(400), "error.type": "400"}),
		},
		{
			name: "an unregistered status", status: 799, kind: "PROVIDER_ERROR", code: codes.Error,
			want: with(map[string]any{"error.type": "PROVIDER_ERROR"}),
		},
		{name: "an unregistered status without a kind", status: 599, code: codes.Error, want: with(map[string]any{"error.type": "_OTHER"})},
		{name: "no failure by its number", status: 299, code: codes.Error, want: with(map[string]any{"error.type": "_OTHER"})},
		{name: "timeout", kind: "PROVIDER_TIMEOUT", code: codes.Error, want: with(map[string]any{"error.type": "PROVIDER_TIMEOUT"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			tel, spans, _ := inMemory(t, exporters{})
			_, end := tel.Call(t.Context(), providerCall)
			end(c.status, c.kind)
			want := spanContent{
				Name: "GET /v1/accounts/{accountNumber}/balances", Kind: trace.SpanKindClient, Status: c.code, Attrs: c.want,
			}
			if diff := cmp.Diff(want, contentOf(only(t, tel, spans))); diff != "" {
				t.Errorf("span (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTraceContinues(t *testing.T) {
	tel, spans, out := inMemory(t, exporters{})
	work(t, tel)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if len(got) != 2 {
		t.Fatalf("%d spans, want 2", len(got))
	}
	client, server := got[0], got[1]
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	if s := server.SpanContext.TraceID().String(); s != id {
		t.Errorf("trace %s, want the caller's %s", s, id)
	}
	if s := server.Parent.SpanID().String(); s != "00f067aa0ba902b7" {
		t.Errorf("parent %s, want the caller's span", s)
	}
	if client.Parent.SpanID() != server.SpanContext.SpanID() || client.SpanContext.TraceID().String() != id {
		t.Error("the call is not part of the request")
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "time")
	want := map[string]any{
		"level": "INFO", "msg": "done", "trace_id": id, "span_id": client.SpanContext.SpanID().String(),
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("log line (-want +got):\n%s", diff)
	}
}

// TestTraceID checks that TraceID is "" unless the trace is recorded. Log lines always have the
// trace id.
func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	sampled := http.Header{"Traceparent": {parent}}
	unsampled := http.Header{"Traceparent": {strings.TrimSuffix(parent, "1") + "0"}}
	for _, c := range []struct {
		name, sampler     string
		exports, disabled bool
		header            http.Header
		want              bool
	}{
		{name: "no exporter"},
		{name: "no exporter, sampled by the caller", header: sampled, want: true},
		{name: "no exporter, not sampled by the caller", header: unsampled},
		{name: "exported", exports: true, want: true},
		{name: "exported, sampled by the caller", exports: true, header: sampled, want: true},
		{name: "exported, not sampled by the caller", exports: true, header: unsampled},
		{name: "always_off", sampler: "always_off", exports: true},
		{name: "always_off, sampled by the caller", sampler: "always_off", exports: true, header: sampled},
		{name: "always_off, no exporter", sampler: "always_off", header: sampled},
		{name: "disabled", disabled: true},
		{name: "disabled, sampled by the caller", disabled: true, header: sampled, want: true},
		{name: "disabled, not sampled by the caller", disabled: true, header: unsampled},
	} {
		t.Run(c.name, func(t *testing.T) {
			silence(t)
			t.Setenv("OTEL_TRACES_SAMPLER", c.sampler)
			exp, out := exporters{disabled: c.disabled}, &logOutput{}
			if c.exports {
				exp.spans = kept{&tracetest.InMemoryExporter{}}
			}
			tel, err := build(t.Context(), options(out), exp, localLog(options(out)))
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := tel.Request(t.Context(), "GET", c.header)
			tel.Logger().InfoContext(ctx, "done")
			got := tel.TraceID(ctx)
			end(event.Request{Status: 404})
			if (got != "") != c.want || c.want && c.header != nil && got != id {
				t.Errorf("trace %q, want one: %v", got, c.want)
			}
			if logged := strings.Contains(out.String(), `"trace_id"`); logged != (!c.disabled || c.header != nil) {
				t.Errorf("log line: %s", out)
			}
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNoTraceWithoutACaller(t *testing.T) {
	for _, c := range []struct {
		name, propagators string
		header            http.Header
	}{
		{name: "no header"},
		{name: "broken header", header: http.Header{"Traceparent": {"00-zz-" + canary + "-01"}}},
		{name: "propagation off", propagators: "none", header: http.Header{"Traceparent": {parent}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			silence(t)
			t.Setenv("OTEL_PROPAGATORS", c.propagators)
			spans, out := &tracetest.InMemoryExporter{}, &logOutput{}
			tel, err := build(t.Context(), options(out), exporters{spans: kept{spans}}, localLog(options(out)))
			if err != nil {
				t.Fatal(err)
			}
			_, end := tel.Request(t.Context(), "GET", c.header)
			end(event.Request{Status: 200})
			if s := only(t, tel, spans); s.Parent.IsValid() || !s.SpanContext.IsValid() {
				t.Errorf("span %v below %v, want a new trace", s.SpanContext, s.Parent)
			}
		})
	}
}

// Values from headers, and unknown methods, routes and ASPSPs, must not appear in telemetry.
func TestCallerDataStaysOut(t *testing.T) {
	tel, spans, out := inMemory(t, exporters{})
	work(t, tel)
	ctx, end := tel.Request(t.Context(), canary, hostile())
	tel.Logger().InfoContext(ctx, "done")
	tel.Slot(ctx, canary, canary)
	tel.Breaker(canary, canary)
	tel.ObserveBreakers(func() []gateway.ASPSPInfo {
		return []gateway.ASPSPInfo{{ID: canary, Breaker: breaker.Open}, {ID: bank, Breaker: canary}}
	})
	_, called := tel.Call(ctx, upstream.Call{Method: canary, ASPSP: canary})
	called(200, "")
	end(event.Request{Method: canary, ASPSP: canary, Client: canary, Cache: canary, Status: 404, Code: "NOT_FOUND"})
	metrics := scrapeText(t, tel, "application/openmetrics-text") + scrapeText(t, tel, "")
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	var traces strings.Builder
	for _, s := range spans.GetSpans() {
		traces.WriteString(s.Name + s.SpanContext.TraceState().String() + s.Parent.TraceState().String() + s.Status.Description)
		for _, a := range append(s.Attributes, s.Resource.Attributes()...) {
			traces.WriteString(string(a.Key) + a.Value.String())
		}
	}
	if len(spans.GetSpans()) != 4 {
		t.Errorf("%d spans, want 4", len(spans.GetSpans()))
	}
	for where, text := range map[string]string{"spans": traces.String(), "metrics": metrics, "log": out.String()} {
		if strings.Contains(text, canary) {
			t.Errorf("%s hold a caller's text", where)
		}
		if text == "" {
			t.Errorf("no %s", where)
		}
	}
}

func TestDisabled(t *testing.T) {
	tel, spans, out := inMemory(t, exporters{disabled: true})
	work(t, tel)
	if got := len(spans.GetSpans()); got != 0 {
		t.Errorf("%d spans", got)
	}
	for name := range scrape(t, tel) {
		if !strings.HasPrefix(name, "process_") {
			t.Errorf("metric %s", name)
		}
	}
	if !strings.Contains(out.String(), `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`) {
		t.Errorf("the caller's trace is not in the log: %s", out)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
