package unattended_test

import (
	"testing"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// One slot taken, each under a consent of its own, on a Redis on the same machine.
func BenchmarkTake(b *testing.B) {
	s := redistest.OpenAt(b, redistest.Shared(b))
	c := counter(s.Counter, daily(4, config.UnitConsent))
	for b.Loop() {
		if _, err := c.Take(b.Context(), list(), time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

// Where a unit stands whose four slots are taken.
func BenchmarkState(b *testing.B) {
	s := redistest.OpenAt(b, redistest.Shared(b))
	c, call := counter(s.Counter, daily(4, config.UnitConsent)), list()
	for range 4 {
		if _, err := c.Take(b.Context(), call, time.Second); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if state, err := c.Usage(b.Context(), call); err != nil || state.Remaining != 0 {
			b.Fatal(state, err)
		}
	}
}
