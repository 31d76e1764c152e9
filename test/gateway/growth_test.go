//go:build measure

package gateway_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

// growthSteps are the numbers of consents with which TestGrowth measures.
var growthSteps = []int{1_000, 10_000, 100_000, 1_000_000}

// TestGrowth measures what requests cost with more and more consents in Redis, each with a cached
// list of three accounts and two slots, and prints a table for docs/performance.md. Only `make growth`
// builds and runs it. Redis takes 2 GB at the end.
func TestGrowth(t *testing.T) {
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	p := serve(t, w.ConfigFile)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: sizingWorkers}, Timeout: time.Minute}
	all := newConsents()
	fill := newGrowth(t, server, w)
	user := []string{"PSU-IP-Address", "203.0.113.7"}
	fmt.Print("| consents | Redis | gateway, resident | request | a second | median, 99th percentile | processor of the gateway | of Redis |\n")
	fmt.Print("|---|---|---|---|---|---|---|---|\n")
	filled := 0
	for _, n := range growthSteps {
		fill.add(all, filled, n)
		filled = n
		anyConsent := func() consent { return all.at(2 * rand.N(n)) }
		for _, kind := range []struct {
			name   string
			header []string
		}{
			{"a list from the cache, attended", user}, {"a list from the cache, unattended", nil},
		} {
			sizingRequest(t, client, p.API, anyConsent(), 0, kind.header) // opens connections
			took, ours, redis := sizingCost(t, p.Pid(), server, func() []time.Duration {
				return sizingLoad(t, client, p.API, anyConsent, 0, kind.header, http.StatusOK)
			})
			each := func(cpu time.Duration) time.Duration { return (cpu / time.Duration(len(took))).Round(time.Microsecond) }
			fmt.Printf("| %d | %d MB | %d MB | %s | %.0f | %v, %v | %v | %v |\n", n, server.UsedMemory()>>20, gatewaytest.ResidentMB(t, p.Pid()),
				kind.name, float64(len(took))/sizingDuration.Seconds(), took[len(took)/2].Round(10*time.Microsecond),
				took[len(took)*99/100].Round(10*time.Microsecond), each(ours), each(redis))
		}
	}
}

// growth writes lists and slots of consents as a gateway does.
type growth struct {
	t       *testing.T
	lists   *cache.Cache
	counter *unattended.Counter
	list    []byte
}

func newGrowth(t *testing.T, server *redistest.Server, w *sandbox.Sandbox) *growth {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(w.ConfigFile), "cache-key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	lists, err := cache.New(s.Cache, [][]byte{key})
	if err != nil {
		t.Fatal(err)
	}
	var accounts []canonical.Account
	for i := range 3 {
		accounts = append(accounts, canonical.Account{
			ID: strconv.Itoa(50_040_710_001 + i), Name: "Current account", Currency: "EUR",
		})
	}
	list, err := canonical.EncodeAccounts(accounts)
	if err != nil {
		t.Fatal(err)
	}
	daily := config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent}
	return &growth{t, lists, unattended.New(s.Counter, map[string]config.Unattended{newConsents().at(0).aspsp: daily}), list}
}

// add adds the consents from first to the one before end.
func (g *growth) add(all consents, first, end int) {
	var next atomic.Int64
	next.Store(int64(first))
	var writers sync.WaitGroup
	for range sizingWorkers {
		writers.Go(func() {
			for i := int(next.Add(1)) - 1; i < end; i = int(next.Add(1)) - 1 {
				if err := g.write(all.at(2 * i)); err != nil {
					g.t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

func (g *growth) write(c consent) error {
	ctx := context.Background()
	lease := cache.NewLease(cache.CallID{Key: cache.Key{Client: "sandbox", ASPSP: c.aspsp, Consent: c.id}, ShareKey: "growth"})
	found, err := g.lists.Acquire(ctx, lease, cache.Lookup{List: true, TTL: time.Minute})
	if err != nil {
		return err
	}
	entry := &cache.Entry{Accounts: g.list, FetchedAt: found.Now}
	if _, err := g.lists.Publish(ctx, found.Lease, cache.CallResult{Entry: entry, KeepFor: 24 * time.Hour, FreshFor: time.Hour}); err != nil {
		return err
	}
	for range 2 {
		if _, err := g.counter.Take(ctx, unattended.Call{ASPSP: c.aspsp, Consent: c.id}, time.Minute); err != nil {
			return err
		}
	}
	return nil
}
