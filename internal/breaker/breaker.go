// Package breaker stops calls to an ASPSP that keeps failing, so that callers get a response
// immediately and the ASPSP can recover. Each gateway has its own breakers, one for each ASPSP.
// internal/gateway uses them.
package breaker

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// State is the state of a breaker.
type State string

// The states of a breaker.
const (
	Closed   State = "closed"    // calls are made
	Open     State = "open"      // calls are refused
	HalfOpen State = "half_open" // one trial call is made at a time
)

// Breaker is the circuit breaker of one ASPSP. It is safe for concurrent use.
type Breaker struct {
	config  config.Breaker
	timeout time.Duration // of a call
	inner   *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened  atomic.Pointer[time.Time] // with its monotonic reading, so that a change of the clock has no effect
	now     func() time.Time

	mu          sync.Mutex
	consents    *consents
	lastVerdict verdict   // of the call whose end is being counted
	lastConsent consentID // the consent of that call
	// unanswered are the connection failures and timeouts among gobreaker's failures: in all, and
	// in a row.
	unanswered, unansweredRow uint32
	suspect                   suspect
}

// suspect is the consent of a failed trial call, while it is unknown whether the ASPSP fails or
// only this consent.
type suspect struct {
	id    consentID
	until time.Time // no further trial is made for it before; zero for no suspect
}

// New returns a closed breaker for calls with the given timeout. onChange is called with each new
// state, in order; it must not call the breaker.
func New(c config.Breaker, timeout time.Duration, now func() time.Time, onChange func(State)) *Breaker {
	b := &Breaker{config: c, timeout: timeout, now: now, consents: newConsents(c.Interval)}
	b.inner = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     c.Interval,
		Timeout:      c.OpenFor,
		ReadyToTrip:  b.readyToTrip,
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return errors.Is(err, errExcluded) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				at := now()
				b.opened.Store(&at)
			}
			onChange(fromGobreaker(to))
		},
	})
	return b
}

// Do makes a call for a consent and returns its error. While the breaker is open it makes no call,
// and returns ProviderUnavailable with the time until the next trial in RetryAfter.
func (b *Breaker) Do(consent string, call func() error) error {
	id := b.consents.id(consent)
	end, trial, refusal := b.admit(id)
	if refusal != nil {
		return refusal
	}
	if trial {
		// A trial that exceeds its timeout is recorded as failed, so that the next trial can start.
		defer time.AfterFunc(b.timeout, func() { end(timedOut) }).Stop()
	}
	judged := inconclusive // if the call panics
	defer func() { end(judged) }()
	err := call()
	judged = judge(err)
	return err
}

// admit allows a call or returns an error. end records the verdict on the call; only the first one
// counts. trial reports whether the call decides if the breaker closes.
func (b *Breaker) admit(id consentID) (end func(verdict), trial bool, refusal error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	done, err := b.inner.Allow()
	if err != nil {
		return nil, false, b.refusal(b.config.OpenFor - b.now().Sub(*b.opened.Load()))
	}
	trial = b.inner.State() == gobreaker.StateHalfOpen
	if wait := b.suspect.until.Sub(b.now()); trial && b.suspect.id == id && wait > 0 {
		done(errExcluded)
		return nil, false, b.refusal(wait)
	}
	var once sync.Once
	return func(v verdict) { once.Do(func() { b.record(id, trial, v, done) }) }, trial, nil
}

func (b *Breaker) refusal(wait time.Duration) error {
	refusal := canonical.NewError(canonical.ProviderUnavailable, "the ASPSP has been failing and is given time to recover")
	refusal.RetryAfter = max(min(wait, b.config.OpenFor), time.Second)
	return refusal
}

// The errors that are passed to gobreaker.
var (
	errFailed   = errors.New("the ASPSP failed")
	errExcluded = errors.New("the outcome says nothing about the ASPSP")
)

