package bulkhead

import "context"

type waitKey struct{}

// WithWait returns a context whose calls wait for the limits until end has ended.
func WithWait(ctx, end context.Context) context.Context {
	return context.WithValue(ctx, waitKey{}, end)
}

// WaitOf returns the context that ends the wait of ctx; nil without WithWait.
func WaitOf(ctx context.Context) context.Context {
	end, _ := ctx.Value(waitKey{}).(context.Context)
	return end
}
