// Package retryqueue runs Redis writes that must still happen after the response was sent, and
// retries those that fail.
//
// Any number of first attempts run at the same time (see steps.Workers), because they should not wait
// for writes that fail. Retries, and writes that are added with a delay, share up to sixteen
// goroutines. Each of those ends when no write is due, except for one that waits for the next.
// internal/coalesce, internal/cache and internal/unattended use it.
package retryqueue

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store/steps"
)

const (
	// maxWorkers is how many writes of a queue are retried at the same time.
	maxWorkers = 16
	// firstPause is the pause after the first failure; each further one doubles it.
	firstPause = 100 * time.Millisecond
)

// errPanic is the result of a write that panicked.
var errPanic = errors.New("a write panicked")

// A Write makes a change in Redis and may run more than once. It returns nil once the change is
// confirmed or no longer needed.
type Write func(context.Context) error

// Config says how a queue retries. All writes of a queue are retried in the same way.
type Config struct {
	Max      int           // pending writes; more are attempted once
	Timeout  time.Duration // of one attempt
	MaxPause time.Duration // between two attempts
	GiveUp   time.Duration // after the first attempt; 0 for never
	// Spacing is the time between the starts of two retries of different writes, while the latest
	// attempt has failed. It limits the load when many writes wait for a Redis that is down. When
	// an attempt succeeds, all due writes are retried.
	Spacing time.Duration
	// Lost, if it is set, is called for each write that is dropped before it succeeded, because of
	// GiveUp or Drain.
	Lost func()
}

// A Queue holds writes by key, each until it has succeeded or the queue gives it up. It is safe for
// concurrent use.
type Queue[K comparable] struct {
	config Config
	firsts *steps.Workers // run first attempts

	mu         sync.Mutex
	pending    map[K]*entry
	due        entries // those that do not run, by the time of their next attempt
	workers    int
	waiting    bool          // a worker waits until the next entry is due
	waitsUntil time.Time     // when that worker continues
	wake       chan struct{} // makes it continue earlier
	probe      time.Time     // no retry starts earlier; zero if the latest attempt has succeeded
	draining   bool
	empty      sync.Cond // signals a change of len(pending)
}

// An entry is one pending write. The queue's lock guards its fields.
type entry struct {
	key      any
	write    Write
	results  []chan error // get the error of the next attempt; buffered
	next     time.Time    // of the next attempt
	pause    time.Duration
	giveUp   time.Time // zero for never
	replaced bool      // a newer write came while this one ran
	index    int       // in the heap; -1 while it runs
}

// New returns an empty queue.
func New[K comparable](c Config) *Queue[K] {
	q := &Queue[K]{config: c, firsts: steps.NewWorkers(), pending: map[K]*entry{}, wake: make(chan struct{}, 1)}
	q.empty.L = &q.mu
	return q
}

// Add runs a write without waiting for it, and retries it under its key if it fails. It replaces a
// pending write of the same key. The returned channel receives the error of the first attempt. If
// the queue is full, there is no other attempt. Add never blocks.
func (q *Queue[K]) Add(key K, write Write) <-chan error {
	result := make(chan error, 1)
	q.add(key, 0, write, result)
	return result
}

// AddAfter is like Add, but makes the first attempt after delay. If the queue is full or draining,
// there is no delay.
func (q *Queue[K]) AddAfter(delay time.Duration, key K, write Write) {
	q.add(key, delay, write, make(chan error, 1))
}

// add makes the write the only pending one of its key. result receives the error of the first
// attempt if there is no delay.
func (q *Queue[K]) add(key K, delay time.Duration, write Write, result chan error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.pending[key]
	switch {
	case e != nil && e.index >= 0:
		heap.Remove(&q.due, e.index)
	case e == nil && len(q.pending) >= q.config.Max:
		q.firsts.Go(func() { result <- attempt(write, q.config.Timeout) })
		return
	case e == nil:
		e = &entry{key: key, index: -1}
		q.pending[key] = e
	default: // it runs, and run queues the new write afterwards
		e.replaced = true
	}
	e.write, e.pause, e.next, e.giveUp = write, firstPause, time.Now().Add(delay), time.Time{}
	if q.config.GiveUp > 0 {
		e.giveUp = e.next.Add(q.config.GiveUp)
	}
	if delay == 0 {
		e.results = append(e.results, result)
	}
	switch {
	case e.replaced:
	case delay > 0:
		heap.Push(&q.due, e)
		q.startWorker()
	default:
		q.firsts.Go(func() { q.first(e) })
	}
}

