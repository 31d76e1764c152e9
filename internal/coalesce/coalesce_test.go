package coalesce_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/store/steps"
)

// minute is longer than any step takes, on any machine.
const minute = time.Minute

var key = bytes.Repeat([]byte{7}, 32)

// gateways are Groups that share one Redis, each as on a gateway of its own.
type gateways struct {
	rdb  redis.UniversalClient
	logs syncBuffer
}

// syncBuffer is a buffer for concurrent writes.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newGateways(t *testing.T, address string) *gateways {
	t.Helper()
	return &gateways{rdb: redistest.Open(t, config.Redis{Mode: config.Standalone, Addresses: []string{address}}).Cache}
}

func (g *gateways) group(t *testing.T) *coalesce.Group {
	t.Helper()
	lists, err := cache.New(g.rdb, [][]byte{key})
	if err != nil {
		t.Fatal(err)
	}
	return coalesce.New(coalesce.Config{
		Cache: lists, Slack: minute, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&g.logs, nil)),
	})
}

// leases returns the keys of all leases of a call.
func (g *gateways) leases(t *testing.T, c cache.CallID) []string {
	t.Helper()
	return g.rdb.Keys(t.Context(), store.Prefix("accounts", c.Client, c.ASPSP, c.Consent)+"lease:*").Val()
}

func newCall() cache.CallID {
	return cache.CallID{Key: cache.Key{Client: "payments", ASPSP: "bank", Consent: uuid.NewString()}, ShareKey: "attended:user"}
}

// request is a request for a list. Its call waits until release is closed, if that is set.
type request struct {
	maxAge   time.Duration
	counted  bool
	result   func() cache.CallResult
	refusal  *canonical.Error // of Admit
	excluded *canonical.Error // of Record
	release  chan struct{}

	since                 atomic.Int64 // the first lookup, in µs of Redis's clock
	admitted, left, calls atomic.Int64
}

func newRequest() *request {
	return &request{result: func() cache.CallResult { return list("[]") }}
}

func list(accounts string) cache.CallResult {
	return cache.CallResult{Entry: &cache.Entry{Accounts: json.RawMessage(accounts)}, KeepFor: time.Hour, FreshFor: time.Hour}
}

func (r *request) lookup() cache.Lookup { return cache.Lookup{List: true, MaxAge: r.maxAge} }

func (r *request) Record(f cache.Found) (bool, *canonical.Error) {
	satisfied := f.Entry != nil && f.Entry.Age < r.maxAge
	if f.Responded() {
		r.since.CompareAndSwap(0, f.Now.UnixMicro())
	}
	return satisfied, r.excluded
}

func (r *request) Satisfies(e *cache.Entry) bool {
	return e != nil && !e.FetchedAt.Before(time.UnixMicro(r.since.Load()))
}

func (r *request) Admit(context.Context) (func(), *canonical.Error) {
	if r.refusal != nil {
		return nil, r.refusal
	}
	r.admitted.Add(1)
	return func() { r.left.Add(1) }, nil
}

func (r *request) Call(context.Context) cache.CallResult {
	r.calls.Add(1)
	if r.release != nil {
		<-r.release
	}
	return r.result()
}

// do runs a request with a long budget.
func do(ctx context.Context, g *coalesce.Group, c cache.CallID, r *request) (coalesce.Shared, *canonical.Error) {
	budget := steps.NewBudget(minute)
	return g.Do(ctx, coalesce.Options{Call: c, Timeout: minute, Counted: r.counted, Lookup: r.lookup(), Budget: &budget}, r)
}

func mustDo(t *testing.T, g *coalesce.Group, c cache.CallID, r *request) coalesce.Shared {
	t.Helper()
	shared, failure := do(t.Context(), g, c, r)
	if failure != nil {
		t.Fatal(failure)
	}
	return shared
}

// eventually waits up to a minute until holds returns true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

func TestLedCallIsStored(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	before := time.Now().Add(-minute)
	shared := mustDo(t, g, c, r)
	if !shared.Led || !shared.Stored || shared.Hit || string(shared.Entry.Accounts) != "[]" || shared.Entry.FetchedAt.Before(before) {
		t.Errorf("%+v", shared)
	}
	r.maxAge = time.Hour
	if shared := mustDo(t, gateways.group(t), c, r); !shared.Hit || shared.Led || r.calls.Load() != 1 {
		t.Errorf("a fresh list: %+v, %d calls", shared, r.calls.Load())
	}
	if n := gateways.leases(t, c); len(n) != 0 || r.admitted.Load() != 1 || r.left.Load() != 1 {
		t.Errorf("leases %q, %d admitted, %d left", n, r.admitted.Load(), r.left.Load())
	}
}

