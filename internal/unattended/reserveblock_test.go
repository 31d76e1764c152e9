package unattended_test

import (
	"testing"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/unattended"
)

// TestBlockStopsReservedCalls: after the ASPSP has refused a call, no reserved slot of its unit is
// used, neither for the same source nor for another one of this gateway. What was not used is free.
func TestBlockStopsReservedCalls(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(4, config.UnitConsent)), list()
			own, other := c.NewReservation(24*time.Hour), c.NewReservation(24*time.Hour)
			for _, r := range []*unattended.Reservation{own, other} {
				if _, _, failure := r.Reserve(t.Context(), []unattended.Call{call, call}, false); failure != nil {
					t.Fatal(failure)
				}
			}
			ctx := unattended.WithReservation(t.Context(), own)
			if _, err := c.Take(ctx, call, time.Hour); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Block(ctx, call, time.Hour); err != nil {
				t.Fatal(err)
			}
			_, err := c.Take(ctx, call, time.Hour)
			refused(t, err)
			_, err = c.Take(unattended.WithReservation(t.Context(), other), call, time.Hour)
			refused(t, err)
			if released, u := other.Release(t.Context(), call); released != 1 || u == nil || u.Used != 1 {
				t.Errorf("released %d, usage %+v, want only the call that was made", released, u)
			}
		})
	}
}
