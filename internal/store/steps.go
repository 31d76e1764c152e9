package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"ais-gateway/internal/recovery"
)

// workerIdle is how long a worker without a step is kept.
const workerIdle = 10 * time.Second

var (
	// ErrNoTime means that a step was not started, because its request may not wait for Redis any
	// more.
	ErrNoTime = errors.New("no time is left to wait for redis")
	// ErrTimeout means that a step took longer than its request may wait. The step continues.
	ErrTimeout = errors.New("redis did not respond in the time that the request may wait")

	errPanicked = errors.New("a step in redis panicked")
)

// Steps runs steps in Redis for requests that wait for them only as long as their budgets allow. A
// step that takes longer continues up to the timeout of all steps: the client closes the connection
// of a command that is interrupted, and a connection that is being opened would be lost. Steps run
// on workers, which are reused. Their number is limited by that of the requests only, so that one
// node of a cluster that does not respond does not delay the steps of the others. Steps is safe for
// concurrent use.
type Steps struct {
	timeout time.Duration
	jobs    chan func()
}

// NewSteps returns Steps with a timeout for each step.
func NewSteps(timeout time.Duration) *Steps { return &Steps{timeout: timeout, jobs: make(chan func())} }

// A Budget is how long one request may still wait for Redis, in all its steps together. It is not
// safe for concurrent use.
type Budget struct {
	left   time.Duration
	failed bool
}

// NewBudget returns a budget.
func NewBudget(d time.Duration) Budget { return Budget{left: d} }

// Left returns how long the request may still wait; 0 after a step that failed.
func (b *Budget) Left() time.Duration {
	if b.failed {
		return 0
	}
	return max(b.left, 0)
}

// Failed reports whether a step failed or took too long.
func (b *Budget) Failed() bool { return b.failed }

// Fail ends the budget, because Redis is slow or down: the request continues without it.
func (b *Budget) Fail() { b.failed = true }

// Wait waits for the error of a step within the budget. An error ends the budget, unless ctx has
// ended.
func (b *Budget) Wait(ctx context.Context, step <-chan error) error {
	if b.Left() == 0 {
		return ErrNoTime
	}
	began := time.Now()
	timer := time.NewTimer(b.left)
	defer timer.Stop()
	var err error
	select {
	case err = <-step:
	case <-timer.C:
		err = ErrTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
	b.left -= time.Since(began)
	b.failed = err != nil
	return err
}

// Do runs a step and waits for it within the budget. It returns ErrNoTime if the step was not
// started, ErrTimeout or ctx's error if it continues, and otherwise the step's error.
func Do[T any](ctx context.Context, s *Steps, b *Budget, step func(context.Context) (T, error)) (T, error) {
	var value, none T
	if b.Left() == 0 {
		return none, ErrNoTime
	}
	done := s.start(ctx, func(ctx context.Context) (err error) {
		value, err = step(ctx)
		return err
	})
	if err := b.Wait(ctx, done); err != nil {
		return none, err // the step may still write value
	}
	return value, nil
}

// A Pending is a step that runs while its request does something else.
type Pending[T any] struct {
	value T
	done  <-chan error
	until time.Time // when its budget ends
}

// Begin starts a step for which a request waits later, at most until d after Begin.
func Begin[T any](ctx context.Context, s *Steps, d time.Duration, step func(context.Context) (T, error)) *Pending[T] {
	p := &Pending[T]{until: time.Now().Add(d)}
	p.done = s.start(ctx, func(ctx context.Context) (err error) {
		p.value, err = step(ctx)
		return err
	})
	return p
}

// Wait waits for the step. It returns ErrTimeout or ctx's error if the step continues, and
// otherwise the step's error.
func (p *Pending[T]) Wait(ctx context.Context) (T, error) {
	left := NewBudget(max(time.Until(p.until), time.Millisecond)) // so that a result that is there already is returned
	if err := left.Wait(ctx, p.done); err != nil {
		var none T
		return none, err // the step may still write p.value
	}
	return p.value, nil
}

// start runs a step on a worker. Its error is sent on the returned channel.
func (s *Steps) start(ctx context.Context, step func(context.Context) error) <-chan error {
	done := make(chan error, 1)
	s.Go(func() { done <- s.run(ctx, step) })
	return done
}

// Go runs a job, which must not panic, on an idle worker or on a new one. It does not wait.
func (s *Steps) Go(job func()) {
	select {
	case s.jobs <- job:
	default:
		go s.work(job)
	}
}

// work runs a job, and then others until there was none for a while.
func (s *Steps) work(job func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(workerIdle)
		select {
		case job = <-s.jobs:
		case <-idle.C:
			return
		}
	}
}

// run runs a step, which ctx does not interrupt.
func (s *Steps) run(ctx context.Context, step func(context.Context) error) error {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	err := errPanicked
	func() {
		defer recovery.Recover(own, slog.Default())
		err = step(own)
	}()
	return err
}
