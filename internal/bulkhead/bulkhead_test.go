package bulkhead

import (
	"sync"
	"testing"
)

// fill acquires until it is refused, at most 100 times, and returns how often it succeeded.
func fill(acquire func() bool) (n int) {
	for n < 100 && acquire() {
		n++
	}
	return n
}

func TestSemaphore(t *testing.T) {
	for _, tt := range []struct{ limit, fits int }{{1, 1}, {5, 5}, {0, 100}, {-1, 100}} {
		b := NewSemaphore(tt.limit)
		if n := fill(b.TryAcquire); n != tt.fits {
			t.Errorf("limit %d: %d acquired, want %d", tt.limit, n, tt.fits)
		}
		b.Release()
		b.Release()
		if n := fill(b.TryAcquire); tt.fits < 100 && n != min(2, tt.fits+1) {
			t.Errorf("limit %d: %d acquired after two releases", tt.limit, n)
		}
	}
}

func TestPerKey(t *testing.T) {
	k := NewPerKey(3)
	under := func(key string) func() bool { return func() bool { return k.TryAcquire(key) } }
	if a, b := fill(under("a")), fill(under("b")); a != 3 || b != 3 {
		t.Errorf("%d and %d entered, want 3 each", a, b)
	}
	k.Release("a")
	if a, b := fill(under("a")), fill(under("b")); a != 1 || b != 0 {
		t.Errorf("%d and %d entered, want 1 and none", a, b)
	}
	if free := NewPerKey(0); fill(func() bool { return free.TryAcquire("a") }) != 100 {
		t.Error("a limit of 0 limits")
	}
}

func TestFairShare(t *testing.T) {
	s := NewFairShare(12, 1)
	under := func(key string) func() bool { return func() bool { return s.TryAcquire(key) } }
	for _, tt := range []struct {
		key  string
		fits int
	}{{"a", 6}, {"b", 3}, {"c", 2}, {"d", 1}, {"e", 0}, {"a", 0}} {
		if n := fill(under(tt.key)); n != tt.fits {
			t.Errorf("%s: %d entered, want %d", tt.key, n, tt.fits)
		}
	}
	for range 6 {
		s.Release("a")
	}
	if n := fill(under("e")); n != 3 {
		t.Errorf("%d entered where 6 had left, want 3", n)
	}
	for limit, fits := range map[int]int{1: 1, 2: 1, 3: 2, 1000: 100, 0: 100} {
		alone := NewFairShare(limit, 1)
		if n := fill(func() bool { return alone.TryAcquire("a") }); n != fits {
			t.Errorf("limit %d: %d acquired, want %d", limit, n, fits)
		}
	}
}

// After all releases the counts are 0 and the maps are empty: a refused TryAcquire counts nothing.
func TestIdleStateIsDropped(t *testing.T) {
	b, k, s := NewSemaphore(4), NewPerKey(4), NewFairShare(8, 1)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			key := string(rune('a' + i%8))
			for range 200 {
				if b.TryAcquire() {
					b.Release()
				}
				if k.TryAcquire(key) {
					k.Release(key)
				}
				if s.TryAcquire(key) {
					s.Release(key)
				}
			}
		})
	}
	all.Wait()
	if b.n != 0 || len(k.byKey) != 0 || s.n != 0 || len(s.byKey) != 0 {
		t.Errorf("%d, %v, %d and %v remain", b.n, k.byKey, s.n, s.byKey)
	}
}

func TestFairSharePerOwner(t *testing.T) {
	o := NewFairSharePerOwner(10, 4)
	of := func(owner, key string) func() bool { return func() bool { return o.TryAcquire(owner, key) } }
	if n := fill(of("a", "slow")); n != 8 {
		t.Errorf("one key got %d of 10, want 8", n)
	}
	if other, more := fill(of("a", "other")), fill(of("b", "slow")); other != 2 || more != 8 {
		t.Errorf("another key got %d and another owner %d, want 2 and 8", other, more)
	}
	for range 8 {
		o.Release("a", "slow")
		o.Release("b", "slow")
	}
	o.Release("a", "other")
	o.Release("a", "other")
	if len(o.byOwner) != 0 {
		t.Errorf("%d idle owners are stored", len(o.byOwner))
	}
}
