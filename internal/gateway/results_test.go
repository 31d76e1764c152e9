package gateway_test

import (
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
)

// staleReasons is the stale rule, as in docs/design.md under Failures: the reason of each kind of
// failure after which a stale list is served. A failure of another kind is returned.
var staleReasons = map[canonical.Kind]gateway.StaleReason{
	canonical.UnattendedLimit:         gateway.StaleByLimit,
	canonical.PSUAddressRequired:      gateway.StaleWithoutUser,
	canonical.CounterUnavailable:      gateway.StaleWithoutCounter,
	canonical.ProviderUnavailable:     gateway.StaleWithoutProvider,
	canonical.ProviderTimeout:         gateway.StaleWithoutProvider,
	canonical.ProviderError:           gateway.StaleWithoutProvider,
	canonical.ProviderThrottled:       gateway.StaleWithoutProvider,
	canonical.ProviderInvalidResponse: gateway.StaleWithoutProvider,
	canonical.Overloaded:              gateway.StaleWithoutProvider,
	canonical.NotInTime:               gateway.StaleWithoutProvider,
}

// TestStaleReasonOfEveryKind: after a failure, a stale list is served with the reason of its kind,
// or the failure is returned.
func TestStaleReasonOfEveryKind(t *testing.T) {
	t.Parallel()
	w, provider := newFixture(t), twoAccounts()
	g := w.gatewayOf(provider, w.gateway().Counter, w.gateway().Config.Cache)
	q := attended(newQuery())
	mustList(t, g, q, gateway.CacheControl{})
	for _, k := range canonical.Kinds() {
		// A rejected token deletes no list, so that only the rule decides.
		provider.failWith(canonical.Error{Kind: k, Origin: canonical.OriginProvider, TokenRejected: true})
		list, err := g.Accounts(t.Context(), client, q, gateway.CacheControl{MaxAge: new(time.Duration)})
		want, failure := staleReasons[k], k
		if want != gateway.NoReason {
			failure = ""
		}
		if kind(err) != failure || list.Freshness.StaleReason != want || list.Freshness.Stale != (err == nil) {
			t.Errorf("%s: %v, %+v, want %q", k, err, list.Freshness, want)
		}
	}
}
