// Package repeat serves aggregations. The results of a request with an idempotency key are stored, so
// that a repeat of the request makes no call: it returns what the first one has read. internal/api
// calls it; internal/aggregation/runner reads the sources.
package repeat

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/store/steps"
)

const (
	// pollPause is the pause between two reads of the results of a request in progress.
	pollPause = 100 * time.Millisecond
	// lateMargin is how much longer than its calls a run may take to store its last result.
	lateMargin = 10 * time.Second
)

// Config configures an Aggregator. Every member is needed.
type Config struct {
	Runner *runner.Runner
	Cache  *cache.Cache
	Logger *slog.Logger
}

// An Aggregator serves aggregations. It is safe for concurrent use.
type Aggregator struct {
	Config
	writes   sync.WaitGroup  // that are made after the response
	stopping context.Context // ends with EndWaits
	stop     func()
}

// New returns an Aggregator.
func New(c Config) *Aggregator {
	a := &Aggregator{Config: c}
	a.stopping, a.stop = context.WithCancel(context.Background())
	return a
}

// EndWaits ends the wait of all aggregations, so that their responses do not delay the end of the
// process: what is missing is NotInTime.
func (a *Aggregator) EndWaits() { a.stop() }

// wait returns a context that ends with the wait of a request.
func (a *Aggregator) wait(ctx context.Context, r aggregation.Request) (over context.Context, cancel func()) {
	over, end := context.WithTimeout(ctx, r.Wait)
	detach := context.AfterFunc(a.stopping, end)
	return over, func() {
		detach()
		end()
	}
}

