package runner_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/repeat"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/redistest"
)

// Tests of package repeat, which use the fixture of the runner.

// aggregator returns the aggregator of a process.
func (p *process) aggregator() *repeat.Aggregator {
	return repeat.New(repeat.Config{Runner: p.Runner, Cache: p.lists, Logger: slog.New(slog.DiscardHandler)})
}

// keyed returns a request with an idempotency key of its own.
func keyed(sources ...aggregation.Source) aggregation.Request {
	r := request(sources...)
	r.Key, r.Fingerprint = uuid.NewString(), "fingerprint"
	return r
}

// pending is a request that waits for its response.
type pending struct {
	done   chan struct{}
	ready  chan int
	result aggregation.Result // result and err are set when done is closed
	err    error
}

// begin sends a request.
func begin(ctx context.Context, a *repeat.Aggregator, r aggregation.Request) *pending {
	p := &pending{done: make(chan struct{}), ready: make(chan int, len(r.Sources))}
	go func() {
		defer close(p.done)
		p.result, p.err = a.Aggregate(ctx, r, func(s aggregation.SourceResult) { p.ready <- s.Index })
	}()
	return p
}

func (f *fixture) finish(p *pending) aggregation.Result {
	f.t.Helper()
	<-p.done
	if p.err != nil {
		f.t.Fatal(p.err)
	}
	return p.result
}

// once sends a request and returns its result.
func (f *fixture) once(a *repeat.Aggregator, r aggregation.Request) aggregation.Result {
	f.t.Helper()
	return f.finish(begin(f.t.Context(), a, r))
}

// A storage is the client of a cache with stored aggregations, whose commands about them can fail.
type storage struct {
	redis.UniversalClient
	reads atomic.Int64                                 // of stored aggregations
	fails func(kind command) (before bool, after bool) // whether the command, or its reply, is lost; nil for neither
}

// command is a command about a stored aggregation.
type command int

const (
	readCommand command = iota
	claimCommand
	recordCommand
)

var errLost = errors.New("lost")

func (f *fixture) storage() *storage {
	s := &storage{UniversalClient: redistest.OpenAt(f.t, f.redisAddr).Cache}
	s.AddHook(redistest.Hook{
		Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
			return s.send([]redis.Cmder{cmd}, func([]redis.Cmder) error { return next(ctx, cmd) })
		},
		Pipeline: func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
			return s.send(cmds, func(left []redis.Cmder) error { return next(ctx, left) })
		},
	})
	return s
}

// send sends the commands that are not lost, and loses replies.
func (s *storage) send(cmds []redis.Cmder, next func([]redis.Cmder) error) (err error) {
	var left, unanswered []redis.Cmder
	for _, cmd := range cmds {
		before, after := s.see(cmd)
		if before {
			cmd.SetErr(errLost)
			err = errLost
			continue
		}
		if left = append(left, cmd); after {
			unanswered = append(unanswered, cmd)
		}
	}
	if len(left) > 0 {
		if failed := next(left); err == nil {
			err = failed
		}
	}
	for _, cmd := range unanswered {
		cmd.SetErr(errLost)
		err = errLost
	}
	return err
}

// see returns what is lost of a command.
func (s *storage) see(cmd redis.Cmder) (before, after bool) {
	args := cmd.Args()
	if len(args) < 4 {
		return false, false
	}
	name, _ := args[3].(string)
	if !strings.HasPrefix(name, "ais:1:aggregations:") {
		return false, false
	}
	kind := recordCommand
	switch len(args) {
	case 4:
		kind = readCommand
		s.reads.Add(1)
	case 7:
		kind = claimCommand
	}
	if s.fails == nil {
		return false, false
	}
	return s.fails(kind)
}

