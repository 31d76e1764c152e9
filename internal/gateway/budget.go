package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"ais-gateway/internal/recovery"
)

const (
	// RedisBudget is how long a request waits for Redis in all, if its response is possible without it.
	RedisBudget = 100 * time.Millisecond
	// shareStepTimeout is the timeout of one step by which an unattended request finds out whether another gateway makes its
	// call. Without Redis its own call could not be made.
	shareStepTimeout = 500 * time.Millisecond
	// eraseTimeout is how long the request for a deletion waits for Redis.
	eraseTimeout = 2 * time.Second
	// stepTimeout is the timeout of a step that continues although its request no longer waits for it.
	stepTimeout = time.Second
	// leaseSlack is how much longer than the call a lease lasts.
	leaseSlack = 2 * time.Second
	// Pauses between two reads of a request that waits for another gateway's call.
	pollFirst, pollLast = 10 * time.Millisecond, 40 * time.Millisecond
)

var (
	errBudgetSpent = errors.New("the time that this request may wait for redis is over")
	errPanicked    = errors.New("a step in Redis panicked")
)

// latencyBudget is how long one request may still wait for Redis. It is not safe for concurrent use.
type latencyBudget struct {
	left   time.Duration
	slack  time.Duration // added to the timeout of each step
	broken bool
}

func (g *Gateway) newBudget() latencyBudget {
	return latencyBudget{left: g.RedisBudget, slack: g.Slack}
}

// newShareBudget returns the budget of one step by which an unattended request finds out whether another gateway makes its
// call.
func (g *Gateway) newShareBudget() *latencyBudget {
	return &latencyBudget{left: shareStepTimeout + g.Slack, slack: g.Slack}
}

// runWithin runs one step in Redis and waits for it within the remaining budget. If the step fails or takes longer, no budget
// is left: Redis is slow or down, and the request continues without it. The step itself keeps running, so that a connection
// which is being dialled is not lost.
func runWithin[T any](ctx context.Context, a *latencyBudget, step func(context.Context) (T, error)) (T, error) {
	var none T
	if a.broken || a.left <= 0 {
		return none, errBudgetSpent
	}
	return waitForStep(ctx, a, startStep(ctx, stepTimeout+a.slack, step))
}

// pendingStep is a running step. Exactly one result is sent on it.
type pendingStep[T any] chan stepResult[T]

type stepResult[T any] struct {
	value T
	err   error
}

// startStep runs a step that continues after the request, up to its own timeout.
func startStep[T any](ctx context.Context, within time.Duration, step func(context.Context) (T, error)) pendingStep[T] {
	done := make(pendingStep[T], 1)
	go func() {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
		defer cancel()
		e := stepResult[T]{err: errPanicked}
		defer func() { done <- e }()
		defer recovery.Recover(own, slog.Default())
		value, err := step(own)
		e = stepResult[T]{value, err}
	}()
	return done
}

// waitForStep waits for a step within the remaining budget.
func waitForStep[T any](ctx context.Context, a *latencyBudget, step pendingStep[T]) (T, error) {
	var e stepResult[T]
	if a.broken || a.left <= 0 {
		return e.value, errBudgetSpent
	}
	began := time.Now() //nolint:forbidigo // measures a real wait
	timer := time.NewTimer(a.left)
	defer timer.Stop()
	select {
	case e = <-step:
	case <-timer.C:
		e.err = errBudgetSpent
	case <-ctx.Done():
		e.err = ctx.Err()
	}
	a.left -= time.Since(began)                 //nolint:forbidigo // as above
	a.broken = e.err != nil && ctx.Err() == nil // if the caller left, Redis is not the cause
	return e.value, e.err
}

// waitFor waits for the first attempt of a queued write within the remaining budget, and returns its error.
func (a *latencyBudget) waitFor(ctx context.Context, result <-chan error) error {
	if a.broken || a.left <= 0 {
		return errBudgetSpent
	}
	began := time.Now() //nolint:forbidigo // measures a real wait
	timer := time.NewTimer(a.left)
	defer timer.Stop()
	var err error
	select {
	case err = <-result:
	case <-timer.C:
		err = errBudgetSpent
	case <-ctx.Done():
		err = ctx.Err()
	}
	a.left -= time.Since(began)               //nolint:forbidigo // as above
	a.broken = err != nil && ctx.Err() == nil // if the caller left, Redis is not the cause
	return err
}

// smaller returns the smaller of two budgets, for a request that waited for another one's steps.
func (a latencyBudget) smaller(b latencyBudget) latencyBudget {
	return latencyBudget{left: min(a.left, b.left), slack: a.slack, broken: a.broken || b.broken}
}
