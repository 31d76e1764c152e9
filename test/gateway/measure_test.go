//go:build measure

package gateway_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// TestMeasure measures the cost of the limit and the slots that a crash of Redis loses, and prints
// a table for docs/unattended-limit.md. Only `make measure` builds and runs it.
func TestMeasure(t *testing.T) {
	fmt.Print("| what | measured |\n|---|---|\n")
	row := func(what, format string, measured ...any) {
		fmt.Printf("| "+what+" | "+format+" |\n", measured...)
	}
	for _, c := range []struct {
		name  string
		fsync string
		kill  func(*redistest.Server, *aofWatcher) error
	}{
		{"`always`, Redis killed", "always", stopRedis},
		{"`everysec`, Redis killed", "everysec", stopRedis},
		{"`everysec`, the machine lost with the last second that was not on disk", "everysec", stopAndTruncate},
	} {
		const crashes = 10
		m := measureCrashes(t, crashes, c.fsync, c.kill)
		row(c.name, "%d calls beyond four (%.1f %% of all %d) after %d crashes; %d calls were made within the second before one; "+
			"%d of the four never made; counting again %v to %v after Redis responds", m.over, 100*float64(m.over)/float64(m.calls), m.calls,
			crashes, m.lastSecond, m.lost, m.shortestRecovery.Round(10*time.Millisecond), m.longestRecovery.Round(10*time.Millisecond))
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"no append-only file", nil},
		{"`everysec`", []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
		{"`always`", []string{"--appendonly", "yes", "--appendfsync", "always"}},
	} {
		one, many := measureSlots(t, c.args)
		row("slots taken, "+c.name, "one after the other: %v each; 64 at once: %d a second", one.Round(time.Microsecond), many)
	}
	least, most := measureWithoutRedis(t)
	row("an attended list and balances, while Redis does not respond", "%v to %v for both", least.Round(time.Millisecond), most.Round(time.Millisecond))
	measureFailovers(t, row)
	const units = 1_000_000
	bytes := measureMemory(t, units)
	row("Redis's memory for a million used-up consents", "%d MB, %d bytes each", bytes>>20, bytes/units)
}

// measureWithoutRedis returns the shortest and the longest duration of attended requests while
// Redis is paused.
func measureWithoutRedis(t *testing.T) (least, most time.Duration) {
	server := redistest.Start(t)
	p := serve(t, gatewaytest.NewSandboxOn(t, server, sandbox.Options{}).ConfigFile)
	least = time.Hour
	server.Pause()
	defer server.Resume()
	for range 20 {
		began, consent := time.Now(), freshConsent()
		for _, path := range []string{"/accounts", balancesPath} {
			if resp := get(p.API+woodPath+path, attendedHeaders(consent)...); resp.status != 200 {
				t.Fatal(resp)
			}
		}
		took := time.Since(began)
		least, most = min(least, took), max(most, took)
	}
	return least, most
}

// crashResult is the effect of crashes of Redis.
type crashResult struct {
	calls, over, lost                 int
	lastSecond                        int           // calls within the second before a crash
	shortestRecovery, longestRecovery time.Duration // until unattended calls were made again
}

