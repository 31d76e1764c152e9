package gateway_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/store"
)

// patience is how long a call may take where one is held: longer than what is asked meanwhile, on a busy machine too.
const patience = minute

// held lets calls arrive, and answers them once it is opened.
func (f *front) held() (arrived <-chan struct{}, open func()) {
	came, gate := make(chan struct{}, 100), make(chan struct{})
	f.with(func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		select {
		case <-gate:
			f.sim.ServeHTTP(w, r)
		case <-time.After(patience):
		}
	})
	return came, func() { close(gate) }
}

// Beyond its places a bank is not called: nothing is counted, the breaker learns nothing, and what is kept is answered.
func TestBulkhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.perASPSP, w.timeout = 1, patience
	w.bank.Breaker.ConsecutiveFailures = 1
	g := w.gateway()
	kept := alone()
	mustList(t, g, kept, gateway.CacheControl{})
	arrived, open := w.front.held()
	held := make(chan error, 1)
	go func() {
		_, err := g.Balances(t.Context(), client, attended(alone()), mypossim.GoodAccount)
		held <- err
	}()
	<-arrived
	q := alone()
	for name, ask := range map[string]func() error{
		"list": func() error { _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{}); return err },
		"attended list": func() error {
			_, err := g.Accounts(t.Context(), client, attended(q), gateway.CacheControl{})
			return err
		},
		"balances":          func() error { _, err := g.Balances(t.Context(), client, q, mypossim.GoodAccount); return err },
		"attended balances": func() error { _, err := g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount); return err },
		"a new list of kept": func() error {
			_, err := g.Accounts(t.Context(), client, kept, gateway.CacheControl{NoCache: true})
			return err
		},
	} {
		if err := ask(); kind(err) != canonical.Overloaded {
			t.Errorf("%s: got %v", name, err)
		}
	}
	list := mustList(t, g, kept, gateway.CacheControl{MaxAge: new(time.Duration)})
	if !list.Freshness.Stale || list.Freshness.StaleReason != gateway.StaleWithoutProvider || list.Usage == nil || list.Usage.Used != 1 {
		t.Errorf("what is kept: %+v, %+v", list.Freshness, list.Usage)
	}
	if s, err := g.UnattendedAccess(t.Context(), q, ""); err != nil || s.Used != 0 {
		t.Errorf("%d calls are counted, %v", s.Used, err)
	}
	if len(w.observed.states) != 0 {
		t.Errorf("the breaker went %v", w.observed.states)
	}
	if n := len(w.observed.refused); n != 6 || slices.ContainsFunc(w.observed.refused, func(s string) bool { return s != "aspsp "+aspsp }) {
		t.Errorf("refusals as observed: %q", w.observed.refused)
	}
	open()
	if err := <-held; err != nil {
		t.Errorf("who had the place: %v", err)
	}
	mustList(t, g, q, gateway.CacheControl{})
}

// A place is taken as long as the call is under way: an attended one ends with its caller, a counted one does not.
func TestCallCountsUntilItEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		q    canonical.Query
		kind canonical.Kind
	}{{"attended", attended(alone()), ""}, {"unattended", alone(), canonical.Overloaded}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.perASPSP, w.waiting, w.timeout = 1, 1, patience
			g := w.gateway()
			arrived, open := w.front.held()
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
			if tt.kind == "" { // else it would wait for its own answer
				w.front.with(nil)
			}
			if _, err := g.Balances(t.Context(), client, attended(alone()), mypossim.GoodAccount); kind(err) != tt.kind {
				t.Errorf("the next one: %v", err)
			}
			open()
			if err := g.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.front.with(nil)
			if _, err := g.Balances(t.Context(), client, attended(alone()), mypossim.GoodAccount); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// An adapter that panics gives its places back.
func TestLimitsAfterAPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.perASPSP, w.waiting = 1, 1
	g := w.gatewayOf(panicking{}, w.gateway().Counter, w.gateway().Config.Cache)
	for range 3 {
		if _, err := g.Balances(t.Context(), client, attended(alone()), "a"); kind(err) != canonical.InternalError {
			t.Errorf("got %v", err)
		}
	}
}

