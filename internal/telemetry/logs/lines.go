package logs

import (
	"context"
	"encoding/json"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

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

// Exported returns a handler that passes lines of at least a level on to one that exports them, with
// the same attributes as the JSON line.
func Exported(level slog.Level, next slog.Handler) slog.Handler { return bridged{level, next} }

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