// record counts the outcome of a call.
func (b *Breaker) record(id consentID, trial bool, v verdict, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	outcome := errFailed
	switch v {
	case succeeded:
		b.consents.recordSuccess(id, now)
		outcome = nil
	case refused:
		outcome = nil
	case inconclusive:
		outcome = errExcluded
	case responded, timedOut:
		b.consents.endSuccess(id)
		counts := v == timedOut || b.consents.recordFailure(id, now)
		if trial {
			// Maybe only this consent fails: the next trial decides, preferably one of another
			// consent.
			counts = !b.suspect.until.IsZero()
			b.suspect = suspect{id: id, until: now.Add(b.config.OpenFor)}
		}
		if !counts {
			outcome = errExcluded
		}
	case unconnected:
		b.consents.endSuccess(id)
	}
	b.lastVerdict, b.lastConsent = v, id
	done(outcome)
	if b.inner.State() != gobreaker.StateHalfOpen {
		b.suspect = suspect{}
	}
}

// readyToTrip reports whether the breaker opens after a failure. Connection failures and timeouts
// can open it under one consent. If there are failures with a response among them, enough consents
// must fail.
func (b *Breaker) readyToTrip(n gobreaker.Counts) bool {
	if n.TotalFailures == 1 {
		b.unanswered = 0
	}
	if n.ConsecutiveFailures == 1 {
		b.unansweredRow = 0
	}
	if b.lastVerdict != responded {
		b.unanswered++
		b.unansweredRow++
	}
	// Not n.Requests: it includes calls in progress, and inconclusive ones.
	judged := n.TotalSuccesses + n.TotalFailures
	enough := func(total, row uint32) bool {
		return row >= b.config.ConsecutiveFailures ||
			judged >= b.config.MinimumCalls && float64(total) >= b.config.FailureRatio*float64(judged)
	}
	return enough(b.unanswered, b.unansweredRow) || enough(n.TotalFailures, n.ConsecutiveFailures) && b.consents.enoughFailed(b.lastConsent, b.now())
}

// State returns the current state.
func (b *Breaker) State() State { return fromGobreaker(b.inner.State()) }

func fromGobreaker(s gobreaker.State) State {
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

// verdict classifies the outcome of a call by what it shows about the ASPSP.
type verdict int

const (
	succeeded    verdict = iota
	refused              // a response refused one consent, account or client
	responded            // a response reported a failure
	unconnected          // the connection could not be made or was lost
	timedOut             // no response within the timeout
	inconclusive         // the outcome shows nothing about the ASPSP
)

func judge(err error) verdict {
	if err == nil {
		return succeeded
	}
	failure, ok := errors.AsType[*canonical.Error](err)
	if !ok {
		return inconclusive
	}
	switch failure.Kind {
	case canonical.ProviderUnavailable:
		return byResponse(failure, unconnected)
	case canonical.ProviderTimeout:
		return byResponse(failure, timedOut)
	case canonical.ProviderError:
		if refusesOne(failure) {
			return refused
		}
		return byResponse(failure, unconnected)
	case canonical.ProviderInvalidResponse:
		if u := failure.Upstream; u != nil && u.HTTPStatus >= 400 && u.HTTPStatus < 500 {
			return refused
		}
		return byResponse(failure, inconclusive) // the data of a 200 cannot be accepted
	case canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.ProviderRejected, canonical.ProviderThrottled:
		return refused
	case canonical.UnattendedLimit:
		if failure.Origin == canonical.OriginASPSP {
			return refused
		}
		return inconclusive
	case canonical.FormatError, canonical.PSUAddressRequired, canonical.Unauthenticated, canonical.Forbidden, canonical.ASPSPUnknown, canonical.NotFound,
		canonical.MethodNotAllowed, canonical.InternalError, canonical.CounterUnavailable, canonical.Overloaded,
		canonical.DeletionUnconfirmed, canonical.NotCached, canonical.NotInTime, canonical.AggregationFailed, canonical.Canceled,
		canonical.RateLimited:
		return inconclusive
	}
	return inconclusive
}

// byResponse returns responded for a failure with a response of any status, because providers also
// report failures with 400 and 408. It returns without if there was no response or its status is
// 200.
func byResponse(failure *canonical.Error, without verdict) verdict {
	if u := failure.Upstream; u == nil || u.HTTPStatus == 0 || u.HTTPStatus == http.StatusOK {
		return without
	}
	return responded
}

// refusesOne reports whether the status of an error with unknown cause refuses one consent, account
// or client.
func refusesOne(failure *canonical.Error) bool {
	if failure.Upstream == nil {
		return false
	}
	switch failure.Upstream.HTTPStatus {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}
