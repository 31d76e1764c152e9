package dialect

import (
	"testing"

	"ais-gateway/internal/providers/adapter"
)

// TestCodesHaveARank checks that a code's kind has a rank, without which it never decides.
func TestCodesHaveARank(t *testing.T) {
	for code, kind := range codes {
		if !adapter.MoreSpecific(kind, "") {
			t.Errorf("code %s: %s has no rank: add it to kindPriority in internal/providers/adapter/errors.go", code, kind)
		}
	}
}
