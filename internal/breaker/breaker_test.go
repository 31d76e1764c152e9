package breaker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

var settings = config.Breaker{ConsecutiveFailures: 3, FailureRatio: 0.5, MinimumCalls: 10, Interval: time.Minute, OpenFor: 30 * time.Second}

const timeout = 10 * time.Second

// failing returns a call that fails with kind, without a response.
func failing(k canonical.Kind) func() error {
	return func() error { return &canonical.Error{Kind: k, Origin: canonical.OriginProvider} }
}

// responding returns a call that fails with kind, with a response of this status.
func responding(k canonical.Kind, status int) func() error {
	return func() error {
		return &canonical.Error{Kind: k, Origin: canonical.OriginProvider, Upstream: &canonical.UpstreamError{HTTPStatus: status}}
	}
}

func fine() error { return nil }

var (
	down = failing(canonical.ProviderUnavailable)
	late = failing(canonical.ProviderTimeout)
	ill  = responding(canonical.ProviderError, 500)
)

// recordedBreaker is a Breaker whose state changes are recorded.
type recordedBreaker struct {
	*breaker.Breaker
	changes []breaker.State
}

func newRecorded(c config.Breaker) *recordedBreaker {
	w := &recordedBreaker{}
	w.Breaker = breaker.New(c, timeout, time.Now, func(s breaker.State) { w.changes = append(w.changes, s) })
	return w
}

// opened returns a breaker that has just opened.
func opened(t *testing.T) *recordedBreaker {
	t.Helper()
	w := newRecorded(settings)
	for range 3 {
		_ = w.Do("a", down)
	}
	if w.State() != breaker.Open {
		t.Fatal("three connection failures do not open the breaker")
	}
	return w
}

// refused returns the error with which the breaker refuses a call, nil if it makes the call.
func refused(b *breaker.Breaker, consent string) *canonical.Error {
	called := false
	err := b.Do(consent, func() error { called = true; return canonical.NewError(canonical.Canceled, "") })
	var refusal *canonical.Error
	if called || !errors.As(err, &refusal) {
		return nil
	}
	return refusal
}

func TestOpenHalfOpenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(10 * time.Second)
		refusal := refused(b.Breaker, "b")
		if refusal == nil || refusal.Kind != canonical.ProviderUnavailable || refusal.Origin != canonical.OriginGateway ||
			refusal.RetryAfter != 20*time.Second {
			t.Errorf("refusal %+v", refusal)
		}
		time.Sleep(21 * time.Second)
		_ = b.Do("a", down) // the trial call fails
		if refused(b.Breaker, "a") == nil {
			t.Error("a failed trial does not open the breaker again")
		}
		time.Sleep(31 * time.Second)
		if b.State() != breaker.HalfOpen || b.Do("a", fine) != nil || b.State() != breaker.Closed {
			t.Errorf("a good trial does not close the breaker: %s", b.State())
		}
		want := []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Open, breaker.HalfOpen, breaker.Closed}
		if !slices.Equal(b.changes, want) {
			t.Errorf("changes %v, want %v", b.changes, want)
		}
	})
}

func TestOneTrialAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(31 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.Do("a", func() error { time.Sleep(time.Second); return nil })
		}()
		synctest.Wait()
		if refusal := refused(b.Breaker, "b"); refusal == nil || refusal.RetryAfter < time.Second {
			t.Errorf("a second call beside the trial: %v", refusal)
		}
		<-done
	})
}

// A trial that does not end blocks other trials no longer than the timeout, and its later outcome
// does not count.
func TestTrialHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(31 * time.Second)
		release, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = b.Do("a", func() error { <-release; return nil })
		}()
		time.Sleep(timeout - time.Second)
		if refused(b.Breaker, "b") == nil {
			t.Error("a second call beside the trial")
		}
		time.Sleep(2 * time.Second)
		if refusal := refused(b.Breaker, "a"); refusal == nil || refusal.RetryAfter != 29*time.Second {
			t.Errorf("the consent whose trial hangs: %v", refusal)
		}
		if b.State() != breaker.HalfOpen || refused(b.Breaker, "b") != nil {
			t.Errorf("others are kept out: %s", b.State())
		}
		close(release)
		<-done
		if b.State() != breaker.HalfOpen {
			t.Errorf("the late end of a trial counts: %s", b.State())
		}
		if err := b.Do("b", fine); err != nil || b.State() != breaker.Closed {
			t.Errorf("%v, %s", err, b.State())
		}
	})
}

