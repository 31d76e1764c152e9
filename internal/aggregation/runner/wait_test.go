package runner_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/gatewaytest"
)

// A recorder is a runner.Recorder.
type recorder struct {
	mu         sync.Mutex
	finished   map[int]aggregation.SourceResult
	unfinished []aggregation.SourceResult
}

func (r *recorder) Finished(_ context.Context, s aggregation.SourceResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finished == nil {
		r.finished = map[int]aggregation.SourceResult{}
	}
	r.finished[s.Index] = s
}

func (r *recorder) Unfinished(_ context.Context, all []aggregation.SourceResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unfinished = all
}

// started is an aggregation in progress.
type started struct {
	recorder
	ready chan int // indexes
	over  context.CancelFunc
	done  chan struct{}
	// The following are set when done is closed.
	results []aggregation.SourceResult
	err     error
}

// start starts an aggregation. over of the result ends its wait.
func (p *process) start(ctx context.Context, r aggregation.Request) *started {
	over, cancel := context.WithCancel(context.Background())
	s := &started{ready: make(chan int, len(r.Sources)), over: cancel, done: make(chan struct{})}
	p.f.t.Cleanup(cancel)
	go func() {
		defer close(s.done)
		result, err := p.Run(ctx, r, runner.Options{Over: over, Recorder: s}, func(one aggregation.SourceResult) { s.ready <- one.Index })
		s.results, s.err = result.Sources, err
	}()
	return s
}

func (f *fixture) callsOf(b *bank, consent string) []string {
	accounts := []string{}
	for _, c := range f.callLog.Calls() {
		if c.ASPSP == b.ID && c.Consent == consent {
			accounts = append(accounts, c.Account)
		}
	}
	return accounts
}

