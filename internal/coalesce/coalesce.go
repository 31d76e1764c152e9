// Package coalesce lets identical requests share one provider call, on one gateway and across
// gateways. The request that holds the call's lease in Redis leads: it makes the call and publishes
// the result. The others wait for it. If Redis does not respond, requests share calls on their own
// gateway only. internal/gateway uses it.
package coalesce

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/retryqueue"
	"ais-gateway/internal/store/steps"
)

const (
	// leaseMargin is how much longer than the call a lease lasts.
	leaseMargin = 2 * time.Second
	// Pauses between two reads of the state of another gateway's call.
	pollFirst, pollLast = 10 * time.Millisecond, 40 * time.Millisecond

	// writeTimeout is the timeout of one attempt to publish, maxPause the longest pause between
	// two, and giveUpAfter how long they are repeated.
	writeTimeout = 2 * time.Second
	maxPause     = 6400 * time.Millisecond
	giveUpAfter  = 13 * time.Second
	// maxWrites is how many results may wait for Redis.
	maxWrites = 1024
)

// errNotPublished means that Redis did not store the result, see cache.PublishResult.
var errNotPublished = errors.New("the result was not stored")

// A Group lets identical requests share calls. It is safe for concurrent use.
type Group struct {
	cache  *cache.Cache
	slack  time.Duration
	now    func() time.Time
	log    *slog.Logger
	writes *retryqueue.Queue[string] // results and releases, by a random key

	inProgress sync.WaitGroup // calls on this gateway
	mu         sync.Mutex
	calls      map[cache.CallID]*call // in progress on this gateway
	waits      map[string]*wait       // for calls that are not among them, by the holder of their lease
}

// Config configures a Group. Every member is needed, except Slack.
type Config struct {
	Cache  *cache.Cache
	Slack  time.Duration // is added to each timeout, in tests on a busy machine
	Now    func() time.Time
	Logger *slog.Logger
}

// New returns a Group.
func New(c Config) *Group {
	return &Group{
		cache: c.Cache, slack: c.Slack, now: c.Now, log: c.Logger,
		calls: map[cache.CallID]*call{}, waits: map[string]*wait{},
		writes: retryqueue.New[string](retryqueue.Config{
			Max: maxWrites, Timeout: writeTimeout + c.Slack, MaxPause: maxPause, GiveUp: giveUpAfter,
		}),
	}
}

// A Request is one request that may share a call. Do calls its methods on its own goroutine, except
// Call, and may call Record several times.
type Request interface {
	// Record stores the reply of a lookup; the zero Found if Redis did not respond. It reports
	// whether the list that was found satisfies the request, or fails if the request must neither
	// call nor wait.
	Record(cache.Found) (satisfied bool, failure *canonical.Error)
	// Admit lets the request wait for a call. leave is called when it no longer waits.
	Admit(ctx context.Context) (leave func(), failure *canonical.Error)
	// Call makes the call. Its context is not canceled when the request ends.
	Call(ctx context.Context) cache.CallResult
	// Satisfies reports whether the result of another gateway's call satisfies the request.
	Satisfies(result *cache.Entry) bool
}

// Options are how a request shares a call.
type Options struct {
	Call    cache.CallID  // equal for requests that share
	Timeout time.Duration // of the call
	Counted bool          // the call takes a slot
	Lookup  cache.Lookup  // what the request needs to know before the call; Do sets the TTL of the lease
	// Budget is how long the request waits for Redis, except for the steps before a counted call:
	// those have a second each.
	Budget *steps.Budget
}

// Shared is the result of a shared call, or the list that made it unnecessary.
type Shared struct {
	cache.CallResult
	Hit    bool // there was no call and no wait: the cached list satisfies the request
	Led    bool // it is the request's own call
	Stored bool // the list of its own call is in Redis
}

