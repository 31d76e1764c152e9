package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
	"ais-gateway/internal/unattended/unitstats"
)

// documentedKeys returns the keys in docs/operations.md, without hashes and without what follows
// the kind of key.
func documentedKeys(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "### What requests leave in Redis\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	for row := range strings.Lines(section) {
		if !strings.HasPrefix(row, "| `ais:1:") {
			continue
		}
		prefix := ""
		for _, name := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			key := name[1]
			if rest, ok := strings.CutPrefix(key, "…:"); ok {
				key = prefix + rest
			}
			prefix = key[:strings.LastIndex(strings.TrimSuffix(key, ":…"), ":")+1]
			all = append(all, strings.TrimSuffix(key, ":…"))
		}
	}
	slices.Sort(all)
	return all
}

// keyBounds returns the longest lifetime and the largest size of each key, as documented in
// docs/operations.md.
func keyBounds(b config.ASPSP, timeout time.Duration) map[string]struct {
	life  time.Duration
	bytes int64
} {
	type bound = struct {
		life  time.Duration
		bytes int64
	}
	window := b.Unattended.Window
	return map[string]bound{
		"ais:1:unattended:{…}:slots":    {2*window + timeout, 650},
		"ais:1:unattended:{…}:closed":   {window + time.Second, 250},
		"ais:1:unattended:{…}:looked":   {time.Second, 250},
		"ais:1:unattended:{…}:released": {time.Minute, 250},
		"ais:1:units:{…}:used_up":       {2*window + 10*time.Minute, 150 + 10*135},
		"ais:1:units:{…}:last":          {2*window + 10*time.Minute, 150 + 10*135},
		"ais:1:units:{…}:closed":        {2*window + 10*time.Minute, 150 + 10*135},
		"ais:1:accounts:{…}:list":       {b.Accounts.KeepFor, 2048},
		"ais:1:accounts:{…}:lease":      {timeout + 2*time.Second, 300},
		"ais:1:accounts:{…}:calls":      {timeout + 32*time.Second, 260},
		"ais:1:accounts:{…}:note":       {10 * time.Second, 2048},
		"ais:1:accounts:{…}:refused":    {time.Hour, 2700},
		"ais:1:accounts:{…}:pages":      {7 * 24 * time.Hour, 250},

		"ais:1:accounts:{…}:aggregations": {20 * time.Minute, 1000 + 250},
		"ais:1:aggregations:{…}:results":  {10 * time.Minute, 1300 + 2*(150+2)},
	}
}