// followed waits until a repeat has read the stored results several times.
func (f *fixture) followed(s *storage, p *pending) {
	f.t.Helper()
	for s.reads.Load() < 4 {
		select {
		case <-p.done:
			f.t.Fatalf("the repeat did not wait: %+v, %v", p.result.Sources, p.err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func all(*http.Request) bool { return true }

// TestKeyOfAnotherClient: an idempotency key belongs to its client.
func TestKeyOfAnotherClient(t *testing.T) {
	f := newFixture(t, 1)
	a := f.process().aggregator()
	r := keyed(attended(f.banks[0].source(threeAccounts)))
	f.once(a, r)
	calls := len(f.calls(f.banks[0], true))
	r.Client = "another"
	if got := f.once(a, r); got.Replayed || len(f.calls(f.banks[0], true)) != 2*calls {
		t.Errorf("replayed %t, %d calls after %d", got.Replayed, len(f.calls(f.banks[0], true)), calls)
	}
}

// TestUnknownWhetherRepeated: if Redis does not say whether the request was made before, no slot is
// taken, and an attended request is served. If Redis may have stored the beginning, a repeat gets the
// results.
func TestUnknownWhetherRepeated(t *testing.T) {
	for name, tt := range map[string]struct {
		lost            command
		executed, again bool // whether Redis executes the command, and whether a repeat gets the results
	}{
		"read lost": {readCommand, false, false}, "claim lost": {claimCommand, false, false}, "reply lost": {claimCommand, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 1)
			s := f.storage()
			s.fails = func(kind command) (before, after bool) {
				return kind == tt.lost && !tt.executed, kind == tt.lost && tt.executed
			}
			p := f.processWith(s, make([]byte, 32))
			unattended := f.banks[0].source("unattended")
			check(t, f.once(p.aggregator(), keyed(unattended)).Sources[0], aggregation.Failed, 0, canonical.CounterUnavailable)
			if calls := f.calls(f.banks[0], false); len(calls) != 0 {
				t.Errorf("calls %q", calls)
			}
			unkeyed := keyed(unattended)
			unkeyed.Key = ""
			check(t, f.once(p.aggregator(), unkeyed).Sources[0], aggregation.OK, 4)
			withUser := keyed(attended(f.banks[0].source("attended")))
			check(t, f.once(p.aggregator(), withUser).Sources[0], aggregation.OK, 0)
			s.fails = nil
			if got := f.once(p.aggregator(), withUser); got.Replayed != tt.again {
				t.Errorf("replayed %t", got.Replayed)
			}
		})
	}
}

// TestUnreadableRepeat: a repeat whose results cannot be decrypted makes no call.
func TestUnreadableRepeat(t *testing.T) {
	f := newFixture(t, 1)
	r := keyed(f.banks[0].source(threeAccounts))
	f.once(f.process().aggregator(), r)
	other := f.processWith(redistest.OpenAt(t, f.redisAddr).Cache, append(make([]byte, 31), 1))
	_, err := other.aggregator().Aggregate(t.Context(), r, nil)
	if failure, ok := errors.AsType[*canonical.Error](err); !ok || failure.Kind != canonical.InternalError {
		t.Errorf("%v", err)
	}
	if calls := f.calls(f.banks[0], false); len(calls) != 4 {
		t.Errorf("calls %q", calls)
	}
}

// TestRepeatDuringTheRequest: a repeat on another gateway waits for the first request, makes no call
// and returns the same results. A stream gets each result when it has arrived.
func TestRepeatDuringTheRequest(t *testing.T) {
	for _, stream := range []bool{false, true} {
		f := newFixture(t, 2)
		held, release := f.hold(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/"+f.banks[1].ID+"/") })
		r := keyed(f.banks[0].source(threeAccounts), f.banks[1].source(threeAccounts))
		first := begin(t.Context(), f.process().aggregator(), r)
		<-held
		<-first.ready
		s := f.storage()
		r.Stream = stream
		again := begin(t.Context(), f.processWith(s, make([]byte, 32)).aggregator(), r)
		f.followed(s, again)
		if got := len(again.ready); (got == 1) != stream {
			t.Errorf("stream %t: %d results were sent", stream, got)
		}
		release()
		want, got := f.finish(first), f.finish(again)
		if !got.Replayed || got.Sources[1].Outcome != aggregation.OK || !reflect.DeepEqual(readings(want), readings(got)) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if calls := len(f.calls(f.banks[0], false)) + len(f.calls(f.banks[1], false)); calls != 8 {
			t.Errorf("%d calls", calls)
		}
	}
}

// readings returns the outcomes, the costs, and how many accounts have balances.
func readings(r aggregation.Result) (all []any) {
	for _, s := range r.Sources {
		all = append(all, s.Outcome, s.Cost.Spent, len(withBalances(s)))
	}
	return all
}

// TestDeletionDuringARepeat: if the aggregation is deleted while a repeat waits for it, the repeat
// becomes a request of its own.
func TestDeletionDuringARepeat(t *testing.T) {
	f := newFixture(t, 2)
	held, release := f.hold(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/"+f.banks[1].ID+"/") })
	p, consent := f.process(), strings.ToUpper(uuid.NewString())
	r := keyed(attended(f.banks[0].source(consent)), attended(f.banks[1].source(threeAccounts)))
	first := begin(t.Context(), p.aggregator(), r)
	<-held
	<-first.ready
	s := f.storage()
	again := begin(t.Context(), f.processWith(s, make([]byte, 32)).aggregator(), r)
	f.followed(s, again)
	deleted := f.banks[0].query(strings.ToLower(consent))
	if err := p.DeleteCachedData(t.Context(), client, deleted); err != nil {
		t.Fatal(err)
	}
	if i := <-again.ready; i != 0 { // read anew
		t.Errorf("source %d is ready", i)
	}
	release()
	if got := f.finish(again); got.Replayed || got.Sources[0].Outcome != aggregation.OK || got.Sources[1].Outcome != aggregation.OK {
		t.Errorf("%+v", got)
	}
	f.finish(first)
}

// TestCallerOfAKeyedRequestLeaves: the request goes on, and a repeat gets all results.
func TestCallerOfAKeyedRequestLeaves(t *testing.T) {
	f := newFixture(t, 1)
	held, release := f.hold(all)
	a, r := f.process().aggregator(), keyed(f.banks[0].source(threeAccounts))
	ctx, leave := context.WithCancel(t.Context())
	first := begin(ctx, a, r)
	<-held
	leave()
	<-first.done
	if failure, ok := errors.AsType[*canonical.Error](first.err); !ok || failure.Kind != canonical.Canceled {
		t.Errorf("%v", first.err)
	}
	release()
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := f.once(a, r)
	if check(t, got.Sources[0], aggregation.OK, 4); !got.Replayed || len(f.calls(f.banks[0], false)) != 4 {
		t.Errorf("replayed %t, calls %q", got.Replayed, f.calls(f.banks[0], false))
	}
}

// TestEndWaits: the end of the process ends the wait. What is missing is NotInTime, and stored as it
// was sent, with the slots that calls in progress have taken.
func TestEndWaits(t *testing.T) {
	f := newFixture(t, 1)
	held, release := f.hold(all)
	a, r := f.process().aggregator(), keyed(f.banks[0].source(threeAccounts))
	first := begin(t.Context(), a, r)
	<-held
	a.EndWaits()
	check(t, f.finish(first).Sources[0], aggregation.Failed, 1, canonical.NotInTime)
	late := begin(t.Context(), a, r)
	if got := f.finish(late); !got.Replayed {
		t.Error("the repeat is not one")
	} else {
		check(t, got.Sources[0], aggregation.Failed, 1, canonical.NotInTime)
	}
	release()
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The list has arrived since. Its balances were not called any more.
	got := f.once(f.process().aggregator(), r).Sources[0]
	check(t, got, aggregation.Partial, 1, times(3, canonical.NotInTime)...)
	if detail := got.Accounts[0].Failure.Detail; !strings.Contains(detail, "before the call was made") {
		t.Errorf("detail %q", detail)
	}
}

// TestResultsAreStoredAgain: a result that Redis did not store is stored when the last source has
// finished.
func TestResultsAreStoredAgain(t *testing.T) {
	f := newFixture(t, 2)
	held, release := f.hold(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/"+f.banks[1].ID+"/") })
	s := f.storage()
	var down atomic.Bool
	s.fails = func(kind command) (before, after bool) { return kind == recordCommand && down.Load(), false }
	down.Store(true)
	a := f.processWith(s, make([]byte, 32)).aggregator()
	r := keyed(attended(f.banks[0].source(threeAccounts)), attended(f.banks[1].source(threeAccounts)))
	first := begin(t.Context(), a, r)
	<-held
	<-first.ready
	down.Store(false)
	release()
	f.finish(first)
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.once(f.process().aggregator(), r); !got.Replayed || got.Sources[0].Outcome != aggregation.OK || got.Sources[1].Outcome != aggregation.OK {
		t.Errorf("%+v", got)
	}
}

// TestRepeatOfAnotherRequest: the same key with another body is refused.
func TestRepeatOfAnotherRequest(t *testing.T) {
	f := newFixture(t, 1)
	a, r := f.process().aggregator(), keyed(attended(f.banks[0].source(threeAccounts)))
	f.once(a, r)
	r.Fingerprint = "another"
	_, err := a.Aggregate(t.Context(), r, nil)
	if failure, ok := errors.AsType[*canonical.Error](err); !ok || failure.Kind != canonical.FormatError || failure.Faults[0].Name != "Idempotency-Key" {
		t.Errorf("%v", err)
	}
}

// TestWaitsOfARepeat: a repeat has shorter waits than the first response.
func TestWaitsOfARepeat(t *testing.T) {
	f := newFixture(t, 1)
	a, s := f.process().aggregator(), f.banks[0].source(threeAccounts)
	f.process().use(s, berlinGroupAccounts[0], 4)
	r := keyed(s)
	first, again := f.once(a, r).Sources[0].Failure.RetryAfter, f.once(a, r).Sources[0].Failure.RetryAfter
	if again >= first || again < first-time.Hour {
		t.Errorf("first %v, then %v", first, again)
	}
}
