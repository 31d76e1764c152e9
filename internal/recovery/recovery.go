// Package recovery catches panics and says in the log where they came from, and never with what: that may hold
// anything of a request or a provider's answer. Where nobody catches a panic, the runtime writes what it was to
// standard error, and ends the process with every request in it. internal/api and internal/gateway call it around
// what answers requests, they, internal/unattended and cmd around what goes on in goroutines of its own.
package recovery

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
)

// Catch logs a panic of the function that defers it, and lets that function return.
func Recover(ctx context.Context, log *slog.Logger) {
	if value := recover(); value != nil {
		Log(ctx, log, value)
	}
}

// Log logs a panic that was recovered, with its stack and more attributes. It is called by the deferred function, so
// that the stack still shows where the panic was.
func Log(ctx context.Context, log *slog.Logger, value any, more ...slog.Attr) {
	// The runtime's own errors name types, lengths and addresses; a stack has words in hexadecimal.
	what := "a value that is not shown"
	if fault, ok := value.(runtime.Error); ok {
		what = fault.Error()
	}
	attrs := append([]slog.Attr{slog.String("panic", what), slog.String("stack", string(debug.Stack()))}, more...)
	log.LogAttrs(ctx, slog.LevelError, "panic", attrs...)
}
