package unattended_test

import (
	"testing"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// BenchmarkTake takes slots of different consents, with Redis on the same machine.
func BenchmarkTake(b *testing.B) {
	s := redistest.OpenAt(b, redistest.Shared(b))
	c := counter(s.Counter, daily(4, config.UnitConsent))
	for b.Loop() {
		if _, err := c.Take(b.Context(), list(), time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUsage reads the usage of a unit whose four slots are taken.
func BenchmarkUsage(b *testing.B) {
	s := redistest.OpenAt(b, redistest.Shared(b))
	c, call := counter(s.Counter, daily(4, config.UnitConsent)), list()
	for range 4 {
		if _, err := c.Take(b.Context(), call, time.Second); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if u, err := c.Usage(b.Context(), call); err != nil || u.Remaining != 0 {
			b.Fatal(u, err)
		}
	}
}