// TestIdenticalRequestsShareOneCall: of identical requests on several gateways one calls, and all
// get its result or failure.
func TestIdenticalRequestsShareOneCall(t *testing.T) {
	t.Parallel()
	failure := canonical.NewError(canonical.ProviderError, "")
	for name, result := range map[string]cache.CallResult{
		"a list":   list(`["a"]`),
		"balances": {Entry: &cache.Entry{Balances: &canonical.AccountBalances{Name: "a"}}},
		"failure":  {Failure: failure},
	} {
		t.Run(name, func(t *testing.T) {
			gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
			r.result, r.release = func() cache.CallResult {
				made := result
				if made.Entry != nil {
					entry := *made.Entry
					made.Entry = &entry
				}
				return made
			}, make(chan struct{})
			var all sync.WaitGroup
			var led atomic.Int64
			start := func(g *coalesce.Group) {
				all.Go(func() {
					shared, got := do(context.Background(), g, c, r)
					if shared.Led {
						led.Add(1)
					}
					if (got == nil) != (result.Failure == nil) || got != nil && got.Kind != failure.Kind {
						t.Errorf("failure %v", got)
					}
					if got == nil && string(shared.Entry.Accounts) != string(result.Entry.Accounts) {
						t.Errorf("entry %+v", shared.Entry)
					}
				})
			}
			const perGateway = 10
			first, began := gateways.group(t), time.Now()
			start(first)
			eventually(t, "the call has begun", func() bool { return r.calls.Load() == 1 })
			// The call's end by Redis's clock may be early by as long as the lease took.
			uncertainty := time.Since(began)
			for i, g := range []*coalesce.Group{first, gateways.group(t), gateways.group(t)} {
				for range perGateway - max(1-i, 0) {
					start(g)
				}
			}
			eventually(t, "all requests wait", func() bool { return r.admitted.Load() == 3*perGateway })
			time.Sleep(uncertainty)
			close(r.release)
			all.Wait()
			if r.calls.Load() != 1 || led.Load() != 1 || r.left.Load() != 3*perGateway {
				t.Errorf("%d calls, %d led, %d left", r.calls.Load(), led.Load(), r.left.Load())
			}
		})
	}
}

func TestOtherCallsAreNotShared(t *testing.T) {
	t.Parallel()
	gateways, c := newGateways(t, redistest.Shared(t)), newCall()
	g, r := gateways.group(t), newRequest()
	r.release = make(chan struct{})
	client, consent, shareKey := c, c, c
	client.Client, consent.Consent, shareKey.ShareKey = "credit", uuid.NewString(), "unattended:user"
	var all sync.WaitGroup
	for _, c := range []cache.CallID{c, client, consent, shareKey} {
		all.Go(func() { mustDo(t, g, c, r) })
	}
	eventually(t, "each has made its call", func() bool { return r.calls.Load() == 4 })
	close(r.release)
	all.Wait()
}

// TestOverloadIsNotShared: another gateway may have capacity for a call that this one could not
// make.
func TestOverloadIsNotShared(t *testing.T) {
	t.Parallel()
	gateways, c, full, free := newGateways(t, redistest.Shared(t)), newCall(), newRequest(), newRequest()
	full.release = make(chan struct{})
	full.result = func() cache.CallResult {
		return cache.CallResult{Failure: canonical.NewError(canonical.Overloaded, "")}
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, failure := do(context.Background(), gateways.group(t), c, full); failure == nil || failure.Kind != canonical.Overloaded {
			t.Errorf("failure %v", failure)
		}
	})
	eventually(t, "the first call has begun", func() bool { return full.calls.Load() == 1 })
	all.Go(func() {
		if shared := mustDo(t, gateways.group(t), c, free); !shared.Led {
			t.Errorf("%+v", shared)
		}
	})
	eventually(t, "the second request waits", func() bool { return free.admitted.Load() == 1 })
	close(full.release)
	all.Wait()
}

