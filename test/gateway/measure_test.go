//go:build measure

package gateway_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
	"ais-gateway/internal/unattended"
)

// TestMeasure measures what the limit costs and what a crash of Redis makes it forget, and prints it as a table for
// docs/unattended-limit.md. `make measure` runs it; nothing else builds it.
func TestMeasure(t *testing.T) {
	fmt.Print("| what | measured |\n|---|---|\n")
	row := func(what, format string, measured ...any) {
		fmt.Printf("| "+what+" | "+format+" |\n", measured...)
	}
	for _, c := range []struct {
		name  string
		fsync string
		kill  func(*redistest.Server, *tail) error
	}{
		{"`always`, Redis killed", "always", stop},
		{"`everysec`, Redis killed", "everysec", stop},
		{"`everysec`, the machine lost with the last second that was not on disk", "everysec", stopAndCut},
	} {
		const crashes = 10
		m := crash(t, crashes, c.fsync, c.kill)
		row(c.name, "%d calls beyond four (%.1f %% of all %d) after %d crashes; %d calls were made within the second before one; "+
			"%d of the four never made; counting again %v to %v after Redis answers", m.over, 100*float64(m.over)/float64(m.calls), m.calls,
			crashes, m.last, m.lost, m.backFirst.Round(10*time.Millisecond), m.backLast.Round(10*time.Millisecond))
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"no append-only file", nil},
		{"`everysec`", []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
		{"`always`", []string{"--appendonly", "yes", "--appendfsync", "always"}},
	} {
		one, many := slots(t, c.args)
		row("slots taken, "+c.name, "one after the other: %v each; 64 at once: %d a second", one.Round(time.Microsecond), many)
	}
	least, most := withoutRedis(t)
	row("an attended list and balances, while Redis does not answer", "%v to %v for both", least.Round(time.Millisecond), most.Round(time.Millisecond))
	measureFailovers(t, row)
	const units = 1_000_000
	bytes := million(t, units)
	row("Redis's memory for a million used-up consents", "%d MB, %d bytes each", bytes>>20, bytes/units)
}

// withoutRedis measures attended requests while Redis is paused.
func withoutRedis(t *testing.T) (least, most time.Duration) {
	server := redistest.Start(t)
	p := serve(t, gatewaytest.NewSandboxOn(t, server, sandbox.Options{}).ConfigFile)
	least = time.Hour
	server.Pause()
	defer server.Resume()
	for range 20 {
		began, consent := time.Now(), fresh()
		for _, path := range []string{"/accounts", balances} {
			if a := ask(p.API+wood+path, present(consent)...); a.status != 200 {
				t.Fatal(a)
			}
		}
		took := time.Since(began)
		least, most = min(least, took), max(most, took)
	}
	return least, most
}

// A loss is what crashes of Redis made the gateways do.
type loss struct {
	calls, over, lost   int
	last                int           // calls that were made within the second before a crash
	backFirst, backLast time.Duration // until unattended calls were made again
}

// crash lets Redis crash under load, time and again. The bank refuses nothing, so that everything is seen that was
// forgotten; a bank that refuses a fifth call closes the consent for all gateways.
func crash(t *testing.T, crashes int, fsync string, kill func(*redistest.Server, *tail) error) loss {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", fsync)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	for _, bank := range []string{mastercardsim.WoodBank, sandbox.MyPOS} {
		w.Ledger.SetPolicy(bank, aspspsim.Policy{Limit: math.MaxInt, Window: 24 * time.Hour, Unit: aspspsim.PerConsent})
	}
	file := impatient(t, w, 2*time.Second)
	l := startLoad(t, []*process{serve(t, file), serve(t, file), serve(t, file)})
	m := loss{backFirst: math.MaxInt64}
	for range crashes {
		watched := watch(t, server.Addr)
		time.Sleep(1200*time.Millisecond + rand.N(time.Second))
		killed := time.Now()
		if err := kill(server, watched); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Ledger.Calls() {
			if age := killed.Sub(c.At); age > 0 && age < time.Second {
				m.last++
			}
		}
		server.Restart()
		began := time.Now()
		l.back(t)
		m.backFirst, m.backLast = min(m.backFirst, time.Since(began)), max(m.backLast, time.Since(began))
	}
	time.Sleep(time.Second)
	l.stop()
	time.Sleep(2 * time.Second)
	m.calls, m.over, m.lost = l.settle(t, w.Ledger)
	return m
}

