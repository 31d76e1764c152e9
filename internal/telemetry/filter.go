package telemetry

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// losses counts the attributes that were dropped.
type losses struct{ logs, spans atomic.Int64 }

// allowed lets through what logKeys name, in the form of plain values. It stands before everything that writes log
// lines or sends them.
type allowed struct {
	next    slog.Handler
	lost    *losses
	dropped int64 // of what With was given
	grouped bool  // in a group every key has another name
}

func (h allowed) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h allowed) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	dropped := h.dropped
	r.Attrs(func(a slog.Attr) bool {
		kept, n := h.sift(a)
		out.AddAttrs(kept...)
		dropped += n
		return true
	})
	if dropped > 0 {
		h.lost.logs.Add(dropped)
		out.AddAttrs(slog.Int64("dropped", dropped))
	}
	return h.next.Handle(ctx, out)
}

func (h allowed) WithAttrs(attrs []slog.Attr) slog.Handler {
	kept, dropped := h.sift(attrs...)
	h.dropped += dropped
	if len(kept) > 0 {
		h.next = h.next.WithAttrs(kept)
	}
	return h
}

func (h allowed) WithGroup(name string) slog.Handler {
	h.grouped = h.grouped || name != ""
	return h
}

// sift is what may be logged of attributes, and how many may not. A group without a name is its members; one with a
// name is a structure, and is dropped as a whole.
func (h allowed) sift(attrs ...slog.Attr) (kept []slog.Attr, dropped int64) {
	for _, a := range attrs {
		switch {
		case a.Equal(slog.Attr{}): // which slog leaves out by itself
		case a.Key == "" && a.Value.Kind() == slog.KindGroup:
			members, n := h.sift(a.Value.Group()...)
			kept, dropped = append(kept, members...), dropped+n
		case !h.grouped && logKeys[a.Key] != "" && plain(a.Value):
			kept = append(kept, a)
		default:
			dropped++
		}
	}
	return kept, dropped
}

// plain reports whether a value shows all that it is: errors and structures hold what nobody has looked at, and
// whatever writes itself may write anything.
func plain(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindString, slog.KindTime, slog.KindUint64:
		return true
	case slog.KindAny:
		_, sentences := v.Any().([]string)
		return sentences
	case slog.KindGroup, slog.KindLogValuer:
	}
	return false
}

// hushed takes what the standard library prints by itself: net/http quotes what a provider sends unasked, and names
// addresses of callers. That it printed is said, and nothing of what.
type hushed struct{ log *slog.Logger }

func (h hushed) Write(text []byte) (int, error) {
	h.log.Warn("library output suppressed")
	return len(text), nil
}

// Know makes templates of paths fit to be told. Any other is left out: an account may stand in it.
func (t *Telemetry) Know(templates ...string) {
	for _, template := range templates {
		t.templates.Store(template, true)
	}
}

func (t *Telemetry) knows(template string) bool {
	_, known := t.templates.Load(template)
	return known
}

// sifted exports spans as far as they may be told.
type sifted struct {
	sdktrace.SpanExporter
	t *Telemetry
}

func (s sifted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, span := range spans {
		out[i] = s.t.sift(span)
	}
	return s.SpanExporter.ExportSpans(ctx, out)
}

// tellable is a span without events, links, a status's description, and the caller's trace state, which are free text.
type tellable struct {
	sdktrace.ReadOnlySpan
	name  string
	attrs []attribute.KeyValue
}

func (s tellable) Name() string                     { return s.name }
func (s tellable) Attributes() []attribute.KeyValue { return s.attrs }
func (tellable) Events() []sdktrace.Event           { return nil }
func (tellable) Links() []sdktrace.Link             { return nil }
func (s tellable) Status() sdktrace.Status {
	return sdktrace.Status{Code: s.ReadOnlySpan.Status().Code}
}
func (s tellable) SpanContext() trace.SpanContext { return stateless(s.ReadOnlySpan.SpanContext()) }
func (s tellable) Parent() trace.SpanContext      { return stateless(s.ReadOnlySpan.Parent()) }

func stateless(s trace.SpanContext) trace.SpanContext { return s.WithTraceState(trace.TraceState{}) }

func (t *Telemetry) sift(span sdktrace.ReadOnlySpan) tellable {
	out := tellable{ReadOnlySpan: span, name: t.nameable(span.Name())}
	for _, a := range span.Attributes() {
		if spanKeys[a.Key] != "" && scalar(a.Value) && (!isTemplate(a.Key) || t.knows(a.Value.AsString())) {
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
	t.lost.spans.Add(int64(dropped))
	return out
}

// nameable is a span's name as far as it may be told: a method, and behind it a known template.
func (t *Telemetry) nameable(name string) string {
	verb, template, routed := strings.Cut(name, " ")
	if verb != anyMethod && !slices.Contains(methods, verb) {
		return anyMethod
	}
	if routed && !t.knows(template) {
		return verb
	}
	return name
}

func isTemplate(k attribute.Key) bool {
	return k == semconv.HTTPRouteKey || k == semconv.URLTemplateKey
}

func scalar(v attribute.Value) bool {
	switch v.Type() { //nolint:exhaustive // every other type holds several values
	case attribute.BOOL, attribute.INT64, attribute.FLOAT64, attribute.STRING:
		return true
	}
	return false
}

// labelled lets a metric of whatever instrument have the labels in labelKeys alone.
func labelled(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	return sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		AttributeFilter:                   attribute.NewAllowKeysFilter(slices.Collect(maps.Keys(labelKeys))...),
		ExemplarReservoirProviderSelector: bareExemplars,
	}, true
}

// bareExemplars keeps examples without what the filter took away, which would be told beside them.
func bareExemplars(a sdkmetric.Aggregation) exemplar.ReservoirProvider {
	next := sdkmetric.DefaultExemplarReservoirProviderSelector(a)
	return func(attrs attribute.Set) exemplar.Reservoir { return bare{next(attrs)} }
}

type bare struct{ exemplar.Reservoir }

func (b bare) Offer(ctx context.Context, at time.Time, v exemplar.Value, _ []attribute.KeyValue) {
	b.Reservoir.Offer(ctx, at, v, nil)
}
