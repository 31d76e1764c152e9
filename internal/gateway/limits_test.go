package gateway_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/store"
)

// longTimeout is the timeout of calls that a test holds. It is longer than the rest of such a test
// takes on a busy machine.
const longTimeout = minute

// hold makes calls wait. It sends on arrived for each of them, and open lets all of them continue.
func (f *interceptor) hold() (arrived <-chan struct{}, open func()) {
	came, gate := make(chan struct{}, 100), make(chan struct{})
	f.handle(func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		select {
		case <-gate:
			f.sim.ServeHTTP(w, r)
		case <-time.After(longTimeout):
		}
	})
	return came, func() { close(gate) }
}

// TestBulkhead: a request above the concurrency limit makes no call, takes no slot, does not affect
// the breaker, and gets the cached list if there is one.
func TestBulkhead(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.maxPerASPSP, w.timeout = 1, longTimeout
	w.aspsp.Breaker.ConsecutiveFailures = 1
	g := w.gateway()
	cached := newQuery()
	mustList(t, g, cached, gateway.CacheControl{})
	arrived, open := w.interceptor.hold()
	held := make(chan error, 1)
	go func() {
		_, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
		held <- err
	}()
	<-arrived
	q := newQuery()
	for name, read := range map[string]func() error{
		"list": func() error { _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); return err },
		"attended list": func() error {
			_, err := g.Accounts(t.Context(), client, attended(q), gateway.CacheControl{})
			return err
		},
		"balances":          func() error { _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); return err },
		"attended balances": func() error { _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); return err },
		"no-cache": func() error {
			_, err := g.Accounts(t.Context(), client, cached, gateway.CacheControl{NoCache: true})
			return err
		},
	} {
		ended := make(chan error, 1)
		go func() { ended <- read() }()
		select {
		case <-arrived:
			open()
			t.Fatalf("%s: a second call is in progress", name)
		case err := <-ended:
			if kind(err) != canonical.Overloaded {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	list := mustList(t, g, cached, gateway.CacheControl{MaxAge: new(time.Duration)})
	if !list.Freshness.Stale || list.Freshness.StaleReason != gateway.StaleWithoutProvider || list.Usage == nil || list.Usage.Used != 1 {
		t.Errorf("the cached list: %+v, %+v", list.Freshness, list.Usage)
	}
	if s, err := g.UnattendedAccess(t.Context(), listOf(q)); err != nil || s.Used != 0 {
		t.Errorf("%d calls are counted, %v", s.Used, err)
	}
	if len(w.observed.states) != 0 {
		t.Errorf("the breaker went %v", w.observed.states)
	}
	if n := len(w.observed.refused); n != 6 || slices.ContainsFunc(w.observed.refused, func(s string) bool { return s != "aspsp "+aspspID }) {
		t.Errorf("refusals as observed: %q", w.observed.refused)
	}
	open()
	if err := <-held; err != nil {
		t.Errorf("the call in progress: %v", err)
	}
	mustList(t, g, q, gateway.CacheControl{})
}

// TestCallCountsUntilItEnds: a call counts against the concurrency limit until it ends. An attended
// call ends when its caller leaves, a counted call does not.
func TestCallCountsUntilItEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		q    canonical.Query
		kind canonical.Kind
	}{{"attended", attended(newQuery()), ""}, {"unattended", newQuery(), canonical.Overloaded}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t)
			w.maxPerASPSP, w.maxWaiting, w.timeout = 1, 1, longTimeout
			g := w.gateway()
			arrived, open := w.interceptor.hold()
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				_, err := g.Balances(ctx, client, tt.q, mypossim.GoodAccount)
				left <- err
			}()
			<-arrived
			leave()
			if err := <-left; kind(err) != canonical.Canceled {
				t.Errorf("got %v", err)
			}
			if tt.kind == "" { // otherwise the next call would be held too
				w.interceptor.handle(nil)
			}
			if _, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount); kind(err) != tt.kind {
				t.Errorf("the next one: %v", err)
			}
			open()
			if err := g.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.interceptor.handle(nil)
			if _, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestLimitsAfterAPanic: a call that panics no longer counts against the concurrency limits.
func TestLimitsAfterAPanic(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.maxPerASPSP, w.maxWaiting = 1, 1
	g := w.gatewayOf(panickingProvider{}, w.gateway().Counter, w.gateway().Config.Cache)
	for range 3 {
		if _, err := g.Balances(t.Context(), client, attended(newQuery()), "a"); kind(err) != canonical.InternalError {
			t.Errorf("got %v", err)
		}
	}
}

