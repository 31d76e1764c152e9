package gateway_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/redistest"
)

var (
	histories = flag.Int("histories", 200, "how many histories the model test makes; `make model` says 2000")
	scale     = flag.Int("scale", 2, "how many times as long all times of the model test are, for a busy machine")
	soak      = flag.Duration("soak", 0, "for how long the model test makes histories, instead of a number of them")
)

const (
	// Histories mostly wait, so that many are under way at once, each with a Redis and a bank of its own.
	workers = 20
	// batch is how many histories a worker makes between two looks at how many there are.
	batch = 5
	// steps is how many actions a history has on average, and shrink how long a failing one is made shorter for.
	steps, shrink = "10", "20s"
	// From how many histories on everything that can happen must have happened.
	enough = 1000
)

// TestModel makes random histories of gateways, Redis and a bank that fail in every way, and holds after every step
// that the bank's own record shows no window with too many unattended calls, and that no slot was lost for nothing.
func TestModel(t *testing.T) {
	r := &run{seen: map[string]int{}}
	set(t, "rapid.checks", fmt.Sprint(batch))
	set(t, "rapid.steps", steps)
	set(t, "rapid.shrinktime", shrink)
	set(t, "rapid.nofailfile", "true") // what fails depends on time too
	r.stalls.watch(t)
	began := time.Now()
	// Where there is a file system in memory Redis writes to it: it outlives a Redis that is killed, and so many of
	// them would wait for the disk most of the time.
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
	var claimed atomic.Int64
	next := func() bool {
		if r.failed.Load() {
			return false
		}
		if *soak > 0 {
			return time.Since(began) < *soak
		}
		return claimed.Add(batch) < int64(*histories)+batch
	}
	var all sync.WaitGroup
	for n := range min(workers, (*histories+batch-1)/batch) {
		w := &worker{T: t, run: r, name: fmt.Sprintf("%s/%d", t.Name(), n), settings: adapterSettings(t)}
		w.redis = redistest.Start(w, "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-min-size", "1mb")
		w.direct = w.connect(w.redis.Addr, minute)
		bank := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.bank.Load().ServeHTTP(rw, r) }))
		w.server = bank.Listener.Addr().String()
		t.Cleanup(func() { w.direct.Close(); bank.Close() })
		all.Go(func() {
			defer w.end()
			for next() {
				rapid.Check(w, w.history)
			}
		})
	}
	all.Wait()
	for _, name := range r.names() {
		t.Logf("%7d %s", r.times(name), name)
	}
	t.Logf("%v", time.Since(began).Round(time.Second))
	if r.failed.Load() {
		t.FailNow()
	}
	least := *histories
	if *soak > 0 {
		least = 1
	}
	if n := r.times("histories"); n < least {
		t.Errorf("%d histories, want %d", n, least)
	}
	if r.times("histories") >= enough {
		r.covered(t)
	}
}

// scaled is a time of the model test.
func scaled(ms int) time.Duration { return time.Duration(*scale*ms) * time.Millisecond }

// set gives a flag a value for the time of the test, unless it was given one.
func set(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return
	}
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, before) })
}

// covered fails the test if something never happened that can.
func (r *run) covered(t *testing.T) {
	t.Helper()
	must := []string{
		"slot: taken", "slot: refused", "slot: given_back", "slot: closed", "slot: unavailable",
		"cache: hit", "cache: stale", "cache: miss", "cache: bypass", "cache: collapsed", "cache: error",
		"crash: asked the cache", "crash: the cache answered", "crash: asked the counter", "crash: the counter answered",
		"crash: asked the bank", "crash: the bank answered", "crash: asked the counter, after the bank",
		"crash: the counter answered, after the bank", "redis: killed", "redis: killed between two steps",
		"counter: cut off between two steps", "counter: too slow", "clock: leapt", "clock: leapt during a read",
		"scripts flushed", "pauses", "just after a slot opened", "access: agreed on some", "access: agreed on none",
		"closures", "closed without the counter", "slots given back later", "attended without Redis", "caller left", "refused without Redis",
	}
	for _, m := range moods {
		must = append(must, "bank "+string(m))
	}
	for _, k := range []canonical.Kind{
		canonical.UnattendedLimit, canonical.ProviderTimeout, canonical.ProviderError, canonical.ProviderUnavailable,
		canonical.ProviderThrottled, canonical.CounterUnavailable, canonical.Canceled,
	} {
		must = append(must, "unattended: "+string(k))
	}
	for _, name := range must {
		if r.times(name) == 0 {
			t.Errorf("never happened: %s", name)
		}
	}
	if kept, back := r.times("slots kept for nothing"), r.times("slots given back later"); kept > back {
		t.Errorf("of the slots whose step had no answer %d were given back and %d were not", back, kept)
	}
	if n, of := r.times("failures for nothing"), r.times("reads"); n > of/100 {
		t.Errorf("%d of %d reads failed for nothing", n, of)
	}
}

// A worker makes one history after another. To rapid it is a test of its own, on a goroutine of its own.
type worker struct {
	*testing.T
	run      *run
	name     string
	redis    *redistest.Server
	direct   *redis.Client // to Redis, past all relays
	settings func(into any) error
	server   string                // of the bank, one for all histories: their ports would be others'
	bank     atomic.Pointer[moody] // of the history
	bad      atomic.Bool
	traces   []string // of failures: the first and the last
}

// Logf leaves out that a batch was well.
func (w *worker) Logf(format string, args ...any) {
	if !strings.HasPrefix(format, "[rapid] OK") {
		w.T.Helper()
		w.T.Logf(format, args...)
	}
}

// Name is the worker's own.
func (w *worker) Name() string { return w.name }

// Failed is of the worker alone.
func (w *worker) Failed() bool { return w.bad.Load() }

// Fail marks the worker and the test.
func (w *worker) Fail() { w.bad.Store(true); w.run.failed.Store(true); w.T.Fail() }

// FailNow ends the worker's goroutine.
func (w *worker) FailNow() { w.Fail(); runtime.Goexit() }

// Errorf, Error, Fatalf and Fatal are as testing has them.
func (w *worker) Errorf(format string, args ...any) { w.Helper(); w.Logf(format, args...); w.Fail() }

// Error is as testing has it.
func (w *worker) Error(args ...any) { w.Helper(); w.Log(args...); w.Fail() }

// Fatalf is as testing has it.
func (w *worker) Fatalf(format string, args ...any) { w.Helper(); w.Logf(format, args...); w.FailNow() }

// Fatal is as testing has it.
func (w *worker) Fatal(args ...any) { w.Helper(); w.Log(args...); w.FailNow() }

// end tells of the first failing history and of the shortest.
func (w *worker) end() {
	for i, trace := range w.traces {
		w.Logf("failing history %d:\n%s", i+1, trace)
	}
}