// Do returns what satisfies the request: the list that was found, the result of its own call, or
// the result of an identical request's call that ended after this request's lookup. If another
// gateway's call ends without a usable result, Do tries again to acquire the lease. A call is
// always completed, even if its requests have left. Do returns the failures of Record, Admit and
// the call, Canceled if ctx ends, and ProviderTimeout if no call ends in time.
func (g *Group) Do(ctx context.Context, o Options, r Request) (Shared, *canonical.Error) {
	waiting := ctx
	for admitted, forceLease := false, false; waiting.Err() == nil; {
		found := g.lookUpAndAcquire(waiting, o, forceLease)
		satisfied, failure := r.Record(found)
		unusableHit := found.Responded() && found.Lease.Holder == "" && !found.NoLease && !satisfied
		switch {
		case failure != nil:
			g.release(found.Lease)
			return Shared{}, failure
		case satisfied:
			g.release(found.Lease)
			return Shared{Hit: !admitted, CallResult: cache.CallResult{Entry: found.Entry}}, nil
		case unusableHit: // Redis gave no lease, but the list cannot be decrypted or its invalidation is pending
			forceLease = true
			continue
		case waiting.Err() != nil:
			g.release(found.Lease)
			continue
		}
		if !admitted {
			leave, failure := r.Admit(ctx)
			if failure != nil {
				g.release(found.Lease)
				return Shared{}, failure
			}
			defer leave()
			within, cancel := context.WithTimeout(ctx, g.maxWait(o))
			defer cancel()
			waiting, admitted = within, true //nolint:fatcontext // once, when the request is admitted
		}
		if shared, ok := g.share(waiting, o, r, found.Lease); ok {
			return shared, shared.Failure
		}
	}
	if ctx.Err() != nil {
		return Shared{}, canonical.NewError(canonical.Canceled, "")
	}
	late := &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no response in time"}
	return Shared{CallResult: cache.CallResult{Failure: late}}, late
}

// maxWait is how long a request waits: for another gateway's call, and then for its own.
func (g *Group) maxWait(o Options) time.Duration { return 2*o.Timeout + leaseMargin + g.slack }

// lookUpAndAcquire makes the request's lookup and tries to acquire its lease. Without a reply in
// time, it returns the zero Found.
func (g *Group) lookUpAndAcquire(ctx context.Context, o Options, forceLease bool) cache.Found {
	lease, want := cache.NewLease(o.Call), o.Lookup
	want.TTL = o.Timeout + leaseMargin
	if forceLease {
		want.MaxAge = 0
	}
	budget := o.Budget
	if o.Counted {
		budget = g.countedBudget()
	}
	var found cache.Found
	_, err := steps.Do(ctx, budget, func(ctx context.Context) (none struct{}, err error) {
		found.Lease, found.Lease.Held = lease, true // if Acquire panics
		found, err = g.cache.Acquire(ctx, lease, want)
		return none, err
	})
	if err == nil {
		return found
	}
	g.release(found.Lease) // Redis may have granted it
	if ctx.Err() == nil {
		o.Budget.End()
	}
	return cache.Found{}
}

// countedBudget returns the budget of one step before a counted call: as long as for its slot. If
// Redis pauses for less, a call that another gateway makes already does not waste a slot.
func (g *Group) countedBudget() *steps.Budget {
	b := steps.NewBudget(steps.Timeout + g.slack)
	return &b
}

// share makes the request's call or waits for another one. ok is false if ctx ended or if there is
// no usable result.
func (g *Group) share(ctx context.Context, o Options, r Request, lease cache.Lease) (shared Shared, ok bool) {
	g.mu.Lock()
	c := g.calls[o.Call]
	switch {
	case c != nil: // also if its lease has expired, or was not granted in time
		g.mu.Unlock()
		g.release(lease)
		if !waitUntil(ctx, c.done) {
			return Shared{}, false
		}
		return Shared{CallResult: c.result}, true
	case lease.Held, lease.Holder == "":
		c = &call{done: make(chan struct{})}
		g.calls[o.Call] = c
		g.inProgress.Add(1)
		g.mu.Unlock()
		go g.lead(context.WithoutCancel(ctx), o, r, lease, c)
		return c.awaitOwn(ctx, o)
	}
	w := g.joinWait(ctx, o, lease)
	g.mu.Unlock()
	defer g.leaveWait(w)
	if !g.awaitOther(ctx, o, w) {
		return Shared{}, false
	}
	return w.usable(r, lease)
}

