package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"ais-gateway/internal/recovery"
)

const (
	// RedisAllowance is what Redis may cost one request where the answer can be had without it.
	RedisBudget = 100 * time.Millisecond
	// sharePatience is what Redis may cost an unattended request at each step of finding out whether another gateway makes
	// its call: without Redis it could not be made anyway.
	sharePatience = 500 * time.Millisecond
	// forgetTimeout is what Redis may cost where it is what the request is about.
	forgetTimeout = 2 * time.Second
	// stepTimeout is how long a step may go on of which a request may have stopped waiting for the end.
	stepTimeout = time.Second
	// leaseMargin is how much longer than the call a lease lasts.
	leaseMargin = 2 * time.Second
	// How often those who wait for another gateway's call look whether it has ended.
	pollFirst, pollLast = 10 * time.Millisecond, 40 * time.Millisecond
)

var (
	errSpent    = errors.New("redis has cost this request enough")
	errPanicked = errors.New("a step in Redis panicked")
)

// An allowance is how long Redis may still hold up one request. It serves one goroutine.
type allowance struct {
	left   time.Duration
	slack  time.Duration // of the steps themselves
	broken bool
}

func (g *Gateway) allowance() allowance { return allowance{left: g.RedisBudget, slack: g.Slack} }

// sharing is an allowance of one step of finding out whether another gateway makes an unattended call.
func (g *Gateway) sharing() *allowance {
	return &allowance{left: sharePatience + g.Slack, slack: g.Slack}
}

// spend makes one step in Redis and waits for it within what is left. After a step that failed, or was not waited for to
// its end, nothing is left: Redis is slow or gone, and the request goes on without it. The step has a time of its own: a
// connection that is being set up for it then serves the next one.
func spend[T any](ctx context.Context, a *allowance, step func(context.Context) (T, error)) (T, error) {
	var none T
	if a.broken || a.left <= 0 {
		return none, errSpent
	}
	return await(ctx, a, begin(ctx, stepTimeout+a.slack, step))
}

// A begun is a step that is under way; it always comes to an end.
type begun[T any] chan ended[T]

type ended[T any] struct {
	value T
	err   error
}

// begin makes a step that does not end with the request, but within its own time.
func begin[T any](ctx context.Context, within time.Duration, step func(context.Context) (T, error)) begun[T] {
	done := make(begun[T], 1)
	go func() {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
		defer cancel()
		e := ended[T]{err: errPanicked}
		defer func() { done <- e }()
		defer recovery.Recover(own, slog.Default())
		value, err := step(own)
		e = ended[T]{value, err}
	}()
	return done
}

// await waits for a step within what is left of an allowance.
func await[T any](ctx context.Context, a *allowance, step begun[T]) (T, error) {
	var e ended[T]
	if a.broken || a.left <= 0 {
		return e.value, errSpent
	}
	began := time.Now() //nolint:forbidigo // what is measured is how long a real wait took
	timer := time.NewTimer(a.left)
	defer timer.Stop()
	select {
	case e = <-step:
	case <-timer.C:
		e.err = errSpent
	case <-ctx.Done():
		e.err = ctx.Err()
	}
	a.left -= time.Since(began)                 //nolint:forbidigo // as above
	a.broken = e.err != nil && ctx.Err() == nil // a caller who goes away says nothing about Redis
	return e.value, e.err
}

// waitFor waits for an error within what is left of the budget.
func (a *allowance) waitFor(ctx context.Context, result <-chan error) error {
	if a.broken || a.left <= 0 {
		return errSpent
	}
	began := time.Now() //nolint:forbidigo // what is measured is how long a real wait took
	timer := time.NewTimer(a.left)
	defer timer.Stop()
	var err error
	select {
	case err = <-result:
	case <-timer.C:
		err = errSpent
	case <-ctx.Done():
		err = ctx.Err()
	}
	a.left -= time.Since(began)               //nolint:forbidigo // as above
	a.broken = err != nil && ctx.Err() == nil // a caller who leaves says nothing about Redis
	return err
}

// least is what is left of two allowances, where one waited for what the other spent.
func (a allowance) least(b allowance) allowance {
	return allowance{left: min(a.left, b.left), slack: a.slack, broken: a.broken || b.broken}
}
