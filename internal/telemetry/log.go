package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// localLog writes JSON lines and nothing else.
func localLog(o Options) allowed {
	return allowed{next: traced{slog.NewJSONHandler(o.LogOutput, &slog.HandlerOptions{Level: o.LogLevel})}, lost: &losses{}}
}

// traced adds the context's trace_id and span_id to each line.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// bridge makes log records of what is logged.
func bridge(o Options, p *sdklog.LoggerProvider) slog.Handler {
	return bridged{o.LogLevel, otelslog.NewHandler(scope, otelslog.WithLoggerProvider(p),
		otelslog.WithVersion(o.Version), otelslog.WithSchemaURL(semconv.SchemaURL))}
}

// bridged shows what the JSON line shows, from the same level on.
type bridged struct {
	level slog.Level
	slog.Handler
}

func (h bridged) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h bridged) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(shown(a)...)
		return true
	})
	return h.Handler.Handle(ctx, out)
}

func (h bridged) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bridged{h.level, h.Handler.WithAttrs(shown(attrs...))}
}

func (h bridged) WithGroup(name string) slog.Handler {
	return bridged{h.level, h.Handler.WithGroup(name)}
}

// shown are the attributes with the text that slog's JSON handler writes of a list.
func shown(attrs ...slog.Attr) []slog.Attr {
	out := slices.Clone(attrs)
	for i, a := range attrs {
		if a.Value.Kind() != slog.KindAny {
			continue
		}
		text, err := json.Marshal(a.Value.Any())
		if err != nil {
			text = []byte("unprintable")
		}
		out[i].Value = slog.StringValue(string(text))
	}
	return out
}

// quiet is how long nothing is said about export after a line about it.
const quiet = time.Minute

// faults logs what goes wrong in OpenTelemetry itself. Neither errors nor settings are quoted: they hold
// endpoints and headers, credentials included, and what a collector answered.
type faults struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	last   time.Time
	silent int64 // errors since last that were not logged
}

func newFaults(log *slog.Logger) *faults { return &faults{log: log, now: time.Now} }

// Handle logs an error of exporting, at most one line a minute.
func (f *faults) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if !f.last.IsZero() && now.Sub(f.last) < quiet {
		f.silent++
		return
	}
	f.log.Warn("telemetry error", "cause", cause(err), "silenced", f.silent)
	f.last, f.silent = now, 0
}

// cause is what kind of error it is, from a closed set.
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

// logger takes what OpenTelemetry would print to stderr: settings that it cannot read.
func (f *faults) logger() logr.Logger { return logr.New(settings{f.log}) }

type settings struct{ log *slog.Logger }

func (settings) Init(logr.RuntimeInfo)            {}
func (settings) Enabled(int) bool                 { return false }
func (settings) Info(int, string, ...any)         {}
func (s settings) WithValues(...any) logr.LogSink { return s }
func (s settings) WithName(string) logr.LogSink   { return s }

// Error logs which setting was not understood. what is a constant of OpenTelemetry's.
func (s settings) Error(_ error, what string, _ ...any) {
	s.log.Warn("invalid telemetry setting", "setting", what)
}