// waitUntil waits until done is closed. It returns false if ctx ends before.
func waitUntil(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// call is a call in progress on this gateway.
type call struct {
	done chan struct{}
	// The following are set when done is closed.
	result    cache.CallResult
	published <-chan error // gets the error of the first attempt to publish the result; nil if nothing is published
	stored    bool         // set before published gets nil
}

// awaitOwn returns the result of a call to the request that leads it. If a later request needs what
// the call has read or shown, it is published by then, if Redis responds within the budget. Any
// other result is published after the response.
func (c *call) awaitOwn(ctx context.Context, o Options) (Shared, bool) {
	if !waitUntil(ctx, c.done) {
		return Shared{}, false
	}
	s := Shared{CallResult: c.result, Led: true}
	list := s.Entry != nil && s.Entry.Accounts != nil
	if c.published == nil || !list && !s.Invalidate && s.Learned == (cache.Learned{}) {
		return s, true
	}
	err := o.Budget.Wait(context.WithoutCancel(ctx), c.published)
	s.Stored = err == nil && s.Failure == nil && c.stored
	return s, true
}

// lead makes a call and publishes its result under the lease. Publishing is repeated in the
// background until it succeeds, for 13 s; invalidating the list of a rejected consent until it
// succeeds.
func (g *Group) lead(ctx context.Context, o Options, r Request, lease cache.Lease, c *call) {
	defer g.inProgress.Done()
	c.result = g.run(ctx, o, r, lease)
	g.endCall(o.Call, c)
	var applied <-chan error
	if lease.Held {
		c.published, applied = g.publish(lease, c)
	}
	if c.result.Invalidate {
		c.published = g.cache.InvalidateEventually(o.Call.Key, applied)
	}
	close(c.done)
}

// endCall lets later requests make a call of their own.
func (g *Group) endCall(id cache.CallID, c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[id] == c {
		delete(g.calls, id)
	}
}

// publish publishes a call's result. Both channels get the error of the first attempt; if Redis has
// responded without storing the result, attempted gets nil and applied errNotPublished.
func (g *Group) publish(lease cache.Lease, c *call) (attempted, applied <-chan error) {
	results := make(chan error, 1)
	attempted = g.writes.Add(uuid.NewString(), func(ctx context.Context) error {
		done, err := g.cache.Publish(ctx, lease, c.result)
		result := err
		if err == nil {
			if c.stored = done.Stored; !done.Stored {
				result = errNotPublished
			}
		}
		select {
		case results <- result:
		default: // not the first attempt
		}
		return err
	})
	return attempted, results
}

// run makes a call. If it panics, the result is an InternalError that no other gateway gets.
func (g *Group) run(ctx context.Context, o Options, r Request, lease cache.Lease) (result cache.CallResult) {
	result.Failure = canonical.NewError(canonical.InternalError, "")
	defer recovery.Recover(ctx, g.log)
	own, cancel := context.WithTimeout(ctx, g.maxWait(o)) // no request waits longer; the read has its own timeout
	defer cancel()
	made := r.Call(own)
	ended := time.Now() //nolint:forbidigo // the process's monotonic time; the lease translates it to Redis's clock
	if made.Entry != nil {
		made.Entry.FetchedAt = g.now().UTC()
	}
	if lease.Held {
		if made.Entry != nil {
			made.Entry.FetchedAt = lease.RedisTime(ended)
		}
		// Another gateway may have capacity for the call, so that an overload is not shared.
		if made.Failure == nil || made.Failure.Kind != canonical.Overloaded {
			made.Ended = lease.RedisTime(ended)
		}
		made.Usage = made.Usage.At(lease.RedisTime(ended))
	}
	return made
}

// release releases a lease in the background, if it is held.
func (g *Group) release(l cache.Lease) {
	if !l.Held {
		return
	}
	held := l // copied, so that l stays on the stack in the common case
	g.writes.Add(uuid.NewString(), func(ctx context.Context) error {
		_, err := g.cache.Publish(ctx, held, cache.CallResult{})
		return err
	})
}

// wait is the wait of all requests on this gateway for a call that another gateway makes.
type wait struct {
	requests  int       // that wait; guarded by Group.mu
	responded time.Time // when Redis last responded; guarded by Group.mu
	stop      context.CancelFunc
	done      chan struct{}
	outcome   cache.LeaderOutcome // set when done is closed
}

// joinWait returns the wait for the holder of a lease. The caller holds the lock.
func (g *Group) joinWait(ctx context.Context, o Options, lease cache.Lease) *wait {
	w := g.waits[lease.Holder]
	if w == nil {
		polling, stop := context.WithTimeout(context.WithoutCancel(ctx), g.maxWait(o))
		w = &wait{stop: stop, done: make(chan struct{}), responded: time.Now()} //nolint:forbidigo // measures a real wait
		g.waits[lease.Holder] = w
		go g.poll(polling, lease, w)
	}
	w.requests++
	return w
}

// leaveWait ends a wait for which no request waits any more.
func (g *Group) leaveWait(w *wait) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.requests--; w.requests == 0 {
		w.stop()
	}
}

