package telemetry

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/telemetry/aggregations"
)

// suppressedOutput replaces output of the standard library by a log line without its text: net/http
// prints unexpected bytes of providers, and addresses of callers.
type suppressedOutput struct{ log *slog.Logger }

// Write logs that output was suppressed, and never fails.
func (o suppressedOutput) Write(text []byte) (int, error) {
	o.log.Warn("library output suppressed")
	return len(text), nil
}

// AllowTemplates allows path templates in spans and metrics. Other paths are dropped, because they
// may contain an account id.
func (t *Telemetry) AllowTemplates(templates ...string) {
	for _, template := range templates {
		t.templates.Store(template, true)
	}
}

// allowed reports whether AllowTemplates was called with template.
func (t *Telemetry) allowed(template string) bool {
	_, ok := t.templates.Load(template)
	return ok
}

// filteringExporter exports spans with allowed attributes only.
type filteringExporter struct {
	sdktrace.SpanExporter
	t *Telemetry
}

// ExportSpans implements sdktrace.SpanExporter.
func (e filteringExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, span := range spans {
		out[i] = e.t.filterSpan(span)
	}
	return e.SpanExporter.ExportSpans(ctx, out)
}

// filteredSpan is a span without events, links, status description and trace state, which are free
// text.
type filteredSpan struct {
	sdktrace.ReadOnlySpan
	name  string
	attrs []attribute.KeyValue
}

func (s filteredSpan) Name() string                     { return s.name }
func (s filteredSpan) Attributes() []attribute.KeyValue { return s.attrs }
func (filteredSpan) Events() []sdktrace.Event           { return nil }
func (filteredSpan) Links() []sdktrace.Link             { return nil }
func (s filteredSpan) Status() sdktrace.Status {
	return sdktrace.Status{Code: s.ReadOnlySpan.Status().Code}
}

func (s filteredSpan) SpanContext() trace.SpanContext { return stateless(s.ReadOnlySpan.SpanContext()) }
func (s filteredSpan) Parent() trace.SpanContext      { return stateless(s.ReadOnlySpan.Parent()) }

// stateless returns s without trace state.
func stateless(s trace.SpanContext) trace.SpanContext { return s.WithTraceState(trace.TraceState{}) }

// filterSpan returns span with allowed attributes, and counts what it drops.
func (t *Telemetry) filterSpan(span sdktrace.ReadOnlySpan) filteredSpan {
	out := filteredSpan{ReadOnlySpan: span, name: t.spanName(span.Name())}
	for _, a := range span.Attributes() {
		if spanKeys[a.Key] != "" && isScalarAttribute(a.Value) && (!isTemplate(a.Key) || t.allowed(a.Value.AsString())) {
			out.attrs = append(out.attrs, a)
		}
	}
	dropped := len(span.Attributes()) - len(out.attrs) + len(span.Events()) + len(span.Links())
	if out.name != span.Name() {
		dropped++
	}
	if span.Status().Description != "" {
		dropped++
	}
	t.droppedSpans.Add(int64(dropped))
	return out
}

// spanName returns the allowed part of a span's name: that of a source of an aggregation, or a known
// method and an allowed template.
func (t *Telemetry) spanName(name string) string {
	if name == aggregations.SpanName {
		return name
	}
	method, template, routed := strings.Cut(name, " ")
	if method != anyMethod && !slices.Contains(methods, method) {
		return anyMethod
	}
	if routed && !t.allowed(template) {
		return method
	}
	return name
}

// isTemplate reports whether the values of an attribute are path templates, which must be allowed.
func isTemplate(k attribute.Key) bool {
	return k == semconv.HTTPRouteKey || k == semconv.URLTemplateKey
}

// isScalarAttribute reports whether v is a single value. Lists are dropped.
func isScalarAttribute(v attribute.Value) bool {
	switch v.Type() { //nolint:exhaustive // every other type holds several values
	case attribute.BOOL, attribute.INT64, attribute.FLOAT64, attribute.STRING:
		return true
	}
	return false
}

// allowedLabel reports whether an attribute's key is in labelKeys.
var allowedLabel = attribute.NewAllowKeysFilter(slices.Collect(maps.Keys(labelKeys))...)

// allowLabels is a view that keeps only labels in labelKeys, for every instrument.
func allowLabels(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	return sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		AttributeFilter:                   allowedLabel,
		ExemplarReservoirProviderSelector: withoutDroppedAttrs,
	}, true
}

// withoutDroppedAttrs returns reservoirs whose exemplars lack the attributes that the view
// filtered. By default exemplars would have them.
func withoutDroppedAttrs(a sdkmetric.Aggregation) exemplar.ReservoirProvider {
	next := sdkmetric.DefaultExemplarReservoirProviderSelector(a)
	return func(attrs attribute.Set) exemplar.Reservoir { return bareReservoir{next(attrs)} }
}

// bareReservoir keeps exemplars without attributes.
type bareReservoir struct{ exemplar.Reservoir }

// Offer implements exemplar.Reservoir.
func (b bareReservoir) Offer(ctx context.Context, at time.Time, v exemplar.Value, _ []attribute.KeyValue) {
	b.Reservoir.Offer(ctx, at, v, nil)
}
