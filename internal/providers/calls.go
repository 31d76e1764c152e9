package providers

import (
	"context"
	"sync/atomic"
)

type callCountKey struct{}

// CountCalls returns a context that counts the successful calls made with it, and the counter. For
// one read it is the number of pages.
func CountCalls(ctx context.Context) (context.Context, *atomic.Int64) {
	n := new(atomic.Int64)
	return context.WithValue(ctx, callCountKey{}, n), n
}

// CallSucceeded counts a successful call in the context's counter, if it has one. Clients call it.
func CallSucceeded(ctx context.Context) {
	if n, ok := ctx.Value(callCountKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}
