package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

// idSpan is the span of a request if no spans are exported. It only has the ids of log lines and
// exemplars, and is sampled like a span of the default sampler: by the caller's decision, otherwise
// always.
type idSpan struct {
	nooptrace.Span
	ids             trace.SpanContext
	sampledByCaller bool
}

// SpanContext implements trace.Span.
func (s *idSpan) SpanContext() trace.SpanContext { return s.ids }

// newIDSpan returns a span below the caller's.
func newIDSpan(caller trace.SpanContext) *idSpan {
	ids := trace.SpanContextConfig{TraceID: caller.TraceID(), TraceFlags: caller.TraceFlags()}
	if !caller.IsValid() {
		binary.LittleEndian.PutUint64(ids.TraceID[:8], randomID())
		binary.LittleEndian.PutUint64(ids.TraceID[8:], randomID())
		ids.TraceFlags = trace.FlagsSampled
	}
	binary.LittleEndian.PutUint64(ids.SpanID[:], randomID())
	return &idSpan{ids: trace.NewSpanContext(ids), sampledByCaller: caller.IsValid() && caller.IsSampled()}
}

// randomID returns a part of an id, which is not zero: ids of zeros are invalid (W3C Trace Context).
func randomID() uint64 { return 1 | rand.Uint64() } //nolint:gosec // ids are not secret

// startServerSpan starts the span of a caller's request.
func (t *Telemetry) startServerSpan(ctx context.Context, name string, method attribute.KeyValue) (context.Context, trace.Span) {
	if t.idsOnly {
		span := newIDSpan(trace.SpanContextFromContext(ctx))
		return trace.ContextWithSpan(ctx, span), span
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(method))
}

// extract returns ctx with the caller's trace, if header has one.
func (t *Telemetry) extract(ctx context.Context, header http.Header) context.Context {
	for _, name := range t.traceHeaders {
		if len(header[name]) > 0 {
			return t.propagator.Extract(ctx, propagation.HeaderCarrier(header))
		}
	}
	return ctx
}
