package redistest

import (
	"testing"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/store"
)

// CommandTimeout is the timeout of Redis commands in tests that are not about that timeout: a slow
// machine must not look like a Redis that is unreachable.
const CommandTimeout = time.Minute

// Open opens a Redis as the gateway does, but with CommandTimeout, until the test ends.
func Open(t testing.TB, c config.Redis) *store.Store {
	t.Helper()
	s, err := store.OpenWithin(c, CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// OpenAt is Open for a single server, host:port.
func OpenAt(t testing.TB, address string) *store.Store {
	t.Helper()
	return Open(t, config.Redis{Mode: config.Standalone, Addresses: []string{address}})
}
