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

// requestLabels is what the labels of a caller's request are made of.
type requestLabels struct {
	aspsp, route, method, code string
	status                     int
	attended                   attendance
}

// attendance is whether a request is attended.
type attendance int8

const (
	undistinguished attendance = iota // the route does not distinguish
	unattended
	attended
)

func attendanceOf(r event.Request) attendance {
	switch {
	case r.Attended == nil:
		return undistinguished
	case *r.Attended:
		return attended
	}
	return unattended
}

// Request starts the span of a caller's request, which continues the caller's trace if header has
// one. It returns the context to be used for the request, and a function that must be called once,
// at the end of the request. That function ends the span and records the metrics. Paths that are
// not allowed templates, and ids of ASPSPs that are not configured, are left out.
func (t *Telemetry) Request(ctx context.Context, method string, header http.Header,
) (context.Context, func(event.Request)) {
	known, name := methodAttr(method)
	ctx, span := t.startServerSpan(t.extract(ctx, header), name, known)
	active := t.activeLabels.get(name, func() []attribute.KeyValue { return []attribute.KeyValue{known} })
	t.inst.serverActive.Add(ctx, 1, active.add...)
	return ctx, func(r event.Request) {
		t.inst.serverActive.Add(ctx, -1, active.add...)
		if !t.allowed(r.Route) {
			r.Route = ""
		}
		if !t.aspsps[r.ASPSP] {
			r.ASPSP = ""
		}
		if r.Cache != "" {
			r.Cache = oneOf(cacheResults, r.Cache)
		}
		key := requestLabels{aspsp: r.ASPSP, route: r.Route, method: name, code: r.Code, status: r.Status, attended: attendanceOf(r)}
		l := t.requestLabels.get(key, func() []attribute.KeyValue { return t.requestAttrs(r, known) })
		byRoute := t.routeLabels.get(r.Route, func() []attribute.KeyValue { return optional(semconv.HTTPRouteKey, r.Route) })
		t.inst.ownDuration.Record(ctx, max(r.Duration-r.Waited, 0).Seconds(), byRoute.record...)
		t.inst.serverDuration.Record(ctx, r.Duration.Seconds(), l.record...)
		endServerSpan(span, name, r, l.attrs)
		t.countCache(ctx, r)
		t.countRead(ctx, r)
	}
}

// requestAttrs returns the attributes of a caller's request.
func (t *Telemetry) requestAttrs(r event.Request, method attribute.KeyValue) []attribute.KeyValue {
	attrs := append(t.aspsp(r.ASPSP), method)
	attrs = append(attrs, optional(semconv.HTTPRouteKey, r.Route)...)
	attrs = append(attrs, outcome(r.Status, r.Code, http.StatusInternalServerError)...)
	if r.Attended != nil {
		attrs = append(attrs, attendedKey.Bool(*r.Attended))
	}
	return attrs
}

// endServerSpan ends the span of a caller's request.
func endServerSpan(span trace.Span, name string, r event.Request, attrs []attribute.KeyValue) {
	if !span.IsRecording() {
		return
	}
	if r.Route != "" {
		span.SetName(name + " " + r.Route)
	}
	span.SetAttributes(attrs...)
	span.SetAttributes(optional(providerKey, r.Provider)...)
	span.SetAttributes(optional(cacheKey, r.Cache)...)
	if r.Status == 0 || r.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// callLabels is what the labels of a call to a provider are made of.
type callLabels struct {
	upstream.Call
	status int
	kind   canonical.Kind
}

// Call starts the span of a call to a provider. It returns the context of the call, and a function
// that must be called once, at its end, which records the duration. status is 0 if there was no
// response; kind is the kind of error, or "".
func (t *Telemetry) Call(ctx context.Context, c upstream.Call) (context.Context, func(status int, kind canonical.Kind)) {
	start := time.Now()
	ctx, span := t.startClientSpan(ctx, c)
	return ctx, func(status int, kind canonical.Kind) {
		key := callLabels{Call: c, status: status, kind: kind}
		key.Attended, key.Resend = false, 0 // the metrics do not distinguish them
		l := t.callLabels.get(key, func() []attribute.KeyValue {
			return append(t.callAttrs(c), outcome(status, string(kind), http.StatusBadRequest)...)
		})
		t.inst.clientDuration.Record(ctx, time.Since(start).Seconds(), l.record...)
		if !span.IsRecording() {
			return
		}
		end := outcome(status, string(kind), http.StatusBadRequest)
		span.SetAttributes(end...)
		if slices.ContainsFunc(end, func(a attribute.KeyValue) bool { return a.Key == semconv.ErrorTypeKey }) {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// hasChildren reports whether the span of ctx has spans below it: not if it is not sampled. It may
// have ended, because a call outlives its request.
func (t *Telemetry) hasChildren(ctx context.Context) bool {
	parent := trace.SpanContextFromContext(ctx)
	return !t.idsOnly && (parent.IsSampled() || !parent.IsValid())
}

// startClientSpan starts the span of a call to a provider, if hasChildren.
func (t *Telemetry) startClientSpan(ctx context.Context, c upstream.Call) (context.Context, trace.Span) {
	if !t.hasChildren(ctx) {
		return ctx, trace.SpanFromContext(ctx)
	}
	_, name := methodAttr(c.Method)
	if t.allowed(c.Route) {
		name += " " + c.Route
	}
	attrs := append(t.callAttrs(c), attendedKey.Bool(c.Attended))
	if c.Resend > 0 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(c.Resend))
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
}

// callAttrs returns the attributes of a call to a provider that are known before it.
func (t *Telemetry) callAttrs(c upstream.Call) []attribute.KeyValue {
	known, _ := methodAttr(c.Method)
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
	}
	return attrs
}

// sourceAttrs returns the attributes of a source of an aggregation that are known before its calls.
func (t *Telemetry) sourceAttrs(aspsp, provider string, attended bool) []attribute.KeyValue {
	return append(append(t.aspsp(aspsp), optional(providerKey, provider)...), attendedKey.Bool(attended))
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
	switch own := trace.SpanFromContext(ctx).(type) {
	case *idSpan:
		if !own.sampledByCaller {
			return ""
		}
	case sdktrace.ReadOnlySpan:
		if !t.exportsSpans && !own.Parent().IsSampled() {
			return ""
		}
	}
	return s.TraceID().String()
}