// measureCrashes lets Redis crash several times under load. The bank refuses no call, so that each
// lost slot becomes an extra call. A bank that refuses the fifth call would block the consent for
// all gateways.
func measureCrashes(t *testing.T, crashes int, fsync string, kill func(*redistest.Server, *aofWatcher) error) crashResult {
	// Without rewrites, the last writes are in one file, which stopAndTruncate shortens.
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0")
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	for _, bank := range []string{mastercardsim.WoodBank, sandbox.MyPOS} {
		w.CallLog.SetPolicy(bank, aspspsim.Policy{Limit: math.MaxInt, Window: 24 * time.Hour, Unit: aspspsim.PerConsent})
	}
	file := withProviderTimeout(t, w, 2*time.Second)
	l := startLoad(t, []*process{serve(t, file), serve(t, file), serve(t, file)})
	m := crashResult{shortestRecovery: math.MaxInt64}
	for range crashes {
		watched := watchAOF(t, server.Addr)
		time.Sleep(1200*time.Millisecond + rand.N(time.Second))
		killed := time.Now()
		if err := kill(server, watched); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.CallLog.Calls() {
			if age := killed.Sub(c.At); age > 0 && age < time.Second {
				m.lastSecond++
			}
		}
		server.Restart()
		began := time.Now()
		l.waitForRecovery(t)
		m.shortestRecovery, m.longestRecovery = min(m.shortestRecovery, time.Since(began)), max(m.longestRecovery, time.Since(began))
	}
	time.Sleep(time.Second)
	l.stop()
	time.Sleep(2 * time.Second)
	m.calls, m.over, m.lost = l.finish(t, w.CallLog)
	return m
}

// stopRedis ends Redis.
func stopRedis(s *redistest.Server, watched *aofWatcher) error {
	s.Stop()
	watched.stop()
	return nil
}

// stopAndTruncate ends Redis and removes from its append-only file what was written within the last
// second.
func stopAndTruncate(s *redistest.Server, watched *aofWatcher) error {
	s.Stop()
	size := watched.stop()
	return os.Truncate(watched.file, size)
}

// aofWatcher records the size of an append-only file over time.
type aofWatcher struct {
	file  string
	end   chan struct{}
	done  sync.WaitGroup
	sizes []aofSize
	err   error
}

type aofSize struct {
	at   time.Time
	size int64
}

// watchAOF starts to record the size of the append-only file of a Redis.
func watchAOF(t *testing.T, addr string) *aofWatcher {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	files, err := filepath.Glob(filepath.Join(rdb.ConfigGet(t.Context(), "dir").Val()["dir"], "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	w := &aofWatcher{file: files[0], end: make(chan struct{})}
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
			w.sizes = append(w.sizes, aofSize{time.Now(), info.Size()})
		}
	})
	return w
}

// stop ends the recording and returns the size of the file a second ago.
func (w *aofWatcher) stop() int64 {
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

// newCounter returns a counter with a limit of four per consent, and its new Redis.
func newCounter(t *testing.T, args []string) (*unattended.Counter, *redistest.Server) {
	server := redistest.Start(t, args...)
	s := redistest.OpenAt(t, server.Addr)
	policy := config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent}
	return unattended.New(s.Counter, map[string]config.Unattended{mastercardsim.WoodBank: policy}).Within(redistest.CommandTimeout), server
}

// takeSlots takes n slots, four of each consent, with a number of concurrent workers, and returns
// the duration.
func takeSlots(t *testing.T, c *unattended.Counter, workers int, n int64) time.Duration {
	ids := newConsents()
	var taken atomic.Int64
	var done sync.WaitGroup
	began := time.Now()
	for range workers {
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

// measureSlots returns the duration of taking one slot after the other, and how many slots 64
// concurrent workers take per second.
func measureSlots(t *testing.T, args []string) (one time.Duration, perSecond int) {
	c, _ := newCounter(t, args)
	takeSlots(t, c, 64, 1000)
	const few, many = 4_000, 40_000
	one = takeSlots(t, c, 1, few) / few
	return one, int(many / takeSlots(t, c, 64, many).Seconds())
}

// measureMemory returns by how many bytes Redis grows when the four slots of a number of consents
// are taken.
func measureMemory(t *testing.T, units int64) int64 {
	c, server := newCounter(t, nil)
	takeSlots(t, c, 64, 1000)
	before := server.UsedMemory()
	takeSlots(t, c, 64, 4*units)
	if n, err := server.Do("DBSIZE").Int(); err != nil || n < int(units) {
		t.Errorf("%d keys, %v", n, err)
	}
	return int64(server.UsedMemory() - before)
}