// A trial that times out or fails with a response may show a failure of one consent only: the next
// trial decides.
func TestTrialOfOneConsentFails(t *testing.T) {
	for name, trial := range map[string]func() error{"late": late, "ill": ill, "504": responding(canonical.ProviderTimeout, 504)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := opened(t)
				time.Sleep(31 * time.Second)
				_ = b.Do("a", trial)
				if b.State() != breaker.HalfOpen || refused(b.Breaker, "a") == nil || refused(b.Breaker, "b") != nil {
					t.Fatalf("%s after the first trial", b.State())
				}
				_ = b.Do("b", trial)
				if b.State() != breaker.Open {
					t.Errorf("%s after the second trial", b.State())
				}
				time.Sleep(31 * time.Second)
				_ = b.Do("a", trial)
				time.Sleep(31 * time.Second)
				if b.State() != breaker.HalfOpen {
					t.Fatalf("%s", b.State())
				}
				_ = b.Do("a", trial) // without a call of another consent
				if b.State() != breaker.Open {
					t.Errorf("%s after the second trial of one consent", b.State())
				}
			})
		})
	}
}

func TestOpensByRatio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRecorded(settings)
		for i := range 9 {
			if i%2 == 0 {
				_ = b.Do("a", down)
			} else {
				_ = b.Do("a", fine)
			}
		}
		if b.State() != breaker.Closed {
			t.Fatal("opened before the minimum of calls")
		}
		_ = b.Do("a", down)
		if b.State() != breaker.Open {
			t.Error("stays closed with six of ten failed")
		}
	})
}

// Any number of inconclusive outcomes does not change the ratio.
func TestRatioIsOfJudgedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRecorded(settings)
		for i := range 10 {
			for range 50 {
				_ = b.Do("a", failing(canonical.CounterUnavailable))
			}
			if i%5 < 2 {
				_ = b.Do("a", down)
			} else {
				_ = b.Do("a", fine)
			}
			if i%2 == 0 {
				_ = b.Do("a", fine)
			}
		}
		if b.State() == breaker.Open {
			t.Fatal("opened with less than half failed")
		}
		for range 8 {
			_ = b.Do("a", down)
			_ = b.Do("a", down)
			_ = b.Do("a", fine)
		}
		if b.State() != breaker.Open {
			t.Error("stays closed although more than half of the judged calls failed")
		}
	})
}

func TestCountsExpire(t *testing.T) {
	for name, call := range map[string]func() error{"down": down, "ill": ill} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRecorded(settings)
				for i := range 4 {
					_ = b.Do(fmt.Sprint(i), call)
					time.Sleep(time.Minute + time.Second)
				}
				if b.State() != breaker.Closed {
					t.Error("failures of different intervals were added up")
				}
			})
		})
	}
}

// A failure with a response counts once per consent and interval while another consent succeeds.
func TestOneConsentFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRecorded(settings)
		_ = b.Do("good", fine)
		for range 50 {
			_ = b.Do("odd", ill)
			_ = b.Do("odd-2", ill)
		}
		if b.State() != breaker.Closed {
			t.Fatal("two consents open the breaker")
		}
		_ = b.Do("third", ill)
		if b.State() != breaker.Open {
			t.Error("failures of three consents do not open the breaker")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		patient := settings
		patient.ConsecutiveFailures = 5
		b := newRecorded(patient)
		_ = b.Do("good", fine)
		for range 50 {
			for _, consent := range []string{"odd", "odd-2", "odd-3"} {
				_ = b.Do(consent, ill)
			}
		}
		if b.State() != breaker.Closed {
			t.Fatal("a failure of one consent counts twice within an interval")
		}
		_ = b.Do("a", ill)
		_ = b.Do("b", ill)
		if b.State() != breaker.Open {
			t.Error("failures of five consents do not open the breaker")
		}
	})
}

// A consent whose last outcome is a success shows that the ASPSP works, even if it failed before;
// one that has failed since does not.
func TestLastOutcomeOfAnotherConsent(t *testing.T) {
	for _, failure := range []func() error{ill, late, down} {
		for _, recovers := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				b := newRecorded(settings)
				_ = b.Do("other", fine)
				_ = b.Do("other", failure)
				if recovers {
					for range 10 {
						_ = b.Do("other", fine)
					}
				}
				for range 5 {
					_ = b.Do("odd", ill)
				}
				if want := map[bool]breaker.State{true: breaker.Closed, false: breaker.Open}[recovers]; b.State() != want {
					t.Errorf("%v, recovers %t: %s", failure(), recovers, b.State())
				}
			})
		}
	}
}