// That one gateway has no place for a call is no word on what another one can do: it makes the call itself.
func TestOverloadIsNotShared(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		fast, direct := w.gateway(), w.open(w.cacheAt).Cache
		w.perASPSP = 1
		w.slowCache(300 * time.Millisecond)
		free := make(chan struct{})
		leave := sync.OnceFunc(func() { close(free) })
		defer leave()
		w.before = func(context.Context) { <-free }
		full := w.gateway()
		held := make(chan error, 1)
		go func() {
			_, err := full.Balances(t.Context(), client, attended(alone()), mypossim.GoodAccount)
			held <- err
		}()
		time.Sleep(minute / 2)
		// The full one gets the lease, and gives it back as late as its Redis is slow. The other asks in between; its
		// list may be there when the full one looks what it can answer instead.
		q := attended(alone())
		refused := make(chan error, 1)
		go func() {
			_, err := full.Accounts(t.Context(), client, q, gateway.CacheControl{})
			refused <- err
		}()
		leases := store.Prefix("accounts", client, aspsp, q.Consent) + "lease:*"
		for len(direct.Keys(t.Context(), leases).Val()) == 0 {
			if len(refused) > 0 {
				t.Fatal("the full one has no lease")
			}
			time.Sleep(time.Millisecond)
		}
		if _, err := fast.Accounts(t.Context(), client, q, gateway.CacheControl{}); err != nil {
			t.Errorf("the one with places: %v", err)
		}
		if err := <-refused; err != nil && kind(err) != canonical.Overloaded {
			t.Errorf("the full one: %v", err)
		}
		leave()
		if err := <-held; err != nil {
			t.Errorf("who had the place: %v", err)
		}
	})
}

// A bank that hangs does not take all the places of a client: some are left for what it asks of others.
func TestSlowASPSPLeavesCapacity(t *testing.T) {
	t.Parallel()
	const most, taken = 5, 4
	w := newWorld(t)
	w.perClient, w.timeout = most, patience
	g := w.gateway()
	arrived, open := w.front.held()
	ask := func(client string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := g.Balances(t.Context(), client, attended(alone()), mypossim.GoodAccount)
			done <- err
		}()
		return done
	}
	var asked []<-chan error
	for range taken {
		asked = append(asked, ask(client))
		<-arrived
	}
	if err := <-ask(client); kind(err) != canonical.Overloaded {
		t.Errorf("one more: %v", err)
	}
	asked = append(asked, ask("another client"))
	<-arrived
	open()
	for _, done := range asked {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestWaitedIsReported: a request reports the time in which it waited for the ASPSP, and a cached list reports none.
func TestWaitedIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateway()
	const delay = 50 * time.Millisecond
	w.front.slowly(delay)
	list := alone()
	for _, tt := range []struct {
		name string
		read func() error
		want int
	}{
		{"a list that is not cached", func() error { _, err := g.Accounts(t.Context(), client, list, gateway.CacheControl{}); return err }, 1},
		{"a cached list", func() error { _, err := g.Accounts(t.Context(), client, list, gateway.CacheControl{}); return err }, 0},
		{"unattended balances", func() error { _, err := g.Balances(t.Context(), client, alone(), mypossim.GoodAccount); return err }, 1},
		{"attended balances", func() error {
			_, err := g.Balances(t.Context(), client, attended(alone()), mypossim.GoodAccount)
			return err
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.read(); err != nil {
				t.Fatal(err)
			}
			waits := w.observed.waited()
			if len(waits) != tt.want || tt.want == 1 && waits[0] < delay {
				t.Errorf("waits %v, want %d of at least %v", waits, tt.want, delay)
			}
		})
	}
}
