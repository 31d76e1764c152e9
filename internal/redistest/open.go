package redistest

import (
	"testing"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/store"
)

// Patience is how long a step in Redis may take in a test that is not about that time: a busy machine must not look like a
// Redis that is away.
const Patience = time.Minute

// Open opens a Redis as the program does, but with Patience. It is closed when the test ends.
func Open(t testing.TB, c config.Redis) *store.Store {
	t.Helper()
	s, err := store.OpenWithin(c, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// OpenAt is Open for a server at an address.
func OpenAt(t testing.TB, address string) *store.Store {
	t.Helper()
	return Open(t, config.Redis{Mode: config.Standalone, Addresses: []string{address}})
}
