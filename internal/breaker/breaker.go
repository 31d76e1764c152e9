// Package breaker stops calling an ASPSP that keeps failing, so that callers are told at once and the ASPSP can
// recover. Each gateway has its own breakers, one for each ASPSP. internal/gateway asks them.
package breaker

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// State is what a breaker does with calls.
type State string

// The states of a breaker.
const (
	Closed   State = "closed"    // calls are made
	Open     State = "open"      // calls are refused
	HalfOpen State = "half_open" // one trial call is made at a time
)

// A Breaker watches the calls to one ASPSP. It is safe for concurrent use.
type Breaker struct {
	inner   *gobreaker.CircuitBreaker[struct{}]
	openFor time.Duration
	opened  atomic.Pointer[time.Time] // with its monotonic part: a clock that is set says nothing of how long ago that was
	now     func() time.Time
}

// New makes a closed breaker. changed is told each new state, in order, and must not call the breaker.
func New(c config.Breaker, now func() time.Time, changed func(State)) *Breaker {
	b := &Breaker{openFor: c.OpenFor, now: now}
	b.inner = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval: c.Interval,
		Timeout:  c.OpenFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			// Not n.Requests: it holds calls under way, and those whose outcome says nothing.
			judged := n.TotalSuccesses + n.TotalFailures
			return n.ConsecutiveFailures >= c.ConsecutiveFailures ||
				judged >= c.MinimumCalls && float64(n.TotalFailures) >= c.FailureRatio*float64(judged)
		},
		IsSuccessful: func(err error) bool { return verdict(err) == alive },
		IsExcluded:   func(err error) bool { return verdict(err) == silent },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				at := now()
				b.opened.Store(&at)
			}
			changed(named(to))
		},
	})
	return b
}

// Do makes a call, or refuses it with ProviderUnavailable and the time until the next trial.
func (b *Breaker) Do(call func() error) error {
	_, err := b.inner.Execute(func() (struct{}, error) { return struct{}{}, call() })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		refusal := canonical.Fail(canonical.ProviderUnavailable, "the ASPSP has been failing and is given time to recover")
		refusal.RetryAfter = max(min(b.openFor-b.now().Sub(*b.opened.Load()), b.openFor), time.Second)
		return refusal
	}
	return err
}

// State is what the breaker does at this moment.
func (b *Breaker) State() State { return named(b.inner.State()) }

func named(s gobreaker.State) State {
	switch s {
	case gobreaker.StateClosed:
		return Closed
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}

// The verdicts of a call's outcome on the ASPSP.
const (
	alive  = iota // it answered, even if it said no
	failed        // it did not, or not usably
	silent        // the outcome says nothing about it
)

func verdict(err error) int {
	if err == nil {
		return alive
	}
	var failure *canonical.Error
	if !errors.As(err, &failure) {
		return silent
	}
	switch failure.Kind {
	case canonical.ProviderUnavailable, canonical.ProviderTimeout, canonical.ProviderInvalidResponse, canonical.ProviderError:
		if failure.Upstream != nil && failure.Upstream.HTTPStatus >= 400 && failure.Upstream.HTTPStatus < 500 {
			return alive // one consent's trouble, told in good order, says nothing against the next one's call
		}
		return failed
	case canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.ProviderRejected, canonical.ProviderThrottled:
		return alive
	case canonical.UnattendedLimit:
		if failure.Origin == canonical.OriginASPSP {
			return alive
		}
		return silent
	case canonical.FormatError, canonical.Unauthenticated, canonical.Forbidden, canonical.ASPSPUnknown, canonical.NotFound,
		canonical.MethodNotAllowed, canonical.InternalError, canonical.CounterUnavailable, canonical.Overloaded,
		canonical.DeletionUnconfirmed, canonical.NotCached, canonical.Canceled, canonical.RateLimited:
		return silent
	}
	return silent
}
