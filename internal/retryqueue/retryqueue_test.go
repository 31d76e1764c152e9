package retryqueue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/retryqueue"
)

var errDown = errors.New("down")

// A record is a write whose first attempts fail. It records when each attempt is made.
type record struct {
	mu    sync.Mutex
	began time.Time
	fails int             // how many attempts fail
	at    []time.Duration // since began
}

func failing(n int) *record { return &record{began: time.Now(), fails: n} }

func (r *record) write(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, time.Since(r.began))
	if len(r.at) <= r.fails {
		return errDown
	}
	return nil
}

func (r *record) times() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration{}, r.at...)
}

// inBubble runs a test in a bubble.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // idle workers end
		test(t)
	})
}

func open(change func(*retryqueue.Config)) *retryqueue.Queue[string] {
	c := retryqueue.Config{Max: 100, Timeout: time.Second, MaxPause: time.Second}
	if change != nil {
		change(&c)
	}
	return retryqueue.New[string](c)
}

func millis(all ...int) []time.Duration {
	times := make([]time.Duration, len(all))
	for i, ms := range all {
		times[i] = time.Duration(ms) * time.Millisecond
	}
	return times
}

// TestRetries: the first attempt has no delay, and the pauses between the others double up to the
// longest one.
func TestRetries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q, r := open(nil), failing(6)
		if err := <-q.Add("a", r.write); !errors.Is(err, errDown) {
			t.Errorf("the first attempt: %v", err)
		}
		if !q.Pending("a") || q.Pending("b") || q.Len() != 1 {
			t.Errorf("pending: a %t, b %t, %d writes", q.Pending("a"), q.Pending("b"), q.Len())
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff(millis(0, 100, 300, 700, 1500, 2500, 3500), r.times()); diff != "" || q.Pending("a") {
			t.Errorf("pending %t\n%s", q.Pending("a"), diff)
		}
		if err := <-q.Add("a", r.write); err != nil {
			t.Errorf("a write that succeeds: %v", err)
		}
	})
}

// TestGivesUp: a write that fails for longer than GiveUp is dropped and reported.
func TestGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var lost atomic.Int64
		q := open(func(c *retryqueue.Config) { c.GiveUp, c.Lost = time.Second, func() { lost.Add(1) } })
		r := failing(1000)
		q.Add("a", r.write)
		time.Sleep(time.Minute)
		if diff := cmp.Diff(millis(0, 100, 300, 700), r.times()); diff != "" || q.Len() != 0 || lost.Load() != 1 {
			t.Errorf("%d pending, %d lost\n%s", q.Len(), lost.Load(), diff)
		}
	})
}

// TestNewestWins: a newer write of a key replaces the pending one, also while it runs.
func TestNewestWins(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q, old, young := open(nil), failing(1000), failing(0)
		<-q.Add("a", old.write)
		if err := <-q.Add("a", young.write); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if len(old.times()) != 1 || len(young.times()) != 1 || q.Len() != 0 {
			t.Errorf("the old one ran %d times, the new one %d times, %d are pending", len(old.times()), len(young.times()), q.Len())
		}
		gate := make(chan struct{})
		running := q.Add("b", func(context.Context) error { <-gate; return nil })
		synctest.Wait()
		next := failing(1)
		second := q.Add("b", next.write)
		replaced := q.Add("b", next.write)
		close(gate)
		if first, err := <-running, <-replaced; first != nil || !errors.Is(err, errDown) {
			t.Errorf("%v, %v", first, err)
		}
		if err := <-second; !errors.Is(err, errDown) { // the error of the write that replaced it
			t.Errorf("the replaced write: %v", err)
		}
		time.Sleep(time.Minute)
		if len(next.times()) != 2 || q.Len() != 0 {
			t.Errorf("%v, %d pending", next.times(), q.Len())
		}
	})
}

// TestLimits: first attempts do not wait for other writes, at most sixteen retries run at the same
// time, and a write that finds the queue full is attempted once.
func TestLimits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q, gate := open(nil), make(chan struct{})
		var first, retries, most atomic.Int64
		for i := range 100 {
			again := false
			q.Add(fmt.Sprint(i), func(context.Context) error {
				if !again {
					again = true
					first.Add(1)
					return errDown
				}
				most.Store(max(most.Load(), retries.Add(1)))
				<-gate
				retries.Add(-1)
				return nil
			})
		}
		synctest.Wait()
		if n := first.Load(); n != 100 || q.Len() != 100 {
			t.Errorf("%d first attempts, %d pending", n, q.Len())
		}
		for _, fails := range []int{0, 1000} {
			r := failing(fails)
			if err := <-q.Add("one more", r.write); (err != nil) != (fails > 0) || q.Pending("one more") {
				t.Errorf("one more, which fails %d times: %v", fails, err)
			}
			time.Sleep(time.Minute)
			if n := len(r.times()); n != 1 {
				t.Errorf("%d attempts of a write that found the queue full", n)
			}
		}
		if n := retries.Load(); n != 16 {
			t.Errorf("%d retries run", n)
		}
		started := failing(0)
		close(gate)
		synctest.Wait()
		err := <-q.Add("later", started.write)
		synctest.Wait() // the result comes before the entry is gone
		if err != nil || most.Load() != 16 || q.Len() != 0 {
			t.Errorf("%v, %d retries ran at the same time, %d are pending", err, most.Load(), q.Len())
		}
	})
}

