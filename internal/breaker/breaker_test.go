package breaker_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

var settings = config.Breaker{ConsecutiveFailures: 3, FailureRatio: 0.5, MinimumCalls: 10, Interval: time.Minute, OpenFor: 30 * time.Second}

// failing is a call that ends in kind.
func failing(k canonical.Kind) func() error {
	return func() error { return &canonical.Error{Kind: k, Origin: canonical.OriginProvider} }
}

func fine() error { return nil }

func newBreaker(changes *[]breaker.State) *breaker.Breaker {
	return breaker.New(settings, time.Now, func(s breaker.State) { *changes = append(*changes, s) })
}

func TestOpensTriesAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for range 3 {
			_ = b.Do(failing(canonical.ProviderTimeout))
		}
		called := false
		time.Sleep(10 * time.Second)
		err := b.Do(func() error { called = true; return nil })
		var refusal *canonical.Error
		if called || !errors.As(err, &refusal) || refusal.Kind != canonical.ProviderUnavailable ||
			refusal.Origin != canonical.OriginGateway || refusal.RetryAfter != 20*time.Second {
			t.Errorf("called %t, refusal %+v", called, refusal)
		}
		time.Sleep(21 * time.Second)
		_ = b.Do(failing(canonical.ProviderError)) // the trial call fails
		if err := b.Do(fine); err == nil {
			t.Error("a failed trial does not open the breaker again")
		}
		time.Sleep(31 * time.Second)
		if b.State() != breaker.HalfOpen || b.Do(fine) != nil || b.State() != breaker.Closed {
			t.Errorf("a good trial does not close the breaker: %s", b.State())
		}
		want := []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Open, breaker.HalfOpen, breaker.Closed}
		if !slices.Equal(changes, want) {
			t.Errorf("changes %v, want %v", changes, want)
		}
	})
}

func TestOneTrialAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for range 3 {
			_ = b.Do(failing(canonical.ProviderTimeout))
		}
		time.Sleep(31 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.Do(func() error { time.Sleep(time.Second); return nil })
		}()
		synctest.Wait()
		var refusal *canonical.Error
		if err := b.Do(fine); !errors.As(err, &refusal) || refusal.RetryAfter < time.Second {
			t.Errorf("a second call beside the trial: %v", err)
		}
		<-done
	})
}

func TestOpensByRatio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for i := range 9 {
			if i%2 == 0 {
				_ = b.Do(failing(canonical.ProviderError))
			} else {
				_ = b.Do(fine)
			}
		}
		if b.State() != breaker.Closed {
			t.Fatal("opened before the minimum of calls")
		}
		_ = b.Do(failing(canonical.ProviderError))
		if b.State() != breaker.Open {
			t.Error("stays closed with six of ten failed")
		}
	})
}

// Outcomes that say nothing about the ASPSP make no difference to the ratio, however many there are.
func TestRatioIsOfJudgedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for i := range 10 {
			for range 50 {
				_ = b.Do(failing(canonical.CounterUnavailable))
			}
			if i%5 < 2 {
				_ = b.Do(failing(canonical.ProviderError))
			} else {
				_ = b.Do(fine)
			}
			if i%2 == 0 {
				_ = b.Do(fine)
			}
		}
		if b.State() == breaker.Open {
			t.Fatal("opened with less than half failed")
		}
		for range 8 {
			_ = b.Do(failing(canonical.ProviderError))
			_ = b.Do(failing(canonical.ProviderError))
			_ = b.Do(fine)
		}
		if b.State() != breaker.Open {
			t.Error("stays closed although more than half of the judged calls failed")
		}
	})
}

func TestOldCallsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for range 4 {
			_ = b.Do(failing(canonical.ProviderError))
			time.Sleep(time.Minute)
		}
		if b.State() != breaker.Closed {
			t.Error("failures of different intervals were added up")
		}
	})
}

// Which failures say that the ASPSP is down, and which say nothing, or that it lives.
func TestWhatCounts(t *testing.T) {
	counts := map[canonical.Kind]bool{
		canonical.ProviderUnavailable: true, canonical.ProviderTimeout: true,
		canonical.ProviderError: true, canonical.ProviderInvalidResponse: true,
	}
	for _, k := range canonical.Kinds() {
		t.Run(string(k), func(t *testing.T) {
			var changes []breaker.State
			b := newBreaker(&changes)
			for range 50 {
				_ = b.Do(failing(k))
			}
			if open := b.State() == breaker.Open; open != counts[k] {
				t.Errorf("opened: %t", open)
			}
		})
	}
	t.Run("a 4xx answer", func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for range 50 {
			_ = b.Do(func() error {
				return &canonical.Error{Kind: canonical.ProviderError, Upstream: &canonical.UpstreamError{HTTPStatus: 400}}
			})
		}
		if b.State() != breaker.Closed {
			t.Error("opened on one consent's trouble")
		}
	})
	t.Run("refusals in between do not make failures consecutive or not", func(t *testing.T) {
		var changes []breaker.State
		b := newBreaker(&changes)
		for range 3 {
			_ = b.Do(failing(canonical.ProviderTimeout))
			_ = b.Do(func() error { return canonical.Fail(canonical.UnattendedLimit, "") })
		}
		if b.State() != breaker.Open {
			t.Error("a refusal by the counter passed for a sign of life")
		}
	})
}

// A clock that is set back a day says nothing of when the next trial is.
func TestClockIsSetBack(t *testing.T) {
	now := time.Now().Round(0)
	b := breaker.New(settings, func() time.Time { return now }, func(breaker.State) {})
	for range 3 {
		_ = b.Do(failing(canonical.ProviderTimeout))
	}
	now = now.Add(-24 * time.Hour)
	var refusal *canonical.Error
	if err := b.Do(fine); !errors.As(err, &refusal) || refusal.RetryAfter > settings.OpenFor {
		t.Errorf("%v, retry after %v", err, refusal.RetryAfter)
	}
}
