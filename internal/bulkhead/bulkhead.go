// Package bulkhead bounds what is under way at once. Nobody queues: who finds no place is refused at once. internal/api
// bounds requests by it, internal/gateway the calls to each ASPSP and those who wait for them.
package bulkhead

import "sync"

// A Refusal says which bound had no place left.
type Refusal string

// The bounds that refuse.
const (
	InFlight Refusal = "in_flight" // all requests together
	Client   Refusal = "client"    // those of one client
	Audit    Refusal = "audit"     // records that wait to be written
	ASPSP    Refusal = "aspsp"     // the calls to one ASPSP, or the requests that wait for it
	Files    Refusal = "files"     // the files that the operating system lets the process open
)

// A Bound lets so many in at once. It is safe for concurrent use, as are all of this package.
type Semaphore struct {
	mu       sync.Mutex
	most, in int
}

// NewBound makes a bound; below 1 it is none.
func NewSemaphore(most int) *Semaphore { return &Semaphore{most: most} }

// Enter takes a place, if there is one. Whoever got one gives it back with Leave.
func (b *Semaphore) TryAcquire() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.most > 0 && b.in >= b.most {
		return false
	}
	b.in++
	return true
}

// Leave gives a place back.
func (b *Semaphore) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in--
}

// A Keyed is a bound for each key. It knows nothing of keys under which nothing is under way.
type PerKey struct {
	mu   sync.Mutex
	most int
	in   map[string]int
}

// NewKeyed makes the bounds; below 1 there are none.
func NewPerKey(most int) *PerKey { return &PerKey{most: most, in: map[string]int{}} }

// Enter takes a place under the key, if there is one. Whoever got one gives it back with Leave.
func (k *PerKey) TryAcquire(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.most > 0 && k.in[key] >= k.most {
		return false
	}
	k.in[key]++
	return true
}

// Leave gives a place under the key back.
func (k *PerKey) Release(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	drop(k.in, key)
}

// Shares lets so many in at once, whatever their key, and of one key never more than some times what stays free: with 1
// one key takes half of all places, two a third each; with 4 one takes four fifths, two four ninths. Some are always
// left for the next.
type FairShare struct {
	mu              sync.Mutex
	most, times, in int
	of              map[string]int
}

// NewShares makes them of so many places; below 1 there is no bound.
func NewFairShare(most, times int) *FairShare {
	return &FairShare{most: most, times: times, of: map[string]int{}}
}

// Enter takes a place for the key, if there is one. Whoever got one gives it back with Leave.
func (s *FairShare) TryAcquire(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && s.of[key] >= s.times*(s.most-s.in) {
		return false
	}
	s.in++
	s.of[key]++
	return true
}

// Leave gives a place of the key back.
func (s *FairShare) Release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in--
	drop(s.of, key)
}

// Owned are Shares for each owner. They know nothing of owners who have no place.
type FairSharePerOwner struct {
	mu          sync.Mutex
	most, times int
	of          map[string]*FairShare
}

// NewOwned makes them, of so many places for each; below 1 there is no bound.
func NewFairSharePerOwner(most, times int) *FairSharePerOwner {
	return &FairSharePerOwner{most: most, times: times, of: map[string]*FairShare{}}
}

// Enter takes one of the owner's places for the key, if there is one. Whoever got one gives it back with Leave.
func (o *FairSharePerOwner) TryAcquire(owner, key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.of[owner]
	if s == nil {
		s = NewFairShare(o.most, o.times)
	}
	entered := s.TryAcquire(key)
	if entered {
		o.of[owner] = s
	}
	return entered
}

// Leave gives one of the owner's places back.
func (o *FairSharePerOwner) Release(owner, key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.of[owner]
	if s.Release(key); s.in == 0 {
		delete(o.of, owner)
	}
}

// drop takes one away, and the key with the last.
func drop(in map[string]int, key string) {
	if in[key]--; in[key] == 0 {
		delete(in, key)
	}
}
