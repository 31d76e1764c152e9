package telemetry

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/providers/upstream"
)

// methods are those that semantic conventions v1.43.0 know.
var methods = []string{
	http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
	http.MethodPatch, http.MethodPost, http.MethodPut, "QUERY", http.MethodTrace,
}

// gone is the status of a request whose caller has left: IANA knows none for it.
const gone = 499

// anyMethod stands in a span's name for a method that is not known.
const anyMethod = "HTTP"

// Request notes that a caller's request has come and continues the caller's trace, if the header has one. The
// context is for all that is done for the request; the function is to be called once, when it is answered.
func (t *Telemetry) Request(ctx context.Context, method string, header http.Header,
) (context.Context, func(event.Request)) {
	ctx = t.propagator.Extract(ctx, propagation.HeaderCarrier(header))
	known, verb := named(method)
	ctx, span := t.tracer.Start(ctx, verb, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(known))
	active := metric.WithAttributeSet(attribute.NewSet(known))
	t.inst.serverActive.Add(ctx, 1, active)
	return ctx, func(r event.Request) {
		t.inst.serverActive.Add(ctx, -1, active)
		attrs := append(t.aspsp(r.ASPSP), known)
		var route []attribute.KeyValue
		if t.knows(r.Route) {
			route = append(route, semconv.HTTPRoute(r.Route))
			attrs = append(attrs, route...)
			span.SetName(verb + " " + r.Route)
		}
		attrs = append(attrs, outcome(r.Status, r.Code, http.StatusInternalServerError)...)
		if r.Attended != nil {
			attrs = append(attrs, attendedKey.Bool(*r.Attended))
		}
		t.inst.ownDuration.Record(ctx, max(r.Duration-r.Waited, 0).Seconds(), metric.WithAttributes(route...))
		t.inst.serverDuration.Record(ctx, r.Duration.Seconds(), metric.WithAttributes(attrs...))
		span.SetAttributes(attrs...)
		span.SetAttributes(given(providerKey, r.Provider)...)
		span.SetAttributes(given(cacheKey, r.Cache)...)
		if r.Status == 0 || r.Status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
		t.countRead(ctx, r)
	}
}

// Call notes that a provider is called. The function is to be called once, when the answer has been read or is
// given up: status is the answer's, 0 for none, and kind the kind of failure, "" for a success.
func (t *Telemetry) Call(ctx context.Context, c upstream.Call) (context.Context, func(status int, kind canonical.Kind)) {
	known, verb := named(c.Method)
	attrs := append(t.aspsp(c.ASPSP), known)
	attrs = append(attrs, given(providerKey, c.Provider)...)
	host, port, err := net.SplitHostPort(c.Host)
	if err != nil {
		host = c.Host
	}
	attrs = append(attrs, given(semconv.ServerAddressKey, host)...)
	if n, err := strconv.Atoi(port); err == nil {
		attrs = append(attrs, semconv.ServerPort(n))
	}
	name := verb
	if t.knows(c.Route) {
		attrs = append(attrs, semconv.URLTemplate(c.Route))
		name += " " + c.Route
	}
	start := time.Now()
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attrs...), trace.WithAttributes(attendedKey.Bool(c.Attended)))
	if c.Resend > 0 {
		span.SetAttributes(semconv.HTTPRequestResendCount(c.Resend))
	}
	return ctx, func(status int, kind canonical.Kind) {
		end := outcome(status, string(kind), http.StatusBadRequest)
		t.inst.clientDuration.Record(ctx, time.Since(start).Seconds(),
			metric.WithAttributes(slices.Concat(attrs, end)...))
		span.SetAttributes(end...)
		if slices.ContainsFunc(end, func(a attribute.KeyValue) bool { return a.Key == semconv.ErrorTypeKey }) {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// named is the method as an attribute, and as it stands in a span's name (semantic conventions, HTTP spans).
func named(method string) (attribute.KeyValue, string) {
	if slices.Contains(methods, method) {
		return semconv.HTTPRequestMethodKey.String(method), method
	}
	return semconv.HTTPRequestMethodOther, anyMethod
}

// outcome is how a request or call ended. A status from failure on without a cause is its own cause. One that nobody knows is
// left out: a provider may answer a new one at each call.
func outcome(status int, cause string, failure int) []attribute.KeyValue {
	var attrs []attribute.KeyValue
	known := status == gone || http.StatusText(status) != ""
	if known {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(status))
	}
	switch {
	case cause != "":
	case !known:
		cause = other
	case status >= failure:
		cause = strconv.Itoa(status)
	}
	return append(attrs, given(semconv.ErrorTypeKey, cause)...)
}

// given is the attribute if there is a value for it.
func given(key attribute.Key, value string) []attribute.KeyValue {
	if value == "" {
		return nil
	}
	return []attribute.KeyValue{key.String(value)}
}

// IDs are those of the trace and the span that a request's context belongs to, 32 and 16 hexadecimal digits; "" if to none.
func (t *Telemetry) IDs(ctx context.Context) (traceID, spanID string) {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		return s.TraceID().String(), s.SpanID().String()
	}
	return "", ""
}

// TraceID is the id of the trace of a request's context; "" if the trace is recorded nowhere: it must be sampled, and exported
// by this gateway or sampled by the caller.
func (t *Telemetry) TraceID(ctx context.Context) string {
	s := trace.SpanContextFromContext(ctx)
	if !s.IsSampled() {
		return ""
	}
	own, ok := trace.SpanFromContext(ctx).(sdktrace.ReadOnlySpan)
	if ok && !t.exportsSpans && !own.Parent().IsSampled() {
		return ""
	}
	return s.TraceID().String()
}
