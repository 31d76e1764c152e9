package aggregation

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store/steps"
)

const (
	// pollPause is the pause between two reads of the results of a request in progress.
	pollPause = 100 * time.Millisecond
	// lateMargin is how much longer than its calls a run may take to store its last result.
	lateMargin = 10 * time.Second
	// completeTimeout is the timeout of storing what could not be stored before.
	completeTimeout = 2 * time.Second
)

// stored is a result as it is stored for repeats.
type stored struct {
	SourceResult
	Final bool // no call of the source is in progress
}

// once makes the run of an idempotency key, or returns the results of the run that was made before.
func (a *Aggregator) once(ctx context.Context, r Request, ready func(SourceResult)) (Result, error) {
	id := cache.ReplayID{Client: r.Client, Key: r.Key}
	for {
		earlier, err := a.claim(ctx, id, r)
		switch {
		case errors.Is(err, cache.ErrUnreadable):
			return Result{}, canonical.NewError(canonical.InternalError, "the stored aggregation is encrypted under a key that this gateway does not have")
		case err != nil:
			over, stop := context.WithTimeout(ctx, r.Wait)
			defer stop()
			unstored := a.newRun(over, r)
			unstored.noCounter = true
			return unstored.collect(ctx, ready)
		case earlier.Own:
			return a.runOnce(ctx, r, id, earlier.Run, ready)
		case earlier.Fingerprint != r.Fingerprint:
			failure := canonical.NewError(canonical.FormatError, "the idempotency key belongs to another request")
			failure.Faults = []canonical.FieldError{{In: "header", Name: "Idempotency-Key", Detail: "was sent before with another body, or with the user present in one request only"}}
			return Result{}, failure
		}
		if result, deleted, err := a.follow(ctx, r, id, earlier, ready); !deleted {
			return result, err
		}
	}
}

// claim claims the idempotency key, or returns what is stored under it.
func (a *Aggregator) claim(ctx context.Context, id cache.ReplayID, r Request) (cache.Replay, error) {
	longest, consents := time.Duration(0), make([]cache.Key, len(r.Sources))
	timeout := gateway.RedisBudget
	for i, s := range r.Sources {
		longest = max(longest, a.Timeouts[s.Query.ASPSP])
		consents[i] = cache.Key{Client: r.Client, ASPSP: s.Query.ASPSP, Consent: canonical.NormalizeID(s.Query.Consent)}
		if !s.Query.Attended() {
			timeout = steps.Timeout // as for a slot
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.Cache.Claim(ctx, id, r.Fingerprint, consents, r.Wait+2*longest+lateMargin)
}

// runOnce makes a run whose results are stored. It goes on if the caller leaves.
func (a *Aggregator) runOnce(ctx context.Context, r Request, id cache.ReplayID, name string, ready func(SourceResult)) (Result, error) {
	over, stop := context.WithTimeout(context.WithoutCancel(ctx), r.Wait)
	made := a.newRun(over, r)
	made.record = &record{cache: a.Cache, id: id, run: name, left: len(r.Sources), complete: stop}
	return made.collect(ctx, ready)
}

// follow returns the results of a run that was made before, as far as they have arrived until the end
// of the wait. deleted means that they were deleted, and that none was returned.
func (a *Aggregator) follow(ctx context.Context, r Request, id cache.ReplayID, earlier cache.Replay, ready func(SourceResult)) (_ Result, deleted bool, _ error) {
	over, stop := context.WithTimeout(ctx, r.Wait)
	defer stop()
	result := Result{Replayed: true, Sources: make([]SourceResult, len(r.Sources))}
	emitted := make([]bool, len(r.Sources))
	emit := func(i int, s SourceResult) {
		result.Sources[i], emitted[i] = s, true
		ready(s)
	}
	results := map[int]stored{}
	for {
		for i, text := range earlier.Results {
			var s stored
			if i < 0 || i >= len(r.Sources) || emitted[i] || json.Unmarshal(text, &s) != nil {
				continue
			}
			if results[i] = s; s.Final {
				emit(i, s.SourceResult)
			}
		}
		if earlier.Done || !earlier.Now.Before(earlier.Until) || over.Err() != nil {
			break
		}
		select {
		case <-time.After(pollPause):
		case <-over.Done():
		}
		next, ok, err := a.replay(ctx, id)
		switch {
		case err != nil:
		case !ok || next.Run != earlier.Run:
			if !slices.Contains(emitted, true) {
				return Result{}, true, nil
			}
			results, earlier.Done = nil, true
		default:
			earlier = next
		}
	}
	if ctx.Err() != nil {
		return Result{}, false, canonical.NewError(canonical.Canceled, "")
	}
	for i := range r.Sources {
		switch s, ok := results[i]; {
		case emitted[i]:
		case ok:
			emit(i, s.SourceResult)
		default:
			emit(i, a.newRun(over, r).sources[i].snapshot())
		}
	}
	return result, false, nil
}

// replay reads the stored results.
func (a *Aggregator) replay(ctx context.Context, id cache.ReplayID) (cache.Replay, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, steps.Timeout)
	defer cancel()
	return a.Cache.Replay(ctx, id)
}

// record stores the results of a run for repeats.
type record struct {
	cache    *cache.Cache
	id       cache.ReplayID
	run      string
	complete func() // is called when the last source has finished

	mu     sync.Mutex
	left   int                     // sources that have not finished
	failed map[int]json.RawMessage // what could not be stored; nil while Redis responds
}

// storeFinal stores the result of a source that has finished. If Redis does not respond, the results
// are stored again when the last source has finished.
func (r *run) storeFinal(ctx context.Context, s SourceResult) {
	if r.record == nil {
		return
	}
	c := r.record
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	c.store(ctx, map[int]json.RawMessage{s.Index: encode(s, true)})
	if c.left > 0 {
		return
	}
	c.complete()
	if c.failed == nil {
		return
	}
	again, results := context.WithoutCancel(ctx), c.failed
	r.inProgress.Go(func() {
		defer recovery.Recover(again, r.Logger)
		within, cancel := context.WithTimeout(again, completeTimeout)
		defer cancel()
		_ = c.cache.StoreResults(within, c.id, c.run, results, true)
	})
}

// storeUnfinished stores the results of the sources that have not finished at the end of the wait, as
// they are in the response.
func (r *run) storeUnfinished(ctx context.Context, results []SourceResult) {
	if r.record == nil {
		return
	}
	c := r.record
	c.mu.Lock()
	defer c.mu.Unlock()
	unfinished := map[int]json.RawMessage{}
	for i, s := range r.sources {
		if !s.isFinished() {
			unfinished[i] = encode(results[i], false)
		}
	}
	if len(unfinished) > 0 {
		c.store(ctx, unfinished)
	}
}

// store stores results. After an error it only keeps them, so that a request waits for Redis once.
// The caller holds the lock.
func (c *record) store(ctx context.Context, results map[int]json.RawMessage) {
	if c.failed == nil {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), gateway.RedisBudget)
		defer cancel()
		if c.cache.StoreResults(within, c.id, c.run, results, c.left == 0) == nil {
			return
		}
		c.failed = map[int]json.RawMessage{}
	}
	for i, text := range results {
		c.failed[i] = text
	}
}

func encode(s SourceResult, final bool) json.RawMessage {
	text, err := json.Marshal(stored{s, final})
	if err != nil {
		panic("aggregation: a result does not encode")
	}
	return text
}
