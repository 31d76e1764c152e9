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
	s := NewFairShare(12)
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
		alone := NewFairShare(limit)
		if n := fill(func() bool { return alone.TryAcquire("a") }); n != fits {
			t.Errorf("limit %d: %d acquired, want %d", limit, n, fits)
		}
	}
}

// After all releases the counts are 0 and the maps are empty: a refused TryAcquire counts nothing.
func TestIdleStateIsDropped(t *testing.T) {
	b, k, s := NewSemaphore(4), NewPerKey(4), NewFairShare(8)
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

// TestLimits: a refusal names the limit, and counts nothing.
func TestLimits(t *testing.T) {
	l := NewLimits(NewPerKey(18), 10)
	last := None
	of := func(client, aspsp string) func() bool {
		return func() bool { last = l.TryAcquire(client, aspsp); return last == None }
	}
	for _, tt := range []struct {
		client, aspsp string
		fits          int
		by            Refusal
	}{
		{"a", "slow", 8, Client},
		{"a", "other", 2, Client},
		{"b", "slow", 8, Client},
		{"c", "slow", 2, ASPSP},
		{"c", "other", 7, Client},
		{"d", "slow", 0, ASPSP},
	} {
		if n := fill(of(tt.client, tt.aspsp)); n != tt.fits || last != tt.by {
			t.Errorf("%s got %d for %s, then %q, want %d, %q", tt.client, n, tt.aspsp, last, tt.fits, tt.by)
		}
		for range 100 {
			of(tt.client, tt.aspsp)()
		}
	}
	for client, held := range map[string]map[string]int{"a": {"slow": 8, "other": 2}, "b": {"slow": 8}, "c": {"slow": 2, "other": 7}} {
		for aspsp, n := range held {
			for range n {
				l.Release(client, aspsp)
			}
		}
	}
	if len(l.byClient) != 0 || l.all.n != 0 || len(l.all.byKey) != 0 {
		t.Errorf("%d idle clients are stored, and %v counted", len(l.byClient), l.all.byKey)
	}
	free := NewLimits(NewFairShare(0), 0)
	if n := fill(func() bool { return free.TryAcquire("a", "slow") == None }); n != 100 {
		t.Errorf("%d acquired without a limit, want 100", n)
	}
}