func stop(s *redistest.Server, watched *tail) error {
	s.Stop()
	watched.stop()
	return nil
}

// stopAndCut ends Redis and takes from its file what it had written within its last second.
func stopAndCut(s *redistest.Server, watched *tail) error {
	s.Stop()
	size := watched.stop()
	return os.Truncate(watched.file, size)
}

// A tail remembers how long an append-only file was, and when.
type tail struct {
	file  string
	end   chan struct{}
	done  sync.WaitGroup
	sizes []length
	err   error
}

type length struct {
	at   time.Time
	size int64
}

func watch(t *testing.T, addr string) *tail {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	files, err := filepath.Glob(filepath.Join(rdb.ConfigGet(t.Context(), "dir").Val()["dir"], "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	w := &tail{file: files[0], end: make(chan struct{})}
	w.done.Go(func() {
		for {
			select {
			case <-w.end:
				return
			case <-time.After(2 * time.Millisecond):
			}
			info, err := os.Stat(w.file)
			if err != nil {
				w.err = err
				return
			}
			w.sizes = append(w.sizes, length{time.Now(), info.Size()})
		}
	})
	return w
}

// stop returns how long the file was a second ago.
func (w *tail) stop() int64 {
	close(w.end)
	w.done.Wait()
	size := int64(0)
	for _, l := range w.sizes {
		if time.Since(l.at) < time.Second {
			break
		}
		size = l.size
	}
	return size
}

// aCounter is a counter of fours per consent on a Redis of its own.
func aCounter(t *testing.T, args []string) (*unattended.Counter, *redis.Client) {
	server := redistest.Start(t, args...)
	s := redistest.OpenAt(t, server.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	policy := config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent}
	return unattended.New(s.Counter, map[string]config.Unattended{mastercardsim.WoodBank: policy}).Within(redistest.CommandTimeout), rdb
}

// take takes n slots, four of each consent, by as many as there are hands, and returns how long it took.
func take(t *testing.T, c *unattended.Counter, hands int, n int64) time.Duration {
	ids := freshConsents()
	var taken atomic.Int64
	var done sync.WaitGroup
	began := time.Now()
	for range hands {
		done.Go(func() {
			for i := taken.Add(1) - 1; i < n; i = taken.Add(1) - 1 {
				call := unattended.Call{ASPSP: mastercardsim.WoodBank, Consent: ids.at(int(i / 4)).id}
				if _, err := c.Take(t.Context(), call, 10*time.Second); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
	return time.Since(began)
}

// slots measures what taking a slot costs: one after the other, and how many a second with 64 at once.
func slots(t *testing.T, args []string) (one time.Duration, many int) {
	c, _ := aCounter(t, args)
	take(t, c, 64, 1000)
	const few, lot = 4_000, 40_000
	one = take(t, c, 1, few) / few
	return one, int(lot / take(t, c, 64, lot).Seconds())
}

// million is by how many bytes Redis grows with so many consents whose four slots are taken.
func million(t *testing.T, units int64) int64 {
	c, rdb := aCounter(t, nil)
	used := func() int64 {
		for line := range strings.Lines(rdb.Info(t.Context(), "memory").Val()) {
			if n, ok := strings.CutPrefix(line, "used_memory:"); ok {
				bytes, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return bytes
			}
		}
		t.Fatal("Redis does not say")
		return 0
	}
	take(t, c, 64, 1000)
	before := used()
	take(t, c, 64, 4*units)
	if n := rdb.DBSize(t.Context()).Val(); n < units {
		t.Errorf("%d keys", n)
	}
	return used() - before
}