// Drain waits until every call that was sent has ended and its result is stored. It returns ctx's
// error if ctx ends first.
func (a *Aggregator) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { a.Runner.Wait(); a.writes.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Aggregate reads the sources of a request. It returns when all results are complete, or at the end
// of the request's wait; then what is missing is NotInTime. ready is called with each result when it
// is complete, one after the other; nil for none. A call that was sent is always finished. The error
// is a *canonical.Error: FormatError if the idempotency key belongs to another request, InternalError
// if the stored results cannot be decrypted, and Canceled if ctx has ended.
func (a *Aggregator) Aggregate(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
	if ready == nil {
		ready = func(aggregation.SourceResult) {}
	}
	switch {
	case r.DryRun:
		return a.Runner.DryRun(ctx, r, ready), nil
	case r.Key != "":
		return a.once(ctx, r, ready)
	}
	return a.run(ctx, r, false, ready)
}

// run makes an aggregation whose results are not stored. It starts no call after the caller has left.
func (a *Aggregator) run(ctx context.Context, r aggregation.Request, noCounter bool, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
	over, stop := a.wait(ctx, r)
	defer stop()
	return a.Runner.Run(ctx, r, runner.Options{Over: over, NoCounter: noCounter}, ready)
}

// once makes the aggregation of an idempotency key, or returns the results of the one that was made
// before.
func (a *Aggregator) once(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
	id := cache.ReplayID{Client: r.Client, Key: r.Key}
	for {
		earlier, err := a.claim(ctx, id, r)
		switch {
		case errors.Is(err, cache.ErrUnreadable):
			return aggregation.Result{}, canonical.NewError(canonical.InternalError, "the stored aggregation is encrypted under a key that this gateway does not have")
		case earlier.Own: // after an error, Redis may have stored the beginning
			return a.runOnce(ctx, r, id, earlier.Run, err != nil, ready)
		case err != nil:
			return a.run(ctx, r, true, ready)
		case earlier.Fingerprint != r.Fingerprint:
			failure := canonical.NewError(canonical.FormatError, "the idempotency key belongs to another request")
			failure.Faults = []canonical.FieldError{{
				In: "header", Name: "Idempotency-Key", Detail: "was sent before with another body, or with another presence of the user",
			}}
			return aggregation.Result{}, failure
		}
		if result, deleted, err := a.follow(ctx, r, id, earlier, ready); !deleted {
			return result, err
		}
	}
}

// claim claims the idempotency key, or returns what is stored under it.
func (a *Aggregator) claim(ctx context.Context, id cache.ReplayID, r aggregation.Request) (cache.Replay, error) {
	longest, consents := time.Duration(0), make([]cache.Key, len(r.Sources))
	timeout := gateway.RedisBudget
	for i, s := range r.Sources {
		aspsp, _ := a.Runner.Gateway.ASPSP(s.Query.ASPSP)
		longest = max(longest, aspsp.Timeout)
		consents[i] = cache.Key{Client: r.Client, ASPSP: s.Query.ASPSP, Consent: canonical.NormalizeID(s.Query.Consent)}
		if !s.Query.Attended() {
			timeout = steps.Timeout // as for a slot
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.Cache.Claim(ctx, id, r.Fingerprint, consents, r.Wait+2*longest+lateMargin)
}

// runOnce makes an aggregation whose results are stored. It goes on if the caller leaves.
func (a *Aggregator) runOnce(ctx context.Context, r aggregation.Request, id cache.ReplayID, name string, noCounter bool,
	ready func(aggregation.SourceResult),
) (aggregation.Result, error) {
	over, stop := a.wait(context.WithoutCancel(ctx), r) // ends when the last source has finished
	results := newRecorder(a, id, name, len(r.Sources), stop)
	return a.Runner.Run(ctx, r, runner.Options{Over: over, Recorder: results, NoCounter: noCounter}, ready)
}

// repetition is the response to a repeat: the results of an aggregation that was made before.
type repetition struct {
	stream  bool // results are sent as they arrive
	ready   func(aggregation.SourceResult)
	results []*stored // by source; nil for those that have not arrived
	emitted []bool
}

// stored is a result as it is stored for repeats.
type stored struct {
	aggregation.SourceResult
	Final bool      // no call of the source is in progress
	At    time.Time // when it was stored, by the gateway's clock
}

// passTime shortens the waits of a result by the time since it was stored.
func (s *stored) passTime() {
	passed := max(time.Since(s.At), 0)
	shorten := func(f *canonical.Error) {
		if f != nil && f.RetryAfter > 0 {
			f.RetryAfter = max(f.RetryAfter-passed, time.Second)
		}
	}
	shorten(s.Failure)
	for _, a := range s.Accounts {
		shorten(a.Failure)
	}
}

// follow returns the results of an aggregation that was made before, as far as they have arrived at
// the end of the wait. deleted means that they were deleted, and that none was returned.
func (a *Aggregator) follow(ctx context.Context, r aggregation.Request, id cache.ReplayID, earlier cache.Replay, ready func(aggregation.SourceResult),
) (result aggregation.Result, deleted bool, err error) {
	over, stop := a.wait(ctx, r)
	defer stop()
	n := len(r.Sources)
	f := repetition{stream: r.Stream, ready: ready, results: make([]*stored, n), emitted: make([]bool, n)}
	for f.use(earlier); !earlier.Done && earlier.Now.Before(earlier.Until) && over.Err() == nil; {
		select {
		case <-time.After(pollPause):
		case <-over.Done():
		}
		next, known, err := a.replay(ctx, id)
		switch {
		case err != nil:
		case known && next.Run == earlier.Run:
			earlier = next
			f.use(earlier)
		case slices.Contains(f.emitted, true):
			clear(f.results)
			earlier.Done = true
		default:
			return aggregation.Result{}, true, nil
		}
	}
	if ctx.Err() != nil {
		return aggregation.Result{}, false, canonical.NewError(canonical.Canceled, "")
	}
	return a.complete(ctx, r, &f), false, nil
}

// replay reads the stored results.
func (a *Aggregator) replay(ctx context.Context, id cache.ReplayID) (cache.Replay, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, steps.Timeout)
	defer cancel()
	return a.Cache.Replay(ctx, id)
}

// use takes over the results that have arrived.
func (f *repetition) use(all cache.Replay) {
	for i, text := range all.Results {
		var s stored
		if i < 0 || i >= len(f.results) || f.emitted[i] || json.Unmarshal(text, &s) != nil {
			continue
		}
		s.passTime()
		if f.results[i] = &s; s.Final && f.stream {
			f.emit(i)
		}
	}
}

func (f *repetition) emit(i int) {
	f.emitted[i] = true
	f.ready(f.results[i].SourceResult)
}

// complete returns all results: those that have not arrived are NotInTime.
func (a *Aggregator) complete(ctx context.Context, r aggregation.Request, f *repetition) aggregation.Result {
	var missing []int
	for i, s := range f.results {
		if s == nil {
			missing = append(missing, i)
		}
	}
	for n, s := range a.Runner.Missing(ctx, r, missing) {
		f.results[missing[n]] = &stored{SourceResult: s}
	}
	result := aggregation.Result{Replayed: true, Sources: make([]aggregation.SourceResult, len(f.results))}
	for i, s := range f.results {
		if result.Sources[i] = s.SourceResult; !f.emitted[i] { // what was deleted after it was sent is not repeated
			f.emit(i)
		}
	}
	return result
}