// Each failure with a response counts while no other consent succeeds.
func TestTheOnlyConsentFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRecorded(settings)
		_ = b.Do("other", fine)
		time.Sleep(settings.Interval)
		_ = b.Do("only", fine)
		for range 2 {
			_ = b.Do("only", ill)
		}
		if b.State() != breaker.Closed {
			t.Fatal("two failures open the breaker")
		}
		_ = b.Do("only", ill)
		if b.State() != breaker.Open {
			t.Error("three failures do not open the breaker")
		}
	})
}

// Three consents must fail if another one has succeeded within the interval.
func TestConsentsNeeded(t *testing.T) {
	one := settings
	one.ConsecutiveFailures = 1
	tests := []struct {
		name string
		run  func(b *recordedBreaker)
		want breaker.State
	}{
		{"nobody succeeded", func(b *recordedBreaker) { _ = b.Do("a", ill) }, breaker.Open},
		{"the failing one succeeded", func(b *recordedBreaker) { _ = b.Do("a", fine); _ = b.Do("a", ill) }, breaker.Open},
		{"another succeeded", func(b *recordedBreaker) { _ = b.Do("b", fine); _ = b.Do("a", ill) }, breaker.Closed},
		{"another was refused", func(b *recordedBreaker) { _ = b.Do("b", failing(canonical.ConsentInvalid)); _ = b.Do("a", ill) }, breaker.Open},
		{"another succeeded long ago", func(b *recordedBreaker) {
			_ = b.Do("b", fine)
			time.Sleep(time.Minute)
			_ = b.Do("a", ill)
		}, breaker.Open},
		{"the failing ones succeeded last", func(b *recordedBreaker) {
			for _, consent := range []string{"c", "b", "a", "b", "a", "b"} {
				_ = b.Do(consent, fine)
			}
			_ = b.Do("a", ill)
			_ = b.Do("b", ill)
		}, breaker.Closed},
		{"three fail", func(b *recordedBreaker) {
			_ = b.Do("d", fine)
			for _, consent := range []string{"a", "b", "c"} {
				_ = b.Do(consent, ill)
			}
		}, breaker.Open},
		{"three fail, of which two are one", func(b *recordedBreaker) {
			_ = b.Do("d", fine)
			for _, consent := range []string{"a", "3C7816EE-3D51-4BF5-8CED-ECE2AF35D431", "3c7816ee-3d51-4bf5-8ced-ece2af35d431"} {
				_ = b.Do(consent, ill)
			}
		}, breaker.Closed},
		{"one fails in three spellings", func(b *recordedBreaker) {
			_ = b.Do("d", fine)
			for _, consent := range []string{"abc", "Abc", "a\u200bb\uff43", "a bc"} {
				_ = b.Do(consent, ill)
			}
		}, breaker.Closed},
		{"another spelling succeeded", func(b *recordedBreaker) { _ = b.Do("A", fine); _ = b.Do("a", ill) }, breaker.Open},
		{"a connection failure", func(b *recordedBreaker) { _ = b.Do("b", fine); _ = b.Do("a", down) }, breaker.Open},
		{"a timeout", func(b *recordedBreaker) { _ = b.Do("b", fine); _ = b.Do("a", late) }, breaker.Open},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRecorded(one)
				tt.run(b)
				if b.State() != tt.want {
					t.Errorf("%s, want %s", b.State(), tt.want)
				}
			})
		})
	}
}

// Failures with a response do not count as connection failures.
func TestMixedFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRecorded(settings)
		_ = b.Do("good", fine)
		_ = b.Do("a", ill)
		_ = b.Do("a", late)
		_ = b.Do("a", late)
		if b.State() != breaker.Closed {
			t.Fatal("opened by two timeouts and one consent")
		}
		_ = b.Do("a", late)
		if b.State() != breaker.Open {
			t.Error("three timeouts do not open the breaker")
		}
	})
}

// The number of stored consents is limited.
func TestManyConsents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		patient := settings
		patient.ConsecutiveFailures, patient.MinimumCalls = 100_000, 100_000
		b := newRecorded(patient)
		for i := range 10_000 {
			_ = b.Do(fmt.Sprint(i), ill)
		}
		if n := b.Consents(); n != 4096 {
			t.Errorf("%d consents are remembered", n)
		}
		time.Sleep(time.Minute)
		_ = b.Do("a", ill)
		if n := b.Consents(); n != 1 {
			t.Errorf("%d consents are remembered after an interval", n)
		}
	})
}

