// Package coalesce lets identical requests share one provider call, on one gateway and across gateways. The request that holds
// the call's lease in Redis leads: it makes the call and publishes the result. The others wait for it. If Redis does not
// respond, requests share calls on their own gateway only. internal/gateway uses it.
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
	"ais-gateway/internal/store"
)

const (
	// countedTimeout is how long a request whose call is counted waits for one step. Its call cannot be made without Redis, and a
	// call that another gateway makes already would waste a slot.
	countedTimeout = 500 * time.Millisecond
	// leaseSlack is how much longer than the call a lease lasts.
	leaseSlack = 2 * time.Second
	// Pauses between two reads of the state of another gateway's call.
	pollFirst, pollLast = 10 * time.Millisecond, 40 * time.Millisecond

	// writeTimeout is the timeout of one attempt to publish, maxPause the longest pause between two, and giveUpAfter how long
	// they are repeated.
	writeTimeout = 2 * time.Second
	maxPause     = 6400 * time.Millisecond
	giveUpAfter  = 13 * time.Second
	// maxWrites is how many results may wait for Redis.
	maxWrites = 1024
)

// errLeaseUnknown means that Redis has not executed the command for the lease yet. It may still grant it, which would block other
// requests until the lease expires.
var errLeaseUnknown = errors.New("the lease may still be granted")

// A Group lets identical requests share calls. It is safe for concurrent use.
type Group struct {
	cache  *cache.Cache
	steps  *store.Steps
	slack  time.Duration
	now    func() time.Time
	log    *slog.Logger
	writes *retryqueue.Queue[string] // results and releases, by a random key

	running sync.WaitGroup // calls in progress
	mu      sync.Mutex
	calls   map[cache.Call]*call // in progress on this gateway
	waits   map[string]*wait     // for calls of other gateways, by holder
}

// Config configures a Group. Every member is needed, except Slack.
type Config struct {
	Cache  *cache.Cache
	Steps  *store.Steps
	Slack  time.Duration // is added to each timeout, in tests on a busy machine
	Now    func() time.Time
	Logger *slog.Logger
}

// New returns a Group.
func New(c Config) *Group {
	return &Group{
		cache: c.Cache, steps: c.Steps, slack: c.Slack, now: c.Now, log: c.Logger,
		calls: map[cache.Call]*call{}, waits: map[string]*wait{},
		writes: retryqueue.New[string](retryqueue.Config{
			Max: maxWrites, Timeout: writeTimeout + c.Slack, MaxPause: maxPause, GiveUp: giveUpAfter,
		}),
	}
}

// A Request is one request that may share a call. Its methods except Call are called by Do, on its goroutine.
type Request interface {
	// Lookup returns what the request needs to know before the call. Do sets the TTL of the lease.
	Lookup() cache.Lookup
	// Found reports whether the reply to Lookup satisfies the request without a call.
	Found(cache.Found) bool
	// Admit lets the request wait for a call. leave is called when it no longer waits. If it fails, so does the request.
	Admit(ctx context.Context) (leave func(), failure *canonical.Error)
	// Call makes the call. Its context is not canceled when the request ends.
	Call(ctx context.Context) cache.Result
	// Satisfies reports whether a list satisfies the request that another gateway's call has stored.
	Satisfies(list *cache.Entry) bool
}

// Options are how a request shares a call.
type Options struct {
	Call    cache.Call    // equal for requests that share
	Timeout time.Duration // of the call
	Counted bool          // the call takes a slot
	// Budget is how long the request waits for Redis, except for the steps before a counted call: those have 500 ms each.
	Budget *store.Budget
}

// Shared is the result of a shared call, or the list that made it unnecessary.
type Shared struct {
	cache.Result
	Hit    bool // there was no call: the list that was found satisfies the request
	Led    bool // it is the request's own call
	Stored bool // the list of its own call is in Redis
}