// TestResultOfAnEndedCall: a request that begins after the end of a call makes its own, although
// the first one's result is there.
func TestResultOfAnEndedCall(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	r.result = func() cache.CallResult {
		return cache.CallResult{Failure: canonical.NewError(canonical.ProviderError, "")}
	}
	groups := []*coalesce.Group{gateways.group(t), gateways.group(t)}
	for range 3 {
		for _, g := range groups {
			if shared, failure := do(t.Context(), g, c, r); failure == nil || !shared.Led {
				t.Errorf("%+v, %v", shared, failure)
			}
		}
	}
}

// TestDeadHolder: a request calls itself when the lease of a gateway that died is gone.
func TestDeadHolder(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	lists, err := cache.New(gateways.rdb, [][]byte{key})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := lists.Acquire(t.Context(), cache.NewLease(c), cache.Lookup{TTL: time.Hour}); err != nil || !found.Lease.Held {
		t.Fatal(found, err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if shared := mustDo(t, gateways.group(t), c, r); !shared.Led {
			t.Errorf("%+v", shared)
		}
	})
	eventually(t, "the request waits", func() bool { return r.admitted.Load() == 1 })
	if r.calls.Load() != 0 {
		t.Error("it does not wait for the lease")
	}
	gateways.rdb.Del(t.Context(), gateways.leases(t, c)...)
	all.Wait()
}

// TestCallIsCompleted: a call is completed and published although its request has left, and Wait
// waits for it.
func TestCallIsCompleted(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	r.release = make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		eventually(t, "the call has begun", func() bool { return r.calls.Load() == 1 })
		leave()
	}()
	if _, failure := do(ctx, g, c, r); failure == nil || failure.Kind != canonical.Canceled {
		t.Errorf("failure %v", failure)
	}
	close(r.release)
	g.Wait()
	if err := g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.maxAge = time.Hour
	if shared := mustDo(t, gateways.group(t), c, r); !shared.Hit {
		t.Errorf("%+v", shared)
	}
}

// TestNoCallForARequestThatLeft: a request whose context has ended makes no call and leaves no
// lease.
func TestNoCallForARequestThatLeft(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, failure := do(ctx, g, c, r); failure == nil || failure.Kind != canonical.Canceled || r.calls.Load() != 0 {
		t.Errorf("%v, %d calls", failure, r.calls.Load())
	}
	if err := g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := gateways.leases(t, c); len(n) != 0 {
		t.Errorf("leases %q", n)
	}
}

// TestRefusedRequestReleasesItsLease: a request that must not wait leaves no lease.
func TestRefusedRequestReleasesItsLease(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	r.refusal = canonical.NewError(canonical.Overloaded, "")
	if _, failure := do(t.Context(), g, c, r); failure != r.refusal || r.calls.Load() != 0 {
		t.Errorf("%v, %d calls", failure, r.calls.Load())
	}
	eventually(t, "the lease is released", func() bool { return len(gateways.leases(t, c)) == 0 })
}

// TestExcludedRequest: a request that must neither call nor wait leaves no lease, also when it
// finds that out while it waits.
func TestExcludedRequest(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	r.excluded = canonical.NewError(canonical.InternalError, "")
	if _, failure := do(t.Context(), g, c, r); failure != r.excluded || r.calls.Load() != 0 || r.admitted.Load() != 0 {
		t.Errorf("%v, %d calls", failure, r.calls.Load())
	}
	eventually(t, "the lease is released", func() bool { return len(gateways.leases(t, c)) == 0 })
}

// TestLateLease: a request that no longer waits for its lease makes its call without it, and others
// on its gateway join that call, although Redis grants them a lease.
func TestLateLease(t *testing.T) {
	t.Parallel()
	proxy := crashproxy.New(t).NewProxy(redistest.Shared(t))
	direct, gateways, c, r := newGateways(t, redistest.Shared(t)), newGateways(t, proxy.Addr), newCall(), newRequest()
	g := gateways.group(t)
	mustDo(t, g, newCall(), newRequest()) // opens a connection and loads the scripts
	r.release = make(chan struct{})
	resume := proxy.Hold()
	var all sync.WaitGroup
	all.Go(func() {
		budget := steps.NewBudget(50 * time.Millisecond)
		shared, failure := g.Do(context.Background(), coalesce.Options{Call: c, Timeout: minute, Lookup: r.lookup(), Budget: &budget}, r)
		if failure != nil || !shared.Led || shared.Stored {
			t.Errorf("%+v, %v", shared, failure)
		}
	})
	eventually(t, "the call has begun", func() bool { return r.calls.Load() == 1 })
	resume()
	eventually(t, "the late lease is released", func() bool {
		registered := direct.rdb.Exists(t.Context(), store.Prefix("accounts", c.Client, c.ASPSP, c.Consent)+"calls").Val()
		return registered == 0 && len(direct.leases(t, c)) == 0
	})
	all.Go(func() {
		if shared := mustDo(t, g, c, r); shared.Led {
			t.Errorf("%+v", shared)
		}
	})
	eventually(t, "the second request waits", func() bool { return r.admitted.Load() == 2 })
	eventually(t, "its lease is released", func() bool { return len(direct.leases(t, c)) == 0 })
	close(r.release)
	all.Wait()
	if r.calls.Load() != 1 {
		t.Errorf("%d calls", r.calls.Load())
	}
}