// first makes the first attempt of an entry. A worker retries it if that fails.
func (q *Queue[K]) first(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.run(e)
	if len(q.due) > 0 {
		q.startWorker()
	}
}

// Pending reports whether the queue holds a write of the key. It does not hold writes that it has
// given up, and those that were added while it was full.
func (q *Queue[K]) Pending(key K) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending[key] != nil
}

// Len returns how many writes the queue holds.
func (q *Queue[K]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending)
}

// Drain makes one more attempt of each pending write, drops those that fail, and returns when the
// queue is empty or ctx ends. Writes that are added later get one attempt as well.
func (q *Queue[K]) Drain(ctx context.Context) error {
	q.mu.Lock()
	q.draining = true
	for range min(len(q.due), maxWorkers) {
		q.startWorker()
	}
	q.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.empty.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pending) > 0 && ctx.Err() == nil {
		q.empty.Wait()
	}
	return ctx.Err()
}

// startWorker wakes the waiting worker, or starts one unless there are enough. The caller holds the
// lock.
func (q *Queue[K]) startWorker() {
	if q.waiting {
		select {
		case q.wake <- struct{}{}:
		default:
		}
		return
	}
	if q.workers < maxWorkers {
		q.workers++
		go q.work()
	}
}

// work runs due entries. At most one worker waits for an entry that is not due yet; the others end.
func (q *Queue[K]) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.workers-- }()
	for len(q.due) > 0 {
		e, now := q.due[0], time.Now()
		next := e.next
		if q.probe.After(next) {
			next = q.probe
		}
		if next.After(now) && !q.draining {
			if !q.waiting {
				q.wait(next)
				continue
			}
			if next.Before(q.waitsUntil) {
				q.startWorker()
			}
			return
		}
		heap.Pop(&q.due)
		if !q.probe.IsZero() { // attempts fail, so no other worker starts one yet
			q.probe = now.Add(q.config.Spacing)
		}
		if len(q.due) > 0 {
			q.startWorker()
		}
		q.run(e)
	}
}

// wait waits until a time, or until it is woken. The caller holds the lock, which is free during
// the wait.
func (q *Queue[K]) wait(until time.Time) {
	q.waiting, q.waitsUntil = true, until
	q.mu.Unlock()
	timer := time.NewTimer(time.Until(until))
	select {
	case <-timer.C:
	case <-q.wake:
	}
	timer.Stop()
	q.mu.Lock()
	q.waiting = false
}

// run makes an attempt, and queues the entry again if it failed or a newer write came. The caller
// holds the lock, which is free during the attempt.
func (q *Queue[K]) run(e *entry) {
	write, results := e.write, e.results
	e.results = nil
	q.mu.Unlock()
	err := attempt(write, q.config.Timeout)
	for _, result := range results {
		result <- err
	}
	q.mu.Lock()
	defer q.empty.Broadcast()
	now := time.Now()
	q.probe = time.Time{}
	if err != nil {
		q.probe = now.Add(q.config.Spacing)
	}
	switch {
	case e.replaced:
		e.replaced = false
		heap.Push(&q.due, e)
		return
	case err == nil:
		delete(q.pending, e.key.(K))
		return
	}
	e.next = now.Add(e.pause)
	if q.draining || !e.giveUp.IsZero() && e.next.After(e.giveUp) {
		delete(q.pending, e.key.(K))
		q.lost()
		return
	}
	e.pause = min(2*e.pause, q.config.MaxPause)
	heap.Push(&q.due, e)
}

// lost reports a write that was dropped. The caller holds the lock, which is free during the
// report.
func (q *Queue[K]) lost() {
	if q.config.Lost != nil {
		q.mu.Unlock()
		defer q.mu.Lock()
		q.config.Lost()
	}
}

// attempt runs a write. A panic is an error, so that it does not end the process.
func attempt(write Write, timeout time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	returned := false
	defer func() {
		if !returned {
			err = errPanic
		}
	}()
	defer recovery.Recover(ctx, slog.Default())
	err = write(ctx)
	returned = true
	return err
}

// entries is a heap by the time at which each is due.
type entries []*entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].next.Before(e[j].next) }

func (e entries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

// Push is called by container/heap.
func (e *entries) Push(x any) {
	added := x.(*entry)
	added.index = len(*e)
	*e = append(*e, added)
}

// Pop is called by container/heap.
func (e *entries) Pop() any {
	last := (*e)[len(*e)-1]
	last.index = -1
	(*e)[len(*e)-1] = nil
	*e = (*e)[:len(*e)-1]
	return last
}
