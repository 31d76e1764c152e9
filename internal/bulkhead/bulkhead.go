// Package bulkhead limits how many requests and calls are in progress. Nothing is queued:
// TryAcquire returns false when the limit is reached. internal/api limits requests with it,
// internal/gateway the calls to each ASPSP and the requests that wait for them.
package bulkhead

import "sync"

// Refusal names the limit that refused a request. It is a label value of metrics.
type Refusal string

// The limits that can refuse a request.
const (
	InFlight Refusal = "in_flight" // requests of all clients
	Client   Refusal = "client"    // requests or calls of one client, in total or for one ASPSP
	Audit    Refusal = "audit"     // audit records that wait to be written
	ASPSP    Refusal = "aspsp"     // calls of all clients to one ASPSP, or requests that wait for it
	Files    Refusal = "files"     // open files of the process
)

// Semaphore limits the total. Like all types of this package it is safe for concurrent use.
type Semaphore struct {
	mu     sync.Mutex
	max, n int
}

// NewSemaphore returns a Semaphore that allows up to limit; a limit below 1 means no limit.
func NewSemaphore(limit int) *Semaphore { return &Semaphore{max: limit} }

// TryAcquire reports whether it was below the limit, and counts one more. The caller must then call
// Release.
func (b *Semaphore) TryAcquire() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.max > 0 && b.n >= b.max {
		return false
	}
	b.n++
	return true
}

// Release undoes one TryAcquire that returned true.
func (b *Semaphore) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n--
}

// PerKey applies the same limit to each key. It stores only keys that are in use.
type PerKey struct {
	mu    sync.Mutex
	max   int
	byKey map[string]int
}

// NewPerKey returns a PerKey that allows up to limit for each key; a limit below 1 means no limit.
func NewPerKey(limit int) *PerKey { return &PerKey{max: limit, byKey: map[string]int{}} }

// TryAcquire reports whether the key was below the limit, and counts one more. The caller must then
// call Release.
func (k *PerKey) TryAcquire(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.max > 0 && k.byKey[key] >= k.max {
		return false
	}
	k.byKey[key]++
	return true
}

// Release undoes one TryAcquire of the key that returned true.
func (k *PerKey) Release(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	decrement(k.byKey, key)
}

// FairShare limits the total, and each key to ratio times the number that stays free. With ratio 1
// a single key gets half of the total and two keys a third each; with ratio 4 a single key gets
// four fifths, and two get four ninths each. Some of the total therefore always remains for another
// key.
type FairShare struct {
	mu            sync.Mutex
	max, ratio, n int
	byKey         map[string]int
}

// NewFairShare returns a FairShare of limit in total; a limit below 1 means no limit.
func NewFairShare(limit, ratio int) *FairShare {
	return &FairShare{max: limit, ratio: ratio, byKey: map[string]int{}}
}

// TryAcquire reports whether the key was below its share, and counts one more. The caller must then
// call Release.
func (s *FairShare) TryAcquire(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.max > 0 && s.byKey[key] >= s.ratio*(s.max-s.n) {
		return false
	}
	s.n++
	s.byKey[key]++
	return true
}

// Release undoes one TryAcquire of the key that returned true.
func (s *FairShare) Release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	decrement(s.byKey, key)
}

// FairSharePerOwner has one FairShare for each owner. It stores only owners that are in use.
type FairSharePerOwner struct {
	mu         sync.Mutex
	max, ratio int
	byOwner    map[string]*FairShare
}

// NewFairSharePerOwner returns a FairSharePerOwner of limit in total for each owner; a limit below
// 1 means no limit.
func NewFairSharePerOwner(limit, ratio int) *FairSharePerOwner {
	return &FairSharePerOwner{max: limit, ratio: ratio, byOwner: map[string]*FairShare{}}
}

// TryAcquire is FairShare.TryAcquire of the owner's FairShare.
func (o *FairSharePerOwner) TryAcquire(owner, key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.byOwner[owner]
	if s == nil {
		s = NewFairShare(o.max, o.ratio)
	}
	acquired := s.TryAcquire(key)
	if acquired {
		o.byOwner[owner] = s
	}
	return acquired
}

// Release undoes one TryAcquire of the owner and key that returned true.
func (o *FairSharePerOwner) Release(owner, key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.byOwner[owner]
	if s.Release(key); s.n == 0 {
		delete(o.byOwner, owner)
	}
}

// decrement counts one less for the key, and deletes it at 0.
func decrement(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
