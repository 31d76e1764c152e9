package bulkhead

import "context"

type waitKey struct{}

// WithWait returns a context in which AcquireIn waits for the limits until the other context has
// ended.
func WithWait(ctx, until context.Context) context.Context {
	return context.WithValue(ctx, waitKey{}, until)
}

// WaitOf returns the context that ends the wait of ctx; nil without WithWait.
func WaitOf(ctx context.Context) context.Context {
	until, _ := ctx.Value(waitKey{}).(context.Context)
	return until
}

// AcquireIn is TryAcquire, or Acquire in a context of WithWait.
func (l *Limits) AcquireIn(ctx context.Context, client, aspsp string) Refusal {
	if until := WaitOf(ctx); until != nil {
		return l.Acquire(until, client, aspsp)
	}
	return l.TryAcquire(client, aspsp)
}
