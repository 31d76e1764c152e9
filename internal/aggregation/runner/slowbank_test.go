package runner_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/canonical"
)

// TestSlowBankLeavesCapacity: the sources of a bank that hangs do not use up the reads of the
// aggregation, so that the sources of another bank are ready.
func TestSlowBankLeavesCapacity(t *testing.T) {
	const hanging, quick = 90, 10
	f := newFixture(t, 2)
	_, release := f.hold(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/"+f.banks[0].ID+"/") })
	p := f.process()
	var all []aggregation.Source
	for i := range hanging + quick {
		bank := f.banks[0]
		if i >= hanging {
			bank = f.banks[1]
		}
		all = append(all, attended(bank.source(threeAccounts+strconv.Itoa(i))))
	}
	over, end := context.WithCancel(t.Context())
	ready, done := make(chan int, len(all)), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = p.Run(t.Context(), request(all...), runner.Options{Over: over}, func(s aggregation.SourceResult) { ready <- s.Index })
	}()
	for range quick {
		if i := <-ready; i < hanging {
			t.Errorf("source %d of the bank that hangs is ready", i)
		}
	}
	end()
	<-done
	release()
	p.Wait()
}

// TestReadsInProgress: at most 64 reads of an aggregation are in progress, also if several banks hang.
func TestReadsInProgress(t *testing.T) {
	f := newFixture(t, 3)
	held, release := f.hold(func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/"+f.banks[2].ID+"/") })
	p := f.process()
	var all []aggregation.Source
	for i := range 100 {
		bank := f.banks[0]
		switch {
		case i >= 90:
			bank = f.banks[2]
		case i >= 60:
			bank = f.banks[1]
		}
		all = append(all, attended(bank.source(threeAccounts+strconv.Itoa(i))))
	}
	run := p.start(t.Context(), request(all...))
	<-held
	for range 10 {
		<-run.ready
	}
	run.over()
	<-run.done
	if n := f.mostInProgress(); n > 64 || n < 40 {
		t.Errorf("%d calls were in progress", n)
	}
	release()
	p.Wait()
}

// TestPartOfACachedList: if the list cannot be read again, the balances that fit are read by the
// cached list.
func TestPartOfACachedList(t *testing.T) {
	f := newFixture(t, 1)
	f.banks[0].page(f, 1) // three pages
	p := f.process()
	s := f.banks[0].source(threeAccounts, berlinGroupAccounts[0])
	p.cacheList(client, s)
	p.use(s, berlinGroupAccounts[0], 3)
	r := request(s)
	r.Control.MaxAge, r.AllowPartial = ptr(time.Duration(0)), true
	check(t, p.aggregate(r)[0], aggregation.Stale, 1)
	r.AllowPartial = false
	check(t, p.aggregate(r)[0], aggregation.Partial, 0, canonical.UnattendedLimit)
}