// Do returns what satisfies the request: the list that was found, the result of its own call, or the result of an identical
// request's call that ended after this request's lookup. If another gateway's call ends without a usable result, Do tries
// again to acquire the lease. A call is always completed, even if its requests have left. Do returns the failure of Admit or of
// the call, Canceled if ctx ends, and ProviderTimeout if no call ends in time.
func (g *Group) Do(ctx context.Context, o Options, r Request) (Shared, *canonical.Error) {
	waiting, cancel := context.WithTimeout(ctx, g.maxWait(o))
	defer cancel()
	leave := func() {}
	defer func() { leave() }()
	for admitted, anew := false, false; waiting.Err() == nil; {
		found := g.lookUp(waiting, o, r, anew)
		unusable := found.Lease.Holder == "" && !found.Refused && !found.Now.IsZero()
		switch {
		case r.Found(found):
			g.release(found.Lease)
			return Shared{Hit: true, Result: cache.Result{Entry: found.Entry}}, nil
		case unusable: // Redis gave no lease for a list that cannot be decrypted
			anew = true
			continue
		case waiting.Err() != nil:
			g.release(found.Lease)
			continue
		}
		if !admitted {
			leaving, failure := r.Admit(ctx)
			if failure != nil {
				g.release(found.Lease)
				return Shared{}, failure
			}
			leave, admitted = leaving, true
		}
		if shared, ok := g.share(waiting, o, r, found.Lease); ok {
			return shared, shared.Failure
		}
	}
	if ctx.Err() != nil {
		return Shared{}, canonical.NewError(canonical.Canceled, "")
	}
	return Shared{}, &canonical.Error{Kind: canonical.ProviderTimeout, Origin: canonical.OriginProvider, Detail: "no answer in time"}
}

// maxWait is how long a request waits: for another gateway's call, and then for its own.
func (g *Group) maxWait(o Options) time.Duration { return 2*o.Timeout + leaseSlack + g.slack }

// lookUp makes the request's lookup and tries to acquire its lease. Without a reply in time, it returns the zero Found.
func (g *Group) lookUp(ctx context.Context, o Options, r Request, anew bool) cache.Found {
	lease, want := cache.NewLease(o.Call), r.Lookup()
	want.TTL = o.Timeout + leaseSlack
	if anew {
		want.MaxAge = 0
	}
	budget := o.Budget
	if o.Counted {
		budget = g.countedBudget()
	}
	found, err := store.Do(ctx, g.steps, budget, func(ctx context.Context) (cache.Found, error) {
		return g.cache.Acquire(ctx, lease, want)
	})
	if err != nil && g.cache.MayBeGranted(err) {
		g.release(lease)
	}
	if found.Refused || err != nil && ctx.Err() == nil {
		o.Budget.Fail()
	}
	return found
}

// countedBudget returns the budget of one step before a counted call.
func (g *Group) countedBudget() *store.Budget {
	b := store.NewBudget(countedTimeout + g.slack)
	return &b
}

// share makes the request's call or waits for another one. ok is false if ctx ended or if there is no usable result.
func (g *Group) share(ctx context.Context, o Options, r Request, lease cache.Lease) (shared Shared, ok bool) {
	g.mu.Lock()
	c := g.calls[o.Call]
	switch {
	case lease.Held, lease.Holder == "" && c == nil:
		c = &call{holder: lease.Holder, done: make(chan struct{})}
		g.calls[o.Call] = c
		g.running.Add(1)
		g.mu.Unlock()
		go g.lead(context.WithoutCancel(ctx), o, r, lease, c)
		return c.own(ctx, o)
	case c != nil && (lease.Holder == "" || lease.Holder == c.holder):
		g.mu.Unlock()
		if !isDone(ctx, c.done) {
			return Shared{}, false
		}
		return Shared{Result: c.result}, true
	}
	left := o.Budget.Left()
	if o.Counted {
		left = countedTimeout + g.slack
	}
	w := g.waits[lease.Holder]
	if w == nil {
		w = &wait{left: left, done: make(chan struct{})}
		g.waits[lease.Holder] = w
		go g.poll(context.WithoutCancel(ctx), o, lease, w)
	}
	w.left = min(w.left, left)
	g.mu.Unlock()
	if !isDone(ctx, w.done) {
		return Shared{}, false
	}
	return w.usable(o, r, lease)
}

