package canonical_test

import (
	"testing"

	"ais-gateway/internal/canonical"
)

func BenchmarkAmount(b *testing.B) {
	for b.Loop() {
		a, err := canonical.ParseAmount("-1234567.8900", "EUR")
		if err != nil || a.Value() != "-1234567.89" {
			b.Fatal(a.Value(), err)
		}
	}
}
