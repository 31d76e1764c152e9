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

// methods lists the methods of the semantic conventions v1.43.0.
var methods = []string{
	http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
	http.MethodPatch, http.MethodPost, http.MethodPut, "QUERY", http.MethodTrace,
}

// statusCanceled is the status of a request whose caller closed the connection. It is not
// registered with IANA.
const statusCanceled = 499

// anyMethod replaces an unknown method in the name of a span.
const anyMethod = "HTTP"

// Request starts the span of a caller's request, which continues the caller's trace if header has
// one. It returns the context to be used for the request, and a function that must be called once,
// at the end of the request. That function ends the span and records the metrics. Paths that are
// not allowed templates, and ids of ASPSPs that are not configured, are left out.
func (t *Telemetry) Request(ctx context.Context, method string, header http.Header,
) (context.Context, func(event.Request)) {
	ctx = t.propagator.Extract(ctx, propagation.HeaderCarrier(header))
	known, name := methodAttr(method)
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(known))
	active := metric.WithAttributeSet(attribute.NewSet(known))
	t.inst.serverActive.Add(ctx, 1, active)
	return ctx, func(r event.Request) {
		t.inst.serverActive.Add(ctx, -1, active)
		attrs := append(t.aspsp(r.ASPSP), known)
		var route []attribute.KeyValue
		if t.allowed(r.Route) {
			route = append(route, semconv.HTTPRoute(r.Route))
			attrs = append(attrs, route...)
			span.SetName(name + " " + r.Route)
		}
		attrs = append(attrs, outcome(r.Status, r.Code, http.StatusInternalServerError)...)
		if r.Attended != nil {
			attrs = append(attrs, attendedKey.Bool(*r.Attended))
		}
		t.inst.ownDuration.Record(ctx, max(r.Duration-r.Waited, 0).Seconds(), metric.WithAttributes(route...))
		t.inst.serverDuration.Record(ctx, r.Duration.Seconds(), metric.WithAttributes(attrs...))
		span.SetAttributes(attrs...)
		span.SetAttributes(optional(providerKey, r.Provider)...)
		span.SetAttributes(optional(cacheKey, r.Cache)...)
		if r.Status == 0 || r.Status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
		t.countRead(ctx, r)
	}
}

// Call starts the span of a call to a provider. It returns the context of the call, and a function
// that must be called once, at its end, which records the duration. status is 0 if there was no
// response; kind is the kind of error, or "".
func (t *Telemetry) Call(ctx context.Context, c upstream.Call) (context.Context, func(status int, kind canonical.Kind)) {
	known, name := methodAttr(c.Method)
	attrs := append(t.aspsp(c.ASPSP), known)
	attrs = append(attrs, optional(providerKey, c.Provider)...)
	host, port, err := net.SplitHostPort(c.Host)
	if err != nil {
		host = c.Host
	}
	attrs = append(attrs, optional(semconv.ServerAddressKey, host)...)
	if n, err := strconv.Atoi(port); err == nil {
		attrs = append(attrs, semconv.ServerPort(n))
	}
	if t.allowed(c.Route) {
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

// methodAttr returns the attribute of a method, and the method for the name of a span (semantic
// conventions, HTTP spans).
func methodAttr(method string) (attribute.KeyValue, string) {
	if slices.Contains(methods, method) {
		return semconv.HTTPRequestMethodKey.String(method), method
	}
	return semconv.HTTPRequestMethodOther, anyMethod
}

// outcome returns the attributes status and error type. Without a cause, a status of at least
// failure is the error type. A status that is not registered is left out, because a provider could
// return a new one in each response.
func outcome(status int, cause string, failure int) []attribute.KeyValue {
	var attrs []attribute.KeyValue
	known := status == statusCanceled || http.StatusText(status) != ""
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
	return append(attrs, optional(semconv.ErrorTypeKey, cause)...)
}

// optional returns the attribute, or no attribute if value is "".
func optional(key attribute.Key, value string) []attribute.KeyValue {
	if value == "" {
		return nil
	}
	return []attribute.KeyValue{key.String(value)}
}

// IDs returns the ids of the trace and span of ctx, or zeros if it has none.
func (t *Telemetry) IDs(ctx context.Context) (traceID [16]byte, spanID [8]byte) {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		return s.TraceID(), s.SpanID()
	}
	return traceID, spanID
}

// TraceID returns the id of the trace of ctx, or "" if the trace is not recorded: it must be
// sampled, and either exported by this gateway or sampled by the caller.
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
