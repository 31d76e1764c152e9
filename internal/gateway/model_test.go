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

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/redistest"
)

var (
	histories = flag.Int("histories", 200, "number of histories; `make model` uses 2000")
	scale     = flag.Int("scale", 2, "factor for all times of the model test, for a busy machine")
	soak      = flag.Duration("soak", 0, "duration of the model test, instead of a number of histories")
)

const (
	// workers is the number of concurrent histories, each with its own Redis and ASPSP. Histories
	// mostly wait.
	workers = 20
	// batch is how many histories a worker runs before it checks whether there are enough.
	batch = 5
	// steps is the average number of actions in a history, shrink how long rapid shortens a failing
	// one.
	steps, shrink = "10", "20s"
	// coverageFrom is the number of histories from which every event must have happened at least
	// once.
	coverageFrom = 1000
)

// TestModel runs random histories in which gateways, Redis and the ASPSP fail. After every step it
// checks that the ASPSP's call log has no window with too many unattended calls, and that no slot
// is taken without a reason.
func TestModel(t *testing.T) {
	r := &modelRun{seen: map[string]int{}}
	set(t, "rapid.checks", fmt.Sprint(batch))
	set(t, "rapid.steps", steps)
	set(t, "rapid.shrinktime", shrink)
	set(t, "rapid.nofailfile", "true") // failures also depend on timing
	r.stalls.watch(t)
	began := time.Now()
	// Redis writes to a file system in memory if there is one, because many servers would mostly
	// wait for the disk. It survives the end of a Redis process.
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
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.aspsp.Load().ServeHTTP(rw, r) }))
		w.server = server.Listener.Addr().String()
		t.Cleanup(func() { w.direct.Close(); server.Close() })
		all.Go(func() {
			defer w.logTraces()
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
	if r.times("histories") >= coverageFrom {
		r.covered(t)
	}
}

// scaled returns a duration of ms milliseconds, multiplied by the flag scale.
func scaled(ms int) time.Duration { return time.Duration(*scale*ms) * time.Millisecond }

// set sets a flag for the duration of the test, unless it was set on the command line.
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

// covered fails the test if one of the expected events never happened.
func (r *modelRun) covered(t *testing.T) {
	t.Helper()
	must := []string{
		"slot: taken", "slot: refused", "slot: given_back", "slot: closed", "slot: unavailable",
		"cache: hit", "cache: stale", "cache: miss", "cache: bypass", "cache: collapsed", "cache: error",
		"crash: sent to the cache", "crash: response of the cache", "crash: sent to the counter", "crash: response of the counter",
		"crash: sent to the ASPSP", "crash: response of the ASPSP", "crash: sent to the counter, after the ASPSP",
		"crash: response of the counter, after the ASPSP", "redis: killed", "redis: killed between two steps",
		"counter: cut off between two steps", "counter: too slow", "clock: jumped", "clock: jumped during a read",
		"scripts flushed", "pauses", "next slot became available", "access: agreed, calls remain", "access: agreed, no call remains",
		"blocks", "blocked without the counter", "slots released later", "attended without Redis", "canceled by the caller", "refused without Redis",
		"all slots expired", "aggregation: a late call", "aggregation: a slot was not renewed", "aggregation: NOT_IN_TIME",
	}
	for _, o := range aggregation.Outcomes {
		must = append(must, "aggregation: "+string(o))
	}
	for _, m := range behaviors {
		must = append(must, "ASPSP "+string(m))
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
	if stayed, released := r.times("slots not released"), r.times("slots released later"); stayed > released {
		t.Errorf("of the slots whose take had no response %d were released and %d were not", released, stayed)
	}
	if n, of := r.times("failures without a reason"), r.times("reads"); n > of/100 {
		t.Errorf("%d of %d reads failed without a reason", n, of)
	}
}

// A worker runs one history after another on its own goroutine. It is a rapid.TB of its own.
type worker struct {
	*testing.T
	run      *modelRun
	name     string
	redis    *redistest.Server
	direct   *redis.Client // to Redis without a proxy
	settings func(into any) error
	server   string                        // address of the ASPSP, the same in all histories, so that no port is reused by another
	aspsp    atomic.Pointer[scriptedASPSP] // of the current history
	failed   atomic.Bool
	traces   []string // of the first and the last failure
}

// Logf drops rapid's message about a successful batch.
func (w *worker) Logf(format string, args ...any) {
	if !strings.HasPrefix(format, "[rapid] OK") {
		w.T.Helper()
		w.T.Logf(format, args...)
	}
}

// Name returns the worker's name.
func (w *worker) Name() string { return w.name }

// Failed reports whether this worker has failed.
func (w *worker) Failed() bool { return w.failed.Load() }

// Fail marks the worker and the test.
func (w *worker) Fail() { w.failed.Store(true); w.run.failed.Store(true); w.T.Fail() }

// FailNow fails the worker and ends its goroutine.
func (w *worker) FailNow() { w.Fail(); runtime.Goexit() }

// Errorf works as in testing.
func (w *worker) Errorf(format string, args ...any) { w.Helper(); w.Logf(format, args...); w.Fail() }

// Error works as in testing.
func (w *worker) Error(args ...any) { w.Helper(); w.Log(args...); w.Fail() }

// Fatalf works as in testing.
func (w *worker) Fatalf(format string, args ...any) { w.Helper(); w.Logf(format, args...); w.FailNow() }

// Fatal works as in testing.
func (w *worker) Fatal(args ...any) { w.Helper(); w.Log(args...); w.FailNow() }

// logTraces logs the traces of the first failing history and of the shortest.
func (w *worker) logTraces() {
	for i, trace := range w.traces {
		w.Logf("failing history %d:\n%s", i+1, trace)
	}
}
