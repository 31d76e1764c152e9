// Package bulkhead limits how many requests and calls are in progress. TryAcquire refuses when the
// limit is reached; only Limits.Acquire waits. internal/api limits requests with it,
// internal/gateway the calls to each ASPSP and the requests that wait for them.
package bulkhead

import (
	"context"
	"sync"
)

// Refusal names the limit that refused a request. It is a label value of metrics.
type Refusal string

// The limits that can refuse a request.
const (
	None     Refusal = ""          // it is not refused
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

// A Limit limits each key, and all keys together if its rule does. It stores only keys that are in
// use.
type Limit struct {
	full  rule
	mu    sync.Mutex
	n     int // of all keys
	byKey map[string]int
}

// A rule reports whether a key, of which ofKey are in use, may not have one more. n is how many of
// all keys are in use.
type rule func(n, ofKey int) bool

// NewPerKey returns a Limit that allows up to limit for each key; a limit below 1 means no limit.
func NewPerKey(limit int) *Limit {
	return newLimit(func(_, ofKey int) bool { return limit > 0 && ofKey >= limit })
}

// NewFairShare returns a Limit of limit in total, which allows each key as many as stay free; a
// limit below 1 means no limit. A single key gets half of the total and two keys get a third each,
// so that some of the total always remains for another key.
func NewFairShare(limit int) *Limit { return newLimit(fairShare(limit, 1)) }

// fairShare limits the total, and each key to ratio times the number that stays free. With ratio 4
// a single key gets four fifths of the total, and two get four ninths each.
func fairShare(limit, ratio int) rule {
	return func(n, ofKey int) bool { return limit > 0 && ofKey >= ratio*(limit-n) }
}

func newLimit(full rule) *Limit { return &Limit{full: full, byKey: map[string]int{}} }

// TryAcquire reports whether the key was below its limit, and counts one more. The caller must then
// call Release.
func (l *Limit) TryAcquire(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full(l.n, l.byKey[key]) {
		return false
	}
	l.n++
	l.byKey[key]++
	return true
}

// Release undoes one TryAcquire of the key that returned true. It reports whether no key is in use
// any more.
func (l *Limit) Release(key string) (idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.byKey[key]--; l.byKey[key] == 0 {
		delete(l.byKey, key)
	}
	return l.n == 0
}

// Limits limits what clients do with ASPSPs: all clients together, and each client to a fair share
// for each ASPSP, so that no ASPSP uses its whole capacity. It stores only clients that are in use.
type Limits struct {
	all      *Limit // by ASPSP
	share    rule   // of each client
	mu       sync.Mutex
	byClient map[string]*Limit // by ASPSP
	released chan struct{}     // closed at the next Release; nil if no Acquire needs it
}

// NewLimits returns Limits of all clients together, and of perClient for each one. A single ASPSP
// gets four fifths of those. A limit below 1 means no limit.
func NewLimits(all *Limit, perClient int) *Limits {
	return &Limits{all: all, share: fairShare(perClient, 4), byClient: map[string]*Limit{}}
}

// TryAcquire counts one more of a client for an ASPSP, and returns None. The caller must then call
// Release. If a limit is reached, it counts nothing and returns ASPSP or Client.
func (l *Limits) TryAcquire(client, aspsp string) Refusal {
	if !l.all.TryAcquire(aspsp) {
		return ASPSP
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.byClient[client]
	if own == nil {
		own = newLimit(l.share)
	}
	if !own.TryAcquire(aspsp) {
		l.all.Release(aspsp)
		return Client
	}
	l.byClient[client] = own
	return None
}

// Acquire is TryAcquire, but waits until no limit is reached. When ctx has ended, it counts nothing
// and returns the limit that refused it last, or ASPSP.
func (l *Limits) Acquire(ctx context.Context, client, aspsp string) Refusal {
	refusal := ASPSP
	for ctx.Err() == nil {
		released := l.nextRelease() // before the attempt, so that no release is missed
		if refusal = l.TryAcquire(client, aspsp); refusal == None {
			return None
		}
		select {
		case <-released:
		case <-ctx.Done():
		}
	}
	return refusal
}

// nextRelease returns a channel that is closed at the next Release.
func (l *Limits) nextRelease() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released == nil {
		l.released = make(chan struct{})
	}
	return l.released
}

// Release undoes one TryAcquire or Acquire that returned None.
func (l *Limits) Release(client, aspsp string) {
	l.all.Release(aspsp)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byClient[client].Release(aspsp) {
		delete(l.byClient, client)
	}
	if l.released != nil {
		close(l.released)
		l.released = nil
	}
}

// Shares divides the capacity of each ASPSP between the clients that wait for it: each client gets
// as many as stay free, so that some always remains for another one.
type Shares struct{ limits, byASPSP *Limits }

// NewShares returns Shares of limit for each ASPSP, within other limits; a limit below 1 means no
// limit.
func NewShares(within *Limits, limit int) *Shares {
	return &Shares{limits: within, byASPSP: &Limits{all: NewPerKey(0), share: fairShare(limit, 1), byClient: map[string]*Limit{}}}
}

// Acquire waits until the client may have one more of the ASPSP, and counts it. It returns false if
// ctx has ended; then it counts nothing. Otherwise the caller must call Release.
func (s *Shares) Acquire(ctx context.Context, client, aspsp string) bool {
	if s.byASPSP.Acquire(ctx, aspsp, client) != None {
		return false
	}
	if s.limits.Acquire(ctx, client, aspsp) != None {
		s.byASPSP.Release(aspsp, client)
		return false
	}
	return true
}

// Release undoes one Acquire that returned true.
func (s *Shares) Release(client, aspsp string) {
	s.limits.Release(client, aspsp)
	s.byASPSP.Release(aspsp, client)
}
