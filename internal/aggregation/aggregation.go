package aggregation

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/unattended"
)

const (
	// maxCalls is how many reads of one aggregation run concurrently, and maxBalanceCalls how many
	// balance calls are made for one source.
	maxCalls, maxBalanceCalls = 64, 50
	// maxBodies is how many bytes of provider bodies are read for one aggregation.
	maxBodies = 32 << 20
	// usageTimeout is how long a source waits for its usage, if no step has returned it.
	usageTimeout = 100 * time.Millisecond
)

// Config configures an Aggregator. Every member is needed.
type Config struct {
	Gateway  *gateway.Gateway
	Counter  *unattended.Counter
	Cache    *cache.Cache             // of results for repeats
	Timeouts map[string]time.Duration // of one read, by ASPSP
	Logger   *slog.Logger
	Observer Observer
}

// An Observer observes the sources of aggregations.
type Observer interface {
	// Source starts the span of a source. It returns the context of its calls, and a function that is
	// called once, with the result.
	Source(ctx context.Context, aspsp, provider string, attended bool) (context.Context, func(SourceResult, Slots))
}

// Slots is what became of the slots of one source: those that its plan needed, those that were
// reserved, those that calls used, and those that were released.
type Slots struct{ Planned, Reserved, Spent, Released int }

// An Aggregator serves aggregations. It is safe for concurrent use.
type Aggregator struct {
	Config
	inProgress sync.WaitGroup // sources
}

// New returns an Aggregator.
func New(c Config) *Aggregator { return &Aggregator{Config: c} }

// Drain waits until every call that was sent has ended and its result is stored. It returns ctx's
// error if ctx ends first.
func (a *Aggregator) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { a.inProgress.Wait(); close(done) }()
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
func (a *Aggregator) Aggregate(ctx context.Context, r Request, ready func(SourceResult)) (Result, error) {
	if ready == nil {
		ready = func(SourceResult) {}
	}
	switch {
	case r.DryRun:
		return a.dryRun(ctx, r, ready), nil
	case r.Key != "":
		return a.once(ctx, r, ready)
	}
	over, stop := context.WithTimeout(ctx, r.Wait)
	defer stop()
	return a.newRun(over, r).collect(ctx, ready)
}

// run is one aggregation in progress.
type run struct {
	*Aggregator
	Request
	over      context.Context // ends when no call may be started any more
	capacity  chan struct{}   // one element for each read in progress
	finished  chan int        // indexes of sources
	sources   []*source
	record    *record // of the results for repeats; nil if they are not stored
	noCounter bool    // no slot may be taken, because it is unknown whether an earlier request has read the sources
}

// newRun returns a run whose sources are not started.
func (a *Aggregator) newRun(over context.Context, r Request) *run {
	n := len(r.Sources)
	all := &run{
		Aggregator: a, Request: r, over: over, sources: make([]*source, n),
		capacity: make(chan struct{}, maxCalls), finished: make(chan int, n),
	}
	for i, s := range r.Sources {
		all.sources[i] = all.newSource(i, s)
	}
	return all
}

// start plans all sources, reserves their slots and reads them. Its calls do not end with the
// request's context.
func (r *run) start(ctx context.Context) {
	ctx = gateway.WaitForCapacity(context.WithoutCancel(ctx), r.over)
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
func (r *run) collect(ctx context.Context, ready func(SourceResult)) (Result, error) {
	began := time.Now() //nolint:forbidigo // telemetry measures by the process's own clock
	r.start(ctx)
	result, emitted := Result{Sources: make([]SourceResult, len(r.sources))}, make([]bool, len(r.sources))
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
		case <-r.over.Done():
		case <-ctx.Done():
			return Result{}, canonical.NewError(canonical.Canceled, "")
		}
	}
	if ctx.Err() != nil {
		return Result{}, canonical.NewError(canonical.Canceled, "")
	}
	for i := range r.sources {
		emit(i)
	}
	r.storeUnfinished(ctx, result.Sources)
	event.AddWait(ctx, time.Since(began)) //nolint:forbidigo // as above
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
			s.lookUp(ctx)
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
			unit := r.Counter.UnitID(s.planned[0])
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

// enter waits until the run has capacity for one more read. It returns false if the wait is over.
func (r *run) enter() bool {
	if r.over.Err() != nil {
		return false
	}
	select {
	case r.capacity <- struct{}{}:
		return true
	case <-r.over.Done():
		return false
	}
}

func (r *run) leave() { <-r.capacity }

// requestID returns the request id of a call of a source, derived from that of the caller.
func (r *run) requestID(index int, call string) string {
	namespace, err := uuid.Parse(r.RequestID)
	if err != nil {
		namespace = uuid.New()
	}
	return uuid.NewSHA1(namespace, []byte("sources/"+strconv.Itoa(index)+"/"+call)).String()
}

// notInTime returns the failure of what has not arrived at the end of the wait.
func notInTime() *canonical.Error {
	return canonical.NewError(canonical.NotInTime, "the wait time ended before the provider responded")
}
