package output_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/output"
)

// destination is an io.Writer that blocks while its gate is closed.
type destination struct {
	gate chan struct{}
	mu   sync.Mutex
	text bytes.Buffer
	err  error
	most int // bytes that a write accepts before it fails
}

func newDestination() *destination { return &destination{gate: make(chan struct{})} }

func (d *destination) Write(p []byte) (int, error) {
	<-d.gate
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		n := min(d.most, len(p))
		d.text.Write(p[:n])
		return n, d.err
	}
	return d.text.Write(p)
}

func (d *destination) fail(err error, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.most = err, most
}

func (d *destination) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

func write(t *testing.T, w *output.Writer, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if _, err := w.Write([]byte(l + "\n")); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
	}
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDestination()
		close(d.gate)
		q := output.New(output.Config{To: d, Room: 100})
		a, b := q.Writer(nil, nil), q.Writer(nil, nil)
		write(t, a, "one")
		write(t, b, "two")
		write(t, a, "three")
		if err := q.Close(); err != nil || d.String() != "one\ntwo\nthree\n" {
			t.Errorf("%v, %q", err, d)
		}
		if _, err := a.Write([]byte("late\n")); !errors.Is(err, output.ErrClosed) || a.State().Lost != 1 {
			t.Errorf("after the end: %v, %+v", err, a.State())
		}
	})
}

// Lines of concurrent writers are all written without a later line, each writer's in order.
func TestManyWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDestination()
		close(d.gate)
		q := output.New(output.Config{To: d, Room: 1 << 20})
		want := map[string]string{}
		for name := range strings.SplitSeq("abcdefgh", "") {
			for n := range 500 {
				want[name] += fmt.Sprintln(name, n)
			}
			w, text := q.Writer(nil, nil), want[name]
			go func() {
				for line := range strings.Lines(text) {
					if _, err := w.Write([]byte(line)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		synctest.Wait()
		got := map[string]string{}
		for line := range strings.Lines(d.String()) {
			got[line[:1]] += line
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A line that does not fit is dropped and counted for its writer. Later lines are written when
// there is space again.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDestination()
		q := output.New(output.Config{To: d, Room: 12})
		var back []int64
		a := q.Writer(nil, func(lost int64) { back = append(back, lost) })
		b := q.Writer(nil, nil)
		write(t, a, "12345")
		synctest.Wait() // the first line is being written, and its bytes still count
		write(t, a, "12345")
		for range 3 {
			if _, err := a.Write([]byte("x\n")); !errors.Is(err, output.ErrFull) {
				t.Errorf("a full queue: %v", err)
			}
		}
		if got := a.State(); got != (output.State{Lost: 3, Failing: true}) || b.State() != (output.State{}) {
			t.Errorf("%+v, %+v", got, b.State())
		}
		close(d.gate)
		synctest.Wait()
		write(t, a, "again")
		synctest.Wait()
		if got := a.State(); got != (output.State{Lost: 3}) || len(back) != 1 || back[0] != 3 {
			t.Errorf("%+v, %v", got, back)
		}
		if err := q.Close(); err != nil || d.String() != "12345\n12345\nagain\n" {
			t.Errorf("%v, %q", err, d)
		}
	})
}

func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDestination()
		q := output.New(output.Config{To: d, Room: 20})
		w := q.Writer(nil, nil)
		for i, want := range []bool{true, true, false} {
			if got := w.Reserve(10); got != want {
				t.Errorf("reservation %d: %t", i+1, got)
			}
		}
		if _, err := w.Write([]byte("x\n")); !errors.Is(err, output.ErrFull) {
			t.Errorf("reserved room was taken: %v", err)
		}
		for range 2 {
			if _, err := w.WriteReserved([]byte("123456789\n"), 10); err != nil {
				t.Error(err)
			}
		}
		close(d.gate)
		synctest.Wait()
		if !w.Reserve(20) {
			t.Error("what was written still takes room")
		}
		if _, err := w.WriteReserved([]byte(strings.Repeat("y", 30)+"\n"), 20); err != nil {
			t.Errorf("a line longer than its room: %v", err)
		}
		if err := q.Close(); err != nil || len(d.String()) != 51 {
			t.Errorf("%v, %q", err, d)
		}
	})
}

// A failed write loses the lines that it did not complete, each for its writer.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, broken := newDestination(), errors.New("broken")
		q := output.New(output.Config{To: d, Room: 100})
		var lost, others int64
		a := q.Writer(func(err error, n int64) {
			if !errors.Is(err, broken) {
				t.Error(err)
			}
			lost += n
		}, nil)
		b := q.Writer(func(_ error, n int64) { others += n }, nil)
		write(t, a, "first")
		synctest.Wait() // the rest is one batch
		write(t, b, "whole")
		write(t, a, "torn", "lost")
		write(t, b, "lost")
		d.fail(broken, 8)
		close(d.gate)
		synctest.Wait()
		// The first line is complete in spite of the error, and so is b's first.
		if a.State() != (output.State{Lost: 2, Failing: true}) || b.State() != (output.State{Lost: 1, Failing: true}) || lost != 2 || others != 1 {
			t.Errorf("%+v %+v, reported %d and %d", a.State(), b.State(), lost, others)
		}
		d.fail(nil, 0)
		write(t, a, "mended")
		synctest.Wait()
		if a.State() != (output.State{Lost: 2}) {
			t.Errorf("%+v", a.State())
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

// With Keep no line is lost while the destination fails, and the queue fills up.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDestination()
		close(d.gate)
		d.fail(errors.New("disk full"), 0)
		q := output.New(output.Config{To: d, Room: 12, Keep: true})
		reported := 0
		w := q.Writer(func(_ error, n int64) {
			if reported++; n != 0 {
				t.Errorf("%d lines lost", n)
			}
		}, nil)
		write(t, w, "12345", "12345")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.State(); got != (output.State{Failing: true}) || reported == 0 || w.Reserve(1) {
			t.Errorf("%+v, reported %d times", got, reported)
		}
		d.fail(nil, 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := w.State(); got != (output.State{}) || d.String() != "12345\n12345\n" {
			t.Errorf("%+v, %q", got, d)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Close waits for a hanging destination for CloseTimeout, and returns the number of lost bytes.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDestination()
		q := output.New(output.Config{To: d, Room: 100})
		write(t, q.Writer(nil, nil), "one", "two")
		start := time.Now()
		if err := q.Close(); err == nil || !strings.Contains(err.Error(), "8 bytes") || time.Since(start) != output.CloseTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		close(d.gate) // so that the goroutine ends
	})
}

// A Throttle allows one line per interval, with the number of events since the last line.
func TestThrottle(t *testing.T) {
	now := time.Unix(0, 0)
	throttle := output.Throttle{Every: time.Minute, Now: func() time.Time { return now }}
	for i, tt := range []struct {
		after      time.Duration
		n          int64
		suppressed int64
		ok         bool
	}{
		{0, 1, 0, true}, {time.Second, 2, 0, false}, {58 * time.Second, 3, 0, false}, {time.Second, 1, 5, true}, {time.Minute, 1, 0, true},
	} {
		now = now.Add(tt.after)
		if suppressed, ok := throttle.Allow(tt.n); suppressed != tt.suppressed || ok != tt.ok {
			t.Errorf("event %d: %d, %t", i, suppressed, ok)
		}
	}
}
