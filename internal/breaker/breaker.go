// Package breaker stops calls to an ASPSP that keeps failing, so that callers get a response at once and the ASPSP can
// recover. Each gateway has its own breakers, one for each ASPSP. internal/gateway uses them.
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
	config  config.Breaker
	timeout time.Duration // of a call
	inner   *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened  atomic.Pointer[time.Time] // with its monotonic part, so that a change of the clock does not matter
	now     func() time.Time

	mu       sync.Mutex
	consents *consents
	judged   verdict   // of the call whose end is being counted
	judgedOf consentID // the consent of that call
	// unanswered are the connection failures and timeouts among gobreaker's failures: in all, and in a row.
	unanswered, unansweredRow uint32
	suspect                   suspect
}

// A suspect is the consent whose trial call failed, while it is not known whether the ASPSP fails or only this consent.
type suspect struct {
	id    consentID
	until time.Time // no further trial is made for it before; zero for no suspect
}

// New makes a closed breaker of calls that take up to timeout. changed is called with each new state, in order, and must
// not call the breaker.
func New(c config.Breaker, timeout time.Duration, now func() time.Time, changed func(State)) *Breaker {
	b := &Breaker{config: c, timeout: timeout, now: now, consents: newConsents(c.Interval)}
	b.inner = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     c.Interval,
		Timeout:      c.OpenFor,
		ReadyToTrip:  b.trips,
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return errors.Is(err, errExcluded) },
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

// Do makes a call under a consent, or refuses it with ProviderUnavailable and the time until the next trial.
func (b *Breaker) Do(consent string, call func() error) error {
	id := b.consents.id(consent)
	end, trial, refusal := b.begin(id)
	if refusal != nil {
		return refusal
	}
	if trial {
		// A trial that does not end in time makes room for the next one.
		defer time.AfterFunc(b.timeout, func() { end(timedOut) }).Stop()
	}
	judged := silent // if the call panics
	defer func() { end(judged) }()
	err := call()
	judged = judge(err)
	return err
}

// begin lets a call through, or refuses it. end takes the verdict on it; the first one counts. trial says that the call
// decides whether the breaker closes.
func (b *Breaker) begin(id consentID) (end func(verdict), trial bool, refusal error) {
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
	return func(v verdict) { once.Do(func() { b.end(id, trial, v, done) }) }, trial, nil
}

func (b *Breaker) refusal(wait time.Duration) error {
	refusal := canonical.NewError(canonical.ProviderUnavailable, "the ASPSP has been failing and is given time to recover")
	refusal.RetryAfter = max(min(wait, b.config.OpenFor), time.Second)
	return refusal
}

// What gobreaker counts.
var (
	errFailed   = errors.New("the ASPSP failed")
	errExcluded = errors.New("the outcome says nothing about the ASPSP")
)

// end counts a call's outcome.
func (b *Breaker) end(id consentID, trial bool, v verdict, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	outcome := errFailed
	switch v {
	case succeeded:
		b.consents.succeeds(id, now)
		outcome = nil
	case refused:
		outcome = nil
	case silent:
		outcome = errExcluded
	case responded, timedOut:
		b.consents.endSuccess(id)
		counts := v == timedOut || b.consents.fails(id, now)
		if trial {
			// It may be this one consent that fails: the next trial decides, for another one if it comes first.
			counts = !b.suspect.until.IsZero()
			b.suspect = suspect{id: id, until: now.Add(b.config.OpenFor)}
		}
		if !counts {
			outcome = errExcluded
		}
	case unconnected:
		b.consents.endSuccess(id)
	}
	b.judged, b.judgedOf = v, id
	done(outcome)
	if b.inner.State() != gobreaker.StateHalfOpen {
		b.suspect = suspect{}
	}
}

// trips reports whether the breaker opens after one more failure. Connection failures and timeouts open it by
// themselves; failures with a response, and both together, only if enough consents fail.
func (b *Breaker) trips(n gobreaker.Counts) bool {
	if n.TotalFailures == 1 {
		b.unanswered = 0
	}
	if n.ConsecutiveFailures == 1 {
		b.unansweredRow = 0
	}
	if b.judged != responded {
		b.unanswered++
		b.unansweredRow++
	}
	// Not n.Requests: it includes calls in progress, and those whose outcome says nothing.
	judged := n.TotalSuccesses + n.TotalFailures
	enough := func(total, row uint32) bool {
		return row >= b.config.ConsecutiveFailures ||
			judged >= b.config.MinimumCalls && float64(total) >= b.config.FailureRatio*float64(judged)
	}
	return enough(b.unanswered, b.unansweredRow) || enough(n.TotalFailures, n.ConsecutiveFailures) && b.consents.suffice(b.judgedOf, b.now())
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

// A verdict is what a call's outcome says about the ASPSP.
type verdict int

const (
	succeeded   verdict = iota
	refused             // it responded, and refused one consent, account or client
	responded           // it failed, and said so in a response
	unconnected         // the connection could not be made or broke
	timedOut            // it did not respond in time
	silent              // the outcome says nothing about it
)

func judge(err error) verdict {
	var failure *canonical.Error
	switch {
	case err == nil:
		return succeeded
	case !errors.As(err, &failure):
		return silent
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
		return byResponse(failure, silent) // the data of a 200 cannot be accepted
	case canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown, canonical.ProviderRejected, canonical.ProviderThrottled:
		return refused
	case canonical.UnattendedLimit:
		if failure.Origin == canonical.OriginASPSP {
			return refused
		}
		return silent
	case canonical.FormatError, canonical.Unauthenticated, canonical.Forbidden, canonical.ASPSPUnknown, canonical.NotFound,
		canonical.MethodNotAllowed, canonical.InternalError, canonical.CounterUnavailable, canonical.Overloaded,
		canonical.DeletionUnconfirmed, canonical.NotCached, canonical.Canceled, canonical.RateLimited:
		return silent
	}
	return silent
}

// byResponse judges a failure as one with a response, whatever its status: providers also report failures with 400 and
// 408. Without a response, or with one of success, it is without.
func byResponse(failure *canonical.Error, without verdict) verdict {
	if u := failure.Upstream; u == nil || u.HTTPStatus == 0 || u.HTTPStatus == http.StatusOK {
		return without
	}
	return responded
}

// refusesOne reports whether the status of an error without a known cause is a refusal of one consent, account or client.
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
