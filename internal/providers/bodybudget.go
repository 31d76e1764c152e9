package providers

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
)

// ErrBodyBudget means that the responses to one request are too large together.
var ErrBodyBudget = errors.New("the responses are too large together")

type bodyBudgetKey struct{}

// WithBodyBudget returns a context whose calls read at most limit bytes of response bodies together.
// Bodies with a content coding count as sent and as decoded.
func WithBodyBudget(ctx context.Context, limit int64) context.Context {
	left := new(atomic.Int64)
	left.Store(limit)
	return context.WithValue(ctx, bodyBudgetKey{}, left)
}

// BodyBudgetSpent reports whether the calls of ctx have read as much as its budget allows.
func BodyBudgetSpent(ctx context.Context) bool {
	left, ok := ctx.Value(bodyBudgetKey{}).(*atomic.Int64)
	return ok && left.Load() <= 0
}

// BudgetedReader returns a reader that fails with ErrBodyBudget when the budget of ctx is spent; r
// itself if ctx has none.
func BudgetedReader(ctx context.Context, r io.Reader) io.Reader {
	if left, ok := ctx.Value(bodyBudgetKey{}).(*atomic.Int64); ok {
		return budgetedReader{r, left}
	}
	return r
}

type budgetedReader struct {
	io.Reader
	left *atomic.Int64
}

func (b budgetedReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left.Add(int64(-n)) < 0 {
		return 0, ErrBodyBudget
	}
	return n, err
}
