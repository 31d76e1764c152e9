package providers

import (
	"context"
	"sync/atomic"
)

type callsKey struct{}

// CountCalls returns a context under which successful calls are counted: the number of pages of a read.
func CountCalls(ctx context.Context) (context.Context, *atomic.Int64) {
	n := new(atomic.Int64)
	return context.WithValue(ctx, callsKey{}, n), n
}

// CallSucceeded counts a call under its context. Clients call it.
func CallSucceeded(ctx context.Context) {
	if n, ok := ctx.Value(callsKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}
