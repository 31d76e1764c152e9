package unattended_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

// TestTrack: each step stores the usage that a read after it returns.
func TestTrack(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			c, call := counter(rdb, daily(3, config.UnitConsent)), list()
			plain, tracker := unattended.Track(t.Context())
			ctx, end := context.WithCancel(context.WithoutCancel(plain))
			end() // also for a caller that has disconnected
			agrees := func(when string, used, remaining int) {
				t.Helper()
				tracked := tracker.Usage()
				want, err := c.Usage(t.Context(), call)
				if err != nil || tracked == nil || want.Used != used || want.Remaining != remaining {
					t.Fatalf("%s: %+v, tracked %+v, %v", when, want, tracked, err)
				}
				got := *tracked
				if diff := got.Wait - want.Wait; diff < 0 || diff > time.Minute {
					t.Errorf("%s: wait %v, then %v", when, got.Wait, want.Wait)
				}
				got.Wait, want.Wait = 0, 0
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-read +tracked):\n%s", when, diff)
				}
			}
			if u := tracker.Usage(); u != nil {
				t.Errorf("before any step: %+v", u)
			}
			if _, err := c.Take(ctx, call, time.Second); err != nil {
				t.Fatal(err)
			}
			agrees("taken", 1, 2)
			slot, err := c.Take(ctx, call, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if err := slot.Release(ctx); err != nil {
				t.Fatal(err)
			}
			agrees("released", 1, 2)
			mustTake(t, c, call, 2)
			_, err = c.Take(ctx, call, time.Second)
			refused(t, err)
			agrees("refused", 3, 0)
			if _, err := c.Block(ctx, call, time.Hour); err != nil {
				t.Fatal(err)
			}
			agrees("blocked", 3, 0)
			call = list()
			if left, err := c.Block(ctx, call, time.Hour); err != nil || left != time.Hour {
				t.Fatal(left, err)
			}
			agrees("blocked and unused", 0, 0)
		})
	}
}

// TestTrackOfAnUnconfirmedBlock: no usage is tracked if Redis has not confirmed a block.
func TestTrackOfAnUnconfirmedBlock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, call := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(3, config.UnitConsent)), list()
	ctx, tracker := unattended.Track(t.Context())
	if _, err := c.Take(ctx, call, time.Second); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, err := c.Block(ctx, call, time.Hour); err == nil {
		t.Fatal("confirmed by a stopped Redis")
	}
	if u := tracker.Usage(); u != nil {
		t.Errorf("tracked %+v", u)
	}
}
