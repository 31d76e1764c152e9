package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"ais-gateway/internal/output"
	"ais-gateway/internal/telemetry/logs"
)

// localLog returns the handler that writes JSON lines.
func localLog(o Options) logs.Handler { return logs.Local(o.LogOutput, o.LogLevel, logKeys) }

// bridge returns the handler that exports log records.
func bridge(o Options, p *sdklog.LoggerProvider) slog.Handler {
	return logs.Exported(o.LogLevel, otelslog.NewHandler(scope, otelslog.WithLoggerProvider(p),
		otelslog.WithVersion(o.Version), otelslog.WithSchemaURL(semconv.SchemaURL)))
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
