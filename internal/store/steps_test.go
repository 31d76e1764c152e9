package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ais-gateway/internal/store"
)

var errDown = errors.New("down")

// bubble runs a test of steps in a synctest bubble, in which time passes only while everything
// waits.
func bubble(t *testing.T, test func(t *testing.T, s *store.Steps)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // idle workers end
		test(t, store.NewSteps(time.Second))
	})
}

// takes returns a step that takes d.
func takes(d time.Duration) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		time.Sleep(d)
		return "done", nil
	}
}

// TestBudget: the steps of a request together take its budget. After one that fails or takes
// longer, no step is started.
func TestBudget(t *testing.T) {
	bubble(t, func(t *testing.T, s *store.Steps) {
		b := store.NewBudget(100 * time.Millisecond)
		for range 2 {
			if got, err := store.Do(t.Context(), s, &b, takes(40*time.Millisecond)); got != "done" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if b.Left() != 20*time.Millisecond || b.Failed() {
			t.Errorf("%v left, failed %t", b.Left(), b.Failed())
		}
		began := time.Now()
		if got, err := store.Do(t.Context(), s, &b, takes(40*time.Millisecond)); !errors.Is(err, store.ErrTimeout) || got != "" {
			t.Errorf("%q, %v", got, err)
		}
		if took := time.Since(began); took != 20*time.Millisecond || b.Left() != 0 || !b.Failed() {
			t.Errorf("took %v, %v left, failed %t", took, b.Left(), b.Failed())
		}
		for name, budget := range map[string]store.Budget{"used up": b, "empty": store.NewBudget(0), "negative": store.NewBudget(-1)} {
			if _, err := store.Do(t.Context(), s, &budget, func(context.Context) (string, error) {
				t.Errorf("%s: a step was started", name)
				return "", nil
			}); !errors.Is(err, store.ErrNoTime) {
				t.Errorf("%s: %v", name, err)
			}
		}
		failed := store.NewBudget(time.Minute)
		if _, err := store.Do(t.Context(), s, &failed, func(context.Context) (string, error) { return "x", errDown }); !errors.Is(err, errDown) || failed.Left() != 0 {
			t.Errorf("%v, %v left", err, failed.Left())
		}
	})
}

// TestStepContinues: a step continues after its request has stopped waiting or has left, up to the
// timeout of steps. That the request left does not end its budget.
func TestStepContinues(t *testing.T) {
	bubble(t, func(t *testing.T, s *store.Steps) {
		ended := make(chan time.Duration, 2)
		began := time.Now()
		step := func(ctx context.Context) (string, error) {
			<-ctx.Done()
			ended <- time.Since(began)
			return "", ctx.Err()
		}
		b := store.NewBudget(100 * time.Millisecond)
		if _, err := store.Do(t.Context(), s, &b, step); !errors.Is(err, store.ErrTimeout) {
			t.Error(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, leave)
		b = store.NewBudget(time.Minute)
		if _, err := store.Do(ctx, s, &b, step); !errors.Is(err, context.Canceled) || b.Failed() {
			t.Errorf("%v, failed %t", err, b.Failed())
		}
		for _, want := range []time.Duration{time.Second, 1100 * time.Millisecond} {
			if got := <-ended; got != want {
				t.Errorf("a step ended after %v, want %v", got, want)
			}
		}
	})
}

// TestPending: a step that was begun runs beside other steps, and its budget counts from its
// beginning.
func TestPending(t *testing.T) {
	bubble(t, func(t *testing.T, s *store.Steps) {
		began := time.Now()
		quick := store.Begin(t.Context(), s, 100*time.Millisecond, takes(90*time.Millisecond))
		slow := store.Begin(t.Context(), s, 100*time.Millisecond, takes(300*time.Millisecond))
		time.Sleep(80 * time.Millisecond)
		if got, err := quick.Wait(t.Context()); got != "done" || err != nil || time.Since(began) != 90*time.Millisecond {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
		if _, err := slow.Wait(t.Context()); !errors.Is(err, store.ErrTimeout) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		late := store.Begin(t.Context(), s, 100*time.Millisecond, takes(10*time.Millisecond))
		time.Sleep(time.Second)
		if got, err := late.Wait(t.Context()); got != "done" || err != nil {
			t.Errorf("a result that is there already: %q, %v", got, err)
		}
	})
}

// TestSlowStepsDelayNoOthers: however many steps wait for a server that does not respond, others
// run at the same time.
func TestSlowStepsDelayNoOthers(t *testing.T) {
	bubble(t, func(t *testing.T, s *store.Steps) {
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				b := store.NewBudget(100 * time.Millisecond)
				if _, err := store.Do(t.Context(), s, &b, takes(time.Second)); !errors.Is(err, store.ErrTimeout) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began, b := time.Now(), store.NewBudget(100*time.Millisecond)
		if got, err := store.Do(t.Context(), s, &b, takes(0)); got != "done" || err != nil || time.Since(began) != 0 {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
		all.Wait()
	})
}

// TestPanicOfAStep: a step that panics fails, and its worker continues.
func TestPanicOfAStep(t *testing.T) {
	bubble(t, func(t *testing.T, s *store.Steps) {
		for range 3 {
			b := store.NewBudget(time.Minute)
			if _, err := store.Do(t.Context(), s, &b, func(context.Context) (string, error) { panic("x") }); err == nil {
				t.Fatal("no error")
			}
		}
		b := store.NewBudget(time.Minute)
		if got, err := store.Do(t.Context(), s, &b, takes(0)); got != "done" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}