// TestOverloadIsNotShared: a gateway that waits for the lease of an overloaded gateway makes the
// call itself.
func TestOverloadIsNotShared(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *fixture) {
		fast, direct := w.gateway(), w.open(w.cacheAddr).Cache
		w.maxPerASPSP = 1
		w.slowCache(300 * time.Millisecond)
		free := make(chan struct{})
		leave := sync.OnceFunc(func() { close(free) })
		defer leave()
		w.beforeCall = func(context.Context) { <-free }
		full := w.gateway()
		held := make(chan error, 1)
		go func() {
			_, err := full.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
			held <- err
		}()
		time.Sleep(minute / 2)
		// The overloaded gateway gets the lease, and its slow Redis delays the release. The other
		// gateway's request comes in between. The overloaded one may then find the list of the
		// other.
		q := attended(newQuery())
		refused := make(chan error, 1)
		go func() {
			_, err := full.Accounts(t.Context(), client, q, gateway.CacheControl{})
			refused <- err
		}()
		leases := store.Prefix("accounts", client, aspspID, q.Consent) + "lease:*"
		for len(direct.Keys(t.Context(), leases).Val()) == 0 {
			if len(refused) > 0 {
				t.Fatal("the overloaded gateway has no lease")
			}
			time.Sleep(time.Millisecond)
		}
		if _, err := fast.Accounts(t.Context(), client, q, gateway.CacheControl{}); err != nil {
			t.Errorf("the other gateway: %v", err)
		}
		if err := <-refused; err != nil && kind(err) != canonical.Overloaded {
			t.Errorf("the overloaded gateway: %v", err)
		}
		leave()
		if err := <-held; err != nil {
			t.Errorf("the call in progress: %v", err)
		}
	})
}

// TestSlowASPSPLeavesCapacity: an ASPSP that does not respond cannot use up all concurrent calls of
// a client. A refusal is counted as that of the client's limit.
func TestSlowASPSPLeavesCapacity(t *testing.T) {
	t.Parallel()
	const most, taken = 5, 4
	w := newFixture(t)
	w.maxPerClient, w.timeout = most, longTimeout
	g := w.gateway()
	arrived, open := w.interceptor.hold()
	read := func(client string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
			done <- err
		}()
		return done
	}
	var requests []<-chan error
	for range taken {
		requests = append(requests, read(client))
		<-arrived
	}
	if err := <-read(client); kind(err) != canonical.Overloaded || !strings.Contains(err.Error(), "too many requests of your client wait for the ASPSP") {
		t.Errorf("one more: %v", err)
	}
	if diff := cmp.Diff([]string{"client " + aspspID}, w.observed.refused); diff != "" {
		t.Errorf("refusals as observed: %s", diff)
	}
	requests = append(requests, read("another client"))
	<-arrived
	open()
	for _, done := range requests {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestWaitedIsReported: the event of a request that makes a call has the time for which it waited
// for the ASPSP, and its slots; that of a cached list has nothing.
func TestWaitedIsReported(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	g := w.gateway()
	const delay = 50 * time.Millisecond
	w.interceptor.delay(delay)
	q := newQuery()
	list := func(ctx context.Context) error {
		_, err := g.Accounts(ctx, client, q, gateway.CacheControl{})
		return err
	}
	balances := func(q canonical.Query) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := g.Balances(ctx, client, q, mypossim.GoodAccount)
			return err
		}
	}
	for _, tt := range []struct {
		name  string
		read  func(context.Context) error
		waits bool
		slots int
	}{
		{"a list that is not cached", list, true, 1},
		{"a cached list", list, false, 0},
		{"unattended balances", balances(newQuery()), true, 1},
		{"attended balances", balances(attended(newQuery())), true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var totals event.Totals
			if err := tt.read(event.WithTotals(t.Context(), &totals)); err != nil {
				t.Fatal(err)
			}
			if slots, waited := totals.Slots(), totals.Waited(); slots != tt.slots || (waited >= delay) != tt.waits || !tt.waits && waited != 0 {
				t.Errorf("%d slots, waited %v, want %d, %t for at least %v", slots, waited, tt.slots, tt.waits, delay)
			}
		})
	}
}