// TestAbandonedLookup: a lookup whose request has left costs Redis one other command, the release of
// the lease that it may grant.
func TestAbandonedLookup(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := crashproxy.New(t).NewProxy(server.Addr)
	c, r := newCall(), newRequest()
	r.maxAge = time.Hour
	var groups []*coalesce.Group
	for range 5 {
		g := newGateways(t, proxy.Addr).group(t)
		mustDo(t, g, c, r) // stores the list, or finds it
		groups = append(groups, g)
	}
	before := server.Calls("evalsha")
	resume := proxy.Hold()
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, g := range groups {
		all.Go(func() {
			if _, failure := do(ctx, g, c, r); failure == nil || failure.Kind != canonical.Canceled {
				t.Errorf("failure %v", failure)
			}
		})
	}
	eventually(t, "all lookups are sent", func() bool { return proxy.Holding() == len(groups) })
	leave()
	all.Wait()
	resume()
	for _, g := range groups {
		if err := g.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := server.Calls("evalsha") - before; n != 2*len(groups) || r.calls.Load() != 1 {
		t.Errorf("%d scripts for %d lookups, %d calls", n, len(groups), r.calls.Load())
	}
}

// TestLookupThatWasExecutedBefore: the reply to a lookup that granted a lease is lost, and when the
// lookup is sent again, Redis no longer knows the script. If its request leaves then, the lease is
// released.
func TestLookupThatWasExecutedBefore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := crashproxy.New(t).NewProxy(server.Addr)
	gateways, c, r := newGateways(t, proxy.Addr), newCall(), newRequest()
	g := gateways.group(t)
	mustDo(t, g, newCall(), newRequest()) // loads the scripts
	hook, got, pass := redistest.HoldNoScript()
	gateways.rdb.AddHook(hook)
	ctx, leave := context.WithCancel(t.Context())
	proxy.LoseReply("lease:")
	left := make(chan *canonical.Error, 1)
	go func() {
		_, failure := do(ctx, g, c, r)
		left <- failure
	}()
	eventually(t, "the reply is lost", proxy.Lost)
	if err := server.Do("SCRIPT", "FLUSH").Err(); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	<-got
	leave()
	if failure := <-left; failure == nil || failure.Kind != canonical.Canceled {
		t.Errorf("failure %v", failure)
	}
	close(pass)
	if err := g.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if n := gateways.leases(t, c); len(n) != 0 {
		t.Errorf("leases %q", n)
	}
}

// TestPanic: a call that panics fails its request, and the next one can call at once.
func TestPanic(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	r.result = func() cache.CallResult { panic("Zerlinde") }
	if _, failure := do(t.Context(), g, c, r); failure == nil || failure.Kind != canonical.InternalError {
		t.Errorf("failure %v", failure)
	}
	r.result = func() cache.CallResult { return list("[]") }
	if shared := mustDo(t, gateways.group(t), c, r); !shared.Led {
		t.Errorf("%+v", shared)
	}
	if out := gateways.logs.String(); !strings.Contains(out, "panic") || strings.Contains(out, "Zerlinde") {
		t.Errorf("logged %s", out)
	}
}

// panicOnce returns a hook that panics once, after Redis has executed a command, if on is set.
func panicOnce(on *atomic.Bool) redis.Hook {
	return redistest.Hook{Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
		err := next(ctx, cmd)
		if err == nil && on.CompareAndSwap(true, false) {
			panic("Zerlinde")
		}
		return err
	}}
}

