package unattended_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/store"
)

// TestUnreadableCountFailsClosed: if a key has another format, for example that of a later version,
// no call is allowed.
func TestUnreadableCountFailsClosed(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		for what, put := range map[string]func(prefix string) error{
			"slots as a string":     func(p string) error { return rdb.Set(t.Context(), p+"slots", "4", time.Hour).Err() },
			"slots as a hash":       func(p string) error { return rdb.HSet(t.Context(), p+"slots", "used", 4).Err() },
			"a block with a prefix": func(p string) error { return rdb.Set(t.Context(), p+"closed", "v2:1", time.Hour).Err() },
			"a block in a set":      func(p string) error { return rdb.ZAdd(t.Context(), p+"closed", redis.Z{Member: "1"}).Err() },
			"an empty block":        func(p string) error { return rdb.Set(t.Context(), p+"closed", "", time.Hour).Err() },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				c, call := counter(rdb, daily(4, config.UnitConsent)), list()
				if err := put(store.Prefix("unattended", call.ASPSP, call.Consent)); err != nil {
					t.Fatal(err)
				}
				var failure *canonical.Error
				if err := take(t, c, call); !errors.As(err, &failure) || failure.Kind != canonical.CounterUnavailable {
					t.Errorf("take: %v", err)
				}
				if _, err := c.Usage(t.Context(), call); !errors.As(err, &failure) || failure.Kind != canonical.CounterUnavailable {
					t.Errorf("usage: %v", err)
				}
			})
		}
	}
}