// awaitOther waits until another gateway's call has ended. It returns false if ctx ends before. It
// returns false and ends the request's budget if Redis does not respond for as long as the budget
// has left, or for steps.Timeout if the call is counted, in addition to the pause between two
// reads. While Redis responds, the wait costs no budget.
func (g *Group) awaitOther(ctx context.Context, o Options, w *wait) bool {
	silenceLimit := pollLast + o.Budget.Left()
	if o.Counted {
		silenceLimit = pollLast + steps.Timeout + g.slack
	}
	for {
		g.mu.Lock()
		silent := time.Since(w.responded) //nolint:forbidigo // measures a real wait
		g.mu.Unlock()
		if silent >= silenceLimit {
			o.Budget.End()
			return false
		}
		check := time.NewTimer(silenceLimit - silent)
		select {
		case <-w.done:
			check.Stop()
			return true
		case <-ctx.Done():
			check.Stop()
			return false
		case <-check.C:
		}
	}
}

// usable returns the outcome if the request can use it: the call ended after the request found its
// lease held.
func (w *wait) usable(r Request, lease cache.Lease) (Shared, bool) {
	out := w.outcome
	switch {
	case !out.Done || out.EndedBefore(lease): // or its gateway died
	case out.Failure != nil:
		return Shared{CallResult: cache.CallResult{Failure: out.Failure, Usage: out.Usage}}, true
	case out.Entry != nil && r.Satisfies(out.Entry):
		return Shared{CallResult: cache.CallResult{Entry: out.Entry, Usage: out.Usage}}, true
	}
	return Shared{}, false
}

// poll reads the state of another gateway's call until it ends, or until ctx ends because no
// request waits for it any more.
func (g *Group) poll(ctx context.Context, lease cache.Lease, w *wait) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.waits, lease.Holder)
		w.stop()
		close(w.done)
	}()
	defer recovery.Recover(ctx, g.log)
	for pause := pollFirst; ; pause = min(2*pause, pollLast) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		out, err := steps.Do(ctx, g.countedBudget(), func(ctx context.Context) (cache.LeaderOutcome, error) {
			return g.cache.Outcome(ctx, lease)
		})
		if err != nil {
			continue
		}
		g.mu.Lock()
		w.responded = time.Now() //nolint:forbidigo // measures a real wait
		g.mu.Unlock()
		if !out.Held {
			w.outcome = out
			return
		}
	}
}

// Wait waits until every call in progress has ended.
func (g *Group) Wait() { g.inProgress.Wait() }

// Drain makes the last attempt of each pending write. It returns ctx's error if ctx ends first.
func (g *Group) Drain(ctx context.Context) error { return g.writes.Drain(ctx) }
