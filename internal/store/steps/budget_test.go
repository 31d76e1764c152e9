package steps_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"ais-gateway/internal/store/steps"
)

var errDown = errors.New("down")

// takes returns a step that takes d, unless its context ends before.
func takes(d time.Duration) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(d):
			return "done", nil
		case <-ctx.Done():
			return "interrupted", ctx.Err()
		}
	}
}

// TestBudget: the steps of a request together take its budget. After one that fails or takes
// longer, no step is started.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := steps.NewBudget(100 * time.Millisecond)
		for range 2 {
			if got, err := steps.Do(t.Context(), &b, takes(40*time.Millisecond)); got != "done" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if b.Left() != 20*time.Millisecond || b.Ended() {
			t.Errorf("%v left, ended %t", b.Left(), b.Ended())
		}
		began := time.Now()
		if got, err := steps.Do(t.Context(), &b, takes(40*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) || got != "interrupted" {
			t.Errorf("%q, %v", got, err)
		}
		if took := time.Since(began); took != 20*time.Millisecond || b.Left() != 0 || !b.Ended() {
			t.Errorf("took %v, %v left, ended %t", took, b.Left(), b.Ended())
		}
		for name, budget := range map[string]steps.Budget{"used up": b, "empty": steps.NewBudget(0), "negative": steps.NewBudget(-1)} {
			if _, err := steps.Do(t.Context(), &budget, func(context.Context) (string, error) {
				t.Errorf("%s: a step was started", name)
				return "", nil
			}); !errors.Is(err, steps.ErrNotSent) {
				t.Errorf("%s: %v", name, err)
			}
		}
		failed := steps.NewBudget(time.Minute)
		if _, err := steps.Do(t.Context(), &failed, func(context.Context) (string, error) { return "x", errDown }); !errors.Is(err, errDown) || failed.Left() != 0 {
			t.Errorf("%v, %v left", err, failed.Left())
		}
	})
}

// TestPanicOfAStep: a step that panics is one that failed.
func TestPanicOfAStep(t *testing.T) {
	t.Parallel()
	b := steps.NewBudget(time.Minute)
	got, err := steps.Do(t.Context(), &b, func(context.Context) (string, error) { panic("x") })
	if got != "" || err == nil || errors.Is(err, steps.ErrNotSent) || !b.Ended() {
		t.Errorf("%q, %v, ended %t", got, err, b.Ended())
	}
}

// TestBudgetOfARequestThatLeft: a request that leaves interrupts its step, which does not end the
// budget.
func TestBudgetOfARequestThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, leave)
		b, began := steps.NewBudget(time.Minute), time.Now()
		if _, err := steps.Do(ctx, &b, takes(time.Hour)); !errors.Is(err, context.Canceled) || b.Ended() {
			t.Errorf("%v, ended %t", err, b.Ended())
		}
		if took := time.Since(began); took != 50*time.Millisecond || b.Left() != time.Minute-took {
			t.Errorf("took %v, %v left", took, b.Left())
		}
	})
}

// TestBudgetWait: a wait for a step that runs elsewhere takes budget, too.
func TestBudgetWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, step := steps.NewBudget(100*time.Millisecond), make(chan error, 1)
		time.AfterFunc(40*time.Millisecond, func() { step <- nil })
		if err := b.Wait(t.Context(), step); err != nil || b.Left() != 60*time.Millisecond {
			t.Errorf("%v, %v left", err, b.Left())
		}
		if err := b.Wait(t.Context(), step); !errors.Is(err, context.DeadlineExceeded) || b.Left() != 0 {
			t.Errorf("%v, %v left", err, b.Left())
		}
	})
}

// TestPending: a step that was begun runs beside other steps, until its timeout. A panic is its
// error.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // idle workers end
		workers, began := steps.NewWorkers(), time.Now()
		quick := steps.Begin(t.Context(), workers, 100*time.Millisecond, takes(90*time.Millisecond))
		slow := steps.Begin(t.Context(), workers, 100*time.Millisecond, takes(300*time.Millisecond))
		abandoned, ended := context.WithTimeout(t.Context(), time.Millisecond)
		defer ended()
		if got, err := quick.Wait(abandoned); !errors.Is(err, context.DeadlineExceeded) || got != "" {
			t.Errorf("%q, %v for a request that left", got, err)
		}
		panics := steps.Begin(t.Context(), workers, time.Second, func(context.Context) (string, error) { panic("x") })
		time.Sleep(79 * time.Millisecond)
		if got, err := quick.Wait(t.Context()); got != "done" || err != nil || time.Since(began) != 90*time.Millisecond {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
		if got, err := slow.Wait(t.Context()); !errors.Is(err, context.DeadlineExceeded) || got != "" || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
		if got, err := panics.Wait(t.Context()); err == nil || got != "" {
			t.Errorf("%q, %v after a panic", got, err)
		}
	})
}

// TestWorkers: however many jobs wait, others run at the same time. A job runs on a worker that is
// idle.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // idle workers end
		workers, began := steps.NewWorkers(), time.Now()
		for range 1000 {
			workers.Go(func() { time.Sleep(time.Second) })
		}
		synctest.Wait()
		done := make(chan time.Duration)
		workers.Go(func() { done <- time.Since(began) })
		if took := <-done; took != 0 {
			t.Errorf("a job waited for %v", took)
		}
		time.Sleep(time.Minute)
		if n := runtime.NumGoroutine(); n > 30 { // four workers, and those of the test
			t.Errorf("%d goroutines a minute later", n)
		}
		before := runtime.NumGoroutine()
		for range 4 {
			workers.Go(func() { time.Sleep(time.Second) })
		}
		if n := runtime.NumGoroutine(); n != before {
			t.Errorf("%d goroutines for four jobs after a quiet time, %d before", n, before)
		}
	})
}
