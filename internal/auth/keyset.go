package auth

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"ais-gateway/internal/recovery"
)

const (
	// minRefreshInterval is the minimum time between two fetches of an issuer's keys, however many
	// requests need them.
	minRefreshInterval = 3 * time.Second
	// fetchTimeout is the maximum duration of one fetch, including discovery.
	fetchTimeout = 5 * time.Second
	// waitTimeout is the maximum time that a request waits for a fetch.
	waitTimeout = 2 * time.Second
	// maxWaiting is the maximum number of requests that wait for a fetch, because forged tokens
	// must not use up the concurrency limit of all requests.
	maxWaiting = 64
	// refreshEvery is the time between two fetches by run, and longestPause the maximum time
	// between two that fail.
	refreshEvery, longestPause = 5 * time.Minute, time.Minute
	// maxAge is the age at which a request causes a fetch although it has a key.
	maxAge = 10 * time.Minute
)

// errNoKeys means that the issuer's keys cannot be fetched at the moment.
var errNoKeys = errors.New("auth: no keys")

// keySet has the keys of one issuer. While a fetch fails, the previous keys stay in use.
type keySet struct {
	fetch   func(context.Context) ([]jose.JSONWebKey, error)
	now     func() time.Time
	onFetch func(error)   // called with the result of each fetch, not concurrently
	timeout time.Duration // of one fetch

	fetches singleflight.Group
	waiting chan struct{} // one entry for each waiting request

	mu             sync.Mutex
	keys           []jose.JSONWebKey // replaced, never changed
	fetched, tried time.Time         // the start of the last successful fetch, and of the last fetch
	failing        bool              // whether the last fetch failed
}

func newKeySet(fetch func(context.Context) ([]jose.JSONWebKey, error), now func() time.Time, onFetch func(error)) *keySet {
	return &keySet{fetch: fetch, now: now, onFetch: onFetch, timeout: fetchTimeout, waiting: make(chan struct{}, maxWaiting)}
}

// find returns the keys that filter selects. If it selects none, or the keys are old, they are
// fetched first, unless they were within minRefreshInterval. It returns errNoKeys if filter selects
// none and the last fetch failed.
func (s *keySet) find(ctx context.Context, filter func(all []jose.JSONWebKey) []jose.JSONWebKey) ([]jose.JSONWebKey, error) {
	keys, old, failing := s.current()
	found := filter(keys)
	if len(found) > 0 && !old {
		return found, nil
	}
	done := s.refresh()
	// A request that has a key does not wait for an issuer that fails.
	if (len(found) == 0 || !failing) && !s.wait(ctx, done) {
		return keysOrUnavailable(found, true)
	}
	keys, _, failing = s.current()
	return keysOrUnavailable(filter(keys), failing)
}

// wait waits until done, and reports whether it was. It returns false if ctx ends, or immediately
// if too many requests are waiting.
func (s *keySet) wait(ctx context.Context, done <-chan singleflight.Result) bool {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

func keysOrUnavailable(found []jose.JSONWebKey, failing bool) ([]jose.JSONWebKey, error) {
	if len(found) == 0 && failing {
		return nil, errNoKeys
	}
	return found, nil
}

// current returns the known keys, whether they are old, and whether the last fetch failed.
func (s *keySet) current() (keys []jose.JSONWebKey, old, failing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, s.now().Sub(s.fetched) >= maxAge, s.failing
}

// refresh starts a fetch or joins the one in progress. The channel receives a value when it has
// ended, or immediately if the last fetch started within minRefreshInterval.
func (s *keySet) refresh() <-chan singleflight.Result {
	return s.fetches.DoChan("", func() (any, error) {
		if now, ok := s.mayFetch(); ok {
			s.update(now)
		}
		return struct{}{}, nil
	})
}

// mayFetch reports whether minRefreshInterval has passed since the last fetch, and records the
// start of a new one.
func (s *keySet) mayFetch() (now time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.now()
	if !s.tried.IsZero() && now.Sub(s.tried) < minRefreshInterval {
		return now, false
	}
	s.tried = now
	return now, true
}

// update fetches the keys, independently of the context of any request.
func (s *keySet) update(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	keys, err := s.fetchRecovered(ctx)
	s.onFetch(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing = err != nil; !s.failing {
		s.keys, s.fetched = keys, now
	}
}

// fetchRecovered calls fetch. A panic of a library on the issuer's document becomes errNoKeys.
func (s *keySet) fetchRecovered(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	defer func() {
		if value := recover(); value != nil {
			recovery.Log(ctx, slog.Default(), value)
			err = errNoKeys
		}
	}()
	return s.fetch(ctx)
}

// run fetches the keys periodically until ctx ends. After a failure it retries sooner, with
// increasing pauses.
func (s *keySet) run(ctx context.Context) {
	pause := minRefreshInterval
	for {
		select {
		case <-s.refresh():
		case <-ctx.Done():
			return
		}
		next := refreshEvery
		if _, _, failing := s.current(); failing {
			next, pause = pause, min(2*pause, longestPause)
		} else {
			pause = minRefreshInterval
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
