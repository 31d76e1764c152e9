// Package aggregations records a span and counters for the sources of aggregations. Package
// telemetry makes the Observer; no other package imports this one.
package aggregations

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"ais-gateway/internal/aggregation"
)

// SpanName is the name of the span of a source.
const SpanName = "aggregation source"

// OutcomeKey is the attribute of a span with the outcome of its source.
const OutcomeKey = attribute.Key("ais.outcome")

// The labels of the counters.
const (
	outcomeLabel = attribute.Key("outcome")
	eventLabel   = attribute.Key("event")
)

// Slots lists the events of the slots of a source.
var Slots = []string{"planned", "reserved", "spent", "released"}

// Outcomes returns the outcomes of a source, in the order of aggregation.Outcomes.
func Outcomes() []string {
	all := make([]string, len(aggregation.Outcomes))
	for i, o := range aggregation.Outcomes {
		all[i] = string(o)
	}
	return all
}

// Config has what an Observer uses of package telemetry. Every member is needed.
type Config struct {
	Tracer trace.Tracer
	Meter  metric.Meter
	// HasChildren reports whether the span of ctx has spans below it.
	HasChildren func(ctx context.Context) bool
	// Attrs returns the attributes of a span that are known at its start.
	Attrs func(aspsp, provider string, attended bool) []attribute.KeyValue
	// Init sets a counter to 0 for each configured ASPSP and each value of a label.
	Init func(c metric.Int64Counter, label attribute.Key, values []string)
	// Add adds n to a counter with a label, and with the id of a configured ASPSP.
	Add func(ctx context.Context, c metric.Int64Counter, n int, aspsp string, label attribute.KeyValue)
}

// Observer records the sources of aggregations. It implements runner.Observer, and is safe for
// concurrent use.
type Observer struct {
	Config
	sources, slots metric.Int64Counter
}

// New returns an Observer, and the error of a counter that cannot be created.
func New(c Config) (*Observer, error) {
	o := &Observer{Config: c}
	var err error
	if o.sources, err = c.Meter.Int64Counter("ais.aggregation.sources", metric.WithUnit("{source}"),
		metric.WithDescription("Sources of aggregations, by outcome.")); err != nil {
		return nil, err
	}
	if o.slots, err = c.Meter.Int64Counter("ais.aggregation.slots", metric.WithUnit("{call}"),
		metric.WithDescription("Slots of the sources of aggregations, by event.")); err != nil {
		return nil, err
	}
	c.Init(o.sources, outcomeLabel, Outcomes())
	c.Init(o.slots, eventLabel, Slots)
	return o, nil
}

// Source starts the span of a source. It returns the context of the calls of the source, and a
// function that must be called once, with the result. That function ends the span and counts the
// source and its slots.
func (o *Observer) Source(ctx context.Context, aspsp, provider string, attended bool,
) (context.Context, func(aggregation.SourceResult, aggregation.Slots)) {
	var span trace.Span = nooptrace.Span{}
	if o.HasChildren(ctx) {
		ctx, span = o.Tracer.Start(ctx, SpanName, trace.WithAttributes(o.Attrs(aspsp, provider, attended)...))
	}
	return ctx, func(r aggregation.SourceResult, s aggregation.Slots) {
		outcome := "_OTHER"
		if slices.Contains(aggregation.Outcomes, r.Outcome) {
			outcome = string(r.Outcome)
		}
		o.Add(ctx, o.sources, 1, aspsp, outcomeLabel.String(outcome))
		for i, n := range []int{s.Planned, s.Reserved, s.Spent, s.Released} {
			if n > 0 { // an ASPSP that is not configured has no slots, and no series
				o.Add(ctx, o.slots, n, aspsp, eventLabel.String(Slots[i]))
			}
		}
		span.SetAttributes(OutcomeKey.String(outcome))
		if r.Failure != nil {
			span.SetAttributes(semconv.ErrorTypeKey.String(string(r.Failure.Kind)))
		}
		if r.Outcome == aggregation.Failed {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
