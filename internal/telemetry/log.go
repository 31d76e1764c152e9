package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/output"
)

// localLog returns the handler that writes JSON lines.
func localLog(o Options) allowlistHandler {
	return allowlistHandler{next: traced{slog.NewJSONHandler(o.LogOutput, &slog.HandlerOptions{Level: o.LogLevel})}, dropped: &dropCounters{}}
}

// traced adds the context's trace_id and span_id to each line.
type traced struct{ slog.Handler }

// Handle implements slog.Handler.
func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// bridge returns the handler that exports log records.
func bridge(o Options, p *sdklog.LoggerProvider) slog.Handler {
	return bridged{o.LogLevel, otelslog.NewHandler(scope, otelslog.WithLoggerProvider(p),
		otelslog.WithVersion(o.Version), otelslog.WithSchemaURL(semconv.SchemaURL))}
}

// bridged exports the same attributes and levels as the JSON line.
type bridged struct {
	level slog.Level
	slog.Handler
}

// Enabled reports whether lines of a level are logged and exported.
func (h bridged) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h bridged) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(asText(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h bridged) WithAttrs(attrs []slog.Attr) slog.Handler {
	texts := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		texts[i] = asText(a)
	}
	return bridged{h.level, h.Handler.WithAttrs(texts)}
}

// WithGroup implements slog.Handler.
func (h bridged) WithGroup(name string) slog.Handler {
	return bridged{h.level, h.Handler.WithGroup(name)}
}

// asText returns a with a list replaced by the text that slog's JSON handler writes, because an
// exported attribute is a scalar.
func asText(a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindAny {
		return a
	}
	text, err := json.Marshal(a.Value.Any())
	if err != nil {
		text = []byte("unprintable")
	}
	return slog.String(a.Key, string(text))
}

// errorInterval is the minimum time between two log lines about export errors.
const errorInterval = time.Minute

// errorHandler logs errors of OpenTelemetry. It logs no text of errors and settings, because that
// may contain endpoints and headers with credentials, or responses of a collector.
type errorHandler struct {
	log      *slog.Logger
	throttle output.Throttle
}

// newErrorHandler returns an error handler that logs to log.
func newErrorHandler(log *slog.Logger) *errorHandler {
	return &errorHandler{log: log, throttle: output.Throttle{Every: errorInterval, Now: time.Now}}
}

// Handle logs an export error, at most once a minute.
func (h *errorHandler) Handle(err error) {
	if suppressed, ok := h.throttle.Allow(1); ok {
		h.log.Warn("telemetry error", "cause", cause(err), "silenced", suppressed)
	}
}

// cause returns the kind of err, from a closed list.
func cause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var timed interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return "timeout"
	case errors.As(err, &dns):
		return "name_unknown"
	case errors.As(err, &op):
		return "unreachable"
	default:
		return "other"
	}
}

// logger returns the logger for invalid settings, which OpenTelemetry would print to stderr.
func (h *errorHandler) logger() logr.Logger { return logr.New(settingsLog{h.log}) }

// settingsLog is a logr.LogSink that logs only errors.
type settingsLog struct{ log *slog.Logger }

func (settingsLog) Init(logr.RuntimeInfo)            {}
func (settingsLog) Enabled(int) bool                 { return false }
func (settingsLog) Info(int, string, ...any)         {}
func (s settingsLog) WithValues(...any) logr.LogSink { return s }
func (s settingsLog) WithName(string) logr.LogSink   { return s }

// Error logs the name of an invalid setting. what is a constant of OpenTelemetry.
func (s settingsLog) Error(_ error, what string, _ ...any) {
	s.log.Warn("invalid telemetry setting", "setting", what)
}
