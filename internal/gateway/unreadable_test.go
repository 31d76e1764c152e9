package gateway_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/redistest"
)

// TestGatewaysWithDifferentKeys: a fresh list that was encrypted under another key is neither
// fetched again by an unattended request nor overwritten, so gateways with different keys do not
// use up the slots of a consent.
func TestGatewaysWithDifferentKeys(t *testing.T) {
	w := newFixture(t)
	a, q := w.gateway(), newQuery()
	w.key = bytes.Repeat([]byte{7}, 32)
	b := w.gateway()
	freshFor := w.aspsp.Accounts.FreshFor
	w.aspsp.Accounts.FreshFor = time.Nanosecond
	later := w.gateway() // with a shorter FreshFor, so that the list is stale
	w.aspsp.Accounts.FreshFor = freshFor

	mustList(t, a, q, gateway.CacheControl{})
	calls := len(w.callLog.Calls())
	for range 5 {
		for _, age := range []*time.Duration{nil, new(time.Duration)} { // the gateway with the key decides how long its list is fresh
			list, err := b.Accounts(t.Context(), client, q, gateway.CacheControl{MaxAge: age})
			if kind(err) != canonical.InternalError || list.CacheResult != gateway.CacheUnreadable {
				t.Errorf("the gateway without the key: %v, %s", err, list.CacheResult)
			}
		}
		if list := mustList(t, a, q, gateway.CacheControl{}); !list.Cache.Hit {
			t.Errorf("the gateway with the key: %+v", list.Cache)
		}
	}
	if n := len(w.callLog.Calls()) - calls; n != 0 {
		t.Errorf("%d calls for lists that are cached", n)
	}
	if _, err := b.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); !listUnavailable(err) {
		t.Errorf("only if cached: %v", err)
	}
	if list := mustList(t, b, attended(q), gateway.CacheControl{}); list.Cache.Hit || list.Cache.Stored {
		t.Errorf("attended: %+v", list.Cache)
	}
	if list := mustList(t, a, q, gateway.CacheControl{}); !list.Cache.Hit {
		t.Errorf("overwritten: %+v", list.Cache)
	}
	if list := mustList(t, b, q, gateway.CacheControl{NoCache: true}); list.Cache.Stored {
		t.Errorf("no-cache: %+v", list.Cache)
	}
	if list := mustList(t, later, q, gateway.CacheControl{}); !list.Cache.Stored {
		t.Errorf("a stale list: %+v", list.Cache)
	}
}

// listUnavailable reports whether err is NOT_CACHED because no readable list is available, and not
// because no list is cached.
func listUnavailable(err error) bool {
	return kind(err) == canonical.NotCached && strings.Contains(err.Error(), "No cached account list is available")
}

// TestOnlyIfCachedWithoutRedis: while Redis does not respond, the error does not claim that no list
// is cached.
func TestOnlyIfCachedWithoutRedis(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	redis := redistest.Start(t)
	w.cacheAddr = redis.Addr
	g := w.gateway()
	for _, q := range []canonical.Query{newQuery(), attended(newQuery())} {
		if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached || listUnavailable(err) {
			t.Errorf("nothing is cached: %v", err)
		}
	}
	redis.Stop()
	for _, q := range []canonical.Query{newQuery(), attended(newQuery())} {
		if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); !listUnavailable(err) {
			t.Errorf("Redis is down: %v", err)
		}
	}
}