// TestEveryKeyIsDocumented makes all kinds of requests, and compares what they leave in Redis with
// docs/operations.md.
func TestEveryKeyIsDocumented(t *testing.T) {
	w := newFixture(t)
	server := redistest.Start(t)
	w.cacheAddr, w.counterAddr = server.Addr, server.Addr
	w.aspsp.Unattended.Limit = 2
	g := w.gateway()
	s := w.open(server.Addr)
	policies := map[string]config.Unattended{aspspID: w.aspsp.Unattended}
	units := unitstats.New(s.Counter, policies).Within(longTimeout)
	counter := unattended.New(s.Counter, policies).Within(longTimeout).WithUnitStats(units)

	hash, seen, bounds := regexp.MustCompile(`\{[^}]*\}`), map[string]bool{}, keyBounds(w.aspsp, w.timeout)
	look := func() {
		t.Helper()
		for keys := s.Counter.Scan(t.Context(), 0, "*", 0).Iterator(); keys.Next(t.Context()); {
			left := s.Counter.PTTL(t.Context(), keys.Val()).Val()
			bytes := s.Counter.MemoryUsage(t.Context(), keys.Val(), 0).Val()
			key := hash.ReplaceAllString(keys.Val(), "{…}")
			key = strings.Join(strings.SplitN(key, ":", 6)[:min(5, strings.Count(key, ":")+1)], ":")
			seen[key] = true
			bound, known := bounds[key]
			if left == -2 { // deleted since the scan
				continue
			}
			if !known || left <= 0 || left > bound.life || bytes > bound.bytes {
				t.Errorf("%s takes %d bytes for %v", keys.Val(), bytes, left)
			}
		}
	}
	q, invented := newQuery(), newQuery()
	for range 3 {
		if err := g.DeleteCachedData(t.Context(), client, invented); err != nil {
			t.Fatal(err)
		}
		_, _ = g.UnattendedAccess(t.Context(), listOf(invented))
		_, _ = g.Accounts(t.Context(), client, invented, gateway.CacheControl{OnlyIfCached: true})
	}
	if n := s.Counter.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("an invented consent leaves %d keys", n)
	}
	w.interceptor.handle(status(http.StatusUnauthorized))
	for range 40 {
		_, _ = g.Balances(t.Context(), client, attended(newQuery()), mypossim.GoodAccount)
	}
	if n := s.Counter.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("attended requests with invented consents leave %d keys", n)
	}
	_, _ = g.Balances(t.Context(), client, invented, mypossim.GoodAccount)
	k := cache.Key{Client: client, ASPSP: aspspID, Consent: invented.Consent}
	for i := range 40 { // more than the number of refusals that are remembered
		learn(t, g.Config.Cache, k, cache.Learned{Subject: fmt.Sprintf("%043d", i), RefusedWith: canonical.ConsentInvalid})
	}
	look()
	k.Consent = newQuery().Consent
	learn(t, g.Config.Cache, k, cache.Learned{Pages: 200})
	look()
	id := cache.ReplayID{Client: client, Key: "monthly"}
	stored, err := g.Config.Cache.Claim(t.Context(), id, strings.Repeat("f", 64), []cache.Key{k}, time.Minute)
	if err != nil || g.Config.Cache.StoreResults(t.Context(), id, stored.Run, map[int]json.RawMessage{0: []byte("{}"), 1: []byte("{}")}, true) != nil {
		t.Fatal("the aggregation is not stored", err)
	}
	look()
	w.interceptor.handle(func(rw http.ResponseWriter, r *http.Request) { look(); w.interceptor.sim.ServeHTTP(rw, r) })
	mustList(t, g, q, gateway.CacheControl{})
	mustList(t, g, attended(q), gateway.CacheControl{NoCache: true})
	_, _ = g.Balances(t.Context(), client, q, mypossim.GoodAccount)
	_, _ = g.Balances(t.Context(), client, attended(q), mypossim.GoodAccount)
	_, _ = g.Balances(t.Context(), client, q, mypossim.GoodAccount) // refused
	look()
	for _, n := range []int{1, 2} { // units with one call left, and with none
		call := unattended.Call{ASPSP: aspspID, Consent: newQuery().Consent}
		for range n {
			if _, err := counter.Take(t.Context(), call, w.timeout); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := counter.Block(t.Context(), call, 0); err != nil {
			t.Fatal(err)
		}
	}
	slot, err := counter.Take(t.Context(), unattended.Call{ASPSP: aspspID, Consent: newQuery().Consent}, w.timeout)
	if err = errors.Join(err, slot.Release(t.Context()), counter.Drain(t.Context())); err != nil {
		t.Fatal(err)
	}
	look()
	_, _ = unattended.New(s.Counter, policies).WithReplicas(1).Usage(t.Context(), unattended.Call{ASPSP: aspspID, Consent: q.Consent})
	seen["ais:1:unattended:{…}:looked"] = true // it may expire before the scan
	look()
	if err := g.DeleteCachedData(t.Context(), client, q); err != nil {
		t.Fatal(err)
	}
	look()
	if found, documented := slices.Sorted(maps.Keys(seen)), documentedKeys(t); !slices.Equal(found, documented) {
		t.Errorf("found %q, documented %q", found, documented)
	}
}