// isDone waits until done is closed. It returns false if ctx ends before.
func isDone(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// call is a call in progress on this gateway.
type call struct {
	holder string // of its lease; "" without a lease
	done   chan struct{}
	// The following are set when done is closed.
	result    cache.Result
	published <-chan error // gets the error of the first attempt to publish the result; nil if nothing is published
	stored    bool         // set before published gets nil
}

// own returns the result of a call to the request that leads it. By then it is published, if Redis responds within the budget.
// Balances are published after the response: only requests that wait already get them.
func (c *call) own(ctx context.Context, o Options) (Shared, bool) {
	if !isDone(ctx, c.done) {
		return Shared{}, false
	}
	s := Shared{Result: c.result, Led: true}
	if c.published == nil || s.Entry != nil && s.Entry.Balances != nil {
		return s, true
	}
	err := o.Budget.Wait(context.WithoutCancel(ctx), c.published)
	s.Stored = err == nil && s.Failure == nil && c.stored
	return s, true
}

// lead makes a call and publishes its result under the lease. Publishing is repeated in the background until it succeeds.
func (g *Group) lead(ctx context.Context, o Options, r Request, lease cache.Lease, c *call) {
	defer g.running.Done()
	c.result = g.run(ctx, o, r, lease)
	g.mu.Lock()
	if g.calls[o.Call] == c {
		delete(g.calls, o.Call)
	}
	g.mu.Unlock()
	switch {
	case c.result.Invalidate && lease.Held:
		c.published = g.cache.PublishEventually(lease, c.result)
	case c.result.Invalidate:
		c.published = g.cache.InvalidateEventually(o.Call.Key)
	case lease.Held:
		c.published = g.writes.Add(uuid.NewString(), func(ctx context.Context) error {
			done, err := g.cache.Publish(ctx, lease, c.result)
			if err == nil {
				c.stored = done.Stored
			}
			return err
		})
	}
	close(c.done)
}

// run makes a call. If it panics, the result is an InternalError that no other gateway gets.
func (g *Group) run(ctx context.Context, o Options, r Request, lease cache.Lease) (result cache.Result) {
	result.Failure = canonical.NewError(canonical.InternalError, "")
	defer recovery.Recover(ctx, g.log)
	own, cancel := context.WithTimeout(ctx, g.maxWait(o))
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
	}
	return made
}

// release releases a lease, in the background. If Redis has not confirmed the lease, the release is repeated until it was found.
func (g *Group) release(l cache.Lease) {
	if l.Holder == "" || l.Confirmed() && !l.Held {
		return
	}
	g.writes.Add(uuid.NewString(), func(ctx context.Context) error {
		done, err := g.cache.Publish(ctx, l, cache.Result{})
		if err == nil && !done.Held && !l.Confirmed() {
			return errLeaseUnknown
		}
		return err
	})
}

// wait is the wait of all requests on this gateway for a call of another gateway.
type wait struct {
	left    time.Duration // how long it waits for one step in Redis; guarded by Group.mu
	done    chan struct{}
	outcome cache.Outcome // set when done is closed
	silent  bool          // Redis stopped responding; set when done is closed
}

// usable returns the outcome if the request can use it: the call ended after the request found its lease held.
func (w *wait) usable(o Options, r Request, lease cache.Lease) (Shared, bool) {
	out := w.outcome
	switch {
	case w.silent:
		o.Budget.Fail()
	case !out.Done || out.EndedBefore(lease): // or its gateway died
	case out.Failure != nil:
		return Shared{Result: cache.Result{Failure: out.Failure, Usage: out.Usage}}, true
	case out.Entry != nil && (out.Entry.Balances != nil || r.Satisfies(out.Entry)):
		return Shared{Result: cache.Result{Entry: out.Entry, Usage: out.Usage}}, true
	}
	return Shared{}, false
}

// poll reads the state of another gateway's call until it ends, or until Redis stops responding: at the first failed read, for a
// counted call after countedTimeout. Reads that succeed cost no budget.
func (g *Group) poll(ctx context.Context, o Options, lease cache.Lease, w *wait) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.waits, lease.Holder)
		close(w.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, g.maxWait(o))
	defer cancel()
	responded := time.Now() //nolint:forbidigo // measures a real wait
	for pause := pollFirst; ; pause = min(2*pause, pollLast) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		g.mu.Lock()
		budget := store.NewBudget(w.left)
		g.mu.Unlock()
		out, err := store.Do(ctx, g.steps, &budget, func(ctx context.Context) (cache.Outcome, error) { return g.cache.Outcome(ctx, lease) })
		switch {
		case err == nil && !out.Held:
			w.outcome = out
			return
		case err == nil:
			responded = time.Now() //nolint:forbidigo // as above
		case !o.Counted || time.Since(responded) > countedTimeout+g.slack: //nolint:forbidigo // as above
			w.silent = true
			return
		}
	}
}

// Wait waits until every call in progress has ended.
func (g *Group) Wait() { g.running.Wait() }

// Drain makes the last attempt of each pending write. It returns ctx's error if ctx ends first.
func (g *Group) Drain(ctx context.Context) error { return g.writes.Drain(ctx) }
