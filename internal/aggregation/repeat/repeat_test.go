package repeat_test

import (
	"testing"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/aggregation/repeat"
	"ais-gateway/internal/canonical"
)

// The other tests of this package are in internal/aggregation/runner, whose fixture they use.

// TestPassTime: a stored wait is shorter in a repeat, but at least a second.
func TestPassTime(t *testing.T) {
	waits := func(d time.Duration) *canonical.Error {
		return &canonical.Error{Kind: canonical.UnattendedLimit, RetryAfter: d}
	}
	r := aggregation.SourceResult{Failure: waits(24 * time.Hour), Accounts: []aggregation.Account{
		{Failure: waits(time.Minute)}, {Failure: waits(0)}, {},
	}}
	repeat.PassTime(r, time.Now().Add(-12*time.Hour))
	if got := r.Failure.RetryAfter; got > 12*time.Hour || got < 11*time.Hour {
		t.Errorf("the wait of the source is %v", got)
	}
	if a := r.Accounts; a[0].Failure.RetryAfter != time.Second || a[1].Failure.RetryAfter != 0 {
		t.Errorf("%v, %v", a[0].Failure.RetryAfter, a[1].Failure.RetryAfter)
	}
}
