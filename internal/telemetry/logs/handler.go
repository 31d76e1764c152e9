// Package logs has the slog handlers between the gateway's loggers and their outputs: a list of
// allowed keys, ids of traces, and the form of exported lines. internal/telemetry uses it.
package logs

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
)

// Handler passes on only attributes with a listed key and a scalar value. It precedes all handlers
// that write or export log lines.
type Handler struct {
	next        slog.Handler
	keys        map[string]string // what each allowed key means
	dropped     *atomic.Int64     // attributes
	withDropped int64             // number of attributes dropped in WithAttrs
	grouped     bool              // in a group all attributes are dropped, because their keys get a prefix
}

// Local returns a handler that writes JSON lines of at least a level, with the trace_id and span_id
// of their context. It allows the keys that have a meaning.
func Local(to io.Writer, level slog.Level, keys map[string]string) Handler {
	return Handler{next: traced{slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level})}, keys: keys, dropped: &atomic.Int64{}}
}

// And returns a handler that passes lines on to another handler, too.
func (h Handler) And(other slog.Handler) Handler {
	h.next = slog.NewMultiHandler(h.next, other)
	return h
}

// Instead returns a handler that passes lines on to another handler only.
func (h Handler) Instead(other slog.Handler) Handler {
	h.next = other
	return h
}

// Dropped returns how many attributes were dropped, by this handler and those made from it.
func (h Handler) Dropped() int64 { return h.dropped.Load() }

// Enabled implements slog.Handler.
func (h Handler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.next.Enabled(ctx, l)
}

// Handle passes on the line with the allowed attributes, and with the number of dropped ones if
// there are any.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	if h.withDropped == 0 && h.allowsAll(r) {
		return h.next.Handle(ctx, r)
	}
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	dropped := h.withDropped
	r.Attrs(func(a slog.Attr) bool {
		kept, n := h.filter(a)
		out.AddAttrs(kept...)
		dropped += n
		return true
	})
	if dropped > 0 {
		h.dropped.Add(dropped)
		out.AddAttrs(slog.Int64("dropped", dropped))
	}
	return h.next.Handle(ctx, out)
}

// allowsAll reports whether filter keeps all attributes of r as they are.
func (h Handler) allowsAll(r slog.Record) bool {
	all := true
	r.Attrs(func(a slog.Attr) bool {
		all = h.allows(a)
		return all
	})
	return all
}

// allows reports whether filter keeps a.
func (h Handler) allows(a slog.Attr) bool {
	return !h.grouped && h.keys[a.Key] != "" && isScalar(a.Value)
}

// WithAttrs returns a handler that adds the allowed attributes to each line, and counts the others
// as dropped in each line.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	kept, dropped := h.filter(attrs...)
	h.withDropped += dropped
	if len(kept) > 0 {
		h.next = h.next.WithAttrs(kept)
	}
	return h
}

// WithGroup returns a handler that drops all later attributes, unless name is "".
func (h Handler) WithGroup(name string) slog.Handler {
	h.grouped = h.grouped || name != ""
	return h
}

// filter returns the allowed attributes, and the number of dropped ones. A group without a name is
// replaced by its members; a group with a name is dropped.
func (h Handler) filter(attrs ...slog.Attr) (kept []slog.Attr, dropped int64) {
	for _, a := range attrs {
		switch {
		case h.allows(a):
			kept = append(kept, a)
		case a.Equal(slog.Attr{}): // slog ignores it
		case a.Key == "" && a.Value.Kind() == slog.KindGroup:
			members, n := h.filter(a.Value.Group()...)
			kept, dropped = append(kept, members...), dropped+n
		default:
			dropped++
		}
	}
	return kept, dropped
}

// isScalar reports whether v is a scalar or a list of strings. Errors, structures and values that
// format themselves may contain anything.
func isScalar(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindString, slog.KindTime, slog.KindUint64:
		return true
	case slog.KindAny:
		_, isList := v.Any().([]string)
		return isList
	case slog.KindGroup, slog.KindLogValuer:
	}
	return false
}