// Which outcomes open the breaker, after five calls of different consents.
func TestCountedOutcomes(t *testing.T) {
	type outcome struct {
		kind   canonical.Kind
		status int // 0: no response
	}
	opens := map[outcome]bool{
		{canonical.ProviderUnavailable, 0}: true, {canonical.ProviderUnavailable, 503}: true, {canonical.ProviderUnavailable, 400}: true, {canonical.ProviderUnavailable, 403}: true,
		{canonical.ProviderTimeout, 0}: true, {canonical.ProviderTimeout, 504}: true, {canonical.ProviderTimeout, 408}: true,
		{canonical.ProviderError, 0}: true, {canonical.ProviderError, 500}: true, {canonical.ProviderError, 400}: true, {canonical.ProviderError, 408}: true,
		{canonical.ProviderError, 401}: false, {canonical.ProviderError, 403}: false, {canonical.ProviderError, 404}: false,
		{canonical.ProviderInvalidResponse, 0}: false, {canonical.ProviderInvalidResponse, 200}: false,
		{canonical.ProviderInvalidResponse, 302}: true, {canonical.ProviderInvalidResponse, 500}: true, {canonical.ProviderInvalidResponse, 400}: false,
		{canonical.ConsentInvalid, 500}: false, {canonical.AccountUnknown, 404}: false, {canonical.ProviderThrottled, 429}: false,
		{canonical.ProviderRejected, 403}: false,
	}
	for _, k := range canonical.Kinds() {
		if _, listed := opens[outcome{k, 0}]; !listed {
			opens[outcome{k, 0}] = false
		}
	}
	for o, want := range opens {
		t.Run(fmt.Sprint(o.kind, o.status), func(t *testing.T) {
			b := newRecorded(settings)
			call := failing(o.kind)
			if o.status != 0 {
				call = responding(o.kind, o.status)
			}
			for i := range 5 {
				_ = b.Do(fmt.Sprint(i), call)
			}
			if open := b.State() == breaker.Open; open != want {
				t.Errorf("opened: %t", open)
			}
		})
	}
	t.Run("refusals in between do not make failures consecutive or not", func(t *testing.T) {
		b := newRecorded(settings)
		for range 3 {
			_ = b.Do("a", late)
			_ = b.Do("a", func() error { return canonical.NewError(canonical.UnattendedLimit, "") })
		}
		if b.State() != breaker.Open {
			t.Error("a refusal by the counter passed for a sign of life")
		}
	})
}

// A failure that a provider reports with a 4xx status is not a success, and counts once per
// consent.
func TestFailuresWith4xx(t *testing.T) {
	for name, failure := range map[string]func() error{
		"error":       responding(canonical.ProviderError, 400),
		"unavailable": responding(canonical.ProviderUnavailable, 400),
		"timeout":     responding(canonical.ProviderTimeout, 408),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRecorded(settings)
				_ = b.Do("a", late)
				_ = b.Do("a", late)
				_ = b.Do("b", failure)
				_ = b.Do("a", late)
				if b.State() != breaker.Open {
					t.Error("the failure ends the run of failures")
				}
				time.Sleep(31 * time.Second)
				_ = b.Do("a", failure)
				if b.State() != breaker.HalfOpen {
					t.Errorf("%s after a trial that failed", b.State())
				}
				_ = b.Do("b", failure)
				if b.State() != breaker.Open {
					t.Errorf("%s after a second trial that failed", b.State())
				}
			})
			synctest.Test(t, func(t *testing.T) {
				b := newRecorded(settings)
				_ = b.Do("good", fine)
				for range 50 {
					_ = b.Do("a", failure)
					_ = b.Do("b", failure)
				}
				if b.State() != breaker.Closed {
					t.Fatal("two consents open the breaker")
				}
				_ = b.Do("c", failure)
				if b.State() != breaker.Open {
					t.Error("three consents do not open the breaker")
				}
			})
		})
	}
}

// Setting the clock back by a day does not delay the next trial.
func TestClockIsSetBack(t *testing.T) {
	now := time.Now().Round(0)
	b := breaker.New(settings, timeout, func() time.Time { return now }, func(breaker.State) {})
	for range 3 {
		_ = b.Do("a", late)
	}
	now = now.Add(-24 * time.Hour)
	if refusal := refused(b, "a"); refusal == nil || refusal.RetryAfter > settings.OpenFor {
		t.Errorf("refusal %+v", refusal)
	}
}

// A call that panics is inconclusive, and the next trial can start.
func TestTrialPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(31 * time.Second)
		func() {
			defer func() { _ = recover() }()
			_ = b.Do("a", func() error { panic("x") })
		}()
		if refused(b.Breaker, "a") != nil || b.State() != breaker.HalfOpen {
			t.Errorf("%s", b.State())
		}
	})
}