func TestOneBankHangs(t *testing.T) {
	const hanging = 7
	for _, user := range []bool{false, true} {
		f := newFixture(t, 20)
		held, release := f.hold(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/"+f.banks[hanging].ID) })
		p := f.process()
		var all []aggregation.Source
		for _, b := range f.banks {
			s := b.source(threeAccounts)
			if user {
				s = attended(s)
			}
			all = append(all, s)
		}
		run := p.start(t.Context(), request(all...))
		<-held
		for range len(all) - 1 {
			if i := <-run.ready; i == hanging {
				t.Fatal("the bank that hangs is ready")
			}
		}
		run.over()
		<-run.done
		spent := 4
		if user {
			spent = 0
		}
		for i, s := range run.results {
			if i != hanging {
				check(t, s, aggregation.OK, spent)
			}
		}
		late := run.results[hanging]
		check(t, late, aggregation.Failed, min(spent, 1), canonical.NotInTime) // the call that was sent is counted
		if run.finished[hanging].Ref != "" || len(run.unfinished) != len(all) {
			t.Errorf("%d sources have finished, %d were recorded at the end", len(run.finished), len(run.unfinished))
		}

		release()
		p.Wait()
		check(t, run.finished[hanging], aggregation.Partial, min(spent, 1), times(3, canonical.NotInTime)...)
		if got := f.callsOf(f.banks[hanging], threeAccounts); !slices.Equal(got, []string{""}) {
			t.Errorf("calls %q of the bank that hung: none may be started after the wait", got)
		}
		if used := f.used(listOf(all[hanging])); used != min(spent, 1) {
			t.Errorf("%d slots of the bank that hung are used", used)
		}
		cached, err := p.CachedList(t.Context(), client, all[hanging].Query, gateway.CacheControl{})
		if err != nil || !cached.Fresh {
			t.Errorf("the late list is not cached: %+v, %v", cached, err)
		}
	}
}

// A list that is cached replaces one that does not arrive in time.
func TestStaleListInTime(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	held, release := f.hold(func(*http.Request) bool { return true })
	all := request(s)
	all.Control.MaxAge = ptr(time.Duration(0))
	run := p.start(t.Context(), all)
	<-held
	run.over()
	<-run.done
	check(t, run.results[0], aggregation.Partial, 1, times(3, canonical.NotInTime)...)
	if got := run.results[0].Freshness; !got.Stale || got.StaleReason != gateway.StaleWithoutProvider {
		t.Errorf("%+v", got)
	}
	release()
	p.Wait()
}

// TestListDeletedDuringTheWait: a list that was deleted during the wait is not served at its end.
func TestListDeletedDuringTheWait(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	held, release := f.hold(func(*http.Request) bool { return true })
	r := request(s)
	r.Control.MaxAge = ptr(time.Duration(0))
	run := p.start(t.Context(), r)
	<-held
	if err := p.DeleteCachedData(t.Context(), client, s.Query); err != nil {
		t.Fatal(err)
	}
	run.over()
	<-run.done
	check(t, run.results[0], aggregation.Failed, 1, canonical.NotInTime)
	release()
	p.Wait()
}

// Reserved slots of calls that the wait ends before are released.
func TestUnusedSlotsAreReleased(t *testing.T) {
	f := newFixture(t, 1)
	f.limits.perASPSP = 2 // of which one client of an aggregation gets one
	p, s := f.process(), f.banks[0].source(threeAccounts)
	p.cacheList(client, s)
	held, release := f.hold(func(*http.Request) bool { return true })
	run := p.start(t.Context(), request(s))
	<-held
	if used := f.used(listOf(s)); used != 3 {
		t.Errorf("%d slots are reserved", used)
	}
	run.over()
	<-run.done
	check(t, run.results[0], aggregation.Partial, 1, times(3, canonical.NotInTime)...)
	release()
	p.Wait()
	check(t, run.finished[0], aggregation.Partial, 1, times(2, canonical.NotInTime)...)
	if used, calls := f.used(listOf(s)), f.calls(f.banks[0], false); used != 1 || len(calls) != 1 {
		t.Errorf("%d slots are used by calls %q", used, calls)
	}
	if got := run.finished[0].Usage; got == nil || got.Remaining != 3 {
		t.Errorf("usage %+v", got)
	}
}

// A caller that leaves gets Canceled. The calls go on, until the wait ends.
func TestCallerLeaves(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	held, release := f.hold(func(*http.Request) bool { return true })
	ctx, leave := context.WithCancel(t.Context())
	run := p.start(ctx, request(s))
	<-held
	leave()
	<-run.done
	if failure, ok := errors.AsType[*canonical.Error](run.err); !ok || failure.Kind != canonical.Canceled {
		t.Errorf("%v", run.err)
	}
	release()
	p.Wait()
	check(t, run.finished[0], aggregation.OK, 4)
}

func TestWaitIsOverBeforeItBegins(t *testing.T) {
	f := newFixture(t, 1)
	p, s := f.process(), f.banks[0].source(threeAccounts)
	fresh := f.banks[0].source("consent-fresh")
	p.cacheList(client, fresh)
	over, end := context.WithCancel(t.Context())
	end()
	run := &recorder{}
	if _, err := p.Run(t.Context(), request(s, fresh), runner.Options{Over: over, Recorder: run}, func(aggregation.SourceResult) {}); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	check(t, run.finished[0], aggregation.Failed, 0, canonical.NotInTime)
	check(t, run.finished[1], aggregation.Partial, 0, times(3, canonical.NotInTime)...)
	if calls := f.calls(f.banks[0], false); len(calls) > 0 || f.used(listOf(s))+f.used(listOf(fresh)) > 0 {
		t.Errorf("calls %q", calls)
	}
}

func TestHundredSourcesAtOneBank(t *testing.T) {
	f := newFixture(t, 1)
	f.limits = limits{waiting: 10, perClient: 8, perASPSP: 4}
	p := f.process()
	var all []aggregation.Source
	for i := range 100 {
		all = append(all, attended(f.banks[0].source("consent-"+strconv.Itoa(i))))
	}
	held, release := f.hold(func(r *http.Request) bool { return r.Header.Get("Consent-ID") != "another" })
	run := p.start(t.Context(), request(all...))
	<-held
	<-held
	other := f.banks[0].query("another")
	if _, err := p.Accounts(t.Context(), "reports", other, gateway.CacheControl{}); err != nil {
		t.Errorf("the read of another client: %v", err)
	}
	if _, err := p.Balances(t.Context(), "reports", withUser(other), berlinGroupAccounts[0]); err != nil {
		t.Errorf("the read of another client: %v", err)
	}
	release()
	<-run.done
	for _, s := range run.results {
		check(t, s, aggregation.OK, 0)
	}
	if most := f.mostInProgress(); most > 2+1 { // one client of an aggregation gets a half, and the other made one
		t.Errorf("%d calls were in progress", most)
	}
	if calls := f.calls(f.banks[0], true); len(calls) != 4*100+1 {
		t.Errorf("%d calls", len(calls))
	}
	p.Wait()
	gatewaytest.Eventually(t, "no goroutine is left", func() bool { return inProgress() == 0 })
}

// inProgress returns how many goroutines serve sources or their reads.
func inProgress() (n int) {
	stacks := make([]byte, 1<<22)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		for _, name := range []string{"aggregation/runner", "gateway", "coalesce", "bulkhead"} {
			if strings.Contains(stack, "ais-gateway/internal/"+name+".") {
				n++
				break
			}
		}
	}
	return n
}

// A read that waits for capacity holds no lease: an identical one of another gateway does not wait for
// it.
func TestWaitForCapacityHoldsNoLease(t *testing.T) {
	for _, user := range []bool{false, true} {
		f := newFixture(t, 1)
		f.limits.perASPSP = 2
		p, other := f.process(), f.process()
		first, second := attended(f.banks[0].source("first")), f.banks[0].source("second")
		if user {
			second = attended(second)
		}
		held, release := f.hold(func(r *http.Request) bool { return r.Header.Get("Consent-ID") == "first" })
		one := p.start(t.Context(), request(first))
		<-held
		two := p.start(t.Context(), request(second))
		if !user { // wait until it is planned
			gatewaytest.Eventually(t, "a slot is reserved", func() bool { return f.used(listOf(second)) > 0 })
		}
		if _, err := other.Accounts(t.Context(), client, second.Query, gateway.CacheControl{}); err != nil {
			t.Errorf("user %t: %v", user, err)
		}
		release()
		<-one.done
		<-two.done
	}
}
