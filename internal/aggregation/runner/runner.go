// Package runner makes aggregations: it plans the calls of each source, reserves their slots, and
// reads the sources concurrently. internal/aggregation/repeat calls it; it reads through
// internal/gateway.
package runner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/recovery"
)

const (
	// maxReads is how many reads of one aggregation run concurrently, and maxBalanceCalls how many
	// balance calls are made for one source.
	maxReads, maxBalanceCalls = 64, 50
	// maxBodies is how many bytes of provider bodies are read for one aggregation.
	maxBodies = 32 << 20
	// usageTimeout is how long a source waits for its usage, if no step has returned it.
	usageTimeout = 100 * time.Millisecond
)

// Config configures a Runner. Every member is needed.
type Config struct {
	Gateway  *gateway.Gateway
	Logger   *slog.Logger
	Observer Observer
}

// An Observer observes the sources of aggregations.
type Observer interface {
	// Source starts the span of a source. It returns the context of its calls, and a function that is
	// called once, with the result.
	Source(ctx context.Context, aspsp, provider string, attended bool) (context.Context, func(aggregation.SourceResult, aggregation.Slots))
}

// A Recorder stores the results of one run. It is safe for concurrent use.
type Recorder interface {
	// Finished stores the result of a source that has finished.
	Finished(ctx context.Context, result aggregation.SourceResult)
	// Unfinished stores the results at the end of the wait, but those for which Finished was called.
	Unfinished(ctx context.Context, results []aggregation.SourceResult)
}

// A Runner makes aggregations. It is safe for concurrent use.
type Runner struct {
	Config
	inProgress sync.WaitGroup // sources
}

// New returns a Runner.
func New(c Config) *Runner { return &Runner{Config: c} }

// Wait waits until every call that was sent has ended.
func (a *Runner) Wait() { a.inProgress.Wait() }

// Options are how an aggregation runs.
type Options struct {
	// Over ends when no call may be started any more, and the response is due.
	Over     context.Context
	Recorder Recorder // nil for none
	// NoCounter means that no slot may be taken, because it is unknown whether the sources were read
	// before.
	NoCounter bool
}

// Run reads the sources of a request. It returns when all results are complete, or when o.Over ends;
// then what is missing is NotInTime. ready is called with each result when it is complete, one after
// the other. A call that was sent is always finished. Run returns Canceled if ctx has ended.
func (a *Runner) Run(ctx context.Context, r aggregation.Request, o Options, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
	return a.newRun(r, o).collect(ctx, ready)
}

// Missing returns the results of the sources with these indexes, of which nothing has arrived in time:
// what is cached.
func (a *Runner) Missing(ctx context.Context, r aggregation.Request, indexes []int) []aggregation.SourceResult {
	all, results := a.newRun(r, Options{}), make([]aggregation.SourceResult, len(indexes))
	var lookUps sync.WaitGroup
	for n, i := range indexes {
		lookUps.Go(func() {
			s := all.sources[i]
			s.listed = s.lookUp(ctx)
			s.late = s.listed
			s.plan()
			s.readUsage(ctx)
			results[n] = s.snapshot()
		})
	}
	lookUps.Wait()
	return results
}

// run is one aggregation in progress.
type run struct {
	*Runner
	Options
	aggregation.Request
	capacity *bulkhead.Limits // of reads in progress, by ASPSP: a slow one leaves some for the others
	finished chan int         // indexes of sources
	sources  []*source
}

// newRun returns a run whose sources are not started.
func (a *Runner) newRun(r aggregation.Request, o Options) *run {
	n := len(r.Sources)
	all := &run{
		Runner: a, Options: o, Request: r, sources: make([]*source, n),
		capacity: bulkhead.NewLimits(bulkhead.NewPerKey(0), maxReads), finished: make(chan int, n),
	}
	for i, s := range r.Sources {
		all.sources[i] = all.newSource(i, s)
	}
	return all
}

// start plans all sources, reserves their slots and reads them. Its calls do not end with the
// request's context.
func (r *run) start(ctx context.Context) {
	ctx = bulkhead.WithWait(context.WithoutCancel(ctx), r.Over)
	ctx = providers.WithBodyBudget(ctx, maxBodies)
	r.inProgress.Add(1 + len(r.sources))
	go func() {
		defer r.inProgress.Done()
		defer recovery.Recover(ctx, r.Logger)
		r.plan(ctx)
		r.reserve(ctx)
		for _, s := range r.sources {
			go s.serve(ctx)
		}
	}()
}

// collect starts the run, and returns the results: those of sources that finish in time, and what
// the others have at the end of the wait.
func (r *run) collect(ctx context.Context, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
	began := time.Now()
	r.start(ctx)
	result, emitted := aggregation.Result{Sources: make([]aggregation.SourceResult, len(r.sources))}, make([]bool, len(r.sources))
	emit := func(i int) {
		if !emitted[i] {
			result.Sources[i], emitted[i] = r.sources[i].snapshot(), true
			ready(result.Sources[i])
		}
	}
	for range r.sources {
		select {
		case i := <-r.finished:
			emit(i)
		case <-r.Over.Done():
		case <-ctx.Done():
			return aggregation.Result{}, canonical.NewError(canonical.Canceled, "")
		}
	}
	if ctx.Err() != nil {
		return aggregation.Result{}, canonical.NewError(canonical.Canceled, "")
	}
	var late sync.WaitGroup
	for i, s := range r.sources {
		if !emitted[i] {
			late.Go(func() { s.lookUpAgain(ctx) })
		}
	}
	late.Wait()
	for i := range r.sources {
		emit(i)
	}
	if r.Recorder != nil {
		r.Recorder.Unfinished(ctx, result.Sources)
	}
	event.AddWait(ctx, time.Since(began))
	for _, s := range result.Sources {
		event.AddSlots(ctx, s.Cost.Spent)
	}
	return result, nil
}

// plan looks up the list of every source, and plans its calls.
func (r *run) plan(ctx context.Context) {
	var planned sync.WaitGroup
	for _, s := range r.sources {
		planned.Go(func() {
			defer recovery.Recover(ctx, r.Logger)
			s.listed = s.lookUp(ctx)
			s.plan()
		})
	}
	planned.Wait()
}

// reserve reserves the slots of every plan: sources that share a unit one after the other, in the
// order of the request.
func (r *run) reserve(ctx context.Context) {
	byUnit := map[string][]*source{}
	for _, s := range r.sources {
		if len(s.planned) > 0 && !s.result.Attended {
			unit := r.Gateway.Counter.UnitID(s.planned[0])
			byUnit[unit] = append(byUnit[unit], s)
		}
	}
	var reserved sync.WaitGroup
	for _, sources := range byUnit {
		reserved.Go(func() {
			defer recovery.Recover(ctx, r.Logger)
			for i, s := range sources {
				s.reservePlan(ctx)
				if f := s.refusal; f != nil && f.Kind == canonical.CounterUnavailable { // each of them would wait as long
					for _, later := range sources[i+1:] {
						later.setReserved(make([]bool, len(later.planned)), f)
					}
					return
				}
			}
		})
	}
	reserved.Wait()
}

// notInTime returns the failure of a call that has not ended at the end of the wait.
func notInTime() *canonical.Error { return canonical.NewError(canonical.NotInTime, "") }

// notStarted returns the failure of a call that was not made until the end of the wait.
func notStarted() *canonical.Error {
	return canonical.NewError(canonical.NotInTime, "The wait time ended before the call was made. Repeat with a longer wait, and with another `Idempotency-Key`")
}
