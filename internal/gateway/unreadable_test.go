package gateway_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/redistest"
)

// TestGatewaysWithDifferentKeys holds that two gateways with different keys do not spend a consent's slots on each other's
// lists: a fresh list is neither fetched again without the user nor overwritten.
func TestGatewaysWithDifferentKeys(t *testing.T) {
	w := newWorld(t)
	a, q := w.gateway(), alone()
	w.key = bytes.Repeat([]byte{7}, 32)
	b := w.gateway()
	freshFor := w.bank.Accounts.FreshFor
	w.bank.Accounts.FreshFor = time.Nanosecond
	later := w.gateway() // for which the list is no longer fresh
	w.bank.Accounts.FreshFor = freshFor

	mustList(t, a, q, gateway.CacheControl{})
	calls := len(w.ledger.Calls())
	for range 5 {
		if _, err := b.Accounts(t.Context(), client, q, gateway.CacheControl{}); kind(err) != canonical.InternalError {
			t.Errorf("the gateway without the key: %v", err)
		}
		if list := mustList(t, a, q, gateway.CacheControl{}); !list.Cache.Hit {
			t.Errorf("the gateway with the key: %+v", list.Cache)
		}
	}
	if n := len(w.ledger.Calls()) - calls; n != 0 {
		t.Errorf("%d calls for lists that are cached", n)
	}
	if n := slices.Index(w.observed.results, gateway.CacheUnreadable); n < 0 {
		t.Errorf("not counted: %v", w.observed.results)
	}
	if _, err := b.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); !notKnown(err) {
		t.Errorf("only if cached: %v", err)
	}
	if list := mustList(t, b, attended(q), gateway.CacheControl{}); list.Cache.Hit || list.Cache.Stored {
		t.Errorf("with the user: %+v", list.Cache)
	}
	if list := mustList(t, a, q, gateway.CacheControl{}); !list.Cache.Hit {
		t.Errorf("overwritten: %+v", list.Cache)
	}
	if list := mustList(t, b, q, gateway.CacheControl{NoCache: true}); list.Cache.Stored {
		t.Errorf("a caller who wants a call: %+v", list.Cache)
	}
	if list := mustList(t, later, q, gateway.CacheControl{}); !list.Cache.Stored {
		t.Errorf("once the list is no longer fresh: %+v", list.Cache)
	}
}

// notKnown reports whether an error says that no list is available, not that none is cached.
func notKnown(err error) bool {
	return kind(err) == canonical.NotCached && strings.Contains(err.Error(), "No cached account list is available")
}

// TestOnlyIfCachedWithoutRedis: whether a list is cached is not known where Redis does not answer.
func TestOnlyIfCachedWithoutRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	redis := redistest.Start(t)
	w.cacheAt = redis.Addr
	g := w.gateway()
	for _, q := range []canonical.Query{alone(), attended(alone())} {
		if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); kind(err) != canonical.NotCached || notKnown(err) {
			t.Errorf("nothing is cached: %v", err)
		}
	}
	redis.Stop()
	for _, q := range []canonical.Query{alone(), attended(alone())} {
		if _, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{OnlyIfCached: true}); !notKnown(err) {
			t.Errorf("Redis is away: %v", err)
		}
	}
}