// TestOneFailureDelaysNoOther: each write has its own pauses.
func TestOneFailureDelaysNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q, stuck := open(nil), failing(1000)
		for range 20 {
			q.Add("stuck", stuck.write)
			time.Sleep(10 * time.Second)
			r := failing(1)
			q.Add("a", r.write)
			time.Sleep(150 * time.Millisecond)
			if diff := cmp.Diff(millis(0, 100), r.times()); diff != "" {
				t.Fatal(diff)
			}
		}
		_ = q.Drain(t.Context())
	})
}

// TestAddAfter: the first attempt is made after the delay, which a newer write restarts and which
// Drain ends.
func TestAddAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q, r, replaced := open(nil), failing(1), failing(0)
		q.AddAfter(5*time.Second, "b", failing(0).write)
		q.AddAfter(time.Second, "a", replaced.write)
		time.Sleep(900 * time.Millisecond)
		q.AddAfter(time.Second, "a", r.write)
		time.Sleep(time.Minute)
		if diff := cmp.Diff(millis(1900, 2000), r.times()); diff != "" || len(replaced.times()) > 0 || q.Len() != 0 {
			t.Errorf("the replaced write: %v, %d pending\n%s", replaced.times(), q.Len(), diff)
		}
		gate, after := make(chan struct{}), failing(0)
		q.Add("a", func(context.Context) error { <-gate; return nil })
		synctest.Wait()
		q.AddAfter(time.Second, "a", after.write)
		close(gate)
		time.Sleep(time.Minute)
		if diff := cmp.Diff(millis(1000), after.times()); diff != "" || q.Len() != 0 {
			t.Errorf("after a write that runs: %d pending\n%s", q.Len(), diff)
		}
		last, late := failing(0), failing(0)
		q.AddAfter(time.Hour, "a", last.write)
		time.Sleep(time.Second)
		if err := q.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		q.AddAfter(time.Hour, "a", late.write)
		synctest.Wait()
		if diff := cmp.Diff([][]time.Duration{millis(1000), millis(1000)}, [][]time.Duration{last.times(), late.times()}); diff != "" {
			t.Errorf("in and after Drain:\n%s", diff)
		}
	})
}

// TestSpacing: while attempts fail, the retries of many writes are spaced out. After one has
// succeeded, they are not.
func TestSpacing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const writes, spacing = 1000, 10 * time.Millisecond
		q := open(func(c *retryqueue.Config) { c.Max, c.Spacing = writes, spacing })
		var attempts atomic.Int64
		var up atomic.Bool
		retried := make([]atomic.Int64, writes)
		for i := range writes {
			q.Add(fmt.Sprint(i), func(context.Context) error {
				attempts.Add(1)
				retried[i].Add(1)
				if up.Load() {
					return nil
				}
				return errDown
			})
		}
		synctest.Wait()
		if n := attempts.Swap(0); n != writes {
			t.Errorf("%d first attempts", n)
		}
		time.Sleep(20 * time.Second)
		if n, most := attempts.Load(), int64(20*time.Second/spacing); n > most || n < most-20 {
			t.Errorf("%d retries in 20 s, want about %d", n, most)
		}
		for i := range retried {
			if n := retried[i].Load(); n < 2 {
				t.Fatalf("%d attempts of write %d", n, i)
			}
		}
		up.Store(true)
		time.Sleep(time.Second + spacing) // each pause is over, and the first retry has succeeded
		if n := q.Len(); n != 0 {
			t.Errorf("afterwards %d are pending", n)
		}
	})
}

// TestDrain: each pending write gets one more attempt without a pause, and is dropped if that
// fails.
func TestDrain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var lost atomic.Int64
		q := open(func(c *retryqueue.Config) { c.MaxPause, c.Lost = time.Hour, func() { lost.Add(1) } })
		good, bad := failing(12), failing(1000)
		q.Add("good", good.write)
		q.Add("bad", bad.write)
		time.Sleep(5 * time.Minute)
		before := len(good.times())
		if before != 12 {
			t.Fatalf("%d attempts before", before)
		}
		if err := q.Drain(t.Context()); err != nil || q.Len() != 0 || lost.Load() != 1 || len(good.times()) != 13 || len(bad.times()) != 13 {
			t.Errorf("%v, %d pending, %d lost, %d and %d attempts", err, q.Len(), lost.Load(), len(good.times()), len(bad.times()))
		}
		late := failing(1000)
		if err := <-q.Add("late", late.write); !errors.Is(err, errDown) {
			t.Error(err)
		}
		synctest.Wait()
		if len(late.times()) != 1 || q.Len() != 0 || lost.Load() != 2 {
			t.Errorf("after the drain: %d attempts, %d pending", len(late.times()), q.Len())
		}
		gate := make(chan struct{})
		q.Add("hangs", func(context.Context) error { <-gate; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a write that hangs: %v", err)
		}
		close(gate)
	})
}

// TestTimeoutAndPanic: an attempt ends with its timeout, and a write that panics is retried.
func TestTimeoutAndPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q, ran := open(nil), 0
		if err := <-q.Add("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		done := make(chan struct{})
		if err := <-q.Add("panics", func(context.Context) error {
			if ran++; ran == 1 {
				panic("a secret")
			}
			close(done)
			return nil
		}); err == nil {
			t.Error("a panic is a success")
		}
		<-done
		_ = q.Drain(t.Context())
	})
}