// TestPanicOfALookup: the lease of a lookup that panics is released, so that it blocks no other
// request. The panic is on the goroutine of a batch, or on that of the request, as one in decoding.
func TestPanicOfALookup(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func() redis.UniversalClient{
		"in a batch":     func() redis.UniversalClient { return newGateways(t, redistest.Shared(t)).rdb },
		"in the request": func() redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: redistest.Shared(t)}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gateways, direct, c, r := &gateways{rdb: open()}, newGateways(t, redistest.Shared(t)), newCall(), newRequest()
			defer gateways.rdb.Close()
			var panics atomic.Bool
			gateways.rdb.AddHook(panicOnce(&panics))
			g := gateways.group(t)
			mustDo(t, g, newCall(), newRequest()) // loads the scripts
			panics.Store(true)
			r.release = make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				if shared := mustDo(t, g, c, r); !shared.Led || shared.Stored {
					t.Errorf("%+v", shared)
				}
			})
			eventually(t, "the call has begun", func() bool { return r.calls.Load() == 1 })
			if panics.Load() {
				t.Error("the lookup did not panic")
			}
			eventually(t, "the lease is released", func() bool { return len(direct.leases(t, c)) == 0 })
			close(r.release)
			all.Wait()
		})
	}
}

// TestWithoutRedis: without Redis, identical requests share one call on their gateway, and their
// budgets end.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, counted := range []bool{false, true} {
		t.Run(fmt.Sprintf("counted %t", counted), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				t.Cleanup(func() { time.Sleep(2 * time.Hour) }) // idle workers end
				gateways, c, r := newGateways(t, "127.0.0.1:0"), newCall(), newRequest()
				g := gateways.group(t)
				r.counted, r.release = counted, make(chan struct{})
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						budget := steps.NewBudget(minute)
						shared, failure := g.Do(context.Background(), coalesce.Options{Call: c, Timeout: minute, Counted: counted, Lookup: r.lookup(), Budget: &budget}, r)
						if failure != nil || shared.Stored || shared.Hit || !budget.Ended() {
							t.Errorf("%+v, %v, failed %t", shared, failure, budget.Ended())
						}
					})
				}
				synctest.Wait() // until all requests wait for the call
				close(r.release)
				all.Wait()
				if r.calls.Load() != 1 {
					t.Errorf("%d calls", r.calls.Load())
				}
			})
		})
	}
}

// TestListThatCannotBeDecrypted: a damaged list is fetched again, although Redis takes it for a
// fresh one.
func TestListThatCannotBeDecrypted(t *testing.T) {
	t.Parallel()
	gateways, c, r := newGateways(t, redistest.Shared(t)), newCall(), newRequest()
	g := gateways.group(t)
	mustDo(t, g, c, r)
	name := store.Prefix("accounts", c.Client, c.ASPSP, c.Consent) + "list"
	value := []byte(gateways.rdb.Get(t.Context(), name).Val())
	value[len(value)-1] ^= 1
	gateways.rdb.Set(t.Context(), name, value, time.Hour)
	r.maxAge = time.Hour
	if shared := mustDo(t, g, c, r); !shared.Led || r.calls.Load() != 2 {
		t.Errorf("%+v, %d calls", shared, r.calls.Load())
	}
}

// TestRejectionInvalidates: the rejection of a consent deletes the list, with and without Redis at
// the time.
func TestRejectionInvalidates(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("down %t", down), func(t *testing.T) {
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			gateways, c, r := newGateways(t, server.Addr), newCall(), newRequest()
			lists, err := cache.New(gateways.rdb, [][]byte{key})
			if err != nil {
				t.Fatal(err)
			}
			g := coalesce.New(coalesce.Config{Cache: lists, Now: time.Now, Logger: slog.Default()})
			mustDo(t, g, c, r)
			r.result = func() cache.CallResult {
				return cache.CallResult{Failure: canonical.NewError(canonical.ConsentInvalid, ""), Invalidate: true}
			}
			if down {
				server.Stop()
			}
			if _, failure := do(t.Context(), g, c, r); failure == nil || failure.Kind != canonical.ConsentInvalid {
				t.Errorf("failure %v", failure)
			}
			if down {
				if !lists.InvalidationPending(c.Key) {
					t.Error("the deletion is not pending")
				}
				server.Restart()
			}
			eventually(t, "the list is deleted", func() bool { return !lists.InvalidationPending(c.Key) })
			if e, _, err := lists.Get(t.Context(), c.Key); e != nil || err != nil {
				t.Errorf("the list is there: %+v, %v", e, err)
			}
		})
	}
}
