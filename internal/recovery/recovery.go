// Package recovery logs recovered panics without their values, which could contain data of a
// request or of a provider's response. Without recovery, the runtime writes the value to standard
// error and ends the process with all its requests. internal/api and internal/gateway use it for
// requests and calls; internal/auth, internal/coalesce, internal/retryqueue, the packages of
// internal/store and cmd for work in the background.
package recovery

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
)

// Recover logs a panic of the function that defers it. That function then returns normally.
func Recover(ctx context.Context, log *slog.Logger) {
	if value := recover(); value != nil {
		Log(ctx, log, value)
	}
}

// Log logs a recovered panic with its stack and additional attributes. It must be called by the
// deferred function itself, so that the stack still contains the place of the panic.
func Log(ctx context.Context, log *slog.Logger, value any, more ...slog.Attr) {
	// Runtime errors contain only types, lengths and addresses, and a stack shows arguments only as
	// hexadecimal words.
	text := "a value that is not shown"
	if err, ok := value.(runtime.Error); ok {
		text = err.Error()
	}
	attrs := append([]slog.Attr{slog.String("panic", text), slog.String("stack", string(debug.Stack()))}, more...)
	log.LogAttrs(ctx, slog.LevelError, "panic", attrs...)
}
