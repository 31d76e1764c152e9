// Package steps bounds how long a request waits for its steps in Redis, and runs steps on goroutines
// that are kept. internal/gateway, internal/coalesce, internal/unattended, internal/retryqueue and the
// packages of internal/store use it.
package steps

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"ais-gateway/internal/recovery"
)

// Timeout is the maximum duration of one step, unless its request may wait for less.
const Timeout = time.Second

// ErrNotSent means that nothing was sent to Redis, because the request must not wait any longer.
var ErrNotSent = errors.New("the request must not wait for redis any longer")

var errPanicked = errors.New("a step in redis panicked")

// A Budget is how long one request may still wait for Redis, in all its steps together. It is not
// safe for concurrent use.
type Budget struct {
	left  time.Duration
	ended bool
}

// NewBudget returns a budget.
func NewBudget(d time.Duration) Budget { return Budget{left: d} }

// Left returns how long the request may still wait; 0 after a step that failed.
func (b *Budget) Left() time.Duration {
	if b.ended {
		return 0
	}
	return max(b.left, 0)
}

// Ended reports whether a step failed or took too long.
func (b *Budget) Ended() bool { return b.ended }

// End ends the budget, because Redis is slow or down: the request continues without it.
func (b *Budget) End() { b.ended = true }

// Wait waits for the error of a step within the budget. An error ends the budget, unless ctx has
// ended.
func (b *Budget) Wait(ctx context.Context, step <-chan error) error {
	_, err := Do(ctx, b, func(ctx context.Context) (none struct{}, err error) {
		select {
		case err = <-step:
			return none, err
		case <-ctx.Done():
			return none, ctx.Err()
		}
	})
	return err
}

// Do runs a step with the request's budget as its timeout, and returns its result. Without budget it
// returns ErrNotSent. An error ends the budget, unless ctx has ended. A panic of the step is an error.
func Do[T any](ctx context.Context, b *Budget, step func(context.Context) (T, error)) (result T, err error) {
	if b.Left() == 0 {
		return result, ErrNotSent
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, b.left)
	defer cancel()
	result, err = run(within, step)
	b.left -= time.Since(began)
	if err != nil && ctx.Err() == nil {
		b.ended = true
	}
	return result, err
}

// run runs a step. If it panics, it returns an error.
func run[T any](ctx context.Context, step func(context.Context) (T, error)) (result T, err error) {
	defer func() {
		if value := recover(); value != nil {
			recovery.Log(ctx, slog.Default(), value)
			err = errPanicked
		}
	}()
	return step(ctx)
}

// A Pending is a step that runs while its request does something else.
type Pending[T any] struct {
	done  chan struct{}
	value T // value and err are set when done is closed
	err   error
}

// Begin starts a step with a timeout, for which a request waits later. ctx does not interrupt it.
func Begin[T any](ctx context.Context, w *Workers, timeout time.Duration, step func(context.Context) (T, error)) *Pending[T] {
	p := &Pending[T]{done: make(chan struct{})}
	w.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		defer close(p.done)
		p.value, p.err = run(ctx, step)
	})
	return p
}

// Wait waits for the step, and returns its result, or ctx's error if ctx ends before. It may be
// called several times.
func (p *Pending[T]) Wait(ctx context.Context) (T, error) {
	var none T
	select {
	case <-p.done:
		if p.err != nil {
			return none, p.err
		}
		return p.value, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
